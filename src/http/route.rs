//! A route: how it is locked, and what of its calls is known by that alone.

use http_types::Method;

use crate::names::Actor;

/// How a route is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Anybody may call it.
    Open,
    /// Whoever shows the key of what the path names, which only the handler knows. A wrong key finds nothing there.
    Key,
    /// Whoever is signed in, whatever it may do: what concerns its own session only.
    Own,
    /// Whoever may read, the service that the path names or the whole host.
    Read,
    /// Whoever may read anything: a list, which holds the services alone that the one who asks may see.
    List,
    /// The same as `Read` for deploying.
    Deploy,
    /// The same for everything, secrets too.
    Admin,
    /// Whoever may do everything, and whoever has an enrolment link's secret: to register a passkey.
    Enroll,
    /// A process on the host over the unix socket: root and the service user's group.
    Local,
    /// The git password, or a token, in Basic authentication, which is what git can send. A fetch is reading, a push is
    /// deploying.
    Git,
}

/// A route.
#[derive(Debug)]
pub struct Route {
    /// The method. A GET answers HEAD too, where [`Route::takes_head`] says so.
    pub method: Method,
    /// tide's pattern: `:name` is one part of the path, `*path` the rest of it.
    pub path: &'static str,
    /// How it is locked.
    pub lock: Lock,
}

impl Route {
    /// Whether the path takes HEAD. A hook's doesn't: a link preview must not build.
    #[must_use]
    pub fn takes_head(&self) -> bool {
        self.method == Method::Get && !self.path.starts_with("/hooks/")
    }

    /// Whether a call may do more than look. What it does is then done whole, also where the client leaves in the middle.
    #[must_use]
    pub fn acts(&self) -> bool {
        // Git's own program moves a ref whole or not at all, and maintenance finds one that was moved.
        self.lock != Lock::Git
            && (self.method != Method::Get || self.lock == Lock::Key || self.path.ends_with("/deploy-key"))
    }
}

/// Every route, as what is below the handlers is handed them.
#[derive(Debug, Clone, Copy)]
pub struct Table(pub &'static [Route]);

impl Table {
    /// The methods that a path takes.
    #[must_use]
    pub fn methods(self, path: &str) -> Vec<&'static str> {
        let mut methods = Vec::new();
        for route in self.0.iter().filter(|route| fits(route.path, path)) {
            let all: &[&str] = match route.method {
                Method::Get if route.takes_head() => &["GET", "HEAD"],
                Method::Get => &["GET"],
                Method::Post => &["POST"],
                Method::Put => &["PUT"],
                Method::Patch => &["PATCH"],
                Method::Delete => &["DELETE"],
                _ => &[],
            };
            methods.extend(all.iter().filter(|method| !methods.contains(*method)).copied().collect::<Vec<_>>());
        }
        if !methods.is_empty() {
            methods.push("OPTIONS");
        }
        methods
    }

    /// Whether a path takes a body from anybody.
    #[must_use]
    pub fn is_open(self, path: &str) -> bool {
        self.0.iter().any(|route| route.lock == Lock::Open && route.method != Method::Get && fits(route.path, path))
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for wanted in pattern.split('/') {
        if wanted.starts_with('*') {
            return parts.next().is_some_and(|part| !part.is_empty());
        }
        match parts.next() {
            Some(part) if wanted == part || (wanted.starts_with(':') && !part.is_empty()) => {}
            _ => return false,
        }
    }
    parts.next().is_none()
}

/// What a handler adds to the record of its call: it lies in the answer's extensions.
#[derive(Debug, Default, Clone)]
pub struct Note {
    /// Who it was, where the route's lock doesn't tell. It makes a record of any call.
    pub actor: Option<Actor>,
    /// What more there is to say.
    pub detail: Option<String>,
}
