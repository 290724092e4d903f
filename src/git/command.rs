//! Git's program, run with nothing of our own environment and nothing of the host's configuration.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::{Failure, GitError};
use crate::config::system;
use crate::text::{Plain, PlainLines};

/// The longest output that is kept.
pub(super) const OUTPUT: u64 = 256 * 1024;
/// What keeps git within a small server's memory, but for objects that it can only take whole.
const LEAN: [(&str, &str); 7] = [
    ("core.bigFileThreshold", "16m"),
    ("core.deltaBaseCacheLimit", "32m"),
    ("core.packedGitLimit", "64m"),
    ("core.packedGitWindowSize", "16m"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "32m"),
    // Whoever waits for git waits for its tidying, too.
    ("gc.autoDetach", "false"),
];

/// How many seconds a core may work for each of git's programs. What is packed small may be large (a gigabyte of zeros is a
/// megabyte), and takes long to be looked at.
const CPU: u64 = 1800;
/// How much sooner than others the kernel ends one where memory is short (proc_pid_oom_score_adj(5)).
const FIRST_TO_GO: u32 = 500;

/// What git and the programs that it starts may take (setrlimit(2)).
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// MiB of memory, each.
    pub(super) memory: u64,
    /// MiB of a file.
    pub(super) file: Option<u64>,
}

/// What git is run with, whatever it does.
pub(super) fn git(program: &Path, home: &Path, bounds: Bounds) -> Command {
    let bytes = |mib: u64| mib.saturating_mul(1024 * 1024);
    // Where memory is short the kernel ends these, however many of them there are, and not the agent.
    let mut command = Command::new(system::CHOOM);
    command.arg(format!("--adjust={FIRST_TO_GO}")).args(["--", system::PRLIMIT]);
    command.arg(format!("--data={}", bytes(bounds.memory))).arg(format!("--cpu={CPU}"));
    if let Some(file) = bounds.file {
        command.arg(format!("--fsize={}", bytes(file)));
    }
    command.arg("--").arg(program).env_clear();
    settings(&mut command, &[]);
    command
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home)
        .env("LANG", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        // Its children (ssh, index-pack) end with it.
        .process_group(0);
    command
}

/// Settings beside those that git always has, given in the environment: GIT_CONFIG_COUNT of git(1).
pub(super) fn settings(command: &mut Command, settings: &[(&str, String)]) {
    let all = LEAN.into_iter().chain(settings.iter().map(|(key, value)| (*key, value.as_str())));
    command.env("GIT_CONFIG_COUNT", (LEAN.len() + settings.len()).to_string());
    for (index, (key, value)) in all.enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
}

/// Runs to its end, at most for `limit`, and gives what it printed.
pub(super) async fn run(mut command: Command, what: &'static str, limit: Duration) -> Result<Vec<u8>, GitError> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(GitError::Run)?;
    let group = child.id();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ended = async { tokio::join!(read(out), read(err), child.wait()) };
    let Ok((out, err, status)) = tokio::time::timeout(limit, ended).await else {
        end_group(group);
        return Err(GitError::Slow { what, seconds: limit.as_secs() });
    };
    if status.map_err(GitError::Run)?.success() {
        Ok(out)
    } else {
        let message = last_lines(&err);
        Err(GitError::Failed { what, why: Failure::of(&message), message })
    }
}

/// Ends the process group that `git` made.
pub(super) fn end_group(leader: Option<u32>) {
    if let Some(pid) = leader.and_then(|pid| i32::try_from(pid).ok()) {
        let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

async fn read(output: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut output) = output {
        let _ = (&mut output).take(OUTPUT).read_to_end(&mut kept).await;
        // What is more is read all the same, so that the program doesn't wait for ever.
        let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    }
    kept
}

/// What git adds to whatever ssh has said before, and says nothing of.
const ADDED: [&str; 3] = [
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
];

/// Git's last words on one line, without what they tell of the host's folders and of users in addresses.
fn last_lines(output: &[u8]) -> Plain {
    let text = PlainLines::from_bytes(output);
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !ADDED.contains(line)).collect();
    let last = lines.iter().rev().take(3).rev();
    let words = last.flat_map(|line| line.split_whitespace()).map(|word| {
        let bare = word.trim_matches(|c| "'\"`:,.()".contains(c));
        if bare.starts_with('/') && bare.len() > 1 { "…" } else { word }
    });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().take(400).collect::<String>().into()
}

/// A file's or folder's error.
pub(super) fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> GitError + 'a {
    move |source| GitError::File { what, path: PathBuf::from(path), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_tell_nothing_of_the_host() {
        let shown = last_lines(b"one\ntwo\nfatal: '/var/lib/x/y.git' does not\x1b[31m exist\nthree\n");
        assert_eq!(shown, "two fatal: … does not exist three");
        let refused = b"Permission denied (publickey).\r\nfatal: Could not read from remote repository.\n\n\
            Please make sure you have the correct access rights\nand the repository exists.\n";
        assert_eq!(last_lines(refused), "Permission denied (publickey).");
    }

    #[tokio::test]
    async fn what_git_runs_has_its_bounds_and_goes_before_the_agent() {
        let bounds = Bounds { memory: 64, file: Some(32) };
        let mut command = git(Path::new("/bin/sh"), Path::new("/"), bounds);
        command.arg("-c").arg("ulimit -d; ulimit -f; ulimit -t; cat /proc/self/oom_score_adj");
        let said = run(command, "say its bounds", Duration::from_secs(60)).await.unwrap();
        // In KiB, and in blocks of 512 bytes.
        let wanted = format!("{}\n{}\n{CPU}\n{FIRST_TO_GO}\n", 64 * 1024, 32 * 2048);
        assert_eq!(String::from_utf8_lossy(&said), wanted);
    }
}
