//! What stands behind every route: it opens the lock, has the handler answer, and tells the record.

use tokio_util::sync::CancellationToken;

use super::access;
use super::call::{Call, Handler};
use super::record::Record;
use super::respond::{self, Head};
use super::route::{Lock, Route};
use super::state::State;
use super::unmatched::not_allowed;
use crate::problem::Code;

/// One route.
pub(super) struct Endpoint {
    pub(super) route: &'static Route,
    pub(super) handler: Handler,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.route.path)
    }
}

#[async_trait::async_trait]
impl tide::Endpoint<State> for Endpoint {
    async fn call(&self, request: tide::Request<State>) -> tide::Result {
        let method = request.method();
        let (route, handler) = (self.route, self.handler);
        let is_of_lfs = request.url().path().contains("/info/lfs/");
        if method == http_types::Method::Head && !route.takes_head() {
            return Ok(not_allowed(request.state().table(), request.url().path()));
        }
        let answered = match Record::begin(&request, route) {
            Ok(mut record) => {
                let unattended = request.state().unattended().clone();
                let authorised = access::authorise(&request, route, &mut record).await;
                let admitted = authorised.and_then(|identity| {
                    let by = identity.as_ref().map(|identity| identity.actor.clone());
                    if route.acts() {
                        unattended.room(&by)?;
                    }
                    Ok((identity, by))
                });
                match admitted {
                    Ok((identity, by)) => {
                        let gone = CancellationToken::new();
                        let call = Call { request, route, identity, gone: gone.clone() };
                        let work = async move {
                            let answered = handler(call).await;
                            record.end(&answered).await;
                            answered
                        };
                        if route.acts() { unattended.carry_out(by, gone, work).await } else { work.await }
                    }
                    Err(problem) => {
                        let refused = Err(problem);
                        record.end(&refused).await;
                        refused
                    }
                }
            }
            Err(problem) => Err(problem),
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(problem) => {
                // What we are to blame for is written down; a client's mistake is its own.
                if problem.code == Code::Internal {
                    tracing::error!(method = %method, route = route.path, "{problem}");
                }
                match route.lock {
                    Lock::Git if is_of_lfs => respond::objects_problem(&problem),
                    Lock::Git => respond::plain_problem(&problem),
                    _ => respond::problem(&problem),
                }
            }
        };
        if response.header("x-request-id").is_none() {
            response.set_header("x-request-id", respond::request_id());
        }
        if route.lock != Lock::Open && response.header("cache-control").is_none() {
            response.set_header("cache-control", "no-store");
        }
        Ok(response)
    }
}
