//! Streams of lines, as the agent sends them: server-sent events.

use super::client::{ClientError, Refusal};
use super::options::Failure;
use crate::api::logs::LogEntry;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

/// The largest event: a line of 1 MiB, each of its bytes escaped, and the same bytes encoded beside it.
const EVENT: usize = 8 << 20;

/// Hands each line of `stream` to `take`, as it came and as it is read, to its end. Where it is not simply over, the error
/// says why.
pub async fn each(
    stream: impl Stream<Item = Result<Bytes, ClientError>>,
    mut take: impl FnMut(&str, LogEntry) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let mut stream = std::pin::pin!(stream);
    let mut events = Events::default();
    while let Some(bytes) = stream.next().await {
        for event in events.feed(&bytes?)? {
            match event {
                Event::Line(data) => {
                    let entry = serde_json::from_str(&data).map_err(|_| ClientError::Unreadable)?;
                    take(&data, entry)?;
                }
                // Without a problem there is simply no more.
                Event::Closed(data) => {
                    return match serde_json::from_str::<Refusal>(&data) {
                        Ok(refusal) => Err(ClientError::from(refusal).into()),
                        Err(_) => Ok(()),
                    };
                }
            }
        }
    }
    // An agent says so before it ends one.
    Err(ClientError::Broken.into())
}

/// An event, by its data.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Line(String),
    /// The last one.
    Closed(String),
}

/// Server-sent events, as much of them as the agent sends.
#[derive(Debug, Default)]
struct Events {
    rest: Vec<u8>,
    /// How much of that holds no event's end.
    seen: usize,
}

impl Events {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, ClientError> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest[self.seen..].windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..self.seen + end + 2).collect();
            self.seen = 0;
            let text = String::from_utf8_lossy(&event).into_owned();
            let make = if text.lines().any(|line| line == "event: closed") { Event::Closed } else { Event::Line };
            events.extend(text.lines().find_map(|line| line.strip_prefix("data: ")).map(|data| make(data.to_owned())));
        }
        // Its end may have begun.
        self.seen = self.rest.len().saturating_sub(1);
        if self.rest.len() > EVENT { Err(ClientError::Broken) } else { Ok(events) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_any_pieces() {
        let text = "id: a\ndata: {\"é\":1}\n\n:\n\nevent: closed\ndata: 2\n\n";
        for size in 1..text.len() {
            let mut events = Events::default();
            let all: Vec<Event> = text.as_bytes().chunks(size).flat_map(|piece| events.feed(piece).unwrap()).collect();
            assert_eq!(all, [Event::Line("{\"é\":1}".into()), Event::Closed("2".into())], "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn why_a_stream_ended_is_told() {
        let line =
            r#"{"cursor":"a","time":"2026-01-01T00:00:00Z","priority":6,"release":1,"build":null,"message":"x"}"#;
        let closed = r#"{"problem":"not-found","detail":"it is gone"}"#;
        let text = format!("id: a\ndata: {line}\n\nevent: closed\ndata: {closed}\n\n");
        let stream = || futures_util::stream::iter([Ok(Bytes::from(text.clone()))]);
        let mut lines = 0;
        let count = |raw: &str, entry: LogEntry| {
            assert_eq!((raw, entry.cursor.as_str()), (line, "a"));
            lines += 1;
            Ok(())
        };
        let ended = each(stream(), count).await.unwrap_err();
        assert_eq!((lines, ended.to_string().as_str()), (1, "it is gone"));
        assert!(!ended.downcast_ref::<ClientError>().unwrap().is_away());
    }

    #[test]
    fn an_event_without_end_is_not_kept() {
        let mut events = Events::default();
        let piece = vec![b'x'; 1 << 20];
        let fed = (0..1000).take_while(|_| events.feed(&piece).is_ok()).count();
        assert_eq!(fed, EVENT / piece.len());
    }
}
