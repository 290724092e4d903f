//! A run of a health check within bounds. Podman keeps all that a check prints, ends none that hangs, and begins it by a
//! monitor that leaves Podman's process tree; so this is the parent of whatever that leaves, and ends the check's own
//! processes where it goes too far. Podman then sees that the check has ended, and writes it down as one that failed.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How much a check may print, and its monitor read, in bytes. The monitor itself reads some ten thousand.
const OUTPUT: u64 = 4 * 1024 * 1024;
/// How often it is looked how much it was.
const LOOK: Duration = Duration::from_millis(50);
/// How often, while it is being ended: what is killed may have made children in the meantime.
const AGAIN: Duration = Duration::from_millis(10);
/// How long the check's processes are killed before the monitor is: they may have got out of its sight, and hold its pipe.
const GRACE: Duration = Duration::from_secs(3);
/// How long until Podman is killed, too. It waits some seconds for a monitor that has ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a check was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excess {
    Time(Duration),
    Output,
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Time(time) => write!(f, "did not end within {} s", time.as_secs()),
            Self::Output => write!(f, "printed more than {} MiB", OUTPUT / 1024 / 1024),
        }
    }
}

/// Runs a Podman that runs a health check, which may take `time`. What came of it Podman has written down; only where it
/// could not is there an error. Where the check was ended, the answer tells why.
pub fn run_check(program: &[OsString], time: Duration) -> io::Result<Option<String>> {
    prctl::set_child_subreaper(true)?;
    let (status, excess) = attempt(program, time)?;
    let why = excess.map(|excess| format!("the health check {excess}, and was ended"));
    if status.signal().is_none() {
        return Ok(why);
    }
    // Podman itself was killed, as it is where it takes more memory than it is given, and nothing is written down of this
    // check. One that is ended as it begins is written down as failed.
    match attempt(program, Duration::ZERO)?.0.signal() {
        None => Ok(why.or_else(|| Some("the health check took more memory than it is given, and was ended".into()))),
        Some(_) => Err(io::Error::other("Podman can't be told that the health check failed")),
    }
}

fn attempt(program: &[OsString], time: Duration) -> io::Result<(ExitStatus, Option<Excess>)> {
    let (path, arguments) = program.split_first().ok_or_else(|| io::Error::other("no program is named"))?;
    let begun = Instant::now();
    let mut child =
        Command::new(path).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let podman = i32::try_from(child.id()).map_err(io::Error::other)?;
    let (ended, end) = channel();
    std::thread::spawn(move || ended.send(child.wait()));
    let mut excess = None;
    let mut over = None;
    let mut check = Check { podman, sessions: HashSet::new() };
    loop {
        match end.recv_timeout(if over.is_some() { AGAIN } else { LOOK }) {
            Ok(status) => {
                let status = status?;
                if status.signal().is_some() || excess.is_some() {
                    check.kill(status.signal().is_some());
                }
                return Ok((status, excess));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("nobody waits for Podman")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if excess.is_none() {
            if begun.elapsed() >= time {
                excess = Some(Excess::Time(time));
            } else if check.read() > OUTPUT {
                excess = Some(Excess::Output);
            }
        }
        if excess.is_some() {
            let over = over.get_or_insert_with(Instant::now).elapsed();
            check.kill(over > GRACE);
            if over > PATIENCE {
                let _ = kill(Pid::from_raw(podman), Signal::SIGKILL);
            }
        }
    }
}

/// What of a check runs beside Podman: monitors, which are this process's children by now, and what these have begun.
struct Check {
    podman: i32,
    /// The sessions of what the monitors have begun. Where its first process ends, the others of it are no monitor's children
    /// any more, since they are in namespaces of their own.
    sessions: HashSet<i32>,
}

impl Check {
    /// How much the monitors have read.
    fn read(&self) -> u64 {
        let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        let pids: Vec<i32> =
            children.flat_map(|pids| pids.split_whitespace().map(str::parse).collect::<Vec<_>>()).flatten().collect();
        let read = |pid: i32| {
            let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
            io.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse::<u64>().ok()
        };
        pids.into_iter().filter(|pid| *pid != self.podman).filter_map(read).sum()
    }

    /// Kills the check's processes as they are at the moment, and the monitors with them or not.
    fn kill(&mut self, with_monitors: bool) {
        let processes = processes();
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let monitors: HashSet<i32> = processes
            .iter()
            .filter(|(pid, process)| process.parent == own && **pid != self.podman)
            .map(|(pid, _)| *pid)
            .collect();
        let begun = processes.iter().filter(|(_, process)| monitors.contains(&process.parent));
        // One that leads its session has it for itself and its own.
        self.sessions.extend(begun.filter(|(pid, process)| process.session == **pid).map(|(pid, _)| *pid));
        let mut doomed = HashSet::new();
        loop {
            let belongs = |pid: &i32, process: &Process| {
                // Where it has lost its parent it may be this process's child, as a monitor is.
                self.sessions.contains(&process.session)
                    || !monitors.contains(pid)
                        && (monitors.contains(&process.parent) || doomed.contains(&process.parent))
            };
            let found = processes.iter().filter(|(pid, process)| !doomed.contains(*pid) && belongs(pid, process));
            let more: Vec<i32> = found.map(|(pid, _)| *pid).collect();
            if more.is_empty() {
                break;
            }
            doomed.extend(more);
        }
        if with_monitors {
            doomed.extend(monitors);
        }
        for pid in doomed {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

struct Process {
    parent: i32,
    session: i32,
}

/// All processes that are seen.
fn processes() -> HashMap<i32, Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let process = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it may hold anything, brackets too (proc_pid_stat(5)).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some((pid, Process { parent: fields.get(1)?.parse().ok()?, session: fields.get(3)?.parse().ok()? }))
    };
    pids.filter_map(process).collect()
}
