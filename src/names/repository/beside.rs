//! What an address says of another: where a forge may lead on to, and what a submodule's is.

use secrecy::SecretString;

use super::{RepoUri, Transport, UriError};

impl RepoUri {
    /// Whether a forge that was asked for this repository may name `other` in its place: what is encrypted stays so.
    #[must_use]
    pub fn follows(&self, other: &Self) -> bool {
        other.transport == self.transport && (other.url.scheme() == "https" || self.url.scheme() == "http")
    }

    /// Whether it is at the same place as `other`, so that what reads the one may be shown for the other.
    #[must_use]
    pub fn reads_as(&self, other: &Self) -> bool {
        let upgraded = other.url.scheme() == "http" && self.url.scheme() == "https" && self.url.port().is_none();
        let is_same = self.port() == other.port() || upgraded;
        self.transport == other.transport && self.url.host() == other.url.host() && is_same && other.follows(self)
    }

    /// This address with who reads `other`.
    #[must_use]
    pub fn read_by(mut self, other: &Self) -> Self {
        self.user = other.user.clone();
        self
    }

    /// The address that `text` of a `.gitmodules` names (gitmodules(5)), and what is secret in it. One that begins with `./` or
    /// `../` is beside this one, where there is any. One over ssh is read over https: there is no key for it.
    pub fn submodule(base: Option<&Self>, text: &str) -> Result<(Self, Option<SecretString>), UriError> {
        let whole = match base {
            Some(base) if text.starts_with("./") || text.starts_with("../") => base.beside(text)?,
            _ => text.to_owned(),
        };
        let (uri, secret) = Self::parse(&whole)?;
        if uri.transport != Transport::Ssh {
            return Ok((uri, secret));
        }
        let path = uri.url.path();
        Self::parse(&format!("https://{}{path}", uri.url.host_str().unwrap_or_default()))
    }

    fn beside(&self, text: &str) -> Result<String, UriError> {
        let refused = UriError::Form("it leads out of its host");
        let mut folder: Vec<&str> = self.url.path().split('/').filter(|part| !part.is_empty()).collect();
        let mut rest = text;
        loop {
            if let Some(inner) = rest.strip_prefix("./") {
                rest = inner;
            } else if let Some(above) = rest.strip_prefix("../") {
                folder.pop().ok_or_else(|| refused.clone())?;
                rest = above;
            } else {
                break;
            }
        }
        if rest.split('/').any(|part| part == ".." || part == ".") {
            return Err(refused);
        }
        folder.push(rest);
        let mut url = self.url.clone();
        url.set_path(&folder.join("/"));
        Ok(url.into())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn what_a_repository_says_of_its_submodules_is_read_beside_it() {
        let (base, _) = RepoUri::parse("https://joe:pw@example.org/team/site.git").unwrap();
        let (ssh, _) = RepoUri::parse("git@example.org:team/site.git").unwrap();
        for (base, text, wanted) in [
            (Some(&base), "../theme.git", "https://example.org/team/theme.git"),
            (Some(&base), "./../../other/theme", "https://example.org/other/theme"),
            (Some(&ssh), "../theme.git", "https://example.org/team/theme.git"),
            (None, "https://a.example/x", "https://a.example/x"),
            (None, "git@a.example:x/y.git", "https://a.example/x/y.git"),
            (None, "ssh://git@a.example:2222/x", "https://a.example/x"),
            (None, "git://a.example/x", "git://a.example/x"),
        ] {
            let (uri, secret) = RepoUri::submodule(base, text).unwrap();
            assert_eq!((uri.to_string().as_str(), secret.is_some()), (wanted, false), "{text}");
        }
        for (base, text) in [
            (None, "../theme.git"),
            (None, "/srv/theme.git"),
            (None, "file:///srv/theme.git"),
            (None, "ext::sh -c x"),
            (None, "-x"),
            (Some(&base), "../../../../etc/passwd"),
            (Some(&base), "../x/../../y"),
            (Some(&base), "theme.git"),
        ] {
            assert!(RepoUri::submodule(base, text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_reads_one_place_is_shown_at_no_other() {
        let uri = |text: &str| RepoUri::parse(text).unwrap().0;
        for (from, to, reads) in [
            ("https://a.example/x", "https://a.example/x.git", true),
            ("http://a.example/x", "https://a.example/x", true),
            ("https://a.example/x", "http://a.example/x", false),
            ("https://a.example/x", "https://b.example/x", false),
            ("https://a.example/x", "https://a.example:8443/x", false),
            ("http://a.example:80/x", "http://a.example:81/x", false),
        ] {
            assert_eq!(uri(to).reads_as(&uri(from)), reads, "{from} {to}");
        }
        let (named, secret) = RepoUri::parse("https://joe:s%40@a.example/x").unwrap();
        assert_eq!(named.basic(&secret.unwrap()).unwrap().expose_secret(), "Basic am9lOnNA");
    }
}
