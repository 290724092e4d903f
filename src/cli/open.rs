//! `podkeeper open`

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use serde_json::json;
use url::Url;

use super::client::{Agent, segment};
use super::options::Outcome;
use super::show;
use crate::api::services::Service;
use crate::text::Plain;

/// What is opened.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
}

/// What may be opened: a page, and nothing else that a desktop knows to open. It begins with its scheme, and so is no
/// option of xdg-open, which knows no `--`.
fn page(url: &str) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// Prints its address, and opens it.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    let Service { url, .. } = agent.get(&format!("/services/{}", segment(&wanted.name))).await?.read()?;
    let mut out = show::out();
    if json {
        writeln!(out, "{}", json!({ "url": url }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(url) = url else {
        let name = Plain::from(&wanted.name);
        return Err(format!(
            "`{name}` has no address: its `container_port` is `none`\nNext: where its program listens on a port, \
             `podkeeper settings {name} container_port=PORT` sets it"
        )
        .into());
    };
    writeln!(out, "{url}")?;
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|key| std::env::var_os(key).is_some());
    if has_display && let Some(page) = page(&url) {
        let mut opener = Command::new("xdg-open");
        let opener = opener.arg(page.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if opener.is_err() {
            show::note(json, "there is no xdg-open here to open it with")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_are_opened() {
        let opened = |url: &str| page(url).map(String::from);
        assert_eq!(opened("https://blog.example.org").as_deref(), Some("https://blog.example.org/"));
        assert_eq!(opened("HTTP://blog.localhost:8080/\n-x").as_deref(), Some("http://blog.localhost:8080/-x"));
        for url in [
            "",
            "-x",
            "--help",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "httpx://a/",
            "http-x://a/",
            "http:",
            "ssh://a/",
        ] {
            assert_eq!(opened(url), None, "{url}");
        }
    }
}
