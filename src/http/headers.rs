//! The headers that every answer has.

use super::request;
use super::respond::Head;
use super::state::State;

/// What an answer that is no page lets a browser do with it.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";
/// A year: a browser that came over TLS once never comes without.
const HSTS: &str = "max-age=31536000";

/// The headers that every answer has. No other site's page may read anything: there is no CORS.
#[derive(Debug)]
pub(super) struct Headers;

#[async_trait::async_trait]
impl tide::Middleware<State> for Headers {
    async fn handle(&self, asked: tide::Request<State>, next: tide::Next<'_, State>) -> tide::Result {
        let site = request::presented(&asked).and_then(|presented| asked.state().auth().site(presented));
        let secure = site.is_ok_and(|site| site.secure());
        let mut response = next.run(asked).await;
        response.set_header("x-content-type-options", "nosniff");
        response.set_header("referrer-policy", "same-origin");
        response.set_header("cross-origin-opener-policy", "same-origin");
        response.set_header("cross-origin-resource-policy", "same-origin");
        if response.header("content-security-policy").is_none() {
            response.set_header("content-security-policy", NOTHING);
        }
        if secure {
            response.set_header("strict-transport-security", HSTS);
        }
        Ok(response)
    }
}
