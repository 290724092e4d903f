//! A session: a program on a terminal, the screen that it has drawn, and whoever watches.
//!
//! The program never hangs for a viewer. Each has a window; one that takes nothing for a moment is left behind, and is
//! given the screen as it then is when it comes back.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::error::{Size, TerminalError};
use super::pty::{Input, Inputs, Output, Program, Pty, input};
use super::screen::Screen;
use crate::names::{ServiceName, SessionId, SessionName};
use crate::problem::Problem;

/// How much output waits for a viewer.
const WINDOW: usize = 256 * 1024;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The program's exit code; none where it was not its own end.
    pub code: Option<i32>,
    /// Why, where it is not simply over.
    pub problem: Option<Problem>,
}

/// What a viewer is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// More to show, as the program wrote it.
    Output(Bytes),
    /// The terminal has another size, since another viewer has.
    Size(Size),
    /// It is over. Nothing follows.
    End(End),
}

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
    viewers: HashMap<u64, Watch>,
    last_viewer: u64,
    end: Option<End>,
    /// The program has written something.
    spoke: bool,
    active: Instant,
    unwatched: Option<Instant>,
}

#[derive(Debug)]
struct Watch {
    waiting: BytesMut,
    /// More than this does not wait.
    limit: usize,
    behind: bool,
    size: Size,
    news: Arc<Notify>,
}

impl Watch {
    fn is_full(&self, more: usize) -> bool {
        !self.behind && self.waiting.len() + more > self.limit
    }

