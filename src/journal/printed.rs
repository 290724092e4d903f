//! What a program of many processes prints, as one that lives until journald has read it.
//!
//! journald tells a line's unit by the process that wrote it, which may have ended by the time that it reads: the lines of
//! a build's steps, each a process of its own and some another user's, would be nobody's. And it reads what is ready in any
//! order: what is written when a build has ended may be stored before the build's last lines, of which megabytes can wait.
//! So one process writes all of them, and ends when they are read. Only root may ask journald how far it is; the kernel
//! tells whoever holds a stream how much of it is left.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::libc;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;

/// How often it is looked what is left.
const LOOK: Duration = Duration::from_millis(5);
/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// How much a pipe holds at most (pipe(7), pipe-max-size).
const PIPE: u64 = 1024 * 1024;

/// Runs a program to its end, prints what it prints, and returns when that is read, after `patience` at the latest. The
/// answer is what a shell calls the program's status.
pub fn until_read(program: &[OsString], patience: Duration) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = io::stdout();
    let status = runtime.block_on(relay(program, &mut out))?;
    // A last line without an end gets one, and is stored when it is read. An empty line is none to journald.
    let _ = out.write_all(b"\n").and_then(|()| out.flush());
    wait_until_read(out.as_fd(), patience);
    Ok(status)
}

/// Writes what the program prints, in its order, until it has ended.
async fn relay(program: &[OsString], out: &mut impl Write) -> io::Result<u8> {
    let (path, arguments) = program.split_first().ok_or_else(|| io::Error::other("no program is named"))?;
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(path);
    let mut child = command.args(arguments).stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // It holds the pipe's other end.
    drop(command);
    let mut reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut piece = vec![0; PIECE];
    // Nobody is told where it can't be written: the program goes on.
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended?,
            read = reader.read(&mut piece) => match read? {
                0 => break child.wait().await?,
                length => drop(out.write_all(&piece[..length])),
            },
        }
    };
    // What it left running may hold the pipe for ever, and fill it for ever. What it printed is there.
    let mut rest = File::from(reader.into_nonblocking_fd()?).take(PIPE);
    while let Ok(length @ 1..) = rest.read(&mut piece) {
        let _ = out.write_all(&piece[..length]);
    }
    let _ = out.flush();
    let status = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal));
    Ok(status.and_then(|status| u8::try_from(status).ok()).unwrap_or(u8::MAX))
}

/// Whether all was read in time.
fn wait_until_read(stream: BorrowedFd<'_>, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    while unread(stream) > 0 {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// How much of what was written into a stream is not read yet, by unix(7). Nothing where it is another file.
#[allow(unsafe_code, reason = "ioctl(2) writes to an address")]
fn unread(stream: BorrowedFd<'_>) -> libc::c_int {
    let mut left: libc::c_int = 0;
    // SAFETY: the number lives until the call returns, and TIOCOUTQ, which is SIOCOUTQ, writes nothing but that.
    let asked = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut left) };
    if asked == 0 { left } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_printed_is_waited_for_until_it_is_read() {
        let (mut journald, mut unit) = UnixStream::pair().unwrap();
        let long = Duration::from_secs(600);
        assert!(wait_until_read(unit.as_fd(), long));
        unit.write_all(b"a last line").unwrap();
        assert!(!wait_until_read(unit.as_fd(), Duration::ZERO));
        let reading = std::thread::spawn(move || {
            let mut read = [0; 11];
            journald.read_exact(&mut read).unwrap();
            journald
        });
        assert!(wait_until_read(unit.as_fd(), long));
        drop(reading.join().unwrap());
        assert!(wait_until_read(unit.as_fd(), long), "nobody will read more");
    }

    #[test]
    fn what_is_no_stream_is_not_waited_for() {
        let file = tempfile::tempfile().unwrap();
        assert!(wait_until_read(file.as_fd(), Duration::from_secs(600)));
    }

    async fn run(script: &str) -> (u8, String) {
        let mut printed = Vec::new();
        let status = relay(&["/bin/sh", "-c", script].map(OsString::from), &mut printed).await.unwrap();
        (status, String::from_utf8(printed).unwrap())
    }

    #[tokio::test]
    async fn all_that_is_printed_comes_in_its_order_and_the_status_with_it() {
        let (status, printed) = run("seq 1 50000; echo error >&2; printf end; exit 7").await;
        let numbers: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(status, 7);
        assert!(printed == numbers + "error\nend", "{} bytes", printed.len());
        assert_eq!(run("echo killed; kill -9 $$").await, (128 + 9, "killed\n".to_owned()));
        assert!(relay(&["/nowhere".into()], &mut Vec::new()).await.is_err());
    }

    #[tokio::test]
    async fn what_a_program_leaves_running_is_not_waited_for() {
        let (status, printed) = run("sleep 600 & echo $!").await;
        assert_eq!(status, 0);
        let left = nix::unistd::Pid::from_raw(printed.trim().parse().unwrap());
        nix::sys::signal::kill(left, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}
