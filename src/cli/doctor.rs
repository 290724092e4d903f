//! `podkeeper doctor`: looks at what the agent stands on, and tells the next step where something is wrong.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use jiff::Timestamp;
use nix::sys::statvfs::statvfs;
use nix::unistd::User;
use serde::Serialize;
use serde_json::Value;

use super::client::{Agent, ClientError, block_on};
use super::{host, inotify, show};
use crate::config::Config;
use crate::names::IdRange;

/// The user that everything runs as.
const USER: &str = "podkeeper";
/// The oldest Podman whose Quadlet knows all that we write.
const PODMAN: (u32, u32) = (5, 3);
/// Less free disk than this is worth a word, in MiB.
const FREE: u64 = 1024;
/// Room for fewer files than this, too: an image has some thousands.
const FILES: u64 = 20_000;
/// What the package sets for the user's manager, in lines a second.
const BURST: u64 = 100_000;
/// Where the kernel says how many pages of pipes a user may have, until new ones get two each; 0 is no limit.
const PIPES: &str = "/proc/sys/fs/pipe-user-pages-soft";
/// How many of them a service's network helper may take.
const PIPES_OF_ONE: u64 = 8192;
/// How often the regular look may fail at something, with a while between, until it is no passing trouble.
const PASSING: u64 = 5;

/// What starts the proxy.
const PROXY: &str = "/usr/lib/podkeeper/proxy";
/// What it starts with where there is no ::1.
const PROXY_WITHOUT_IPV6: &str = "/run/podkeeper-proxy/proxy.json";

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// It works, and may not for long.
    Warn,
    Bad,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    level: Level,
    detail: String,
    next: Option<String>,
}

fn good(what: &'static str, detail: impl Into<String>) -> Finding {
    Finding { what, level: Level::Ok, detail: detail.into(), next: None }
}

fn wrong(what: &'static str, level: Level, detail: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding { what, level, detail: detail.into(), next: Some(next.into()) }
}

/// Looks, prints, and fails where something is bad.
pub fn run(config: &Config, json: bool) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let user = User::from_name(USER)?;
    let mut findings = vec![podman(config)];
    match &user {
        None => findings.push(wrong(
            "user",
            Level::Bad,
            format!("there is no user {USER}"),
            "apt install --reinstall podkeeper-host",
        )),
        Some(user) => {
            let uid = user.uid.as_raw();
            findings.push(ids("/etc/subuid", config));
            findings.push(ids("/etc/subgid", config));
            findings.push(lingering());
            findings.push(user_bus(uid));
            findings.push(podman_socket(uid));
            findings.push(routes(&config.paths.routes, uid));
            findings.push(journal_limits(uid));
            findings.extend(watches(uid));
        }
    }
    findings.extend([journal_kept(), pipes(), network(), proxy(), agent(config), disk(&config.paths.state)]);
    findings.extend(troubles(config));
    print(&findings, json)?;
    let bad = findings.iter().any(|finding| finding.level == Level::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(findings: &[Finding], json: bool) -> std::io::Result<()> {
    let mut out = show::out();
    if json {
        return writeln!(out, "{}", serde_json::json!({ "findings": findings }));
    }
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Bad => "BAD ",
        };
        writeln!(out, "{level}  {:<15} {}", finding.what, finding.detail)?;
        if let Some(next) = &finding.next {
            writeln!(out, "      {:<15} next: {next}", "")?;
        }
    }
    Ok(())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `podman version 5.4.2` → (5, 4).
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.rsplit(' ').next()?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn podman(config: &Config) -> Finding {
    let text = output(&config.paths.podman.to_string_lossy(), &["--version"]);
    match text.as_deref().and_then(version) {
        Some(found) if found >= PODMAN => good("podman", text.unwrap_or_default()),
        Some((major, minor)) => wrong(
            "podman",
            Level::Bad,
            format!("Podman {major}.{minor} is too old; {}.{} is needed", PODMAN.0, PODMAN.1),
            "upgrade this host to Debian 13",
        ),
        None => wrong("podman", Level::Bad, "there is no Podman", "apt install podman"),
    }
}

/// How many ids a user has by the lines of a subuid(5) file.
fn count_ids(text: &str) -> u64 {
    let ours = text.lines().filter_map(|line| line.strip_prefix(USER)?.strip_prefix(':'));
    ours.filter_map(|rest| rest.split(':').nth(1)?.parse::<u64>().ok()).sum()
}

