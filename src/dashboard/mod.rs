//! The dashboard: a few static files, compiled in. Nothing is built and nothing is loaded from elsewhere.

use std::sync::{LazyLock, OnceLock};

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

/// What a browser may do with the page: run our own files, speak to us, and nothing else. No script is ever made from
/// text, and no other page may frame it.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                          base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                          require-trusted-types-for 'script'; trusted-types 'none'";

/// A file of the dashboard.
#[derive(Debug)]
pub struct Asset {
    /// Its name below `/assets/`.
    pub name: &'static str,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
    etag: OnceLock<String>,
}

impl Asset {
    /// Its `ETag`. Where nobody asks for the file none is made.
    #[must_use]
    pub fn etag(&self) -> &str {
        self.etag.get_or_init(|| format!("\"{}\"", BASE64URL_NOPAD.encode(&Sha256::digest(self.bytes)[..12])))
    }
}

macro_rules! assets {
    ($($name:literal $content_type:literal,)+) => {
        static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
            vec![$(Asset {
                name: $name,
                content_type: $content_type,
                bytes: include_bytes!(concat!("web/", $name)),
                etag: OnceLock::new(),
            },)+]
        });
    };
}

assets! {
    "index.html" "text/html; charset=utf-8",
    "style.css" "text/css; charset=utf-8",
    "icon.svg" "image/svg+xml",
    "app.js" "text/javascript; charset=utf-8",
    "account.js" "text/javascript; charset=utf-8",
    "actions.js" "text/javascript; charset=utf-8",
    "ansi.js" "text/javascript; charset=utf-8",
    "api.js" "text/javascript; charset=utf-8",
    "build-settings.js" "text/javascript; charset=utf-8",
    "clipboard.js" "text/javascript; charset=utf-8",
    "create.js" "text/javascript; charset=utf-8",
    "deployments.js" "text/javascript; charset=utf-8",
    "dotenv.js" "text/javascript; charset=utf-8",
    "download.js" "text/javascript; charset=utf-8",
    "fields.js" "text/javascript; charset=utf-8",
    "filters.js" "text/javascript; charset=utf-8",
    "keyboard.js" "text/javascript; charset=utf-8",
    "keypad.js" "text/javascript; charset=utf-8",
    "lines.js" "text/javascript; charset=utf-8",
    "live.js" "text/javascript; charset=utf-8",
    "logs.js" "text/javascript; charset=utf-8",
    "parts.js" "text/javascript; charset=utf-8",
    "passkeys.js" "text/javascript; charset=utf-8",
    "releases.js" "text/javascript; charset=utf-8",
    "screen.js" "text/javascript; charset=utf-8",
    "service.js" "text/javascript; charset=utf-8",
    "services.js" "text/javascript; charset=utf-8",
    "settings.js" "text/javascript; charset=utf-8",
    "signin.js" "text/javascript; charset=utf-8",
    "streams.js" "text/javascript; charset=utf-8",
    "terminal.js" "text/javascript; charset=utf-8",
    "terminals.js" "text/javascript; charset=utf-8",
    "variables.js" "text/javascript; charset=utf-8",
    "watch.js" "text/javascript; charset=utf-8",
    // The client of Socket.IO and xterm.js, as npm has them; a check in `tests/run` compares them.
    "socket.io.js" "text/javascript; charset=utf-8",
    "xterm.js" "text/javascript; charset=utf-8",
    "addon-fit.js" "text/javascript; charset=utf-8",
    "xterm.css" "text/css; charset=utf-8",
}

/// The file of this name.
#[must_use]
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_there_and_the_page_names_no_other_host() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dashboard/web");
        let mut count = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let asset = asset(&name).unwrap_or_else(|| panic!("{name} is not compiled in"));
            let text = String::from_utf8(asset.bytes.to_vec()).unwrap().replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("//cdn") && !text.contains("src=\"http") && !text.contains("innerHTML"), "{name}");
            count += 1;
        }
        assert_eq!(count, ASSETS.len());
        assert!(asset("../mod.rs").is_none());
    }
}
