//! Cross-site requests: whoever comes with a cookie must come from our own page.

use super::{Auth, Presented};
use crate::problem::{Code, Problem};

impl Auth {
    /// Refuses what another site's page made the browser send. Without an `Origin` the browser's own word on the site
    /// decides, and a request that tells neither is refused where it could change something.
    pub fn same_origin(&self, presented: &Presented) -> Result<(), Problem> {
        let same = match (&presented.origin, &presented.fetch_site) {
            (Some(origin), _) if origin != "null" => self.is_ours(origin, presented),
            (_, Some(site)) if presented.safe => {
                // A link from elsewhere may be followed; a script or an image from elsewhere gets nothing.
                let followed = presented.fetch_mode.as_deref() == Some("navigate");
                followed || site == "same-origin" || site == "none"
            }
            (_, Some(site)) => site == "same-origin",
            (None, None) => presented.safe,
            (Some(_), None) => false,
        };
        if same {
            Ok(())
        } else {
            Err(Problem::new(Code::WrongOrigin, "this comes from another site than the dashboard"))
        }
    }

    /// Whether a page of this origin was served by us: at a configured address, or at the one that it now asks.
    fn is_ours(&self, origin: &str, presented: &Presented) -> bool {
        self.site(presented).is_ok_and(|site| site.is(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{auth_at, presented};
    use super::*;

    #[test]
    fn only_our_own_pages_may_change_something() {
        let (_folder, auth) = auth_at("https://pods.example.com");
        for (safe, origin, site, mode, host, good) in [
            (false, Some("https://pods.example.com"), None, None, "pods.example.com", true),
            (false, Some("https://pods.example.com"), None, None, "127.0.0.1:7070", true),
            (false, Some("http://pods.example.com"), None, None, "pods.example.com", false),
            (false, Some("http://localhost:9000"), Some("same-origin"), None, "localhost:9000", true),
            (false, Some("http://localhost:9001"), Some("same-site"), None, "localhost:9000", false),
            (false, Some("http://evil.example"), Some("same-origin"), None, "localhost:9000", false),
            (false, Some("null"), Some("same-origin"), None, "localhost:9000", true),
            (false, Some("null"), None, None, "localhost:9000", false),
            (false, Some(""), Some("same-origin"), None, "", false),
            (false, None, Some("same-origin"), None, "localhost:9000", true),
            (false, None, Some("same-site"), None, "localhost:9000", false),
            (false, None, Some("none"), None, "localhost:9000", false),
            (false, None, None, None, "localhost:9000", false),
            (true, None, None, None, "localhost:9000", true),
            (true, None, Some("cross-site"), Some("no-cors"), "localhost:9000", false),
            (true, None, Some("same-site"), Some("cors"), "localhost:9000", false),
            (true, None, Some("cross-site"), Some("navigate"), "localhost:9000", true),
            (true, None, Some("none"), Some("navigate"), "localhost:9000", true),
            (true, Some("http://evil.example"), None, None, "localhost:9000", false),
        ] {
            let text = |text: &str| Some(text.to_owned());
            let presented = Presented {
                safe,
                origin: origin.and_then(text),
                fetch_site: site.and_then(text),
                fetch_mode: mode.and_then(text),
                host: text(host),
                ..presented(None, None)
            };
            assert_eq!(auth.same_origin(&presented).is_ok(), good, "{safe} {origin:?} {site:?} {mode:?} {host}");
        }
    }
}
