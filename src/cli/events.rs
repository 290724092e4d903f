//! Streams of lines, as the agent sends them: server-sent events.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde_json::Value;

use super::client::{ClientError, refused};

/// The largest event: a line of 1 MiB, each of its bytes escaped, and the same bytes encoded beside it.
const EVENT: usize = 8 << 20;

/// Hands each line of `stream` to `take`, to its end. Where it is not simply over, the error says why.
pub async fn each(
    stream: impl Stream<Item = Result<Bytes, ClientError>>,
    mut take: impl FnMut(&Value) -> std::io::Result<()>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut stream = std::pin::pin!(stream);
    let mut events = Events::default();
    while let Some(bytes) = stream.next().await {
        for data in events.feed(&bytes?)? {
            let said: Value = serde_json::from_str(&data).unwrap_or(Value::Null);
            if said["problem"].is_string() {
                return Err(refused(&said).into());
            }
            if said["cursor"].is_string() {
                take(&said)?;
            }
        }
    }
    Ok(())
}

/// Server-sent events, as much of them as the agent sends: the data of each.
#[derive(Debug, Default)]
struct Events {
    rest: Vec<u8>,
    /// How much of that holds no event's end.
    seen: usize,
}

impl Events {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, ClientError> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest[self.seen..].windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..self.seen + end + 2).collect();
            self.seen = 0;
            let text = String::from_utf8_lossy(&event).into_owned();
            events.extend(text.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned));
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
        let text = "id: a\ndata: {\"é\":1}\n\n:\n\nid: b\ndata: 2\n\n";
        for size in 1..text.len() {
            let mut events = Events::default();
            let all: Vec<String> = text.as_bytes().chunks(size).flat_map(|piece| events.feed(piece).unwrap()).collect();
            assert_eq!(all, ["{\"é\":1}", "2"], "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn why_a_stream_ended_is_told() {
        let text = "id: a\ndata: {\"cursor\":\"a\"}\n\nevent: closed\ndata: {\"problem\":\"not-found\",\"detail\":\"it is gone\"}\n\n";
        let stream = || futures_util::stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
        let mut lines = 0;
        let count = |_: &Value| {
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
