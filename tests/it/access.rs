//! The table: every route for everybody who may come.

use http_types::Method;
use podkeeper::http::table::ROUTES;
use podkeeper::http::{Lock, Route};
use podkeeper::names::{Actor, Scope};
use podkeeper::store::{Cause, NewDeployment};
use secrecy::ExposeSecret;

use super::support::{Answer, TestAgent, head, request};

/// Who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    WrongKey,
    ExpiredSession,
    /// With an enrolment link's secret.
    Link,
    WrongOrigin,
    NoOrigin,
    Session,
    /// A token with this scope, of the service that the path names, of another, or of all.
    Token(Scope, Of),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    This,
    Other,
    All,
}

/// Those who hold the most come last, since what they open may change something.
const ALL: [Who; 16] = [
    Who::Nobody,
    Who::WrongKey,
    Who::ExpiredSession,
    Who::Link,
    Who::WrongOrigin,
    Who::NoOrigin,
    Who::Token(Scope::Read, Of::Other),
    Who::Token(Scope::Read, Of::This),
    Who::Token(Scope::Read, Of::All),
    Who::Token(Scope::Deploy, Of::Other),
    Who::Token(Scope::Deploy, Of::This),
    Who::Token(Scope::Deploy, Of::All),
    Who::Token(Scope::Admin, Of::Other),
    Who::Token(Scope::Admin, Of::This),
    Who::Token(Scope::Admin, Of::All),
    Who::Session,
];

/// What the lock says to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Opens,
    NotSignedIn,
    Forbidden,
    WrongOrigin,
}

/// What must be, told apart from how the product decides it.
fn expected(route: &Route, who: Who) -> Verdict {
    let safe = route.method == Method::Get;
    let of_a_service = ["/services/:name", "/deployments/:id", "/git/"].iter().any(|head| route.path.starts_with(head));
    let least = match route.lock {
        Lock::Open | Lock::Key => return Verdict::Opens,
        Lock::Local => return Verdict::Forbidden,
        Lock::Own => None,
        Lock::Read | Lock::List => Some(Scope::Read),
        Lock::Git if safe => Some(Scope::Read),
        Lock::Deploy | Lock::Git => Some(Scope::Deploy),
        Lock::Admin | Lock::Enroll => Some(Scope::Admin),
    };
    match who {
        Who::Link if route.lock == Lock::Enroll => Verdict::Opens,
        Who::Nobody | Who::WrongKey | Who::ExpiredSession | Who::Link => Verdict::NotSignedIn,
        // Git never comes with a cookie.
        Who::WrongOrigin | Who::NoOrigin | Who::Session if route.lock == Lock::Git => Verdict::NotSignedIn,
        Who::WrongOrigin => Verdict::WrongOrigin,
        Who::NoOrigin if !safe => Verdict::WrongOrigin,
        Who::NoOrigin | Who::Session => Verdict::Opens,
        Who::Token(scope, of) => {
            let enough = least.is_none_or(|least| scope >= least);
            let mine = least.is_none() || route.lock == Lock::List || of == Of::All || (of == Of::This && of_a_service);
            if enough && mine { Verdict::Opens } else { Verdict::Forbidden }
        }
    }
}

/// The path with something in the place of each parameter, and a field that none takes: what the lock lets through is
/// refused as malformed and changes nothing.
fn path(route: &Route) -> String {
    let rest = if route.method == Method::Get { "info/refs?service=git-upload-pack" } else { "git-receive-pack" };
    let parts = route.path.split('/').map(|part| match part {
        ":repository" => "some.git",
        ":id" => "1",
        part if part.starts_with(':') => "some",
        part if part.starts_with('*') => rest,
        part => part,
    });
    let path = parts.collect::<Vec<_>>().join("/");
    if route.lock == Lock::Git { path } else { path + "?nonsense=1" }
}

fn verdict(route: &Route, answer: &Answer) -> Verdict {
    let code = answer.code();
    match (answer.status, route.lock) {
        (401, Lock::Git) => Verdict::NotSignedIn,
        (403, Lock::Git) => Verdict::Forbidden,
        (401, _) if code == "not-signed-in" => Verdict::NotSignedIn,
        (403, _) if code == "forbidden" => Verdict::Forbidden,
        (403, _) if code == "wrong-origin" => Verdict::WrongOrigin,
        (401 | 403, _) => panic!("{answer:?}"),
        _ => Verdict::Opens,
    }
}

