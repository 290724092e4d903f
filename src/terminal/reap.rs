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

/// The variable that marks a session's processes.
pub const MARK: &str = "PODKEEPER_SESSION";

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
    let marks: HashSet<Vec<u8>> = sessions.iter().map(|id| format!("{MARK}={id}").into_bytes()).collect();
    let mut doomed = HashSet::new();
    for _ in 0..LOOKS {
        doomed = belonging(&processes(&marks));
        if doomed.is_empty() {
            return 0;
        }
        for pid in &doomed {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        std::thread::sleep(BETWEEN);
    }
    doomed.len()
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

    #[test]
    fn the_marked_and_what_descends_from_them_is_killed_and_nothing_else() {
        let id: SessionId = "qwertyab".parse().unwrap();
        let mut other = Command::new("sleep").arg("600").env(MARK, "qwertyac").spawn().unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 601 & env -i sh -c 'sleep 602; true' & echo begun; wait"])
            .env(MARK, id.as_str())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut line).unwrap();
        let waited = std::thread::spawn(move || shell.wait().unwrap());
        assert_eq!(reap(&[id]), 0);
        assert!(!waited.join().unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "another session's process lives");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
