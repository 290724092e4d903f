//! The one life of every stream: open, data with a sequence, an acknowledged window, close with a problem's code.
//!
//! What a client has not acknowledged is not read further at its source, so a slow client costs a window of memory and
//! loses nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use socketioxide::extract::SocketRef;
use socketioxide::{SendError, SocketError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::problem::{Code, Problem};

/// How many bytes of a stream may be on their way to a client.
pub const WINDOW: usize = 64 * 1024;
/// How many bytes go into one message, but for a single thing that is larger.
pub const MESSAGE: usize = 16 * 1024;
/// How many messages may be on their way, however small.
const MESSAGES: usize = 8;
/// How many messages that are larger than a window may be on their way on one connection.
const LARGE: usize = 4;
/// How many streams a connection may have open.
pub const STREAMS: usize = 64;
/// How many messages wait in a connection's buffer: the windows of all its streams, and as many again for the rest.
pub(super) const BUFFER: usize = STREAMS * MESSAGES * 2;
/// After the connection or its buffer was full.
pub(super) const AGAIN: Duration = Duration::from_millis(20);

/// What was sent and not acknowledged.
#[derive(Debug)]
pub struct Window {
    sent: Mutex<Sent>,
    room: Notify,
    large: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Sent {
    /// The last message's number; the first is 1.
    last: u64,
    waiting: VecDeque<OnItsWay>,
    bytes: usize,
}

#[derive(Debug)]
struct OnItsWay {
    number: u64,
    bytes: usize,
    _large: Option<OwnedSemaphorePermit>,
}

/// What a message waits for.
enum Lacks {
    Room,
    Place,
}

impl Window {
    /// One whose messages that are larger than it take a place of `large`.
    #[must_use]
    pub fn new(large: Arc<Semaphore>) -> Self {
        Self { sent: Mutex::default(), room: Notify::new(), large }
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` more may be sent, and gives the message's number. What is larger than the whole window goes
    /// alone, and takes one of the connection's places for that.
    pub async fn take(&self, bytes: usize) -> u64 {
        let mut large = None;
        loop {
            let room = self.room.notified();
            match self.try_take(bytes, &mut large) {
                Ok(number) => return number,
                Err(Lacks::Room) => room.await,
                Err(Lacks::Place) => large = self.large.clone().acquire_owned().await.ok(),
            }
        }
    }

    fn try_take(&self, bytes: usize, large: &mut Option<OwnedSemaphorePermit>) -> Result<u64, Lacks> {
        let mut sent = self.sent();
        if !sent.waiting.is_empty() && (sent.bytes + bytes > WINDOW || sent.waiting.len() >= MESSAGES) {
            return Err(Lacks::Room);
        }
        if bytes > WINDOW && large.is_none() {
            return Err(Lacks::Place);
        }
        sent.last += 1;
        sent.bytes += bytes;
        let number = sent.last;
        sent.waiting.push_back(OnItsWay { number, bytes, _large: large.take() });
        Ok(number)
    }

    /// The client has message `number` and all before it. One that was never sent is no acknowledgement.
    pub fn acknowledge(&self, number: u64) -> Result<(), Problem> {
        let mut sent = self.sent();
        if number > sent.last {
            return Err(Problem::new(Code::BadRequest, "that message was not sent yet"));
        }
        while let Some(first) = sent.waiting.pop_front_if(|first| first.number <= number) {
            sent.bytes -= first.bytes;
        }
        drop(sent);
        self.room.notify_one();
        Ok(())
    }
}

/// One connection's streams.
#[derive(Debug, Clone)]
pub struct Streams {
    open: Arc<Mutex<Open>>,
    large: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { open: Arc::default(), large: Arc::new(Semaphore::new(LARGE)) }
    }
}

#[derive(Debug, Default)]
struct Open {
    last: u32,
    streams: HashMap<u32, Arc<Stream>>,
}

#[derive(Debug)]
struct Stream {
    window: Window,
    closing: CancellationToken,
}

impl Streams {
    fn table(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream to the client behind `socket`.
    pub fn open(&self, socket: SocketRef) -> Result<Channel, Problem> {
        let mut open = self.table();
        if open.streams.len() >= STREAMS {
            return Err(Problem::new(Code::Exhausted, format!("a connection takes {STREAMS} streams at once"))
                .with_hint("close one first"));
        }
        open.last += 1;
        let id = open.last;
        let window = Window::new(self.large.clone());
        let stream = Arc::new(Stream { window, closing: CancellationToken::new() });
        open.streams.insert(id, stream.clone());
        Ok(Channel { id, stream, streams: self.clone(), socket })
    }

    fn stream(&self, id: u32) -> Result<Arc<Stream>, Problem> {
        let none = || Problem::new(Code::NotFound, "there is no such channel on this connection");
        // One that the client has closed keeps its place until it has ended, and is none of the client's any more.
        self.table().streams.get(&id).filter(|stream| !stream.closing.is_cancelled()).cloned().ok_or_else(none)
    }

    /// The client has a channel's messages up to `number`.
    pub fn acknowledge(&self, id: u32, number: u64) -> Result<(), Problem> {
        self.stream(id)?.window.acknowledge(number)
    }

    /// The client wants no more of a channel. From here on it has no such channel.
    pub fn close(&self, id: u32) -> Result<(), Problem> {
        self.stream(id)?.closing.cancel();
        Ok(())
    }
}

/// A stream's own end, held by the task that feeds it. It leaves the connection's table when it is dropped.
#[derive(Debug)]
pub struct Channel {
    id: u32,
    stream: Arc<Stream>,
    streams: Streams,
    socket: SocketRef,
}

/// The client is gone.
#[derive(Debug)]
pub struct Gone;

impl Channel {
    /// Its number on its connection.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits until the window has room for `bytes`; the number that the next message goes under.
    pub async fn room(&self, bytes: usize) -> u64 {
        self.stream.window.take(bytes).await
    }

    /// Sends a message that has taken its room.
    pub async fn send(&self, event: &str, data: &impl Serialize) -> Result<(), Gone> {
        emit(&self.socket, event, data).await?;
        // The connection writes it first: its buffer stays as large as the most that it has held at once.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Done once the client has asked for the end.
    pub async fn closing(&self) {
        self.stream.closing.cancelled().await;
    }

    /// Says that the stream has ended, and why where it is not simply over.
    pub async fn close(self, problem: Option<&Problem>) {
        let mut data = json!({ "channel": self.id });
        if let (Some(problem), Some(data)) = (problem, data.as_object_mut())
            && let serde_json::Value::Object(told) = told(problem)
        {
            data.extend(told);
        }
        let _ = self.send("closed", &data).await;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.streams.table().streams.remove(&self.id);
    }
}

/// The one place where a problem becomes what a Socket.IO client reads.
#[must_use]
pub fn told(problem: &Problem) -> serde_json::Value {
    let mut told = json!({ "problem": problem.code.as_str(), "detail": problem.detail });
    if let Some(hint) = &problem.hint {
        told["hint"] = json!(hint);
    }
    told
}

/// Hands a message to the connection; where its buffer is full, waits for room.
pub async fn emit(socket: &SocketRef, event: &str, data: &impl Serialize) -> Result<(), Gone> {
    loop {
        match socket.emit(event, data) {
            Ok(()) => return Ok(()),
            Err(SendError::Socket(SocketError::InternalChannelFull)) => tokio::time::sleep(AGAIN).await,
            Err(SendError::Socket(_)) => return Err(Gone),
            Err(SendError::Serialize(error)) => {
                tracing::error!(event, "a message can't be written: {error}");
                return Err(Gone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        Window::new(Arc::new(Semaphore::new(1)))
    }

    async fn takes(window: &Window, bytes: usize) -> Option<u64> {
        tokio::time::timeout(Duration::from_millis(20), window.take(bytes)).await.ok()
    }

    #[tokio::test]
    async fn what_is_not_acknowledged_takes_the_windows_room() {
        let window = window();
        assert_eq!(takes(&window, WINDOW / 2).await, Some(1));
        assert_eq!(takes(&window, WINDOW / 2).await, Some(2));
        assert_eq!(takes(&window, 1).await, None);
        window.acknowledge(1).unwrap();
        for number in 3..=9 {
            assert_eq!(takes(&window, 1).await, Some(number));
        }
        assert_eq!(takes(&window, 1).await, None, "eight messages are on their way");
        window.acknowledge(9).unwrap();
        assert_eq!(takes(&window, WINDOW * 3).await, Some(10), "what is too large goes alone");
        assert_eq!(takes(&window, 1).await, None);
    }

    #[tokio::test]
    async fn what_is_too_large_waits_for_its_place_on_the_connection() {
        let large = Arc::new(Semaphore::new(1));
        let [one, other, third] = std::array::from_fn(|_| Window::new(large.clone()));
        assert_eq!(takes(&other, 1).await, Some(1));
        assert_eq!(takes(&other, WINDOW + 1).await, None, "it would not be alone");
        assert_eq!(takes(&one, WINDOW + 1).await, Some(1));
        assert_eq!(takes(&third, WINDOW + 1).await, None);
        assert_eq!(takes(&third, WINDOW).await, Some(1), "what fits needs no place");
        one.acknowledge(1).unwrap();
        other.acknowledge(1).unwrap();
        assert_eq!(takes(&other, WINDOW + 1).await, Some(2));
        drop(other);
        assert_eq!(takes(&one, WINDOW + 1).await, Some(2), "a stream that ends leaves its place");
    }

    #[tokio::test]
    async fn what_was_not_sent_can_not_be_acknowledged() {
        let window = window();
        assert_eq!(window.acknowledge(1).unwrap_err().code, Code::BadRequest);
        assert_eq!(takes(&window, WINDOW).await, Some(1));
        assert!(window.acknowledge(2).is_err() && takes(&window, 1).await.is_none());
        window.acknowledge(1).unwrap();
        window.acknowledge(1).unwrap();
        assert_eq!(takes(&window, WINDOW).await, Some(2));
    }

    #[tokio::test]
    async fn an_acknowledgement_wakes_who_waits() {
        let window = Arc::new(window());
        window.take(WINDOW).await;
        let waiting = tokio::spawn({
            let window = window.clone();
            async move { window.take(1).await }
        });
        tokio::task::yield_now().await;
        window.acknowledge(1).unwrap();
        assert_eq!(waiting.await.unwrap(), 2);
    }
}