/// The ids that a user has by them.
fn id_ranges(text: &str) -> Vec<std::ops::Range<u32>> {
    let ours = text.lines().filter_map(|line| line.strip_prefix(USER)?.strip_prefix(':'));
    let range = |rest: &str| {
        let (first, count) = rest.split_once(':')?;
        let first: u32 = first.parse().ok()?;
        Some(first..first.saturating_add(count.parse().ok()?))
    };
    ours.filter_map(range).collect()
}

fn ids(file: &'static str, config: &Config) -> Finding {
    let what = if file.ends_with("uid") { "user ids" } else { "group ids" };
    let count = count_ids(&std::fs::read_to_string(file).unwrap_or_default());
    let services = count / u64::from(IdRange::SIZE);
    if services == 0 {
        let next = format!("add `{USER}:FIRST:67108864` to {file}, then: systemctl restart user@$(id -u {USER})");
        return wrong(what, Level::Bad, format!("{file} gives {USER} too few ids for even one service"), next);
    }
    if services < u64::from(config.services.max) {
        let next = format!("widen {USER}'s range in {file}, or lower `services.max`");
        return wrong(what, Level::Warn, format!("enough for {services} of {} services", config.services.max), next);
    }
    good(what, format!("enough for {services} services"))
}

fn lingering() -> Finding {
    if Path::new("/var/lib/systemd/linger").join(USER).exists() {
        good("lingering", "on: the services start at boot")
    } else {
        let next = format!("loginctl enable-linger {USER}");
        wrong("lingering", Level::Bad, "off: the services end with the last log-in and don't start at boot", next)
    }
}

fn is_socket(path: &str) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

fn user_bus(uid: u32) -> Finding {
    let path = format!("/run/user/{uid}/bus");
    if std::os::unix::net::UnixStream::connect(&path).is_ok() || (is_socket(&path) && !nix::unistd::geteuid().is_root())
    {
        good("user manager", "its bus answers")
    } else {
        let restart = format!("systemctl restart user-runtime-dir@{uid} user@{uid}");
        let next = format!("{restart}; apt install dbus-user-session, where that is missing");
        wrong("user manager", Level::Bad, format!("{path} does not answer"), next)
    }
}

/// systemd holds the socket, and starts who answers there.
fn podman_socket(uid: u32) -> Finding {
    let path = format!("/run/user/{uid}/podman/podman.sock");
    let podman = Agent::Local(path.clone().into());
    match block_on(async { Ok(podman.call(http::Method::GET, "/version", None).await) }) {
        Ok(Ok(_)) => good("podman socket", "it answers"),
        Ok(Err(error)) if !matches!(error, ClientError::Connect { .. }) => {
            let next = format!("journalctl -n 20 _UID={uid} _SYSTEMD_USER_UNIT=podman.service tells why");
            wrong("podman socket", Level::Bad, format!("{path} is there, and Podman does not answer"), next)
        }
        _ if is_socket(&path) && !nix::unistd::geteuid().is_root() => good("podman socket", "it is there"),
        _ => {
            let next = format!("systemctl --user -M {USER}@ enable --now podman.socket");
            wrong("podman socket", Level::Bad, format!("{path} does not answer"), next)
        }
    }
}

/// The agent writes the routing table, and the proxy, which is another user, reads it.
fn routes(folder: &Path, uid: u32) -> Finding {
    use std::os::unix::fs::MetadataExt;
    // The agent keeps the folder that was there when it started.
    let next = "systemd-tmpfiles --create podkeeper.conf && systemctl restart podkeeper";
    let bad = |detail: String| wrong("routes", Level::Bad, detail, next);
    match std::fs::metadata(folder) {
        Err(error) => bad(format!("{} can't be looked at: {error}", folder.display())),
        Ok(found) if found.uid() != uid => bad(format!("{} is not {USER}'s, which can't change it", folder.display())),
        Ok(found) if found.mode() & 0o5 != 0o5 => bad(format!("the proxy can't read {}", folder.display())),
        Ok(_) => good("routes", "the agent writes them, and the proxy reads them"),
    }
}

