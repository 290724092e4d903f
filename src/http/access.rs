//! Who may call what: one table says how each route is locked, and this is the only place that opens a lock.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::unistd::{Gid, Group, Uid, User};

use super::State;
use crate::names::Actor;
use crate::problem::{Code, Problem, chain};
use crate::store::StoreError;

/// How a route is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Anybody may call it.
    Open,
    /// A session's cookie, a token as `Authorization: Bearer`, or a process on the host over the unix socket.
    SignedIn,
    /// A process on the host over the unix socket: root and the service user's group.
    Local,
    /// A token as the password of Basic authentication, which is what git can send.
    Git,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// TCP.
    Network,
    /// The unix socket, with what the kernel says of the other end.
    Local {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

/// The name of the session's cookie on plain loopback, and over TLS.
pub const COOKIES: [&str; 2] = ["podkeeper", "__Host-podkeeper"];

/// Who asks, where the lock opens.
pub async fn authorise(request: &tide::Request<State>, lock: Lock) -> Result<Option<Actor>, Problem> {
    if lock == Lock::Open {
        return Ok(None);
    }
    if let Some(actor) = local(request) {
        return Ok(Some(actor));
    }
    let failed = |error: StoreError| {
        tracing::error!("can't look a credential up: {}", chain(&error));
        error.problem()
    };
    let header = request.header("authorization").map(|value| value.as_str().to_owned());
    let auth = request.state().auth();
    let actor = match (lock, header.as_deref().and_then(|header| header.split_once(' '))) {
        (Lock::SignedIn, Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => {
            auth.token(token.trim()).await.map_err(failed)?
        }
        (Lock::SignedIn, None) => {
            let session = match cookie(request) {
                Some(value) => auth.session(&value).await.map_err(failed)?,
                None => None,
            };
            if session.is_some() {
                same_origin(request)?;
            }
            session.map(|session| Actor::Token(session.token))
        }
        (Lock::Git, Some((scheme, value))) if scheme.eq_ignore_ascii_case("basic") => match password(value) {
            Some(password) => auth.token(&password).await.map_err(failed)?,
            None => None,
        },
        _ => None,
    };
    match (actor, lock) {
        (Some(actor), _) => Ok(Some(actor)),
        (None, Lock::Local) => Err(Problem::new(Code::Forbidden, "only a process on the host may do this")
            .with_hint("run `podkeeper` on the host, as root or in the group podkeeper")),
        (None, Lock::Git) => Err(Problem::new(Code::NotSignedIn, "git wants a token as the password")
            .with_hint("`podkeeper token create --name NAME` on the host makes one; any user name will do")),
        (None, _) => Err(Problem::new(Code::NotSignedIn, "you are not signed in").with_hint(
            "`podkeeper token create --name NAME` on the host makes a token; send it as `Authorization: Bearer`, or sign \
             in with it",
        )),
    }
}

/// The other end of the unix socket, where it is one that may do everything.
fn local(request: &tide::Request<State>) -> Option<Actor> {
    match request.ext::<http::Extensions>()?.get::<Peer>()? {
        Peer::Local { uid, gid } if may(*uid, *gid) => Some(Actor::Local(*uid)),
        _ => None,
    }
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

/// The session cookie's value (RFC 6265, section 5.4).
pub fn cookie(request: &tide::Request<State>) -> Option<String> {
    let all = request.header("cookie")?;
    all.iter().flat_map(|header| header.as_str().split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        COOKIES.contains(&name).then(|| value.to_owned())
    })
}

/// An unsafe request that comes with a cookie must come from our own page.
pub fn same_origin(request: &tide::Request<State>) -> Result<(), Problem> {
    use http_types::Method;
    if matches!(request.method(), Method::Get | Method::Head | Method::Options) {
        return Ok(());
    }
    let header = |name| request.header(name).map(|value| value.as_str());
    let origin = header("origin").and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let same = match (origin, header("sec-fetch-site")) {
        (Some(origin), _) => header("host").is_some_and(|host| host.eq_ignore_ascii_case(origin)),
        (None, Some(site)) => site == "same-origin",
        (None, None) => false,
    };
    if same { Ok(()) } else { Err(Problem::new(Code::WrongOrigin, "this comes from another site than the dashboard")) }
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
}
