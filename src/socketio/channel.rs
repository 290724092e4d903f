//! A stream's channel: data within a window that the client acknowledges, and an end with a problem's code.
//!
//! What a client has not acknowledged is not read further at its source, so a slow client costs a window of memory and
//! loses nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use socketioxide::extract::SocketRef;
use socketioxide::{SendError, SocketError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::names::SessionId;
use crate::problem::{Code, Problem};

/// How many bytes of a stream may be on their way to a client.
const WINDOW: usize = 64 * 1024;
/// The same of what a program shows.
const SHOWN: usize = 256 * 1024;
/// How many bytes go into one message, but for a single thing that is larger.
pub(super) const MESSAGE: usize = 16 * 1024;
/// How many messages may be on their way, however small.
const MESSAGES: usize = 8;
/// How many messages that are larger than a window may be on their way on one connection.
const LARGE: usize = 4;
/// How many streams a connection may have open.
const STREAMS: usize = 64;
/// How many messages wait in a connection's buffer: the windows of all its streams, and as many again for the rest.
pub(super) const BUFFER: usize = STREAMS * MESSAGES * 2;
/// After the connection or its buffer was full.
pub(super) const AGAIN: Duration = Duration::from_millis(20);

/// What a window is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WindowUnit {
    /// Numbered messages, of which a few may be on their way.
    Messages,
    /// The bytes of what a program shows.
    Bytes,
}

impl WindowUnit {
    /// How many bytes may be on their way to the client.
    fn window(self) -> usize {
        match self {
            Self::Messages => WINDOW,
            Self::Bytes => SHOWN,
        }
    }
}

/// What a client says that it has, and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// The message of this number.
    Message(u64),
    /// So many bytes of all that were sent. A later total holds the ones before it, so that none may be missed.
    Bytes(u64),
}

