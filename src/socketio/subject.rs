//! What an event is about, which decides who may send it.

use std::fmt;

use super::state::State;
use crate::names::{DeploymentId, ServiceName, SessionId};
use crate::problem::Problem;

/// What an event is about; what it takes is asked of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// The client's own connection and its streams.
    Own,
    /// The isolated shell, which is the whole host's.
    Shell,
    /// A service.
    Service(ServiceName),
    /// What isn't there: to whoever may not see all it is as if it were another service's.
    Nothing,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("its own connection"),
            Self::Shell => f.write_str("the isolated shell"),
            Self::Service(service) => service.fmt(f),
            Self::Nothing => f.write_str("nothing that is there"),
        }
    }
}

/// What an event names of what it is about.
#[derive(Debug)]
pub(super) enum About {
    /// The client's own connection and its streams.
    Own,
    /// A service, or the isolated shell.
    Place(Option<ServiceName>),
    /// A deployment, which is its service's.
    Deployment(DeploymentId),
    /// A terminal session, which is its place's.
    Session(SessionId),
}

impl From<Option<ServiceName>> for Subject {
    fn from(place: Option<ServiceName>) -> Self {
        place.map_or(Self::Shell, Self::Service)
    }
}

impl About {
    /// Whose that is.
    pub(super) async fn subject(self, state: &State) -> Result<Subject, Problem> {
        Ok(match self {
            Self::Own => Subject::Own,
            Self::Place(place) => place.into(),
            Self::Deployment(id) => {
                let service = state.deploys().service_of(id).await.map_err(|error| error.problem())?;
                service.map_or(Subject::Nothing, Subject::Service)
            }
            Self::Session(id) => {
                let session = state.terminals().session(&id).map_err(|error| error.problem())?;
                session.service.clone().into()
            }
        })
    }
}
