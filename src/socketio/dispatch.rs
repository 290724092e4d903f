//! The dispatcher: takes a client's events, each authorised anew, answers them in turn, and
//! has them recorded.

use futures_util::FutureExt;
use serde_json::Value;
use socketioxide::extract::{AckSender, SocketRef, TryData};

use super::call::{Answer, Call, Payload, Sent};
use super::channel::told;
use super::client::{Client, Job, RequiredScope, Work, authorise};
use super::event::{Event, Scheduling, Table};
use super::record;
use crate::problem::{Code, Problem};

/// Lets `socket` take all events of its namespace, and answers the others.
pub(super) fn listen_to_all(table: Table, socket: &SocketRef, client: &Client) {
    for event in table.events.iter().filter(|event| event.namespace == socket.ns()) {
        (event.listen)(event, socket, client);
    }
    socket.on_fallback(|ack: AckSender| {
        reply(ack, Err(Problem::new(Code::NotFound, "this namespace takes no such event")));
        std::future::ready(())
    });
}

/// Lets `socket` take one event.
pub(super) fn listen<T, F, Answered>(event: &'static Event, socket: &SocketRef, client: &Client, handler: F)
where
    T: Payload,
    F: Fn(Call, T) -> Answered + Clone + Send + Sync + 'static,
    Answered: Future<Output = Result<Answer, Problem>> + Send + 'static,
{
    let client = client.clone();
    // What runs here runs in the order in which the client sent; what it returns runs in any.
    let take = move |socket: SocketRef, TryData(data): TryData<Sent<T>>, ack: AckSender| {
        let job = {
            let (client, handler) = (client.clone(), handler.clone());
            move |ack| -> Work {
                Box::pin(async move {
                    let authorised = async {
                        let refused = |why: &str| {
                            Problem::new(Code::BadRequest, format!("`{}` doesn't take that: {why}", event.name))
                        };
                        let Sent(data) = data.map_err(|_| refused("its fields are not those of its description"))?;
                        let data = data.map_err(|error| refused(&error.to_string()))?;
                        let subject = data.about()?.subject(client.state()).await?;
                        authorise(&client.identity(), event.scope, &subject)?;
                        Ok::<_, Problem>((data, RequiredScope::new(event.scope, subject)))
                    };
                    let answer = match authorised.await {
                        Ok((data, right)) => {
                            let mut answer = handler(Call { client: client.clone(), socket }, data).await;
                            record::answered(&client, event, right.subject(), &mut answer).await;
                            answer.map(|answer| (answer, right))
                        }
                        Err(problem) => Err(problem),
                    };
                    if let Err(problem) = &answer
                        && problem.code == Code::Internal
                    {
                        tracing::error!(namespace = event.namespace, event = event.name, "{problem}");
                    }
                    if let Err(problem) = &answer
                        && problem.code.is_refusal()
                    {
                        record::refused(&client, event, problem).await;
                    }
                    let (told, stream) = match answer {
                        Ok((Answer { told, stream, .. }, right)) => (Ok(told), stream.map(|stream| (stream, right))),
                        Err(problem) => (Err(problem), None),
                    };
                    reply(ack, told);
                    if let Some((begin, right)) = stream {
                        let stream = begin(client.clone(), right);
                        client.state().streams().spawn(stream);
                    }
                })
            }
        };
        let busy = || Problem::new(Code::RateLimited, "too many events at once");
        match event.order {
            // What is refused is written down first, which takes a turn as all else does.
            Scheduling::AtOnce if client.joined().is_cancelled() => {
                let mut work = job(ack);
                if (&mut work).now_or_never().is_none() {
                    let _ = client.turns().try_send(Job(work));
                }
            }
            Scheduling::AtOnce | Scheduling::InTurn => match client.turns().try_reserve() {
                Ok(place) => place.send(Job(job(ack))),
                Err(_) => reply(ack, Err(busy())),
            },
            Scheduling::Beside => match client.beside().clone().try_acquire_owned() {
                Ok(place) => {
                    let (client, work) = (client.clone(), job(ack));
                    client.state().tasks().clone().spawn(async move {
                        if client.has_joined().await {
                            client.gone().run_until_cancelled(work).await;
                        }
                        drop(place);
                    });
                }
                Err(_) => reply(ack, Err(busy())),
            },
        }
        std::future::ready(())
    };
    socket.on(event.name, take);
}

/// Answers an event. One that was sent without wanting an answer gets none.
fn reply(ack: AckSender, answer: Result<Value, Problem>) {
    let answer = answer.unwrap_or_else(|problem| told(&problem));
    if let Err(error) = ack.send(&answer) {
        tracing::debug!("an answer was not sent: {error}");
    }
}