fn journal_limits(uid: u32) -> Finding {
    let unit = format!("user@{uid}.service");
    let burst = output("systemctl", &["show", "-P", "LogRateLimitBurst", "--", &unit]);
    match burst.and_then(|text| text.parse::<u64>().ok()) {
        Some(burst) if burst >= BURST => good("journal limits", "no service's lines are dropped"),
        _ => wrong(
            "journal limits",
            Level::Warn,
            format!("journald drops lines of {unit}, of all services together, beyond its default rate"),
            "apt install --reinstall podkeeper-host",
        ),
    }
}

fn journal_kept() -> Finding {
    if Path::new("/var/log/journal").is_dir() {
        good("journal", "kept over reboots")
    } else {
        wrong(
            "journal",
            Level::Warn,
            "kept in memory only, and lost at a reboot",
            "mkdir /var/log/journal && systemctl restart systemd-journald",
        )
    }
}

/// How many services may run until each new pipe is a small one, which makes builds, git and terminals slow.
fn pipes() -> Finding {
    let pages = std::fs::read_to_string(PIPES).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match pages.map(|pages| (pages, pages / PIPES_OF_ONE)) {
        Some((0, _)) => good("pipes", "no limit"),
        Some((_, services)) if services >= 100 => good("pipes", format!("enough for {services} services")),
        Some((pages, services)) => wrong(
            "pipes",
            Level::Warn,
            format!(
                "a user's {pages} pages are enough for {services} services; with more, builds, git and terminals get slow"
            ),
            "systemctl restart systemd-sysctl; where it stays so, something in /etc/sysctl.d sets fs.pipe-user-pages-soft",
        ),
        None => wrong("pipes", Level::Warn, format!("{PIPES} can't be read"), "mount -t proc proc /proc"),
    }
}

/// Whether the kernel's tables, which count routes in lines, have one that leads anywhere. What started without one has it
/// as soon as the host has.
fn network() -> Finding {
    let lines = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    if has_route(&lines("/proc/net/route"), &lines("/proc/net/ipv6_route")) {
        return good("network", "it leads to the internet");
    }
    let detail = "this host has no default route: nothing can be fetched, and services reach nothing outside";
    wrong("network", Level::Warn, detail, "bring the network up; `ip route show default` tells when it is")
}

/// By proc_net_route's columns: interface, destination, gateway, flags, …, mask; and in IPv6's: destination, its length, …,
/// interface, where the kernel keeps a default of its own on `lo`, which leads nowhere.
fn has_route(ipv4: &str, ipv6: &str) -> bool {
    ipv4.lines().skip(1).any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(1) == Some(&"00000000") && columns.get(7) == Some(&"00000000")
    }) || ipv6.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(1) == Some(&"00") && columns.last().is_some_and(|interface| *interface != "lo")
    })
}

/// systemd, journald's readers and programs of services watch files; who has no watch left doesn't start.
fn watches(uid: u32) -> Vec<Finding> {
    let ranges = std::fs::read_to_string("/etc/subuid").map_or_else(|_| Vec::new(), |text| id_ranges(&text));
    let owners: Vec<_> = std::iter::once(uid..uid.saturating_add(1)).chain(ranges).collect();
    let used = inotify::used(&owners);
    let finding = |what: &'static str, key: &'static str, used: Option<u64>| {
        let most = std::fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/"))).ok();
        let Some(most) = most.and_then(|text| text.trim().parse::<u64>().ok()) else {
            return wrong(what, Level::Warn, format!("{key} can't be read"), "mount -t proc proc /proc");
        };
        match used {
            Some(used) if used.saturating_mul(10) >= most.saturating_mul(8) => wrong(
                what,
                Level::Warn,
                format!("{USER} and its services have {used} of the {most} that a user may have"),
                format!("echo {key} = {} >/etc/sysctl.d/90-inotify.conf && sysctl --system", most.saturating_mul(4)),
            ),
            Some(used) => good(what, format!("{used} of {most} are taken")),
            None => good(what, format!("a user may have {most}")),
        }
    };
    vec![
        finding("inotify", "fs.inotify.max_user_instances", used.map(|used| used.instances)),
        finding("file watches", "fs.inotify.max_user_watches", used.map(|used| used.watches)),
    ]
}

