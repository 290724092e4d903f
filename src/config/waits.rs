//! How long the agent waits before it looks or tries again.

use std::time::Duration;

/// The agent's own waits. No file sets them: each fits what it waits for on every host. Only where the host is a test's,
/// which answers at once, are they others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// Until a slot tries again first whose store takes nothing. It is twice as long each time.
    pub store: Duration,
    /// How long a part of the host that is away is waited for, until a deployment begins again.
    pub absence: Duration,
    /// How often it is looked, meanwhile, whether that part is back.
    pub absence_look: Duration,
    /// Until maintenance tries again first what it could not do. It is twice as long each time.
    pub cleanup: Duration,
    /// Until the bus of systemd's manager is tried again.
    pub bus: Duration,
    /// How often a running build's unit is looked at where no signal tells.
    pub build: Duration,
    /// How long a new release's program must go on that serves nobody.
    pub goes_on: Duration,
    /// How often it is looked whether a new release's program has ended.
    pub crash: Duration,
    /// Until a new release's own health check is run again.
    pub check: Duration,
    /// Until deliveries with a wrong key are written down, all that came meanwhile at once.
    pub refusals: Duration,
    /// How long a forge may take to show the commit that its hook has announced.
    pub announced: Duration,
    /// How often it is looked for, meanwhile.
    pub announced_look: Duration,
    /// How long a unit that is to end quickly may take to end by itself.
    pub end: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            store: Duration::from_secs(1),
            absence: Duration::from_secs(60),
            absence_look: Duration::from_secs(1),
            cleanup: Duration::from_secs(3),
            bus: Duration::from_secs(2),
            build: Duration::from_secs(2),
            goes_on: Duration::from_secs(5),
            crash: Duration::from_millis(500),
            check: Duration::from_secs(1),
            refusals: Duration::from_secs(1),
            announced: Duration::from_secs(60),
            announced_look: Duration::from_secs(3),
            end: Duration::from_secs(3),
        }
    }
}
