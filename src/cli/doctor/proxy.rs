//! The proxy.

use std::path::Path;
use std::process::{Command, Stdio};

use super::finding::{Finding, Level, good, wrong};
use super::host::{is_enabled, output};

/// What starts the proxy.
const PROXY: &str = "/usr/lib/podkeeper/proxy";
/// What it starts with where there is no ::1.
const PROXY_WITHOUT_IPV6: &str = "/run/podkeeper-proxy/proxy.json";

/// Whether it runs as it is to.
pub(super) fn proxy() -> Finding {
    let state = output("systemctl", &["is-active", "--", "podkeeper-proxy.service"]).unwrap_or_default();
    if state != "active" {
        return wrong(
            "proxy",
            Level::Bad,
            format!("podkeeper-proxy.service is {state}"),
            "systemctl enable --now podkeeper-proxy; journalctl -u podkeeper-proxy tells why",
        );
    }
    if !is_enabled("podkeeper-proxy.service") {
        let detail = "Caddy runs, and will not after a reboot";
        return wrong("proxy", Level::Warn, detail, "systemctl enable podkeeper-proxy");
    }
    let other = Command::new(PROXY).arg("is-other").stdin(Stdio::null()).status();
    if other.is_ok_and(|status| status.success()) {
        let detail = "Caddy runs, and was started with another program, unit or configuration than is there now";
        return wrong("proxy", Level::Warn, detail, "systemctl restart podkeeper-proxy");
    }
    if Path::new(PROXY_WITHOUT_IPV6).exists() {
        let detail = "Caddy runs, and listens at 127.0.0.1 alone: when it started, this host had no ::1";
        let next = "sysctl net.ipv6.conf.lo.disable_ipv6=0 && systemctl restart podkeeper-proxy";
        return wrong("proxy", Level::Warn, detail, next);
    }
    good("proxy", "Caddy runs")
}
