//! Which values make sense.

use std::time::Duration;

use super::Config;

impl Config {
    /// What of it can't be, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.services.first_port < 1024 || self.services.first_port > self.services.last_port {
            return Err(("services.first_port", "must be at least 1024 and at most `services.last_port`"));
        }
        if !(1..=16).contains(&self.builds.parallel) {
            return Err(("builds.parallel", "must be from 1 to 16"));
        }
        if !(1..=1000).contains(&self.services.max) {
            return Err(("services.max", "must be from 1 to 1000"));
        }
        if !(1..=100).contains(&self.services.keep) {
            return Err(("services.keep", "must be from 1 to 100"));
        }
        if !(1000..=10_000_000).contains(&self.limits.audit_rows) {
            return Err(("limits.audit_rows", "must be from 1000 to 10000000"));
        }
        let anonymous = [self.limits.anonymous, self.limits.anonymous_each];
        if anonymous.iter().any(|places| !(1..=65_536).contains(places)) {
            return Err(("limits.anonymous", "must be from 1 to 65536, and so must `limits.anonymous_each`"));
        }
        let day = Duration::from_secs(24 * 3600);
        if !(day..=day * 36_600).contains(&self.limits.audit_age) {
            return Err(("limits.audit_age", "must be from a day to a hundred years"));
        }
        if !(1..=64).contains(&self.shell.sessions) {
            return Err(("shell.sessions", "must be from 1 to 64"));
        }
        if !(16..=65_536).contains(&self.shell.memory_mib) {
            return Err(("shell.memory_mib", "must be from 16 to 65536"));
        }
        if !(1..=6_400).contains(&self.shell.cpu_percent) || !(8..=32_768).contains(&self.shell.tasks) {
            return Err(("shell.cpu_percent", "must be from 1 to 6400, and `shell.tasks` from 8 to 32768"));
        }
        for (key, networks) in [("shell.allow", &self.shell.allow), ("builds.allow", &self.builds.allow)] {
            if networks.len() > 64 {
                return Err((key, "must be at most 64 networks, like 192.168.1.0/24 or fd12:3456::/48"));
            }
        }
        self.check_times()?;
        let longest = Duration::from_secs(366 * 24 * 3600);
        for (key, length) in
            [("auth.session_idle", self.auth.session_idle), ("auth.session_max", self.auth.session_max)]
        {
            if length.is_zero() || length > longest {
                return Err((key, "must be more than nothing and at most a year"));
            }
        }
        if self.listen.origins.len() > 16 {
            return Err(("listen.origins", "takes at most 16 addresses"));
        }
        Ok(())
    }

    /// The times that everything waits for, which may not be so long that it stands still.
    fn check_times(&self) -> Result<(), (&'static str, &'static str)> {
        let (tenth, second) = (Duration::from_millis(100), Duration::from_secs(1));
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        let Self { services, limits, shell, .. } = self;
        for (key, time, range, why) in [
            ("services.settle", services.settle, Duration::ZERO..=minute, "must be at most a minute"),
            ("services.maintenance", services.maintenance, second..=hour, "must be from a second to an hour"),
            ("limits.unread", limits.unread, second..=hour, "must be from a second to an hour"),
            ("limits.grace", limits.grace, Duration::ZERO..=LONGEST_GRACE, "must be at most 9 seconds"),
            ("limits.journal", limits.journal, tenth..=minute * 10, "must be from 100ms to 10 minutes"),
            ("shell.patience", shell.patience, Duration::ZERO..=minute, "must be at most a minute"),
        ] {
            if !range.contains(&time) {
                return Err((key, why));
            }
        }
        Ok(())
    }
}

/// How long the agent may let requests go on at its end. Its unit's `TimeoutStopSec` is longer.
const LONGEST_GRACE: Duration = Duration::from_secs(9);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_agents_unit_waits_for_the_longest_grace() {
        let unit = include_str!("../../systemd/podkeeper.service");
        let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.parse().ok());
        assert!(LONGEST_GRACE < Duration::from_secs(stop.expect("its time limit, in seconds")));
    }

    #[test]
    fn impossible_values_are_refused() {
        for text in [
            "[services]\nfirst_port = 80",
            "[builds]\nparallel = 0",
            "[builds]\ntimeout = \"soon\"",
            "[builds]\ntimeout = 5",
            "[shell]\nsessions = 0",
            "[shell]\nmemory_mib = 1",
            "[shell]\nallow = [\"192.168.1.1\"]",
            "[shell]\nallow = [\"fd00::/129\"]",
            "[shell]\nallow = [\"10.0.0.0/+8\"]",
            "[shell]\nimage = \"Debian\"",
            "[listen]\nlocal = \"agent.sock\"",
            "[listen]\nservice_url = \"http://x\"",
            "[listen]\nservice_url = \"http://{name}_x.org\"",
            "[listen]\npublic_url = \"http://a/b\"",
            "[listen]\npublic_url = \"localhost\"",
            "[listen]\norigins = [\"pods.example.com\"]",
            "[paths]\nroutes = \"/var/../routes\"",
            "[host]\npodman_socket = \"\"",
            "[auth]\nsession_idle = \"0s\"",
            "[services]\nsettle = \"61s\"",
            "[services]\nmaintenance = \"0s\"",
            "[limits]\nunread = \"0s\"",
            "[limits]\naudit_rows = 0",
            "[limits]\naudit_age = \"23h\"",
            "[limits]\ngrace = \"10s\"",
            "[limits]\njournal = \"11m\"",
            "[limits]\nanonymous = 0",
            "[limits]\nanonymous_each = 0",
            "[limits]\nhandshakes = 0",
            "[limits]\nbody_rate_kib = 0",
            "[shell]\npatience = \"2m\"",
        ] {
            assert!(Config::parse(text, Path::new("podkeeper.toml")).is_err(), "{text}");
        }
    }
}
