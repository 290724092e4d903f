//! For how long something is so: in the time for which the host has run since, as its kernel counts it. Whatever the clock is
//! set to makes nothing older.

use std::io;
use std::time::Duration;

/// The kernel's name of this boot, which is another one each time, and how long it has run (proc(5)).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
const UPTIME: &str = "/proc/uptime";

/// A moment of the host's running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    boot: String,
    seconds: u64,
}

impl Moment {
    /// This one.
    pub fn now() -> io::Result<Self> {
        let boot = std::fs::read_to_string(BOOT)?.trim().to_owned();
        let uptime = std::fs::read_to_string(UPTIME)?;
        let seconds = uptime.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok());
        Ok(Self { boot, seconds: seconds.ok_or(io::ErrorKind::InvalidData)? })
    }
}

/// How old something is, as a file says it: `AGE BOOT MOMENT` and a line's end, in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Age {
    seconds: u64,
    at: Moment,
}

impl Age {
    /// Of what begins now.
    #[must_use]
    pub fn none(now: &Moment) -> Self {
        Self { seconds: 0, at: now.clone() }
    }

    /// Reads it as it is now. What does not say all of it, as where an agent before this one noted something else, begins now.
    #[must_use]
    pub fn read(text: &[u8], now: &Moment) -> Self {
        let noted = std::str::from_utf8(text).ok().and_then(Self::parse);
        noted.map_or_else(|| Self::none(now), |noted| noted.older(now))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let seconds = words.next()?.parse().ok()?;
        let boot = words.next()?.to_owned();
        Some(Self { seconds, at: Moment { boot, seconds: words.next()?.parse().ok()? } })
    }

    /// How long the host did not run between two boots, only the clock would tell.
    fn older(self, now: &Moment) -> Self {
        let more = if self.at.boot == now.boot { now.seconds.saturating_sub(self.at.seconds) } else { 0 };
        Self { seconds: self.seconds.saturating_add(more), at: now.clone() }
    }

    /// What the file is to say.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {} {}\n", self.seconds, self.at.boot, self.at.seconds)
    }

    /// As a duration.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_for_which_the_host_runs_makes_anything_older() {
        let at = |boot: &str, seconds| Moment { boot: boot.into(), seconds };
        let age = Age { seconds: 100, at: at("a", 50) };
        let read = |now: &Moment| Age::read(age.text().as_bytes(), now);
        assert_eq!(read(&at("a", 50)), age);
        assert_eq!(read(&at("a", 60)).duration(), Duration::from_secs(110));
        assert_eq!(read(&at("b", 9000)), Age { seconds: 100, at: at("b", 9000) });
        assert_eq!(read(&at("a", 10)).seconds, 100);
        let now = Moment::now().unwrap();
        for text in ["", "100 a", "100 a 5", "a b c\n", "100\n"] {
            assert_eq!(Age::read(text.as_bytes(), &now), Age::none(&now), "{text:?}");
        }
    }
}
