//! A health check's run within bounds, with programs in the places of Podman and its monitor, in processes of their own.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_podkeeper");

/// Runs a shell script as if it were Podman. It finds, as `$0`, a folder of its own.
fn run(folder: &Path, seconds: u64, script: &str) -> Output {
    let seconds = seconds.to_string();
    let podman = ["/bin/sh", "-c", script, folder.to_str().unwrap()];
    Command::new(PROGRAM).args(["health-check", &seconds, "--"]).args(podman).output().unwrap()
}

fn said(output: &Output) -> (bool, String) {
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A process that is nobody's child, as Podman's monitor is, and runs a check; when the check has ended it says so.
fn monitored(check: &str) -> String {
    format!(
        "( ( setsid sh -c '{check}' \"$0\" & wait $!; echo $? >\"$0/ended\" ) & )\n\
         until [ -e \"$0/ended\" ]; do sleep 0.01; done; echo noted >\"$0/noted\"; exit 1"
    )
}

/// Whether it ends. What is killed is there for a moment.
fn ends(seconds: &str) -> bool {
    (0..6000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !runs(seconds)
    })
}

fn runs(seconds: &str) -> bool {
    let line = format!("sleep\0{seconds}\0");
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    folders.filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok()).any(|words| words == line.as_bytes())
}

/// A time to sleep that only this test's processes have.
fn long(number: u32) -> String {
    format!("{number}.{}", std::process::id())
}

#[test]
fn a_check_that_ends_in_time_is_podmans_to_judge() {
    let folder = tempfile::tempdir().unwrap();
    for status in [0, 1, 125] {
        assert_eq!(said(&run(folder.path(), 60, &format!("echo unhealthy; exit {status}"))), (true, String::new()));
    }
}

#[test]
fn a_check_that_hangs_is_ended_with_all_of_it_and_podman_notes_it() {
    let folder = tempfile::tempdir().unwrap();
    let (near, far) = (long(701), long(702));
    // Its first process leaves one behind that is no monitor's descendant any more when that has ended.
    let check = format!("(sleep {far} &) ; sleep {near}; true");
    let (good, said) = said(&run(folder.path(), 1, &monitored(&check)));
    assert!(good && said.contains("did not end within 1 s"), "{said}");
    assert!(folder.path().join("noted").exists(), "Podman has seen the end of the check");
    assert!(ends(&near) && ends(&far));
}

#[test]
fn a_check_that_prints_without_end_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let script = "( ( cat /dev/zero >/dev/null; echo >\"$0/ended\" ) & )\n\
                  ( dd if=/dev/zero of=/dev/null & echo $! >\"$0/monitor\" )\n\
                  until [ -e \"$0/ended\" ]; do sleep 0.01; done; kill $(cat \"$0/monitor\"); exit 1";
    let (good, said) = said(&run(folder.path(), 600, script));
    assert!(good && said.contains("printed more than 4 MiB"), "{said}");
}

#[test]
fn where_podman_itself_is_killed_the_check_is_begun_again_and_fails_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = long(703);
    let killed = format!(
        "if mkdir \"$0/first\" 2>/dev/null; then ( ( sh -c 'sleep {first}; true' & wait ) & ); sleep 0.2; kill -9 $$; fi\n"
    );
    let (good, said) = said(&run(folder.path(), 600, &(killed + &monitored("sleep 600; true"))));
    assert!(good && said.contains("took more memory"), "{said}");
    assert!(folder.path().join("noted").exists(), "Podman has seen the end of the check");
    assert!(ends(&first), "what was left of the first one is gone");
}
