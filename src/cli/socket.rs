//! A Socket.IO client (protocol 5 on Engine.IO 4) over one WebSocket: as much of it as the command line needs.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::client::{Agent, ClientError, Line, Refusal};

/// The server asks every ten seconds whether we live, so silence for longer means that it is gone.
const SILENCE: Duration = Duration::from_secs(25);

/// How many events may come before an answer. What the agent sends on its own is less: a terminal's output waits for
/// its acknowledgement.
const EVENTS: usize = 1024;
/// How many binary attachments an event may have.
const ATTACHMENTS: usize = 8;

/// An event of the server, its binary attachments beside it.
#[derive(Debug)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub data: Value,
    /// What of that is binary.
    pub binary: Vec<Bytes>,
}

impl Event {
    /// What it says.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        T::deserialize(&self.data).map_err(|_| ClientError::Unreadable)
    }
}

/// What comes on a connection.
#[derive(Debug)]
pub enum Said {
    /// An event.
    Event(Event),
    /// The answer to the event that was sent under this number.
    Answer(u64, Value),
}

/// A connection to one namespace.
pub struct Socket {
    stream: WebSocketStream<Box<dyn Line>>,
    namespace: &'static str,
    asked: u64,
    events: VecDeque<Event>,
    /// An event whose attachments have not all come, and how many are missing.
    half: Option<(Event, usize)>,
}

/// What a packet is.
enum Packet {
    Event(Event),
    Answer(u64, Value),
    Joined,
    Refused(String),
    Closed,
    Other,
}

impl Socket {
    /// Connects to `namespace`, or tells why the agent lets us not.
    pub async fn join(agent: &Agent, namespace: &'static str) -> Result<Self, ClientError> {
        let line = agent.connect().await?;
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", agent.host());
        let mut request = url.into_client_request().map_err(|_| ClientError::Broken)?;
        if let Some(authorization) = agent.authorization() {
            let mut value = HeaderValue::from_str(&authorization).map_err(|_| ClientError::Broken)?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let connecting = tokio_tungstenite::client_async(request, line);
        let connected = tokio::time::timeout(SILENCE, connecting).await.map_err(|_| ClientError::Broken)?;
        let (stream, _) = connected.map_err(|_| ClientError::Broken)?;
        let mut socket = Self { stream, namespace, asked: 0, events: VecDeque::new(), half: None };
        socket.send(format!("40{namespace},{{}}")).await?;
        loop {
            match socket.packet().await? {
                Packet::Joined => return Ok(socket),
                Packet::Refused(why) => {
                    return Err(ClientError::Refused { code: None, detail: why.into(), hint: None });
                }
                Packet::Closed => return Err(ClientError::Broken),
                _ => {}
            }
        }
    }

    async fn send(&mut self, text: String) -> Result<(), ClientError> {
        self.stream.send(Message::text(text)).await.map_err(|_| ClientError::Broken)
    }

    /// Sends an event that wants no answer.
    pub async fn emit(&mut self, event: &str, data: &Value) -> Result<(), ClientError> {
        self.send(format!("42{},{}", self.namespace, json!([event, data]))).await
    }

    /// Sends an event with `bytes` as the field `data`; the number under which it is answered.
    pub async fn emit_binary(&mut self, event: &str, mut data: Value, bytes: Bytes) -> Result<u64, ClientError> {
        self.asked += 1;
        data["data"] = json!({ "_placeholder": true, "num": 0 });
        self.send(format!("451-{},{}{}", self.namespace, self.asked, json!([event, data]))).await?;
        self.stream.send(Message::binary(bytes)).await.map_err(|_| ClientError::Broken)?;
        Ok(self.asked)
    }

    /// Sends an event and waits for its answer.
    pub async fn ask<T: DeserializeOwned>(&mut self, event: &str, data: &Value) -> Result<T, ClientError> {
        self.asked += 1;
        let number = self.asked;
        self.send(format!("42{},{number}{}", self.namespace, json!([event, data]))).await?;
        loop {
            match self.packet().await? {
                Packet::Answer(to, answer) if to == number => {
                    return match Refusal::deserialize(&answer) {
                        Ok(refusal) => Err(refusal.into()),
                        Err(_) => T::deserialize(answer).map_err(|_| ClientError::Unreadable),
                    };
                }
                Packet::Event(_) if self.events.len() >= EVENTS => return Err(ClientError::Broken),
                Packet::Event(event) => self.events.push_back(event),
                Packet::Closed => return Err(ClientError::Broken),
                _ => {}
            }
        }
    }

    /// The next event; none once the agent has closed the connection.
    pub async fn event(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            match self.said().await? {
                Some(Said::Event(event)) => return Ok(Some(event)),
                Some(Said::Answer(..)) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next event or answer; none once the agent has closed the connection. Whoever drops this while it waits loses
    /// nothing.
    pub async fn said(&mut self) -> Result<Option<Said>, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(Said::Event(event)));
        }
        loop {
            match self.packet().await? {
                Packet::Event(event) => return Ok(Some(Said::Event(event))),
                Packet::Answer(to, answer) => return Ok(Some(Said::Answer(to, answer))),
                Packet::Closed => return Ok(None),
                _ => {}
            }
        }
    }