/// What was sent and not acknowledged.
#[derive(Debug)]
struct Window {
    counted: WindowUnit,
    sent: Mutex<Sent>,
    room: Notify,
    large: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Sent {
    /// The last message's number; the first is 1.
    last: u64,
    /// How many bytes there were in all, and how many of them the client has.
    bytes: u64,
    acknowledged: u64,
    /// Where messages are counted, those on their way.
    waiting: VecDeque<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    number: u64,
    /// The total that it ends at.
    end: u64,
    _large: Option<OwnedSemaphorePermit>,
}

/// What a message waits for.
enum WaitsFor {
    Room,
    Place,
}

impl Window {
    /// One whose messages that are larger than it take a place of `large`.
    fn new(counted: WindowUnit, large: Arc<Semaphore>) -> Self {
        Self { counted, sent: Mutex::default(), room: Notify::new(), large }
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` more may be sent, and gives the message's number. What is larger than the whole window goes
    /// alone, and takes one of the connection's places for that.
    async fn take(&self, bytes: usize) -> u64 {
        let mut large = None;
        loop {
            let room = self.room.notified();
            match self.try_take(bytes, &mut large) {
                Ok(number) => return number,
                Err(WaitsFor::Room) => room.await,
                Err(WaitsFor::Place) => large = self.large.clone().acquire_owned().await.ok(),
            }
        }
    }

    fn try_take(&self, bytes: usize, large: &mut Option<OwnedSemaphorePermit>) -> Result<u64, WaitsFor> {
        let window = self.counted.window();
        let size = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut sent = self.sent();
        let on_its_way = sent.bytes - sent.acknowledged;
        let is_alone = on_its_way == 0 && sent.waiting.is_empty();
        let has_room = on_its_way.saturating_add(size) <= window as u64 && sent.waiting.len() < MESSAGES;
        if !is_alone && !has_room {
            return Err(WaitsFor::Room);
        }
        if bytes > window && large.is_none() {
            return Err(WaitsFor::Place);
        }
        sent.last += 1;
        sent.bytes = sent.bytes.saturating_add(size);
        let (number, end) = (sent.last, sent.bytes);
        if self.counted == WindowUnit::Messages {
            sent.waiting.push_back(InFlight { number, end, _large: large.take() });
        }
        Ok(number)
    }

    /// The client has so much. What was never sent is no acknowledgement.
    fn acknowledge(&self, received: Received) -> Result<(), Problem> {
        let refused = |detail: &str| Err(Problem::new(Code::BadRequest, detail));
        let mut sent = self.sent();
        match received {
            Received::Message(number) if number > sent.last => return refused("that message was not sent yet"),
            Received::Bytes(total) if total > sent.bytes => return refused("more is acknowledged than was sent"),
            Received::Message(number) => {
                while let Some(first) = sent.waiting.pop_front_if(|first| first.number <= number) {
                    sent.acknowledged = first.end;
                }
            }
            Received::Bytes(total) => sent.acknowledged = sent.acknowledged.max(total),
        }
        drop(sent);
        self.room.notify_one();
        Ok(())
    }
}

/// One connection's streams.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    open: Arc<Mutex<Open>>,
    large: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { open: Arc::default(), large: Arc::new(Semaphore::new(LARGE)) }
    }
}

/// What a client calls a stream by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Nothing: it is the only one of its connection.
    Only,
    /// A channel's number.
    Channel(u32),
    /// The terminal session that it shows.
    Session(SessionId),
}

impl Key {
    /// As it is told.
    fn told(&self) -> Value {
        match self {
            Self::Only => json!({}),
            Self::Channel(id) => json!({ "channel": id }),
            Self::Session(id) => json!({ "session": id }),
        }
    }

    fn unknown(&self) -> Problem {
        match self {
            Self::Session(_) => {
                Problem::new(Code::NotFound, "this connection does not watch that session").with_hint("attach first")
            }
            Self::Only | Self::Channel(_) => {
                Problem::new(Code::NotFound, "there is no such channel on this connection")
            }
        }
    }
}

#[derive(Debug, Default)]
struct Open {
    last: u32,
    streams: HashMap<Key, Arc<Stream>>,
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

    /// Opens a stream of numbered messages to the client behind `socket`.
    pub(super) fn open(&self, socket: SocketRef) -> Result<(u32, Channel), Problem> {
        let mut open = self.table();
        if open.streams.len() >= STREAMS {
            return Err(Problem::new(Code::Exhausted, format!("a connection takes {STREAMS} streams at once"))
                .with_hint("close one first"));
        }
        open.last += 1;
        let id = open.last;
        Ok((id, self.enter(&mut open, Key::Channel(id), WindowUnit::Messages, socket)))
    }

    /// Opens the only stream of a connection, of which nothing is acknowledged.
    pub(super) fn only(&self, socket: SocketRef) -> Channel {
        self.enter(&mut self.table(), Key::Only, WindowUnit::Messages, socket)
    }

    /// Opens the stream of a terminal session. Whoever watches it already begins anew. There are no more of them than
    /// sessions.
    pub(super) fn show(&self, session: SessionId, socket: SocketRef) -> Channel {
        self.enter(&mut self.table(), Key::Session(session), WindowUnit::Bytes, socket)
    }

    fn enter(&self, open: &mut Open, key: Key, counted: WindowUnit, socket: SocketRef) -> Channel {
        let window = Window::new(counted, self.large.clone());
        let stream = Arc::new(Stream { window, closing: CancellationToken::new() });
        if let Some(before) = open.streams.insert(key.clone(), stream.clone()) {
            before.closing.cancel();
        }
        Channel { key, stream, streams: self.clone(), socket }
    }

    fn stream(&self, key: &Key) -> Result<Arc<Stream>, Problem> {
        // One that the client has closed keeps its place until it has ended, and is none of the client's any more.
        let open = self.table().streams.get(key).filter(|stream| !stream.closing.is_cancelled()).cloned();
        open.ok_or_else(|| key.unknown())
    }

    /// The client has so much of a stream.
    pub(super) fn acknowledge(&self, key: &Key, received: Received) -> Result<(), Problem> {
        self.stream(key)?.window.acknowledge(received)
    }

    /// The client wants no more of a stream. From here on it has no such.
    pub(super) fn close(&self, key: &Key) -> Result<(), Problem> {
        self.stream(key)?.closing.cancel();
        Ok(())
    }
}

/// A stream's own end, held by the task that feeds it. It leaves the connection's table when it is dropped.
#[derive(Debug)]
pub(super) struct Channel {
    key: Key,
    stream: Arc<Stream>,
    streams: Streams,
    socket: SocketRef,
}

/// The client is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Channel {
    /// Waits until the window has room for `bytes`; the number that the next message goes under.
    pub(super) async fn room(&self, bytes: usize) -> u64 {
        self.stream.window.take(bytes).await
    }

    /// Sends a message that has taken its room.
    pub(super) async fn send(&self, event: &str, data: &impl Serialize) -> Result<(), Gone> {
        emit(&self.socket, event, data).await?;
        // The connection writes it first: its buffer stays as large as the most that it has held at once.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Where it sends to.
    pub(super) fn socket(&self) -> &SocketRef {
        &self.socket
    }

    /// Done once the client has asked for the end.
    pub(super) async fn closing(&self) {
        self.stream.closing.cancelled().await;
    }

    /// Says with `event` that the stream has ended, why where it is not simply over, and what `more` there is to say.
    pub(super) async fn close(self, event: &str, problem: Option<&Problem>, more: Value) {
        let mut data = self.key.told();
        let told = problem.map_or(Value::Null, told);
        for part in [told, more] {
            if let (Value::Object(part), Some(data)) = (part, data.as_object_mut()) {
                data.extend(part);
            }
        }
        let _ = self.send(event, &data).await;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let mut open = self.streams.table();
        if open.streams.get(&self.key).is_some_and(|now| Arc::ptr_eq(now, &self.stream)) {
            open.streams.remove(&self.key);
        }
    }
}

/// The one place where a problem becomes what a Socket.IO client reads.
pub(super) fn told(problem: &Problem) -> Value {
    let mut told = json!({ "problem": problem.code.as_str(), "detail": problem.detail });
    if let Some(hint) = &problem.hint {
        told["hint"] = json!(hint);
    }
    told
}

/// Hands a message to the connection; where its buffer is full, waits for room.
pub(super) async fn emit(socket: &SocketRef, event: &str, data: &impl Serialize) -> Result<(), Gone> {
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
        Window::new(WindowUnit::Messages, Arc::new(Semaphore::new(1)))
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
        window.acknowledge(Received::Message(1)).unwrap();
        for number in 3..=9 {
            assert_eq!(takes(&window, 1).await, Some(number));
        }
        assert_eq!(takes(&window, 1).await, None, "eight messages are on their way");
        window.acknowledge(Received::Message(9)).unwrap();
        assert_eq!(takes(&window, WINDOW * 3).await, Some(10), "what is too large goes alone");
        assert_eq!(takes(&window, 1).await, None);
    }

    #[tokio::test]
    async fn what_is_too_large_waits_for_its_place_on_the_connection() {
        let large = Arc::new(Semaphore::new(1));
        let [one, other, third] = std::array::from_fn(|_| Window::new(WindowUnit::Messages, large.clone()));
        assert_eq!(takes(&other, 1).await, Some(1));
        assert_eq!(takes(&other, WINDOW + 1).await, None, "it would not be alone");
        assert_eq!(takes(&one, WINDOW + 1).await, Some(1));
        assert_eq!(takes(&third, WINDOW + 1).await, None);
        assert_eq!(takes(&third, WINDOW).await, Some(1), "what fits needs no place");
        one.acknowledge(Received::Message(1)).unwrap();
        other.acknowledge(Received::Message(1)).unwrap();
        assert_eq!(takes(&other, WINDOW + 1).await, Some(2));
        drop(other);
        assert_eq!(takes(&one, WINDOW + 1).await, Some(2), "a stream that ends leaves its place");
    }

    #[tokio::test]
    async fn what_was_not_sent_can_not_be_acknowledged() {
        let window = window();
        assert_eq!(window.acknowledge(Received::Message(1)).unwrap_err().code, Code::BadRequest);
        assert_eq!(takes(&window, WINDOW).await, Some(1));
        assert!(window.acknowledge(Received::Message(2)).is_err() && takes(&window, 1).await.is_none());
        window.acknowledge(Received::Message(1)).unwrap();
        window.acknowledge(Received::Message(1)).unwrap();
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
        window.acknowledge(Received::Message(1)).unwrap();
        assert_eq!(waiting.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_window_of_bytes_has_room_for_what_is_acknowledged_of_them() {
        let window = Window::new(WindowUnit::Bytes, Arc::new(Semaphore::new(1)));
        let acknowledge = |total| window.acknowledge(Received::Bytes(total));
        assert!(takes(&window, SHOWN).await.is_some());
        assert!(takes(&window, 1).await.is_none());
        assert!(acknowledge(SHOWN as u64 + 1).is_err());
        acknowledge(2).unwrap();
        acknowledge(1).unwrap();
        for _ in 0..2 {
            assert!(takes(&window, 1).await.is_some());
        }
        assert!(takes(&window, 1).await.is_none());
        acknowledge(SHOWN as u64 + 2).unwrap();
        for _ in 0..100 {
            assert!(takes(&window, 1).await.is_some(), "small messages are not counted");
        }
        acknowledge(SHOWN as u64 + 102).unwrap();
        assert!(takes(&window, SHOWN * 2).await.is_some(), "what is larger than the window goes alone");
    }
}