    fn leave_behind(&mut self) {
        self.behind = true;
        self.waiting = BytesMut::new();
        self.news.notify_one();
    }
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
        while state.viewers.values().any(|watch| watch.is_full(bytes.len())) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                for watch in state.viewers.values_mut().filter(|watch| watch.is_full(bytes.len())) {
                    watch.leave_behind();
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
        for watch in state.viewers.values() {
            watch.news.notify_one();
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
        let watch =
            Watch { waiting: BytesMut::new(), limit: WINDOW, behind: true, size: state.size, news: news.clone() };
        state.viewers.insert(number, watch);
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
        for watch in state.viewers.values() {
            watch.news.notify_one();
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
        for watch in self.viewers.values_mut().filter(|watch| !watch.behind) {
            // Whoever has something to take comes back for the rest by itself.
            if watch.waiting.is_empty() {
                watch.news.notify_one();
            }
            watch.waiting.extend_from_slice(bytes);
        }
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
        let watch = viewers.get_mut(&self.number)?;
        if watch.size != *size {
            watch.size = *size;
            return Some(View::Size(*size));
        }
        if watch.behind {
            watch.behind = false;
            watch.waiting = screen.dump().as_slice().into();
            watch.limit = watch.waiting.len() + WINDOW;
        }
        if watch.waiting.is_empty() {
            return end.clone().map(View::End);
        }
        if watch.waiting.len() <= most {
            watch.limit = WINDOW;
        }
        let length = most.min(watch.waiting.len());
        let bytes = watch.waiting.split_to(length).freeze();
        self.session.room.notify_all();
        Some(View::Output(bytes))
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
mod tests {
    use super::*;

    const SIZE: Size = Size { cols: 80, rows: 24 };
    /// Nobody who takes anything is left behind, however slow this machine is.
    const PATIENCE: Duration = Duration::from_secs(600);

    fn session() -> Arc<Session> {
        session_with(PATIENCE)
    }

    fn session_with(patience: Duration) -> Arc<Session> {
        Arc::new(Session::new("abcdefgh".parse().unwrap(), None, None, SIZE, patience))
    }

    fn shell(script: &str) -> Program {
        Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("PATH", "/usr/bin:/bin".into()), ("TERM", "xterm".into())],
            relays: false,
        }
    }

    /// Runs `script` to its end.
    fn run(session: &Arc<Session>, script: &str) -> tokio::task::JoinHandle<i32> {
        let session = session.clone();
        let script = shell(script);
        tokio::spawn(async move {
            let code = session.run(&script).await.unwrap();
            session.finish(End { code: Some(code), problem: None });
            code
        })
    }

    async fn all(viewer: &mut Viewer) -> (Vec<u8>, End) {
        let mut seen = Vec::new();
        loop {
            match tokio::time::timeout(PATIENCE, viewer.next(16 * 1024)).await.unwrap() {
                View::Output(bytes) => seen.extend_from_slice(&bytes),
                View::Size(_) => {}
                View::End(end) => return (seen, end),
            }
        }
    }

    async fn until(viewer: &mut Viewer, wanted: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            match tokio::time::timeout(PATIENCE, viewer.next(16 * 1024)).await.unwrap() {
                View::Output(bytes) => seen.extend_from_slice(&bytes),
                View::Size(size) => assert_eq!(size, Size { cols: 132, rows: 43 }),
                View::End(end) => panic!("{end:?} after {:?}", String::from_utf8_lossy(&seen)),
            }
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_goes_on_taking_is_given_every_byte() {
        let session = session();
        let mut viewer = session.watch();
        let done = run(&session, "stty raw; i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; exit 7");
        let (seen, end) = all(&mut viewer).await;
        let wanted: String = (0..20_000).map(|n| format!("{n}\n")).collect();
        assert!(String::from_utf8_lossy(&seen).ends_with(&wanted));
        assert_eq!(end, End { code: Some(7), problem: None });
        assert_eq!(done.await.unwrap(), 7);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_viewer_that_takes_nothing_holds_nobody_up_and_sees_the_end() {
        // The program doesn't wait for either of them.
        let session = session_with(Duration::ZERO);
        let mut slow = session.watch();
        let mut quick = session.watch();
        let done = run(&session, "echo ready; read line; seq 1 200000; echo over");
        until(&mut slow, "ready").await;
        until(&mut quick, "ready").await;
        session.input(Bytes::from_static(b"\n")).unwrap();
        let (seen, _) = all(&mut quick).await;
        assert!(String::from_utf8_lossy(&seen).contains("over"));
        assert_eq!(done.await.unwrap(), 0);
        let (seen, _) = all(&mut slow).await;
        let text = String::from_utf8_lossy(&seen);
        assert!(text.contains("200000") && text.contains("over") && !text.contains("150000"), "{}", seen.len());
        assert!(seen.len() < 2 * WINDOW);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn input_size_and_control_c_reach_the_program() {
        let session = session();
        let mut viewer = session.watch();
        let done = run(&session, "stty size; read line; stty size; echo \"got $line\"; yes; echo never");
        until(&mut viewer, "24 80").await;
        session.resize(Size { cols: 132, rows: 43 }).unwrap();
        session.input(Bytes::from_static("é🦀\n".as_bytes())).unwrap();
        assert!(until(&mut viewer, "y\r\ny\r\n").await.contains("43 132"));
        session.input(Bytes::from_static(b"\x03")).unwrap();
        let (_, end) = all(&mut viewer).await;
        assert_ne!(end.code, Some(0));
        done.await.unwrap();
        assert!(matches!(session.input(Bytes::new()), Err(TerminalError::Ended)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_program_does_not_read_is_refused_at_once_when_it_is_too_much() {
        let session = session();
        let mut viewer = session.watch();
        let done = run(&session, "stty raw -echo; echo ready; exec sleep 600");
        until(&mut viewer, "ready").await;
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        let taken = (0..100).take_while(|_| session.input(piece.clone()).is_ok()).count();
        assert_eq!(taken, 15, "a MiB waits");
        assert!(matches!(session.input(piece), Err(TerminalError::Stuck)));
        session.kill();
        assert_ne!(done.await.unwrap(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_relays_reads_the_terminal_and_writes_beside_it() {
        let session = session();
        let mut viewer = session.watch();
        let script = "sleep 600 & trap 'stty size; kill $!; exit 3' WINCH; stty size; \
                      stty -a | grep -o -e -icanon -e '-echo ' -e -isig; head -c 1 | od -c; echo; \
                      test -t 1 || echo beside >&2; seq 1 100000; wait";
        let program = Program { relays: true, ..shell(script) };
        let done = tokio::spawn({
            let session = session.clone();
            async move {
                let code = session.run(&program).await.unwrap();
                session.finish(End { code: Some(code), problem: None });
            }
        });
        let seen = until(&mut viewer, "-icanon").await;
        assert!(seen.contains("24 80"), "{seen:?}");
        // Nothing of it is a signal, or is held back until a line ends.
        session.input(Bytes::from_static(b"\x03")).unwrap();
        let seen = until(&mut viewer, "\n100000\n").await;
        assert!(seen.contains("003") && seen.contains("\nbeside\n1\n2\n"), "{:?}", seen.get(..200));
        session.resize(Size { cols: 132, rows: 43 }).unwrap();
        let (seen, end) = all(&mut viewer).await;
        assert_eq!(String::from_utf8_lossy(&seen), "43 132\n");
        assert_eq!(end.code, Some(3));
        done.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_comes_later_sees_the_screen() {
        let session = session();
        session.say("a word");
        let done = run(&session, "printf 'first \\033[31mred\\033[m'; read line");
        let mut one = session.watch();
        until(&mut one, "red").await;
        drop(one);
        let mut two = session.watch();
        let seen = until(&mut two, "red").await;
        assert!(seen.contains("a word") && seen.contains("first") && seen.contains("\x1b[31m"), "{seen:?}");
        session.kill();
        done.await.unwrap();
    }

    #[tokio::test]
    async fn a_session_is_left_when_nobody_watches_or_nothing_happens() {
        let session = session();
        let (short, long) = (Duration::from_millis(30), Duration::from_secs(3600));
        session.is_left(short, long).await;
        let viewer = session.watch();
        // Nobody leaves it, however long this machine takes.
        let watched = tokio::time::timeout(short * 10, session.is_left(short, long)).await;
        assert!(watched.is_err());
        session.is_left(long, short).await;
        drop(viewer);
        session.is_left(short, long).await;
    }
}
