//! The end of what a session leaves in a service's container: libpod has no way to end an exec, so its processes carry
//! a mark in their environment, and whatever carries the mark, or descends from it, is killed.
//!
//! Only root in Podman's own user namespace may look at the processes of a container. So this runs below
//! `podman unshare`, in a unit of its own, outside the agent.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::names::SessionId;

/// How often it is looked again: what is killed may have made children in the meantime.
const LOOKS: u32 = 50;
const BETWEEN: Duration = Duration::from_millis(20);

/// A process.
#[derive(Debug)]
struct Process {
    parent: i32,
    is_dead: bool,
    is_marked: bool,
}

/// Kills what belongs to the sessions, until nothing is left of them; how many processes are.
#[must_use]
pub fn reap(sessions: &[SessionId]) -> usize {
    let marks: HashSet<Vec<u8>> = sessions.iter().map(|id| id.mark().into_bytes()).collect();
    let mut doomed = HashSet::new();
    for _ in 0..LOOKS {
        doomed = stopped(&marks);
        if doomed.is_empty() {
            return 0;
        }
        signal(&doomed, Signal::SIGKILL);
        std::thread::sleep(BETWEEN);
    }
    doomed.len()
}

/// All that belongs to the sessions, standing still: of one that is killed while it forks, a child could go on that
/// nothing leads to any more. A process with a signal waiting for it takes that before it makes a child.
fn stopped(marks: &HashSet<Vec<u8>>) -> HashSet<i32> {
    let mut still = HashSet::new();
    for _ in 0..LOOKS {
        let found = belonging(&processes(marks));
        let more: HashSet<i32> = found.difference(&still).copied().collect();
        if more.is_empty() {
            break;
        }
        signal(&more, Signal::SIGSTOP);
        still.extend(more);
    }
    still
}

fn signal(pids: &HashSet<i32>, signal: Signal) {
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

fn processes(marks: &HashSet<Vec<u8>>) -> HashMap<i32, Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, process(&Path::new("/proc").join(pid.to_string()), marks)?))).collect()
}

fn process(folder: &Path, marks: &HashSet<Vec<u8>>) -> Option<Process> {
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    // The name before it may hold anything, brackets too (proc_pid_stat(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    // Others' processes can't be read, and carry no mark of ours.
    let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
    let is_marked = environment.split(|byte| *byte == 0).any(|variable| marks.contains(variable));
    Some(Process { parent, is_dead, is_marked })
}

/// The marked ones that live, and all that descend from them.
fn belonging(processes: &HashMap<i32, Process>) -> HashSet<i32> {
    let mut doomed: HashSet<i32> = processes.iter().filter(|(_, p)| p.is_marked).map(|(pid, _)| *pid).collect();
    loop {
        let more: Vec<i32> = processes
            .iter()
            .filter(|(pid, process)| doomed.contains(&process.parent) && !doomed.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        doomed.extend(more);
    }
    doomed.retain(|pid| processes.get(pid).is_some_and(|process| !process.is_dead));
    doomed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Whether a process of exactly these words lives.
    fn runs(words: &[&str]) -> bool {
        let wanted: String = words.iter().map(|word| format!("{word}\0")).collect();
        let folders = std::fs::read_dir("/proc").unwrap().flatten();
        folders
            .filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok())
            .any(|line| line == wanted.as_bytes())
    }

    #[test]
    fn the_marked_and_what_descends_from_them_is_killed_and_nothing_else() {
        let id: SessionId = "qwertyab".parse().unwrap();
        let mut other = Command::new("sleep").arg("600").env(SessionId::MARK, "qwertyac").spawn().unwrap();
        // Numbers that only this test's processes have.
        let (near, far) = (format!("601.{}", std::process::id()), format!("602.{}", std::process::id()));
        let script = format!("sleep {near} & env -i sh -c 'sleep {far}; true' & echo begun; wait");
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .env(SessionId::MARK, id.as_str())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut line).unwrap();
        let waited = std::thread::spawn(move || shell.wait().unwrap());
        assert_eq!(reap(&[id]), 0);
        assert!(!waited.join().unwrap().success());
        for number in [near, far] {
            assert!(!runs(&["sleep", &number]), "`sleep {number}` goes on");
        }
        assert!(other.try_wait().unwrap().is_none(), "another session's process lives");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