/// What the agent's regular look could not do. Whether the agent answers at all is told apart.
fn troubles(config: &Config) -> Vec<Finding> {
    let agent = Agent::Local(config.listen.local.clone().into());
    let Ok(Ok(host)) = block_on(async { Ok(agent.call(http::Method::GET, "/host", None).await) }) else {
        return Vec::new();
    };
    let now = Timestamp::now();
    let all: Vec<&Value> = host["troubles"].as_array().into_iter().flatten().collect();
    if all.is_empty() {
        return vec![good("regular look", "all is as it is wanted")];
    }
    let finding = |trouble: &&Value| {
        let level = if trouble["times"].as_u64().unwrap_or(0) < PASSING { Level::Warn } else { Level::Bad };
        let next = trouble["hint"]
            .as_str()
            .unwrap_or("mend what it says, and the agent does the rest; journalctl -u podkeeper tells more");
        wrong("regular look", level, host::sentence(trouble, now), next)
    };
    all.iter().map(finding).collect()
}

fn is_enabled(unit: &str) -> bool {
    output("systemctl", &["is-enabled", "--", unit]).is_some_and(|state| state == "enabled")
}

fn proxy() -> Finding {
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

fn agent(config: &Config) -> Finding {
    let gone = |error: &dyn std::error::Error| {
        let next = "systemctl restart podkeeper; journalctl -u podkeeper tells why";
        wrong("agent", Level::Bad, error.to_string(), next)
    };
    let agent = Agent::Local(config.listen.local.clone().into());
    match block_on(async { Ok(agent.call(http::Method::GET, "/readyz", None).await) }) {
        Ok(Ok(_)) if is_enabled("podkeeper.service") => good("agent", "it is ready"),
        Ok(Ok(_)) => {
            let detail = "it is ready, and will not be after a reboot";
            wrong("agent", Level::Warn, detail, "systemctl enable podkeeper")
        }
        // It runs, and tells what it waits for.
        Ok(Err(error @ ClientError::Refused { .. })) => {
            let next = "what stands above, if anything does; journalctl -u podkeeper tells why";
            wrong("agent", Level::Bad, error.to_string(), next)
        }
        Ok(Err(ref error)) => gone(error),
        Err(ref error) => gone(error.as_ref()),
    }
}

fn disk(state: &Path) -> Finding {
    match statvfs(state) {
        Ok(stat) => {
            let free = stat.blocks_available().saturating_mul(stat.fragment_size()) / (1024 * 1024);
            // Some file systems count none.
            let files = Some(stat.files_available()).filter(|_| stat.files() > 0);
            if let Some(files) = files.filter(|files| *files < FILES) {
                let next = "remove services that nobody uses, or lower `services.keep`";
                wrong("disk", Level::Warn, format!("only {files} more files can be made"), next)
            } else if free >= FREE {
                good("disk", format!("{free} MiB are free"))
            } else {
                let next = "remove services that nobody uses, or lower `services.keep`";
                wrong("disk", Level::Warn, format!("only {free} MiB are free"), next)
            }
        }
        Err(error) => wrong(
            "disk",
            Level::Bad,
            format!("{} can't be looked at: {error}", state.display()),
            "apt install --reinstall podkeeper-host",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_found_in_either_table() {
        let none = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\nlink\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        let some = format!("{none}eth0\t00000000\t010A630A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
        let zeros = "0".repeat(32);
        let kernels = format!("{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n");
        let leads = format!("{kernels}{zeros} 00 {zeros} 00 {zeros} 00000400 00000001 00000000 00000003     eth0\n");
        assert!(!has_route(none, &kernels) && !has_route("", ""));
        assert!(has_route(&some, &kernels) && has_route(none, &leads));
    }

    #[test]
    fn versions_and_id_ranges_are_read() {
        assert_eq!(version("podman version 5.4.2"), Some((5, 4)));
        assert_eq!(version("podman version 4.3"), Some((4, 3)));
        assert_eq!(version("nothing"), None);
        let ranges = id_ranges("root:1:2\npodkeeper:100000:65536\npodkeeper:x:1\npodkeeper:7:1\n");
        assert_eq!(ranges, [100_000..165_536, 7..8]);
        assert_eq!(count_ids("root:1:2\npodkeeper:100000:65536\npodkeeper2:1:5\npodkeeper:200000:4\n"), 65_540);
    }
}
