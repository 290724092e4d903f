//! One client on one namespace: who it is, its streams, and its events that wait for their turn.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::channel::Streams;
use super::protocol::JOIN;
use super::state::State;
use super::subject::Subject;
use crate::auth::{AuditEvent, CredentialWatch, Identity, Lease};
use crate::names::{Scope, ServiceName};
use crate::problem::Problem;

/// How many of a client's events wait for their turn.
const WAITING: usize = 64;
/// How many of its slow events run beside the others.
const BESIDE: usize = 4;

/// A connected client.
#[derive(Debug, Clone)]
pub(super) struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    stay: Arc<CredentialWatch>,
    address: Option<IpAddr>,
    streams: Streams,
    turns: mpsc::Sender<Job>,
    beside: Arc<Semaphore>,
    wants_stats: watch::Sender<bool>,
    joined: CancellationToken,
    gone: CancellationToken,
}

/// What a task does.
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Work that waits for its turn.
pub(super) struct Job(pub(super) Work);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// What a client must be allowed to do for as long as a stream goes on.
#[derive(Debug, Clone)]
pub(super) struct RequiredScope {
    scope: Scope,
    subject: Subject,
}

impl RequiredScope {
    pub(super) fn new(scope: Scope, subject: Subject) -> Self {
        Self { scope, subject }
    }

    /// Of what.
    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }
}

impl Client {
    /// A client that was let in; its events come out of the receiver in turn.
    pub(super) fn new(state: State, stay: CredentialWatch, address: Option<IpAddr>) -> (Self, mpsc::Receiver<Job>) {
        let (turns, jobs) = mpsc::channel(WAITING);
        let inner = Inner {
            state,
            stay: Arc::new(stay),
            address,
            streams: Streams::default(),
            turns,
            beside: Arc::new(Semaphore::new(BESIDE)),
            wants_stats: watch::Sender::new(false),
            joined: CancellationToken::new(),
            gone: CancellationToken::new(),
        };
        (Self { inner: Arc::new(inner) }, jobs)
    }

    /// What all clients share.
    pub(super) fn state(&self) -> &State {
        &self.inner.state
    }

    /// Who it is, as of now.
    pub(super) fn identity(&self) -> Identity {
        self.inner.stay.identity()
    }

    /// Whether it may stay.
    pub(super) fn stay(&self) -> &CredentialWatch {
        &self.inner.stay
    }

    /// Something that it does, for the audit log.
    pub(super) fn audited(&self, action: String, target: String) -> AuditEvent {
        let actor = Some(self.identity().actor);
        AuditEvent { actor, address: self.inner.address, action, target, result: "done".into(), detail: None }
    }

    /// For as long as it has that right.
    pub(super) fn lease(&self, right: RequiredScope) -> Lease {
        let service = match right.subject {
            Subject::Own => self.identity().grant.service,
            Subject::Shell | Subject::Nothing => None,
            Subject::Service(service) => Some(service),
        };
        Lease::default().of(self.inner.stay.clone(), right.scope, service)
    }

    /// Whether it may see `service`.
    pub(super) fn sees(&self, service: &ServiceName) -> bool {
        self.inner.stay.allows(Scope::Read, Some(service)).is_ok()
    }

    /// Its streams.
    pub(super) fn streams(&self) -> &Streams {
        &self.inner.streams
    }

    /// Whether it asked for figures.
    pub(super) fn wants_stats(&self) -> &watch::Sender<bool> {
        &self.inner.wants_stats
    }

    /// Cancelled once it is on its namespace.
    pub(super) fn joined(&self) -> &CancellationToken {
        &self.inner.joined
    }

    /// Cancelled once it is disconnected.
    pub(super) fn gone(&self) -> &CancellationToken {
        &self.inner.gone
    }

    /// Where its events wait for their turn.
    pub(super) fn turns(&self) -> &mpsc::Sender<Job> {
        &self.inner.turns
    }

    /// The places of its slow events.
    pub(super) fn beside(&self) -> &Arc<Semaphore> {
        &self.inner.beside
    }

    /// Waits until it can be answered; false where it never can.
    pub(super) async fn has_joined(&self) -> bool {
        let joined = self.inner.gone.run_until_cancelled(self.inner.joined.cancelled());
        matches!(timeout(JOIN, joined).await, Ok(Some(())))
    }

    /// Answers its events in turn until it is gone.
    pub(super) async fn answer(self, mut jobs: mpsc::Receiver<Job>) {
        if !self.has_joined().await {
            return;
        }
        while let Some(Some(Job(work))) = self.inner.gone.run_until_cancelled(jobs.recv()).await {
            if self.inner.gone.run_until_cancelled(work).await.is_none() {
                return;
            }
        }
    }
}

/// Whether `identity` may do what takes `scope` to `subject`.
pub(super) fn authorise(identity: &Identity, scope: Scope, subject: &Subject) -> Result<(), Problem> {
    match subject {
        Subject::Own => identity.allows(scope, identity.grant.service.as_ref()),
        Subject::Shell | Subject::Nothing => identity.allows(scope, None),
        Subject::Service(service) => identity.allows(scope, Some(service)),
    }
}
