//! A Socket.IO client (protocol 5 on Engine.IO 4) over one WebSocket: as much of it as the command line needs.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::client::{Agent, ClientError, Line, refused};

/// The server asks every ten seconds whether we live, so silence for longer means that it is gone.
const SILENCE: Duration = Duration::from_secs(25);

/// An event of the server.
#[derive(Debug)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub data: Value,
}

/// A connection to one namespace.
pub struct Socket {
    stream: WebSocketStream<Box<dyn Line>>,
    namespace: &'static str,
    asked: u64,
    events: VecDeque<Event>,
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
        let mut socket = Self { stream, namespace, asked: 0, events: VecDeque::new() };
        socket.send(format!("40{namespace},{{}}")).await?;
        loop {
            match socket.packet().await? {
                Packet::Joined => return Ok(socket),
                Packet::Refused(why) => return Err(refused(&json!({ "detail": why }))),
                Packet::Closed => return Err(ClientError::Broken),
                _ => {}
            }
        }
    }

    async fn send(&mut self, text: String) -> Result<(), ClientError> {
        self.stream.send(Message::text(text)).await.map_err(|_| ClientError::Broken)
    }

    /// Sends an event and waits for its answer.
    pub async fn ask(&mut self, event: &str, data: &Value) -> Result<Value, ClientError> {
        self.asked += 1;
        let number = self.asked;
        self.send(format!("42{},{number}{}", self.namespace, json!([event, data]))).await?;
        loop {
            match self.packet().await? {
                Packet::Answer(to, answer) if to == number => {
                    return if answer.get("problem").is_some() { Err(refused(&answer)) } else { Ok(answer) };
                }
                Packet::Event(event) => self.events.push_back(event),
                Packet::Closed => return Err(ClientError::Broken),
                _ => {}
            }
        }
    }

    /// The next event; none once the agent has closed the connection.
    pub async fn event(&mut self) -> Result<Option<Event>, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        loop {
            match self.packet().await? {
                Packet::Event(event) => return Ok(Some(event)),
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

    /// The next packet of our namespace.
    async fn packet(&mut self) -> Result<Packet, ClientError> {
        loop {
            match self.message().await? {
                None => return Ok(Packet::Closed),
                Some(Message::Text(text)) => match text.as_str() {
                    "2" => self.send("3".into()).await?,
                    "1" => return Ok(Packet::Closed),
                    text => {
                        if let Some(head) = parse(text, self.namespace) {
                            return Ok(packet(head));
                        }
                    }
                },
                Some(_) => {}
            }
        }
    }
}

/// A packet's parts.
#[derive(Debug, PartialEq)]
struct Head {
    kind: char,
    number: Option<u64>,
    data: Value,
}

/// Reads a packet of `namespace`: `4`, its kind, the namespace, its number, its data.
fn parse(text: &str, namespace: &str) -> Option<Head> {
    let mut rest = text.strip_prefix('4')?.chars();
    let kind = rest.next()?;
    let rest = rest.as_str().strip_prefix(namespace)?;
    let rest = rest.strip_prefix(',').unwrap_or(rest);
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let number = rest[..digits].parse().ok();
    let data = serde_json::from_str(&rest[digits..]).unwrap_or(Value::Null);
    Some(Head { kind, number, data })
}

fn packet(head: Head) -> Packet {
    match (head.kind, head.number) {
        ('0', _) => Packet::Joined,
        ('1', _) => Packet::Closed,
        ('2', _) => Packet::Event(Event {
            name: head.data[0].as_str().unwrap_or_default().to_owned(),
            data: head.data[1].clone(),
        }),
        ('3', Some(number)) => Packet::Answer(number, head.data[0].clone()),
        ('4', _) => Packet::Refused(head.data["message"].as_str().unwrap_or("the agent refused").to_owned()),
        _ => Packet::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_the_protocol_writes_them() {
        let head = |kind, number, data| Some(Head { kind, number, data });
        assert_eq!(parse("40/status,{\"sid\":\"x\"}", "/status"), head('0', None, json!({ "sid": "x" })));
        assert_eq!(parse("43/status,12[{\"a\":1}]", "/status"), head('3', Some(12), json!([{ "a": 1 }])));
        assert_eq!(parse("42/status,[\"removed\",{}]", "/status"), head('2', None, json!(["removed", {}])));
        assert_eq!(parse("41/status,", "/status"), head('1', None, Value::Null));
        for other in ["2", "0{}", "42/log,[]", "4", ""] {
            assert_eq!(parse(other, "/status"), None, "{other}");
        }
    }
}
