//! A request whose lock was opened, as its handler has it.

use std::pin::Pin;

use tide::Response;
use tokio_util::sync::CancellationToken;

use super::access;
use super::request;
use super::route::Route;
use super::state::State;
use crate::auth::{Identity, Lease, Presented};
use crate::names::{Actor, NameError, Scope, ServiceName};
use crate::problem::{Code, Problem};

/// What a handler answers.
pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;
/// What answers a route.
pub(super) type Handler = fn(Call) -> Answer;

/// A request whose lock was opened.
pub struct Call {
    pub(super) request: tide::Request<State>,
    pub(super) route: &'static Route,
    pub(super) identity: Option<Identity>,
    /// Cancelled when the client has left.
    pub(super) gone: CancellationToken,
}

impl Call {
    pub(super) fn state(&self) -> &State {
        self.request.state()
    }

    /// Who asks. Every locked route has somebody.
    pub(super) fn actor(&self) -> Result<Actor, Problem> {
        Ok(self.identity()?.actor.clone())
    }

    /// Who asks, with what it may do.
    pub(super) fn identity(&self) -> Result<&Identity, Problem> {
        self.identity.as_ref().ok_or_else(|| Problem::new(Code::NotSignedIn, "you are not signed in"))
    }

    /// For how long an answer that goes on may go on.
    pub(super) async fn lease(&self) -> Result<Lease, Problem> {
        access::lease(&self.request, self.route, self.identity.as_ref()).await
    }

    /// Whether whoever asks may see `service`, for what lists several.
    pub(super) fn sees(&self, service: &ServiceName) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.allows(Scope::Read, Some(service)).is_ok())
    }

    /// Counts a call that anybody may make.
    pub(super) fn count_open_call(&self) -> Result<(), Problem> {
        self.state().auth().open_call(self.presented()?)
    }

    /// What the request presents of who sends it.
    pub(super) fn presented(&self) -> Result<&Presented, Problem> {
        request::presented(&self.request)
    }

    /// A page elsewhere must sign nobody in or out, not even with a token of its own. Programs send no `Origin`.
    pub(super) fn own_page(&self) -> Result<(), Problem> {
        let presented = self.presented()?;
        if presented.origin.is_some() || presented.fetch_site.is_some() {
            self.state().auth().same_origin(presented)?;
        }
        Ok(())
    }

    /// A part of the path, decoded.
    pub(super) fn param(&self, name: &str) -> Result<String, Problem> {
        request::param(&self.request, name)
    }

    /// The service that the path names.
    pub(super) fn service(&self) -> Result<ServiceName, Problem> {
        self.param("name")?.parse().map_err(|error: NameError| error.problem())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name).map(|value| value.as_str())
    }
}
