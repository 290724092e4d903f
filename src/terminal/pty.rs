//! A program on a pseudo-terminal. Two threads a program, since a terminal's ends can only be waited for by blocking:
//! one reads what it writes, one writes what it reads. Without programs there are no threads.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtyPair, PtySize, native_pty_system};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::error::{Size, TerminalError};

/// How many bytes wait for a program that doesn't read, or hasn't begun.
const INPUTS: usize = 1024 * 1024;
/// What a message takes of that besides its text.
const AROUND: usize = 64;
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
    pid: Arc<Mutex<Option<Pid>>>,
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

type Started = (Running, Box<dyn Read + Send>);

/// A program that runs. Whoever drops it ends it, so that no failure on the way leaves one behind, or what is left of it.
#[derive(Debug)]
struct Running(Option<Box<dyn Child + Send + Sync>>);

impl Running {
    fn pid(&self) -> Option<Pid> {
        self.0.as_ref()?.process_id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
    }

    /// Its exit code, once it has ended.
    fn wait(mut self) -> i32 {
        let status = self.0.take().and_then(|mut child| child.wait().ok());
        status.and_then(|status| i32::try_from(status.exit_code()).ok()).unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(pid), Some(child)) = (self.pid(), &mut self.0) {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

/// A program that has the terminal, and nothing else.
fn on_terminal(program: &Program, pair: &PtyPair) -> Result<Started, TerminalError> {
    let mut command = CommandBuilder::new(&program.path);
    command.args(&program.arguments);
    command.env_clear();
    for (key, value) in &program.environment {
        command.env(key, value);
    }
    command.cwd("/");
    let reader = pair.master.try_clone_reader().map_err(|e| failed("read the terminal")(e.into()))?;
    let child = pair.slave.spawn_command(command).map_err(|e| failed("start the program")(e.into()))?;
    Ok((Running(Some(child)), reader))
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
        Ok::<Started, std::io::Error>((Running(Some(Box::new(child))), Box::new(reader)))
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
        let writer = match inputs {
            Some(inputs) => {
                let writer = pair.master.take_writer().map_err(|e| failed("write the terminal")(e.into()))?;
                Some((writer, inputs))
            }
            None => None,
        };
        let (running, reader) = match program.relays {
            true => beside_terminal(program, &pair)?,
            false => on_terminal(program, &pair)?,
        };
        // Else the terminal would never end.
        drop(pair.slave);
        let pid = Arc::new(Mutex::new(running.pid()));
        let thread = || std::thread::Builder::new().name("terminal".into()).stack_size(STACK);
        let ended = pid.clone();
        // The one that ends the program, should it fail, comes last: from then on nothing does.
        if let Some((writer, Inputs(inputs))) = writer {
            thread().spawn(move || write(writer, inputs)).map_err(|e| failed("start a thread")(e.into()))?;
        }
        thread()
            .spawn(move || read(reader, running, &ended, output))
            .map_err(|e| failed("start a thread")(e.into()))?;
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
    let (sender, receiver) = mpsc::unbounded_channel();
    (Input { sender, room: Arc::new(Semaphore::new(INPUTS)) }, Inputs(receiver))
}

/// What a program reads.
#[derive(Debug)]
pub struct Inputs(mpsc::UnboundedReceiver<Typed>);

/// What is typed, and the room that it takes until the program has read it.
type Typed = (Bytes, OwnedSemaphorePermit);

/// Where to send what a program reads.
#[derive(Debug, Clone)]
pub struct Input {
    sender: mpsc::UnboundedSender<Typed>,
    room: Arc<Semaphore>,
}

impl Input {
    /// Hands `bytes` to the program. Where too much waits for it already, that is told at once: whoever waited for room
    /// would hold up all that its client asks for next.
    pub fn write(&self, bytes: Bytes) -> Result<(), TerminalError> {
        let takes = u32::try_from(bytes.len() + AROUND).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(takes).map_err(|_| TerminalError::Stuck)?;
        self.sender.send((bytes, room)).map_err(|_| TerminalError::Ended)
    }
}

fn write(mut writer: Box<dyn Write + Send>, mut inputs: mpsc::UnboundedReceiver<Typed>) {
    while let Some((bytes, _room)) = inputs.blocking_recv() {
        if writer.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn read(mut reader: Box<dyn Read + Send>, running: Running, pid: &Mutex<Option<Pid>>, mut output: impl Output) {
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
    output.ended(running.wait());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_dropped_on_the_way_is_ended_and_reaped() {
        let running = Running(Some(Box::new(Command::new("sleep").arg("600").spawn().unwrap())));
        let pid = running.pid().unwrap();
        kill(pid, None).unwrap();
        drop(running);
        // Not even what is left of one that nobody waited for.
        assert_eq!(kill(pid, None), Err(nix::errno::Errno::ESRCH));
    }
}
