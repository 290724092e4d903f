//! Asks at the terminal for what it doesn't show.

use std::io::{Write, stdin};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::show;

/// What ends or stops a program, by a key or from elsewhere.
const ENDS: [Signal; 5] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP];

/// A line that is typed at standard input, a terminal. It is not shown from before the question on, and whatever ends this
/// program meanwhile, the terminal is left as it was.
pub fn hidden_line(question: &str) -> std::io::Result<String> {
    let mut hidden = Hidden::new()?;
    loop {
        write!(show::err(), "{question}")?;
        match hidden.wait()? {
            Some(signal) => hidden.meet(signal)?,
            None => break,
        }
    }
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    writeln!(show::err())?;
    Ok(line)
}

/// A terminal that shows nothing of what is typed, and signals that wait, for as long as this lives.
struct Hidden {
    before: Termios,
    mask: SigSet,
    signals: SignalFd,
}

impl Hidden {
    fn new() -> Result<Self, Errno> {
        let before = tcgetattr(stdin().as_fd())?;
        let ends: SigSet = ENDS.into_iter().collect();
        let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC)?;
        let hidden = Self { before, mask: SigSet::thread_get_mask()?, signals };
        hidden.hide()?;
        Ok(hidden)
    }

    fn hide(&self) -> Result<(), Errno> {
        ENDS.into_iter().collect::<SigSet>().thread_block()?;
        let mut hidden = self.before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(stdin().as_fd(), SetArg::TCSANOW, &hidden)
    }

    fn show(&self) -> Result<(), Errno> {
        let shown = tcsetattr(stdin().as_fd(), SetArg::TCSANOW, &self.before);
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None)?;
        shown
    }

    /// Waits for a line, or for a signal.
    fn wait(&mut self) -> Result<Option<Signal>, Errno> {
        let stdin = stdin();
        loop {
            let mut either =
                [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            match poll(&mut either, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error),
            }
            if either[0].any() != Some(true) {
                return Ok(None);
            }
            if let Some(met) = self.signals.read_signal()? {
                let number = i32::try_from(met.ssi_signo).map_err(|_| Errno::EINVAL)?;
                return Signal::try_from(number).map(Some);
            }
        }
    }

    /// Does what the signal does to a program that knows nothing of it; back from it, the terminal is hidden again.
    fn meet(&self, signal: Signal) -> std::io::Result<()> {
        writeln!(show::err())?;
        self.show()?;
        raise(signal)?;
        Ok(self.hide()?)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = self.show();
    }
}
