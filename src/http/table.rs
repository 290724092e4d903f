//! The one table of routes: method, path, lock, handler. A test walks it and sees each lock closed.

use http_types::Method;

use super::call::Handler;
use super::route::{Lock, Route};
use super::routes::{
    audit, credentials, dashboard, deployments, env, git, health, hooks, host, logs, metrics, openapi, password, push,
    registries, services, sessions, tokens,
};

macro_rules! routes {
    ($($method:ident $path:literal $lock:ident $handler:path,)+) => {
        /// Every route.
        pub static ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            lock: Lock::$lock,
        },)+];
        /// What answers each of them, in the same order.
        static HANDLERS: &[Handler] = &[$(|call| Box::pin($handler(call)),)+];
    };
}

routes! {
    Get "/" Open dashboard::page,
    Get "/assets/:file" Open dashboard::asset,

    Get "/healthz" Open health::alive,
    Get "/readyz" Open health::ready,
    Get "/openapi.json" Open openapi::show,
    Get "/schemas/podkeeper.toml.json" Open openapi::repository,
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
    Get "/services/:name/host-key" Admin services::host_keys,
    Post "/services/:name/host-key" Admin services::take_host_key,

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
    Put "/git/:repository/info/lfs/objects/:object" Git git::upload,
}

/// Every route with what answers it.
pub(super) fn answered() -> impl Iterator<Item = (&'static Route, Handler)> {
    ROUTES.iter().zip(HANDLERS.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::route::Table;

    #[test]
    fn the_methods_of_a_path() {
        let methods = |path| Table(ROUTES).methods(path);
        assert_eq!(methods("/services/blog/start"), ["POST", "OPTIONS"]);
        assert_eq!(methods("/services"), ["GET", "HEAD", "OPTIONS"]);
        assert_eq!(methods("/hooks/blog"), ["GET", "POST", "OPTIONS"]);
        assert_eq!(methods("/git/blog.git/info/refs"), ["GET", "HEAD", "POST", "OPTIONS"]);
        assert!(methods("/services/").is_empty() && methods("/nothing").is_empty());
    }
}
