//! What the audit log is told of each call. It is told in one place, so that no route can forget it.

use tide::Response;

use super::request::{presented, pushes};
use super::respond;
use super::route::{Lock, Note, Route};
use super::state::State;
use crate::auth::{AuditEvent, Auth, Presented};
use crate::names::Actor;
use crate::problem::{Code, Problem};

/// A call that is under way.
pub struct Record {
    auth: Auth,
    /// Present until it is written.
    audited: Option<AuditEvent>,
    /// Whether the call may change something.
    changes: bool,
    /// Whether a key is part of the address, so that a wrong one finds nothing.
    keyed: bool,
}

impl Record {
    /// A call of `route`. Nothing is known yet of who asks.
    pub fn begin(request: &tide::Request<State>, route: &Route) -> Result<Self, Problem> {
        let presented: &Presented = presented(request)?;
        let auth = request.state().auth().clone();
        let action = format!("{} {}", request.method(), route.path);
        let audited = auth.audited(None, presented, &action, request.url().path());
        let fetches = route.lock == Lock::Git && !pushes(request)?;
        Ok(Self { auth, audited: Some(audited), changes: !presented.safe && !fetches, keyed: route.lock == Lock::Key })
    }

    /// Somebody is known.
    pub fn comes_from(&mut self, actor: &Actor) {
        if let Some(audited) = &mut self.audited {
            audited.actor = Some(actor.clone());
        }
    }

    /// The call is answered.
    pub async fn end(mut self, answered: &Result<Response, Problem>) {
        let Some(mut audited) = self.audited.take() else { return };
        match answered {
            Ok(response) => {
                let note = response.ext::<Note>().cloned().unwrap_or_default();
                let tells = note.actor.is_some();
                audited.actor = note.actor.or(audited.actor);
                // What anybody may ask for, such as what to sign, is nobody's audited.
                let somebodys = audited.actor.is_some();
                audited.detail = note.detail;
                audited.result = u16::from(response.status()).to_string();
                if tells || (self.changes && somebodys) {
                    self.auth.done(audited).await;
                }
            }
            Err(problem) => {
                audited.result = problem.code.as_str().to_owned();
                let tried = self.changes && audited.actor.is_some();
                let refused = problem.code.is_refusal() || (self.keyed && problem.code == Code::NotFound);
                if refused || (tried && respond::status(problem.code).is_client_error()) {
                    self.auth.refused(audited).await;
                } else if tried {
                    // Something may have been changed before it failed.
                    self.auth.done(audited).await;
                }
            }
        }
    }
}

impl Drop for Record {
    /// The client went away before anything of it began, or the handler failed; what was asked for may have happened.
    fn drop(&mut self) {
        let Some(mut audited) = self.audited.take() else { return };
        if self.changes && audited.actor.is_some() {
            audited.result = "cut-off".into();
            let auth = self.auth.clone();
            tokio::spawn(async move { auth.done(audited).await });
        }
    }
}
