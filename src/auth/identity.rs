//! From what a request presents to who it is and what that may do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use nix::unistd::{Gid, Group, Uid, User};
use secrecy::{ExposeSecret, SecretString};

use super::tokens::PREFIX;
use super::{Auth, Peer, Presented, hash};
use crate::names::{Actor, LinkId, Scope, ServiceName, SignInId, TokenId};
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
    Token(TokenId),
    /// A session, by its row.
    Session(SignInId),
    /// The git password that was set at this time.
    GitPassword(Timestamp),
    /// An enrolment link, by its row.
    Link(LinkId),
}

/// How a credential may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// The session's cookie, or a token as `Authorization: Bearer`.
    Web,
    /// The same, or an enrolment link's secret as `Authorization: Enroll`.
    Enroll,
    /// The git password, or a token, as the password of Basic authentication, which is what git can send.
    Git,
}

impl Identity {
    /// Whether it may do what takes `scope`, to `service` or, with none, to the whole host.
    pub fn allows(&self, scope: Scope, service: Option<&ServiceName>) -> Result<(), Problem> {
        if self.grant.scope < scope {
            let detail = format!("this needs the scope `{scope}`, and you have `{}`", self.grant.scope);
            return Err(Problem::new(Code::Forbidden, detail).with_hint(format!(
                "use a token of that scope: `podkeeper token create --name NAME --scope {scope}`"
            )));
        }
        match &self.grant.service {
            Some(own) if service != Some(own) => {
                Err(Problem::new(Code::Forbidden, format!("you may see and change only the service `{own}`"))
                    .with_hint("use a token that is not bound to one service"))
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

    fn of_link((id, ends): (LinkId, Timestamp)) -> Self {
        Self {
            actor: Actor::Link,
            grant: Grant { scope: Scope::Admin, service: None },
            credential: Credential::Link(id),
            ends: Some(ends),
        }
    }

    fn of_session(session: Session) -> Self {
        Self {
            actor: session.actor,
            grant: session.grant,
            credential: Credential::Session(session.id),
            ends: Some(session.expires),
        }
    }
}

impl Auth {
    /// Who sends a request; none where it shows nothing that is good.
    pub async fn identify(&self, presented: &Presented, way: Accepts) -> Result<Option<Identity>, Problem> {
        if let Peer::Local { uid, gid } = presented.peer
            && may(uid, gid)
        {
            let grant = Grant { scope: Scope::Admin, service: None };
            return Ok(Some(Identity { actor: Actor::Local(uid), grant, credential: Credential::Local, ends: None }));
        }
        let header = presented.authorization.as_deref();
        let header = header.map(|header| header.split_once(' ').unwrap_or((header, "")));
        match (way, header) {
            (Accepts::Enroll, Some((scheme, secret))) if scheme.eq_ignore_ascii_case("enroll") => {
                self.by_link(presented, secret.trim()).await
            }
            (Accepts::Web | Accepts::Enroll, Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => {
                self.by_token(presented, token.trim()).await
            }
            (Accepts::Web | Accepts::Enroll, None) => {
                let found = self.session(presented).await.map_err(failed)?;
                if found.is_some() {
                    self.same_origin(presented)?;
                }
                Ok(found.map(Identity::of_session))
            }
            (Accepts::Git, Some((scheme, value))) if scheme.eq_ignore_ascii_case("basic") => {
                let Some(password) = password(value) else { return Ok(None) };
                if password.expose_secret().starts_with(PREFIX) {
                    self.by_token(presented, password.expose_secret()).await
                } else {
                    self.by_password(presented, password).await
                }
            }
            _ => Ok(None),
        }
    }

    async fn by_link(&self, presented: &Presented, secret: &str) -> Result<Option<Identity>, Problem> {
        let found = self.store.link(hash(secret)).await.map_err(failed)?;
        if found.is_none() {
            self.wrong_key(presented)?;
        }
        Ok(found.map(Identity::of_link))
    }

    async fn by_token(&self, presented: &Presented, token: &str) -> Result<Option<Identity>, Problem> {
        let found = self.token(token).await.map_err(failed)?;
        if found.is_none() {
            self.wrong_key(presented)?;
        }
        Ok(found.map(Identity::of_token))
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
                let session = self.session_by_id(id).await.map_err(failed)?;
                Ok(session.map(Identity::of_session))
            }
            Credential::GitPassword(changed) => self.password_of(changed).await,
            // A link opens nothing that goes on.
            Credential::Link(_) => Ok(None),
        }
    }
}

pub(super) fn failed(error: StoreError) -> Problem {
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
fn password(value: &str) -> Option<SecretString> {
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_what_follows_the_first_colon() {
        assert_eq!(password(&STANDARD.encode("ann:pk_a:b")).unwrap().expose_secret(), "pk_a:b");
        assert!(password(&STANDARD.encode("pk_a")).is_none() && password("???").is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_password_arrives_as_it_was_typed(user in "[^:]{0,20}", typed in ".{0,60}", noise in ".{0,60}") {
            let value = STANDARD.encode(format!("{user}:{typed}"));
            let read = password(&value).unwrap();
            proptest::prop_assert_eq!(read.expose_secret(), typed);
            let _ = password(&noise);
        }
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
