//! From what a request presents to who it is and what that may do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use nix::unistd::{Gid, Group, Uid, User};

use super::{Auth, Peer, Presented};
use crate::names::{Actor, Scope, ServiceName};
use crate::problem::{Code, Problem, chain};
use crate::store::{Grant, Session, StoreError, Token};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name that is written beside what it does.
    pub actor: Actor,
    /// What it may do, and to which service.
    pub grant: Grant,
    /// What it showed.
    pub credential: Credential,
    /// When that ends by itself.
    pub ends: Option<Timestamp>,
}

/// What somebody showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The unix socket.
    Local,
    /// A token, by its row.
    Token(i64),
    /// A session, by its row.
    Session(i64),
}

/// How a credential may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The session's cookie, or a token as `Authorization: Bearer`.
    Web,
    /// A token as the password of Basic authentication, which is what git can send.
    Git,
}

impl Identity {
    /// Whether it may do what takes `scope`, to `service` or, with none, to the whole host.
    pub fn allows(&self, scope: Scope, service: Option<&ServiceName>) -> Result<(), Problem> {
        if self.grant.scope < scope {
            let detail = format!("this takes the scope `{scope}`, and you have `{}`", self.grant.scope);
            return Err(Problem::new(Code::Forbidden, detail));
        }
        match &self.grant.service {
            Some(own) if service != Some(own) => {
                Err(Problem::new(Code::Forbidden, format!("you may see and change the service `{own}` only")))
            }
            _ => Ok(()),
        }
    }

    fn of_token(token: Token) -> Self {
        Self {
            actor: Actor::Token(token.name),
            grant: token.grant,
            credential: Credential::Token(token.id),
            ends: token.expires,
        }
    }

    fn of_session(session: Session) -> Self {
        Self {
            actor: Actor::Token(session.token),
            grant: session.grant,
            credential: Credential::Session(session.id),
            ends: Some(session.expires),
        }
    }
}

impl Auth {
    /// Who sends a request; none where it shows nothing that is good.
    pub async fn identify(&self, presented: &Presented, way: Way) -> Result<Option<Identity>, Problem> {
        if let Peer::Local { uid, gid } = presented.peer
            && may(uid, gid)
        {
            let grant = Grant { scope: Scope::Admin, service: None };
            return Ok(Some(Identity { actor: Actor::Local(uid), grant, credential: Credential::Local, ends: None }));
        }
        let header = presented.authorization.as_deref();
        let found = match (way, header.map(|header| header.split_once(' ').unwrap_or((header, "")))) {
            (Way::Web, Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => {
                self.token(token.trim()).await.map(|token| token.map(Identity::of_token))
            }
            (Way::Web, None) => match &presented.cookie {
                Some(value) => self.session(value).await.map(|session| session.map(Identity::of_session)),
                None => Ok(None),
            },
            (Way::Git, Some((scheme, value))) if scheme.eq_ignore_ascii_case("basic") => match password(value) {
                Some(password) => self.token(&password).await.map(|token| token.map(Identity::of_token)),
                None => Ok(None),
            },
            _ => Ok(None),
        };
        let found = found.map_err(failed)?;
        if let Some(Identity { credential: Credential::Session(_), .. }) = found {
            self.same_origin(presented)?;
        }
        Ok(found)
    }

    /// Who a credential belongs to now, for what goes on longer than a request: none once it has ended.
    pub async fn still(&self, identity: &Identity) -> Result<Option<Identity>, Problem> {
        match identity.credential {
            Credential::Local => Ok(Some(identity.clone())),
            Credential::Token(id) => {
                let token = self.store.token_by_id(id).await.map_err(failed)?;
                Ok(token.map(Identity::of_token))
            }
            Credential::Session(id) => {
                let session = self.store.session_by_id(id).await.map_err(failed)?;
                Ok(session.map(Identity::of_session))
            }
        }
    }
}

fn failed(error: StoreError) -> Problem {
    tracing::error!("can't look a credential up: {}", chain(&error));
    error.problem()
}

/// Root, the agent's own user, and those in its group. The socket's own mode says the same; this is the second lock.
fn may(uid: u32, gid: u32) -> bool {
    let own = Gid::current();
    if uid == 0 || uid == Uid::current().as_raw() || gid == own.as_raw() {
        return true;
    }
    let member = || {
        let user = User::from_uid(Uid::from_raw(uid)).ok()??;
        let group = Group::from_gid(own).ok()??;
        Some(group.mem.contains(&user.name))
    };
    member().unwrap_or(false)
}

/// The password of Basic authentication (RFC 7617).
fn password(value: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_what_follows_the_first_colon() {
        assert_eq!(password(&STANDARD.encode("ann:pk_a:b")).as_deref(), Some("pk_a:b"));
        assert_eq!(password(&STANDARD.encode("pk_a")), None);
        assert_eq!(password("???"), None);
    }

    #[test]
    fn root_and_ourselves_may() {
        assert!(may(0, 0));
        assert!(may(Uid::current().as_raw(), 1));
        assert!(!may(65_534, 65_534) || Gid::current().as_raw() == 65_534);
    }

    #[test]
    fn a_scope_holds_the_smaller_ones_and_a_service_only_itself() {
        let blog: ServiceName = "blog".parse().unwrap();
        let shop: ServiceName = "shop".parse().unwrap();
        let identity = |scope, service| Identity {
            actor: Actor::Agent,
            grant: Grant { scope, service },
            credential: Credential::Local,
            ends: None,
        };
        let all = identity(Scope::Deploy, None);
        assert!(all.allows(Scope::Read, None).is_ok() && all.allows(Scope::Deploy, Some(&blog)).is_ok());
        assert_eq!(all.allows(Scope::Admin, Some(&blog)).unwrap_err().code, Code::Forbidden);
        let one = identity(Scope::Admin, Some(blog.clone()));
        assert!(one.allows(Scope::Admin, Some(&blog)).is_ok());
        assert!(one.allows(Scope::Read, Some(&shop)).is_err() && one.allows(Scope::Read, None).is_err());
    }
}
