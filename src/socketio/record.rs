//! What the audit log is told of each event. It is told in one place, so that no event can forget it.

use tokio::sync::oneshot;

use super::call::{Answer, Note};
use super::client::Client;
use super::event::{Event, Record};
use super::subject::Subject;
use crate::auth::{AuditEvent, Auth};
use crate::names::Actor;
use crate::problem::Problem;

fn audited(client: &Client, event: &Event, target: String) -> AuditEvent {
    client.audited(format!("{} {}", event.namespace, event.name), target)
}

/// Somebody was refused.
pub(super) async fn refused(client: &Client, event: &Event, problem: &Problem) {
    let audited = audited(client, event, event.namespace.into());
    client.state().auth().refused(AuditEvent { result: problem.code.as_str().into(), ..audited }).await;
}

/// A handler has answered. Once this is polled, it is recorded, whoever goes away meanwhile.
pub(super) async fn answered(
    client: &Client,
    event: &Event,
    subject: &Subject,
    answered: &mut Result<Answer, Problem>,
) {
    if event.record == Record::Nothing {
        return;
    }
    let audited = audited(client, event, subject.to_string());
    let auth = client.state().auth();
    match answered {
        // It is recorded as every refusal.
        Err(problem) if problem.code.is_refusal() => {}
        Err(problem) => auth.refused(AuditEvent { result: problem.code.as_str().into(), ..audited }).await,
        Ok(answer) => {
            let note = std::mem::take(&mut answer.note);
            if note.unchanged {
                return;
            }
            let end = AuditEvent { action: format!("{} close", event.namespace), ..audited.clone() };
            let (wrote, written) = oneshot::channel();
            client.state().streams().spawn(write(auth.clone(), audited, end, note, wrote));
            let _ = written.await;
        }
    }
}

/// Writes down what was done and, of what was opened, how it ended. That somebody closed it is an event of its own.
async fn write(auth: Auth, done: AuditEvent, end: AuditEvent, note: Note, wrote: oneshot::Sender<()>) {
    auth.done(AuditEvent { detail: note.detail.clone(), ..done }).await;
    // The client may be gone.
    let _ = wrote.send(());
    let Some(ended) = note.end else { return };
    let (ended, opened) = (ended.await, note.detail.unwrap_or_default());
    let end = match (ended.problem, ended.code) {
        (Some(problem), _) => AuditEvent {
            actor: Some(Actor::Agent),
            address: None,
            result: problem.code.as_str().into(),
            detail: Some(format!("{opened}: {}", problem.detail)),
            ..end
        },
        (None, Some(code)) => AuditEvent { detail: Some(format!("{opened} ended with status {code}")), ..end },
        (None, None) => return,
    };
    auth.done(end).await;
}
