//! What the agent asks of its host, call by call: noted, and where a test wants it failed, cut off or held.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::PATIENCE;

/// A call of the agent's on a part of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// systemd's method, or Podman's method and path with `{}` in the place of a name: `DELETE containers/{}`.
    pub what: String,
    /// What it is about: a unit's name, a container's, or nothing.
    pub of: String,
}

/// Whether something happens before the call is carried out, or when it was, before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// What becomes of a call.
#[derive(Debug, Clone)]
enum Fault {
    /// It is refused.
    Refuse,
    /// The connection ends.
    Cut(When),
    /// It waits until the test lets it go on.
    Hold(When, Held),
}

/// How a held call tells its test of itself, and the test lets it go on.
#[derive(Debug, Clone)]
struct Held {
    is_reached: watch::Sender<bool>,
    is_open: watch::Receiver<bool>,
}

impl Held {
    async fn wait(mut self) {
        self.is_reached.send_replace(true);
        // It fails where the test has let go of its gate, which opens it, too.
        let _ = self.is_open.wait_for(|open| *open).await;
    }
}

/// A call that is held as long as this is there.
#[derive(Debug)]
pub struct Gate {
    is_reached: watch::Receiver<bool>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Waits until the call is held.
    pub async fn reached(&mut self) {
        let reached = timeout(PATIENCE, self.is_reached.wait_for(|reached| *reached)).await;
        reached.expect("no such call came").unwrap();
    }

    /// Whether the call was made.
    pub fn is_reached(&self) -> bool {
        *self.is_reached.borrow()
    }

    pub fn open(self) {
        self.open.send_replace(true);
    }
}

type Matches = Box<dyn Fn(&Call) -> bool + Send>;

struct Rule {
    matches: Matches,
    /// How many that match go on as they are before.
    skip: usize,
    /// How often it happens.
    times: usize,
    fault: Fault,
}

#[derive(Default)]
struct Inner {
    noted: Vec<Call>,
    rules: Vec<Rule>,
}

/// All calls of one host, and what shall become of those that come. A clone is another handle.
#[derive(Clone, Default)]
pub struct Calls(Arc<Mutex<Inner>>);

/// What becomes of a call that has come.
#[derive(Debug, Default)]
pub struct Fate(Option<Fault>);

impl Fate {
    /// What happens before the call is carried out.
    pub async fn before(&mut self) -> Result<(), Refused> {
        match self.0.take() {
            Some(Fault::Refuse) => Err(Refused::ByAnswer),
            Some(Fault::Cut(When::Before)) => Err(Refused::ByEnd),
            Some(Fault::Hold(When::Before, held)) => {
                held.wait().await;
                Ok(())
            }
            later => {
                self.0 = later;
                Ok(())
            }
        }
    }

    /// What happens when it was carried out.
    pub async fn after(self) -> Result<(), Refused> {
        match self.0 {
            Some(Fault::Cut(When::After)) => Err(Refused::ByEnd),
            Some(Fault::Hold(When::After, held)) => {
                held.wait().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The call comes to nothing, as far as the agent can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is told so.
    ByAnswer,
    /// Its connection ends.
    ByEnd,
}

impl Calls {
    /// Notes a call that has come.
    pub fn note(&self, call: Call) -> Fate {
        let mut inner = self.0.lock().unwrap();
        let mut fate = Fate::default();
        for rule in &mut inner.rules {
            if rule.times == 0 || !(rule.matches)(&call) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
            } else {
                rule.times -= 1;
                fate.0 = Some(rule.fault.clone());
                break;
            }
        }
        inner.rules.retain(|rule| rule.times > 0);
        inner.noted.push(call);
        fate
    }

    fn add(&self, matches: impl Fn(&Call) -> bool + Send + 'static, skip: usize, times: usize, fault: Fault) {
        let matches: Matches = Box::new(matches);
        self.0.lock().unwrap().rules.push(Rule { matches, skip, times, fault });
    }

    /// Refuses the next `times` calls that match.
    pub fn refuse(&self, times: usize, matches: impl Fn(&Call) -> bool + Send + 'static) {
        self.add(matches, 0, times, Fault::Refuse);
    }

    /// Refuses the call that comes behind `skip` others.
    pub fn refuse_nth(&self, skip: usize) {
        self.add(|_| true, skip, 1, Fault::Refuse);
    }

    /// Ends the connection at the call that comes behind `skip` others.
    pub fn cut_nth(&self, skip: usize, when: When) {
        self.add(|_| true, skip, 1, Fault::Cut(when));
    }

    /// Holds the next call that matches.
    pub fn hold(&self, when: When, matches: impl Fn(&Call) -> bool + Send + 'static) -> Gate {
        self.hold_nth(0, when, matches)
    }

    /// Holds the call that matches and comes behind `skip` others that do.
    pub fn hold_nth(&self, skip: usize, when: When, matches: impl Fn(&Call) -> bool + Send + 'static) -> Gate {
        let (is_reached, reached) = watch::channel(false);
        let (open, is_open) = watch::channel(false);
        self.add(matches, skip, 1, Fault::Hold(when, Held { is_reached, is_open }));
        Gate { is_reached: reached, open }
    }

    /// Lets all calls go on as they are from now on.
    pub fn clear(&self) {
        self.0.lock().unwrap().rules.clear();
    }

    /// What came until now, which is forgotten.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap().noted)
    }

    /// How many came.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().noted.len()
    }
}

/// Whether a call is this one, whatever it is about.
pub fn is(what: &'static str) -> impl Fn(&Call) -> bool + Send + 'static {
    move |call| call.what == what
}

/// The same about something whose name begins so.
pub fn is_of(what: &'static str, of: &'static str) -> impl Fn(&Call) -> bool + Send + 'static {
    move |call| call.what == what && call.of.starts_with(of)
}
