//! A program on a pseudo-terminal. Two threads a program, since a terminal's ends can only be waited for by blocking:
//! one reads what it writes, one writes what it reads. Without programs there are no threads.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtyPair, PtySize, native_pty_system};
use tokio::sync::mpsc;

use super::{Size, TerminalError};

/// How many messages wait for a program that doesn't read, or hasn't begun.
const INPUTS: usize = 64;
/// How long a message may wait for its place.
const PATIENCE: Duration = Duration::from_secs(5);
/// A terminal gives at most a page at once, a pipe all that it holds.
const READ: usize = 64 * 1024;
/// How much a pipe holds.
const PIPE: i32 = 256 * 1024;
/// Whoever has written more than this at once is likely to go on, and is given a moment for that: a flood comes in
/// large pieces then, and nobody who types waits.
const MUCH: usize = 4096;
const MOMENT: Duration = Duration::from_millis(1);
const STACK: usize = 256 * 1024;

/// What is run.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program, by its path.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(&'static str, String)>,
    /// Whether it relays to a terminal beyond, which does all that a terminal does. Then this one does nothing, from the
    /// first byte on, but to give it what is typed and the size; what it writes comes by a pipe, at half the cost.
    pub relays: bool,
}

/// What takes a program's output, and then its exit code.
pub trait Output: Send + 'static {
    /// It wrote this. As long as this call takes, the program waits.
    fn wrote(&mut self, bytes: &[u8]);
    /// It ended.
    fn ended(self, code: i32);
}

/// A program that runs.
pub struct Pty {
    master: Mutex<Box<dyn MasterPty + Send>>,
    /// None once it has ended: its number may be another's then.
    pid: std::sync::Arc<Mutex<Option<Pid>>>,
    relays: bool,
}

impl std::fmt::Debug for Pty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pty").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl From<Size> for PtySize {
    fn from(size: Size) -> Self {
        Self { rows: size.rows, cols: size.cols, pixel_width: 0, pixel_height: 0 }
    }
}

fn failed(what: &'static str) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> TerminalError {
    move |source| TerminalError::Pty { what, source }
}

type Started = (Box<dyn Child + Send + Sync>, Box<dyn Read + Send>);

/// A program that has the terminal, and nothing else.
fn on_terminal(program: &Program, pair: &PtyPair) -> Result<Started, TerminalError> {
    let mut command = CommandBuilder::new(&program.path);
    command.args(&program.arguments);
    command.env_clear();
    for (key, value) in &program.environment {
        command.env(key, value);
    }
    command.cwd("/");
    let child = pair.slave.spawn_command(command).map_err(|e| failed("start the program")(e.into()))?;
    let reader = pair.master.try_clone_reader().map_err(|e| failed("read the terminal")(e.into()))?;
    Ok((child, reader))
}

/// A program that reads from the terminal and writes to a pipe.
fn beside_terminal(program: &Program, pair: &PtyPair) -> Result<Started, TerminalError> {
    let terminal = raw(&*pair.master).map_err(|e| failed("ready the terminal")(e.into()))?;
    let start = || {
        let (reader, writer) = std::io::pipe()?;
        // What the system gives in any case does, too.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE));
        let child = Command::new(&program.path)
            .args(&program.arguments)
            .env_clear()
            .envs(program.environment.iter().map(|(key, value)| (key, value)))
            .current_dir("/")
            .process_group(0)
            .stdin(terminal)
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()?;
        Ok::<Started, std::io::Error>((Box::new(child), Box::new(reader)))
    };
    start().map_err(|e| failed("start the program")(e.into()))
}

/// The program's end of the terminal: no echo, no signals, nothing made into something else.
fn raw(master: &dyn MasterPty) -> std::io::Result<File> {
    let name = master.tty_name().ok_or(std::io::ErrorKind::NotFound)?;
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name)?;
    let mut modes = tcgetattr(&terminal)?;
    cfmakeraw(&mut modes);
    tcsetattr(&terminal, SetArg::TCSANOW, &modes)?;
    Ok(terminal)
}

impl Pty {
    /// Starts `program`, which reads `inputs`; without them it reads nothing.
    pub fn start(
        program: &Program,
        size: Size,
        inputs: Option<Inputs>,
        output: impl Output,
    ) -> Result<Self, TerminalError> {
        let pair = native_pty_system().openpty(size.into()).map_err(|e| failed("make a terminal")(e.into()))?;
        let (child, reader) = match program.relays {
            true => beside_terminal(program, &pair)?,
            false => on_terminal(program, &pair)?,
        };
        // Else the terminal would never end.
        drop(pair.slave);
        let number = child.process_id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let pid = std::sync::Arc::new(Mutex::new(number));
        let thread = || std::thread::Builder::new().name("terminal".into()).stack_size(STACK);
        let ended = pid.clone();
        thread().spawn(move || read(reader, child, &ended, output)).map_err(|e| failed("start a thread")(e.into()))?;
        if let Some(Inputs(inputs)) = inputs {
            let writer = pair.master.take_writer().map_err(|e| failed("write the terminal")(e.into()))?;
            thread().spawn(move || write(writer, inputs)).map_err(|e| failed("start a thread")(e.into()))?;
        }
        Ok(Self { master: Mutex::new(pair.master), pid, relays: program.relays })
    }

    /// Gives the terminal another size; the program is told.
    pub fn resize(&self, size: Size) -> Result<(), TerminalError> {
        let master = self.master.lock().unwrap_or_else(PoisonError::into_inner);
        master.resize(size.into()).map_err(|e| failed("resize the terminal")(e.into()))?;
        if self.relays {
            // It only reads from the terminal, which therefore does not know it.
            self.signal(Signal::SIGWINCH);
        }
        Ok(())
    }

    /// Ends the program at once.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        // Held over the call, so that the number is still its own.
        let pid = self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *pid {
            let _ = kill(pid, signal);
        }
    }
}

/// What a program will read, and how it is sent. What is sent before the program begins waits for it.
#[must_use]
pub fn input() -> (Input, Inputs) {
    let (sender, receiver) = mpsc::channel(INPUTS);
    (Input(sender), Inputs(receiver))
}

/// What a program reads.
#[derive(Debug)]
pub struct Inputs(mpsc::Receiver<Bytes>);

/// Where to send what a program reads.
#[derive(Debug, Clone)]
pub struct Input(mpsc::Sender<Bytes>);

impl Input {
    /// Hands `bytes` to the program, which must read in its time.
    pub async fn write(&self, bytes: Bytes) -> Result<(), TerminalError> {
        match self.0.send_timeout(bytes, PATIENCE).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(TerminalError::Stuck),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(TerminalError::Ended),
        }
    }
}

fn write(mut writer: Box<dyn Write + Send>, mut inputs: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = inputs.blocking_recv() {
        if writer.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn read(
    mut reader: Box<dyn Read + Send>,
    mut child: Box<dyn Child + Send + Sync>,
    pid: &Mutex<Option<Pid>>,
    mut output: impl Output,
) {
    let mut buffer = vec![0; READ];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                output.wrote(&buffer[..length]);
                if length > MUCH && length < READ / 2 {
                    std::thread::sleep(MOMENT);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // EIO: nobody has the other end any more.
            Err(_) => break,
        }
    }
    drop(buffer);
    // It is waited for without being reaped, and nobody may signal its number from then on.
    let number = *pid.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(number) = number {
        let _ = waitid(Id::Pid(number), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    }
    *pid.lock().unwrap_or_else(PoisonError::into_inner) = None;
    let code = child.wait().map_or(-1, |status| i32::try_from(status.exit_code()).unwrap_or(-1));
    output.ended(code);
}
