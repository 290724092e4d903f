//! A session: a program on a terminal, the screen that it has drawn, and whoever watches.
//!
//! The program never hangs for a viewer. Each has a window; one that takes nothing for a moment is left behind, and is
//! given the screen as it then is when it comes back.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::error::{Size, TerminalError};
use super::pty::{Input, Inputs, Output, Program, Pty, input};
use super::screen::Screen;
use super::window::{End, View, Window};
use crate::names::{ServiceName, SessionId, SessionName};

/// A session.
#[derive(Debug)]
pub struct Session {
    /// What it is called by.
    pub id: SessionId,
    /// What somebody calls it.
    pub name: Option<SessionName>,
    /// The service in whose container it is; none: the isolated shell.
    pub service: Option<ServiceName>,
    /// When it began.
    pub began: Timestamp,
    /// How long its program waits for a viewer that takes nothing.
    patience: Duration,
    /// Held while its container is being made.
    pub(super) making: Arc<tokio::sync::Mutex<()>>,
    input: Input,
    state: Mutex<State>,
    room: Condvar,
    /// Somebody came or left.
    watched: Notify,
    closing: CancellationToken,
    over: CancellationToken,
}

#[derive(Debug)]
struct State {
    screen: Screen,
    size: Size,
    pty: Option<Pty>,
    /// What the program will read, until it begins.
    inputs: Option<Inputs>,
    viewers: HashMap<u64, Window>,
    last_viewer: u64,
    end: Option<End>,
    /// The program has written something.
    spoke: bool,
    active: Instant,
    unwatched: Option<Instant>,
}

impl Session {
    /// A session without a program yet, which nobody watches.
    #[must_use]
    pub fn new(
        id: SessionId,
        name: Option<SessionName>,
        service: Option<ServiceName>,
        size: Size,
        patience: Duration,
    ) -> Self {
        let (input, inputs) = input();
        let state = State {
            screen: Screen::new(size),
            size,
            pty: None,
            inputs: Some(inputs),
            viewers: HashMap::new(),
            last_viewer: 0,
            end: None,
            spoke: false,
            active: Instant::now(),
            unwatched: Some(Instant::now()),
        };
        Self {
            id,
            name,
            service,
            began: Timestamp::now(),
            patience,
            making: Arc::default(),
            input,
            state: Mutex::new(state),
            room: Condvar::new(),
            watched: Notify::new(),
            closing: CancellationToken::new(),
            over: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its size.
    #[must_use]
    pub fn size(&self) -> Size {
        self.state().size
    }

    /// How many watch it.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.state().viewers.len()
    }

    /// Whether a program of it has written anything yet.
    pub(super) fn has_spoken(&self) -> bool {
        self.state().spoke
    }

    /// Runs the session's program on its terminal until that ends; its exit code. It reads what is typed, and what was
    /// typed before it began.
    pub async fn run(self: &Arc<Self>, program: &Program) -> Result<i32, TerminalError> {
        let inputs = self.state().inputs.take();
        self.run_on(program, inputs).await
    }

    /// The same with a program that comes before it and reads nothing.
    pub async fn prepare(self: &Arc<Self>, program: &Program) -> Result<i32, TerminalError> {
        self.run_on(program, None).await
    }

    async fn run_on(self: &Arc<Self>, program: &Program, inputs: Option<Inputs>) -> Result<i32, TerminalError> {
        let (sender, code) = oneshot::channel();
        let feeder = Feeder { session: self.clone(), ended: sender };
        {
            let mut state = self.state();
            state.pty = Some(Pty::start(program, state.size, inputs, feeder)?);
        }
        let code = code.await.map_err(|_| TerminalError::Ended);
        self.state().pty = None;
        code
    }

    /// Shows a word of our own.
    pub fn say(&self, text: &str) {
        let line = format!("\x1b[2m{text}\x1b[m\r\n");
        let mut state = self.state();
        state.show(line.as_bytes());
    }

    /// Output of the program. While a viewer that goes on taking has no room, the program waits.
    fn wrote(&self, bytes: &[u8]) {
        let until = Instant::now() + self.patience;
        let mut state = self.state();
        while state.viewers.values().any(|window| window.is_full(bytes.len())) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                for window in state.viewers.values_mut().filter(|window| window.is_full(bytes.len())) {
                    window.leave_behind();
                }
                break;
            }
            state = self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.show(bytes);
        state.spoke = true;
        state.active = Instant::now();
    }

