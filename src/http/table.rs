//! The one table of routes: method, path, lock, handler. A test walks it and sees each lock closed.

use http_types::Method;

use super::access::Lock;
use super::routes::{
    audit, credentials, dashboard, deployments, env, git, health, hooks, host, logs, metrics, openapi, password, push,
    registries, services, sessions, tokens,
};
use super::{Answer, Call};

/// A route.
pub struct Route {
    /// The method. A GET answers HEAD too, where [`Route::takes_head`] says so.
    pub method: Method,
    /// tide's pattern: `:name` is one part of the path, `*path` the rest of it.
    pub path: &'static str,
    /// How it is locked.
    pub lock: Lock,
    /// What answers it.
    pub(super) handler: fn(Call) -> Answer,
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
        // Git's own program moves a ref whole or not at all, and the regular look finds one that was moved.
        self.lock != Lock::Git
            && (self.method != Method::Get || self.lock == Lock::Key || self.path.ends_with("/deploy-key"))
    }
}

macro_rules! routes {
    ($($method:ident $path:literal $lock:ident $handler:path,)+) => {
        /// Every route.
        pub static ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            lock: Lock::$lock,
            handler: |call| Box::pin($handler(call)),
        },)+];
    };
}

routes! {
    Get "/" Open dashboard::page,
    Get "/assets/:file" Open dashboard::asset,

    Get "/healthz" Open health::alive,
    Get "/readyz" Open health::ready,
    Get "/openapi.json" Open openapi::show,
    Get "/metrics" List metrics::show,

    Get "/services" List services::list,
    Get "/services/status" List services::status,
    Get "/services/available" Open services::available,
    Put "/services/:name" Admin services::create,
    Get "/services/:name" Read services::show,
    Patch "/services/:name" Admin services::change,
    Delete "/services/:name" Admin services::remove,
    Post "/services/:name/start" Deploy services::start,
    Post "/services/:name/stop" Deploy services::stop,
    Post "/services/:name/restart" Deploy services::restart,
    Post "/services/:name/rollback" Deploy services::rollback,
    Get "/services/:name/releases" Read deployments::releases,
    Get "/services/:name/logs" Read logs::history,
    Get "/services/:name/env" Admin env::show,
    Post "/services/:name/env/update" Admin env::update,
    Get "/services/:name/deployments" Read deployments::list,
    Get "/services/:name/deploy-key" Admin services::deploy_key,
    Post "/services/:name/deploy-key" Admin services::deploy_key,

    Get "/deployments/:id" Read deployments::show,
    Delete "/deployments/:id" Deploy deployments::cancel,
    Get "/deployments/:id/log" Read deployments::log,

    Get "/services/:name/hook" Admin hooks::show,
    Post "/services/:name/hook/rotate" Admin hooks::rotate,
    Get "/hooks/:repo" Key hooks::deliver,
    Post "/hooks/:repo" Key hooks::deliver,

    Get "/templates" Read services::templates,

    Get "/host" Read host::show,

    Get "/registries" Admin registries::list,
    Put "/registries/:registry" Admin registries::log_in,
    Delete "/registries/:registry" Admin registries::log_out,

    Post "/sessions" Open sessions::sign_in,
    Get "/sessions" Admin sessions::list,
    Delete "/sessions" Admin sessions::remove_all,
    Delete "/sessions/current" Own sessions::leave,
    Delete "/sessions/:id" Admin sessions::remove,

    Get "/credentials/tokens" Admin tokens::list,
    Post "/credentials/tokens" Admin tokens::create,
    Delete "/credentials/tokens/:name" Admin tokens::remove,
    Post "/credentials/update" Admin password::update,

    Get "/audit" Admin audit::list,
    Get "/audit/verify" Admin audit::verify,

    Get "/credentials" Admin credentials::list,
    Get "/credentials/session" Own credentials::who,
    Post "/credentials/logout" Open credentials::logout,
    Post "/credentials/fido/register/options" Enroll credentials::register_options,
    Post "/credentials/fido/register" Enroll credentials::register,
    Post "/credentials/fido/login/options" Open credentials::login_options,
    Post "/credentials/fido/login" Open credentials::login,
    Patch "/credentials/fido/:id" Admin credentials::rename,
    Delete "/credentials/fido/:id" Admin credentials::remove,

    Post "/internal/enrolments" Local credentials::enroll,
    Post "/internal/push/:name" Local push::pushed,

    Get "/git/:repository/*path" Git git::answer,
    Post "/git/:repository/*path" Git git::answer,
}

/// The methods that a path takes.
#[must_use]
pub fn methods(path: &str) -> Vec<&'static str> {
    let mut methods = Vec::new();
    for route in ROUTES.iter().filter(|route| fits(route.path, path)) {
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
pub fn is_open(path: &str) -> bool {
    ROUTES.iter().any(|route| route.lock == Lock::Open && route.method != Method::Get && fits(route.path, path))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_of_a_path() {
        assert_eq!(methods("/services/blog/start"), ["POST", "OPTIONS"]);
        assert_eq!(methods("/services"), ["GET", "HEAD", "OPTIONS"]);
        assert_eq!(methods("/hooks/blog"), ["GET", "POST", "OPTIONS"]);
        assert_eq!(methods("/git/blog.git/info/refs"), ["GET", "HEAD", "POST", "OPTIONS"]);
        assert!(methods("/services/").is_empty() && methods("/nothing").is_empty());
    }
}