    async fn message(&mut self) -> Result<Option<Message>, ClientError> {
        match tokio::time::timeout(SILENCE, self.stream.next()).await {
            Ok(Some(Ok(message))) => Ok(Some(message)),
            Ok(_) => Ok(None),
            Err(_) => Err(ClientError::Broken),
        }
    }

    /// The next packet of our namespace. Whoever drops this while it waits loses nothing.
    async fn packet(&mut self) -> Result<Packet, ClientError> {
        loop {
            match self.message().await? {
                None => return Ok(Packet::Closed),
                Some(Message::Binary(bytes)) => {
                    if let Some((event, missing)) = &mut self.half {
                        event.binary.push(bytes);
                        *missing = missing.saturating_sub(1);
                    }
                }
                Some(Message::Text(text)) => match text.as_str() {
                    "2" => self.send("3".into()).await?,
                    "1" => return Ok(Packet::Closed),
                    text => {
                        let Some(head) = parse(text, self.namespace) else { continue };
                        match head.kind {
                            '2' | '5' if head.attachments > ATTACHMENTS => return Err(ClientError::Broken),
                            '2' | '5' => {
                                let name = head.data[0].as_str().unwrap_or_default().to_owned();
                                let event = Event { name, data: head.data[1].clone(), binary: Vec::new() };
                                self.half = Some((event, head.attachments));
                            }
                            kind => return Ok(packet(kind, head)),
                        }
                    }
                },
                Some(_) => {}
            }
            if self.half.as_ref().is_some_and(|(_, missing)| *missing == 0)
                && let Some((event, _)) = self.half.take()
            {
                return Ok(Packet::Event(event));
            }
        }
    }
}

/// A packet's parts.
#[derive(Debug, PartialEq)]
struct Head {
    kind: char,
    attachments: usize,
    number: Option<u64>,
    data: Value,
}

/// Reads a packet of `namespace`: `4`, its kind, how many attachments follow, the namespace, its number, its data.
fn parse(text: &str, namespace: &str) -> Option<Head> {
    let mut rest = text.strip_prefix('4')?.chars();
    let kind = rest.next()?;
    let mut rest = rest.as_str();
    let mut attachments = 0;
    if matches!(kind, '5' | '6') {
        let (count, after) = rest.split_once('-')?;
        attachments = count.parse().ok()?;
        rest = after;
    }
    rest = rest.strip_prefix(namespace)?;
    rest = rest.strip_prefix(',').unwrap_or(rest);
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let number = rest[..digits].parse().ok();
    let data = serde_json::from_str(&rest[digits..]).unwrap_or(Value::Null);
    Some(Head { kind, attachments, number, data })
}

fn packet(kind: char, head: Head) -> Packet {
    match (kind, head.number) {
        ('0', _) => Packet::Joined,
        ('1', _) => Packet::Closed,
        ('3', Some(number)) => Packet::Answer(number, head.data[0].clone()),
        ('4', _) => {
            #[derive(Deserialize)]
            struct Why {
                message: String,
            }
            let why = Why::deserialize(head.data).map(|why| why.message);
            Packet::Refused(why.unwrap_or_else(|_| "the agent refused".to_owned()))
        }
        _ => Packet::Other,
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn an_agent_that_sends_events_and_no_answer_is_left() {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let line: Box<dyn Line> = Box::new(ours);
        let stream = WebSocketStream::from_raw_socket(line, Role::Client, None).await;
        let mut socket = Socket { stream, namespace: "/status", asked: 0, events: VecDeque::new(), half: None };
        let mut agent = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        let sending = async {
            for number in 0.. {
                let event = json!(["service", { "restarts": number }]);
                if agent.send(Message::text(format!("42/status,{event}"))).await.is_err() {
                    break;
                }
            }
        };
        let asking = async {
            let answer = socket.ask::<Value>("stats", &json!({ "on": true })).await;
            assert!(matches!(answer, Err(ClientError::Broken)), "{answer:?}");
            assert_eq!(socket.events.len(), EVENTS);
        };
        tokio::select! {
            () = asking => {}
            () = sending => unreachable!("it reads on"),
        }
    }

    #[test]
    fn packets_are_read_as_the_protocol_writes_them() {
        let head = |kind, attachments, number, data| Some(Head { kind, attachments, number, data });
        assert_eq!(parse("40/term,{\"sid\":\"x\"}", "/term"), head('0', 0, None, json!({ "sid": "x" })));
        assert_eq!(parse("43/term,12[{\"a\":1}]", "/term"), head('3', 0, Some(12), json!([{ "a": 1 }])));
        assert_eq!(parse("451-/term,[\"output\",{}]", "/term"), head('5', 1, None, json!(["output", {}])));
        assert_eq!(parse("41/term,", "/term"), head('1', 0, None, Value::Null));
        for other in ["2", "0{}", "42/log,[]", "4", "45/term,[]", ""] {
            assert_eq!(parse(other, "/term"), None, "{other}");
        }
    }
}
