//! Why a build or a new release came to nothing, as pure functions from what is known of it to a problem: a sentence, and
//! what to do next. What the host says comes first: statuses, what listens, what the kernel has ended, which files there
//! are. Where only others' words tell, they are the last resort, and matched as narrowly as these are closed.

mod build;
mod release;
mod step;

pub use build::{BuildFacts, MissingSource};
pub use release::{Ending, NoAnswer, ReleaseFacts};
pub use step::Step;

/// How many characters of what others wrote are told in a sentence.
const QUOTED: usize = 200;

/// As much of a text as a sentence takes.
fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// ENOSPC, as C's library, Go's and Podman's word it: nothing else tells whose disk it was.
fn says_full(tail: &str) -> bool {
    tail.to_ascii_lowercase().contains("no space left on device")
}

/// The signal by which a status says that a program was ended, as shells and Podman count them.
fn signal(status: i32) -> Option<nix::sys::signal::Signal> {
    nix::sys::signal::Signal::try_from(status.checked_sub(128)?).ok()
}
