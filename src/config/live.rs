//! The configuration of an agent that runs, which a reload changes.

use std::sync::{Arc, PoisonError, RwLock};

use super::Config;

/// The configuration as it is now; a reload puts another in its place. A clone is another handle on the same one.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    current: Arc<RwLock<Arc<Config>>>,
}

impl LiveConfig {
    /// Begins with `config`.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { current: Arc::new(RwLock::new(Arc::new(config))) }
    }

    /// The configuration at this moment.
    #[must_use]
    pub fn get(&self) -> Arc<Config> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `config` in its place. Sockets, paths and what connections take are read at the agent's start only and
    /// stay; false where that makes a difference.
    pub fn replace(&self, config: Config) -> bool {
        let running = self.get();
        let mut taken = config.clone();
        taken.listen.web = running.listen.web;
        taken.listen.local = running.listen.local.clone();
        taken.paths = running.paths.clone();
        taken.host = running.host.clone();
        taken.waits = running.waits;
        taken.limits.head_timeout = running.limits.head_timeout;
        taken.limits.connections = running.limits.connections;
        taken.limits.anonymous = running.limits.anonymous;
        taken.limits.anonymous_each = running.limits.anonymous_each;
        let whole = taken == config;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(taken);
        whole
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Paths;
    use super::*;

    fn parse(text: &str) -> Config {
        Config::parse(text, Path::new("podkeeper.toml")).expect("it is good")
    }

    #[test]
    fn a_reload_takes_everything_but_what_is_read_at_the_start() {
        let live = LiveConfig::new(Config::default());
        assert!(live.replace(parse("[services]\nkeep = 7\n[listen]\npublic_url = \"http://a\"")));
        assert!(!live.replace(parse("[services]\nkeep = 8\n[paths]\nstate = \"/elsewhere\"")));
        assert_eq!(live.get().services.keep, 8);
        assert_eq!(live.get().paths, Paths::default());
    }
}
