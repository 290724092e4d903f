//! What health checks say, heard as they are run: Podman writes it into the journal.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::reader::{Position, Reader, now};
use super::{Checked, HealthSaid, JournalError};

/// How far back health checks are heard, in microseconds: so long it may take until they are heard at all. What they said
/// before, Podman knows.
const SPAN: u64 = 10_000_000;
/// When it is looked what a check said: that one was begun is heard at once, and the check itself takes some time.
const SOON: Duration = Duration::from_millis(400);
/// And when again, each after the one before, until it is found.
const LATE: [Duration; 3] = [Duration::from_millis(400), Duration::from_millis(1000), Duration::from_millis(3000)];
/// How many checks are waited for. One more is found with them, or a minute later.
const AWAITED: usize = 256;
/// How often it is looked where no bell rings: one may be run by hand.
const UNRUNG: Duration = Duration::from_secs(60);

impl Reader {
    /// Hands each finding to `sink` until that says no, or until nobody can ring any more.
    pub(super) fn follow_health(
        &mut self,
        mut sink: impl FnMut(HealthSaid) -> bool,
        rung: &Receiver<Checked>,
    ) -> Result<(), JournalError> {
        let mut position = Position::Since(now().saturating_sub(SPAN));
        let mut awaited = vec![Checked::Any];
        let mut pauses = LATE.iter();
        let mut torn = 0;
        self.seek(&position)?;
        loop {
            let others = self.files.changed();
            match self.read_health(&mut position, &mut awaited, &mut sink) {
                Ok(true) => torn = 0,
                Ok(false) => return Ok(()),
                Err(error) => {
                    self.resume(error, &mut torn, &position)?;
                    continue;
                }
            }
            if others {
                self.untorn(|reader| reader.renew(&position))?;
                continue;
            }
            let pause = if awaited.is_empty() { None } else { pauses.next() };
            if pause.is_none() {
                awaited.clear();
            }
            match rung.recv_timeout(*pause.unwrap_or(&UNRUNG)) {
                Ok(checked) => {
                    // What rings meanwhile is looked for with it.
                    std::thread::sleep(SOON);
                    for checked in std::iter::once(checked).chain(rung.try_iter()) {
                        if !awaited.contains(&checked) && awaited.len() < AWAITED {
                            awaited.push(checked);
                        }
                    }
                    pauses = LATE.iter();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.untorn(|reader| reader.settle(&position))?;
        }
    }

    /// Hands on what there is behind `position`, and moves that along; false where nothing more is wanted.
    fn read_health(
        &mut self,
        position: &mut Position,
        awaited: &mut Vec<Checked>,
        sink: &mut impl FnMut(HealthSaid) -> bool,
    ) -> Result<bool, JournalError> {
        while self.advance()? {
            let id = self.text(c"PODMAN_ID")?;
            let healthy = match self.text(c"PODMAN_HEALTH_STATUS")?.as_deref() {
                Some("healthy") => Some(true),
                Some("unhealthy") => Some(false),
                _ => None,
            };
            let container = self.text(c"PODMAN_NAME")?;
            *position = Position::Behind(self.cursor()?);
            let (id, name) =
                (id.and_then(|id| id.parse().ok()).map(Checked::Container), container.clone().map(Checked::Named));
            awaited.retain(|checked| Some(checked) != id.as_ref() && Some(checked) != name.as_ref());
            if let (Some(healthy), Some(container)) = (healthy, container)
                && !sink(HealthSaid { container, healthy })
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