async fn sign_in(agent: &TestAgent, token: &str) -> String {
    let body = format!("{{\"token\":\"{token}\"}}");
    let signed_in = agent.ask(&request("POST", "/sessions", &[("Content-Type", "application/json")], &body)).await;
    assert_eq!(signed_in.status, 201, "{signed_in:?}");
    let cookie = signed_in.header("set-cookie").unwrap();
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

/// The headers that each of them sends.
struct Keys {
    tokens: Vec<(Scope, Of, String)>,
    expired: String,
    session: String,
    link: String,
}

impl Keys {
    async fn make(agent: &TestAgent) -> Self {
        let (this, other) = (agent.service("some").await, agent.service("other").await);
        let deployment = NewDeployment {
            service: this.clone(),
            cause: Cause::Start,
            actor: Actor::Agent,
            commit: None,
            from_release: None,
            env: None,
        };
        assert_eq!(agent.store.request_deployment(deployment).await.unwrap().0.id.0, 1);
        let mut tokens = Vec::new();
        for scope in Scope::ALL {
            for (of, service) in [(Of::This, Some(&this)), (Of::Other, Some(&other)), (Of::All, None)] {
                let token = agent.token(&format!("{scope}-{of:?}"), scope, service.cloned()).await;
                tokens.push((scope, of, token.expose_secret().to_owned()));
            }
        }
        let (_, _, admin) = tokens.last().unwrap();
        let expired = sign_in(agent, admin).await;
        let store = rusqlite::Connection::open(agent.folder.path().join("agent/store.db")).unwrap();
        assert_eq!(store.execute("UPDATE sessions SET expires = 1", []).unwrap(), 1);
        let session = sign_in(agent, admin).await;
        let (url, _) = agent.auth.enroll().await.unwrap();
        let link = url.expose_secret().split_once("#enroll=").unwrap().1.to_owned();
        Self { tokens, expired, session, link }
    }

    /// A new session where the last one was ended by what it opened.
    async fn renew(&mut self, agent: &TestAgent) {
        let (_, _, admin) = self.tokens.last().unwrap();
        self.session = sign_in(agent, admin).await;
    }

    fn headers(&self, lock: Lock, who: Who) -> Vec<(&'static str, String)> {
        let authorization = |token: &str| {
            let basic = || data_encoding::BASE64.encode(format!("anybody:{token}").as_bytes());
            ("Authorization", if lock == Lock::Git { format!("Basic {}", basic()) } else { format!("Bearer {token}") })
        };
        let cookie = |value: &str| ("Cookie", value.to_owned());
        match who {
            Who::Nobody => Vec::new(),
            Who::WrongKey => vec![authorization("pk_aaaa")],
            Who::ExpiredSession => vec![cookie(&self.expired), ("Origin", "http://localhost".into())],
            Who::Link => vec![("Authorization", format!("Enroll {}", self.link))],
            Who::WrongOrigin => vec![cookie(&self.session), ("Origin", "http://evil.example".into())],
            Who::NoOrigin => vec![cookie(&self.session)],
            Who::Session => vec![cookie(&self.session), ("Origin", "http://localhost".into())],
            Who::Token(scope, of) => {
                let found = self.tokens.iter().find(|token| (token.0, token.1) == (scope, of));
                vec![authorization(&found.unwrap().2)]
            }
        }
    }
}

#[tokio::test]
async fn every_route_for_everybody() {
    let agent = TestAgent::start().await;
    let mut keys = Keys::make(&agent).await;
    let mut looked = 0;
    for who in ALL {
        for route in ROUTES.iter().filter(|route| ![Lock::Open, Lock::Key].contains(&route.lock)) {
            let headers = keys.headers(route.lock, who);
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let text = request(route.method.as_ref(), &path(route), &headers, "");
            let answer = head(agent.served.address, &text).await;
            let name = format!("{} {} by {who:?}: {answer:?}", route.method, route.path);
            assert_eq!(verdict(route, &answer), expected(route, who), "{name}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{name}");
            if answer.status == 401 && route.lock == Lock::Git {
                assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("basic")), "{name}");
            }
            if who == Who::Session && route.method != Method::Get && !route.path.starts_with("/services") {
                keys.renew(&agent).await;
            }
            looked += 1;
        }
    }
    assert!(looked >= ALL.len() * 30, "{looked} answers were looked at");
}

#[tokio::test]
async fn what_may_not_be_seen_is_as_if_it_were_not_there() {
    let agent = TestAgent::start().await;
    let keys = Keys::make(&agent).await;
    let other = keys.headers(Lock::Read, Who::Token(Scope::Deploy, Of::Other));
    let git = keys.headers(Lock::Git, Who::Token(Scope::Deploy, Of::Other));
    let told = |answer: Answer| {
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or(answer.body.as_str().into());
        (answer.status, body["detail"].clone(), body.is_string().then_some(answer.body))
    };
    for (headers, there, not_there) in [
        (&other, "/services/some", "/services/none"),
        (&other, "/deployments/1", "/deployments/99"),
        (&other, "/services/some/logs", "/services/none/logs"),
        (&git, "/git/some.git/info/refs?service=git-upload-pack", "/git/none.git/info/refs?service=git-upload-pack"),
        (&Vec::new(), "/services/some", "/services/none"),
        (
            &Vec::new(),
            "/git/some.git/info/refs?service=git-upload-pack",
            "/git/none.git/info/refs?service=git-upload-pack",
        ),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let one = told(agent.ask(&request("GET", there, &headers, "")).await);
        let two = told(agent.ask(&request("GET", not_there, &headers, "")).await);
        assert_eq!(one, two, "{there}");
        assert!([401, 403].contains(&one.0), "{one:?}");
    }
}

#[tokio::test]
async fn a_push_takes_more_than_a_fetch() {
    let agent = TestAgent::start().await;
    let keys = Keys::make(&agent).await;
    for (scope, path, refused) in [
        (Scope::Read, "/git/some.git/info/refs?service=git-upload-pack", false),
        (Scope::Read, "/git/some.git/info/refs?service=git-receive-pack", true),
        (Scope::Read, "/git/some.git/info/refs?service=git-receive%2Dpack", true),
        (Scope::Read, "/git/some.git/git-receive%2dpack", true),
        (Scope::Deploy, "/git/some.git/info/refs?service=git-receive-pack", false),
    ] {
        let headers = keys.headers(Lock::Git, Who::Token(scope, Of::This));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = agent.ask(&request("GET", path, &headers, "")).await;
        assert_eq!(answer.status == 403, refused, "{scope} {path}: {answer:?}");
    }
}