    /// Hands input to the program. What is typed before the program has begun waits for it.
    pub fn input(&self, bytes: Bytes) -> Result<(), TerminalError> {
        {
            let mut state = self.state();
            if state.end.is_some() {
                return Err(TerminalError::Ended);
            }
            state.active = Instant::now();
        }
        self.input.write(bytes)
    }

    /// Gives the terminal another size, for all who watch.
    pub fn resize(&self, size: Size) -> Result<(), TerminalError> {
        let mut state = self.state();
        if state.end.is_some() {
            return Err(TerminalError::Ended);
        }
        if state.size == size {
            return Ok(());
        }
        state.size = size;
        state.screen.resize(size);
        for window in state.viewers.values() {
            window.wake();
        }
        state.pty.as_ref().map_or(Ok(()), |pty| pty.resize(size))
    }

    /// Watches it from its present screen on.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Viewer {
        let mut state = self.state();
        state.last_viewer += 1;
        let number = state.last_viewer;
        let news = Arc::new(Notify::new());
        let window = Window::new(state.size, news.clone());
        state.viewers.insert(number, window);
        state.unwatched = None;
        drop(state);
        self.watched.notify_one();
        Viewer { session: self.clone(), number, news }
    }

    /// Asks for its end; whether nobody had, and it had none yet.
    pub fn close(&self) -> bool {
        let state = self.state();
        let is_first = state.end.is_none() && !self.closing.is_cancelled();
        self.closing.cancel();
        is_first
    }

    /// Whether it has ended, though what it left may not be cleared away yet.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state().end.is_some()
    }

    /// Done once its end was asked for.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Done once nobody has watched it for `detached`, or nothing has happened in it for `idle`.
    pub async fn is_left(&self, detached: Duration, idle: Duration) {
        loop {
            let left = {
                let state = self.state();
                let idle = idle.saturating_sub(state.active.elapsed());
                state.unwatched.map_or(idle, |since| idle.min(detached.saturating_sub(since.elapsed())))
            };
            if left.is_zero() {
                return;
            }
            let _ = tokio::time::timeout(left, self.watched.notified()).await;
        }
    }

    /// Ends the program that holds the terminal, which is Podman's client.
    pub fn kill(&self) {
        if let Some(pty) = &self.state().pty {
            pty.kill();
        }
    }

    /// Tells everybody that it is over.
    pub fn finish(&self, end: End) {
        let mut state = self.state();
        if state.end.is_none() {
            state.end = Some(end);
        }
        for window in state.viewers.values() {
            window.wake();
        }
        drop(state);
        self.over.cancel();
    }

    /// How it ended, once it has.
    pub async fn ended(&self) -> End {
        self.over.cancelled().await;
        self.state().end.clone().unwrap_or(End { code: None, problem: None })
    }
}

impl State {
    fn show(&mut self, bytes: &[u8]) {
        self.screen.feed(bytes);
        self.viewers.values_mut().for_each(|window| window.show(bytes));
    }
}

/// Carries a program's output into its session.
struct Feeder {
    session: Arc<Session>,
    ended: oneshot::Sender<i32>,
}

impl Output for Feeder {
    fn wrote(&mut self, bytes: &[u8]) {
        self.session.wrote(bytes);
    }

    fn ended(self, code: i32) {
        // That nobody waits any more is fine.
        let _ = self.ended.send(code);
    }
}

/// One who watches a session.
#[derive(Debug)]
pub struct Viewer {
    session: Arc<Session>,
    number: u64,
    news: Arc<Notify>,
}

impl Viewer {
    /// What to show next, at most `most` bytes. Whoever asks late is given the screen in place of what it missed.
    pub async fn next(&mut self, most: usize) -> View {
        loop {
            if let Some(view) = self.take(most) {
                return view;
            }
            self.news.notified().await;
        }
    }

    fn take(&self, most: usize) -> Option<View> {
        let mut state = self.session.state();
        let State { screen, viewers, end, size, .. } = &mut *state;
        let view = viewers.get_mut(&self.number)?.take(most, *size, screen, end.as_ref())?;
        if matches!(view, View::Output(_)) {
            self.session.room.notify_all();
        }
        Some(view)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut state = self.session.state();
        state.viewers.remove(&self.number);
        if state.viewers.is_empty() {
            state.unwatched = Some(Instant::now());
        }
        drop(state);
        self.session.room.notify_all();
        self.session.watched.notify_one();
    }
}

#[cfg(test)]
mod tests;
