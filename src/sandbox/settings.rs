//! What buildah reads in a build: settings of the build's own, and of the host's what says where images come from.

use std::io::{ErrorKind, Read};

use serde_json::{Map, Value, json};

use super::error::{SandboxError, system};
use super::network::RESOLVER;
use super::paths::place;
use super::plan::{Instructions, Plan};

/// The build's logins at registries (containers-auth.json(5)).
pub(super) const LOGINS: &str = "settings/logins.json";
/// The build's arguments, and its secrets, a file each.
pub(super) const ARGS: &str = "settings/args";
pub(super) const SECRETS: &str = "settings/secrets";
/// Where the build's own word on registries lies, which counts for more than the host's.
pub(super) const REGISTRIES_FOLDER: &str = "home/.config/containers/registries.conf.d";
/// The one that makes short names lead to Docker Hub.
const SHORT_NAMES: &str = "home/.config/containers/registries.conf.d/short-names.conf";
/// What this host says of its resolvers.
const RESOLVERS: &str = "/etc/resolv.conf";
/// Whose images this host takes (containers-policy.json(5)).
const POLICY: &str = "/etc/containers/policy.json";
/// What this host says of registries (containers-registries.conf(5)); the files of the folder count for more.
const REGISTRIES: [&str; 2] = ["/etc/containers/registries.conf", "/etc/containers/registries.conf.d"];
/// Where a name without a registry leads on a host that doesn't say: where it leads for who wrote it.
const HUB: &str = "unqualified-search-registries = [\"docker.io\"]\n";
/// The longest instructions that are read for what registries they name.
const LONGEST: u64 = 1024 * 1024;

/// A file in the build's place, and its text.
type File = (&'static str, Vec<u8>);

/// The build's settings.
pub(super) fn of(plan: &Plan) -> Result<Vec<File>, SandboxError> {
    let read = |path: &str| std::fs::read(path).unwrap_or_default();
    let text = instructions(plan)?;
    let logins = logins(&read(plan.logins.as_str()), &String::from_utf8_lossy(&text));
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
        place("store").display(),
        place("run/storage").display()
    );
    let containers = "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n\
        [containers]\nhttp_proxy = false\nbase_hosts_file = \"none\"\nhost_containers_internal_ip = \"none\"\n";
    let policy = policy(hosts_policy(plan)?);
    let mut files = vec![
        ("settings/storage.conf", storage.into_bytes()),
        ("settings/containers.conf", containers.into()),
        ("settings/policy.json", policy.to_string().into_bytes()),
        (LOGINS, logins.to_string().into_bytes()),
        ("etc/passwd", format!("root:x:0:0:root:{}:/bin/sh\n", place("home").display()).into_bytes()),
        ("etc/group", b"root:x:0:\n".to_vec()),
        ("etc/resolv.conf", resolver(&String::from_utf8_lossy(&read(RESOLVERS))).into_bytes()),
    ];
    if !registries().iter().any(|text| says_where_short_names_lead(text)) {
        files.push((SHORT_NAMES, HUB.into()));
    }
    if matches!(plan.instructions, Instructions::Recipe(_)) {
        files.push(("settings/Containerfile", text));
    }
    Ok(files)
}

/// The texts of what this host says of registries.
fn registries() -> Vec<String> {
    let [file, folder] = REGISTRIES;
    let more = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    [file.into()].into_iter().chain(more).filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

fn says_where_short_names_lead(text: &str) -> bool {
    let settings = text.parse::<toml::Table>().unwrap_or_default();
    settings.get("unqualified-search-registries").and_then(toml::Value::as_array).is_some_and(|all| !all.is_empty())
}

/// Whether the build is given a login.
pub(super) fn has_logins(files: &[File]) -> bool {
    files.iter().any(|(name, text)| *name == LOGINS && text != b"{\"auths\":{}}")
}

fn instructions(plan: &Plan) -> Result<Vec<u8>, SandboxError> {
    let name = match &plan.instructions {
        Instructions::File(name) => name.as_str(),
        Instructions::Recipe(text) => return Ok(text.as_bytes().to_vec()),
    };
    let what = "read the build's instructions";
    let mut text = Vec::new();
    let file = std::fs::File::open(plan.context.join(name)).map_err(system(what))?;
    file.take(LONGEST).read_to_end(&mut text).map_err(system(what))?;
    Ok(text)
}

/// The logins at those registries that the instructions name, and at the one that short names mean.
fn logins(hosts: &[u8], instructions: &str) -> Value {
    let mut hosts: Value = serde_json::from_slice(hosts).unwrap_or(Value::Null);
    let mut logins = match hosts.get_mut("auths").map(Value::take) {
        Some(Value::Object(logins)) => logins,
        _ => Map::new(),
    };
    logins.retain(|registry, _| registry.contains("docker.io") || instructions.contains(registry.as_str()));
    json!({ "auths": logins })
}

/// What a build reads in place of the host's own file; a host without a resolver has none for builds either.
fn resolver(hosts: &str) -> String {
    match hosts.lines().any(|line| line.trim_start().starts_with("nameserver")) {
        true => format!("nameserver {RESOLVER}\n"),
        false => String::new(),
    }
}

/// Whose images this host takes; nothing where it doesn't say.
fn hosts_policy(plan: &Plan) -> Result<Value, SandboxError> {
    let what = "read whose images this host takes";
    // The user's own file goes before the host's.
    for path in [plan.logins.with_file_name("policy.json"), POLICY.into()] {
        match std::fs::read(path) {
            Ok(text) => return serde_json::from_slice(&text).map_err(|error| system(what)(error.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(system(what)(error)),
        }
    }
    Ok(Value::Null)
}

/// Images come from registries, as this host takes them. What lies in files or in a store comes from neither: a store that
/// instructions name may be one that a step has made, with a program to run for it. The service's own store isn't asked
/// for by such a name.
fn policy(mut hosts: Value) -> Value {
    let any = match hosts.get_mut("default").map(Value::take) {
        None | Some(Value::Null) => json!([{ "type": "insecureAcceptAnything" }]),
        Some(any) => any,
    };
    let registries = hosts.get_mut("transports").and_then(|transports| transports.get_mut("docker")).map(Value::take);
    let mut registries = match registries {
        Some(Value::Object(registries)) => registries,
        _ => Map::new(),
    };
    registries.entry("").or_insert(any);
    json!({ "default": [{ "type": "reject" }], "transports": { "docker": registries } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_taken_of_whom_the_host_takes_them_and_from_no_file() {
        let accept = json!([{ "type": "insecureAcceptAnything" }]);
        let reject = json!([{ "type": "reject" }]);
        let plain = policy(Value::Null);
        assert_eq!(plain["transports"]["docker"][""], accept);
        assert_eq!(plain["default"], reject);
        assert_eq!(plain["transports"].as_object().unwrap().len(), 1);

        let signed = json!([{ "type": "signedBy", "keyType": "GPGKeys", "keyPath": "/etc/key" }]);
        let hosts = json!({
            "default": reject,
            "transports": { "docker": { "example.org": signed }, "dir": { "": accept }, "docker-daemon": { "": accept } },
        });
        let strict = policy(hosts);
        assert_eq!(strict["transports"]["docker"]["example.org"], signed);
        assert_eq!(strict["transports"]["docker"][""], reject);
        assert_eq!(strict["transports"].as_object().unwrap().len(), 1);
        assert_eq!(policy(json!("odd"))["transports"]["docker"][""], accept);
    }

    #[test]
    fn a_build_has_the_logins_that_it_names() {
        let hosts = br#"{"auths":{"a.example.org:5000":{"auth":"YQ=="},"b.example.org":{"auth":"Yg=="}},"x":1}"#;
        let named = |text| logins(hosts, text)["auths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(named("ARG BASE=a.example.org:5000/x\nFROM $BASE\n"), ["a.example.org:5000"]);
        assert!(named("FROM docker.io/library/busybox\n").is_empty());
        let is_given = |text| has_logins(&[(LOGINS, logins(hosts, text).to_string().into_bytes())]);
        assert!(is_given("FROM b.example.org/x") && !is_given("FROM c.example.org/x"));
        assert_eq!(logins(b"[1]", "a"), json!({ "auths": {} }));
        let hub = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"YQ=="}}}"#;
        assert_eq!(logins(hub, "FROM busybox")["auths"].as_object().unwrap().len(), 1);
    }

    #[test]
    fn a_short_name_leads_to_docker_hub_where_the_host_does_not_say() {
        assert!(says_where_short_names_lead(HUB));
        assert!(says_where_short_names_lead(
            "unqualified-search-registries = ['example.org']\n[[registry]]\nprefix = 'a'"
        ));
        for silent in
            ["", "# unqualified-search-registries = ['example.org']", "unqualified-search-registries = []", "= odd"]
        {
            assert!(!says_where_short_names_lead(silent), "{silent}");
        }
    }

    #[test]
    fn a_host_without_a_resolver_names_none_to_builds() {
        assert_eq!(resolver("# none\nsearch lan\n"), "");
        assert_eq!(resolver("search lan\nnameserver 127.0.0.53\nnameserver 10.0.0.1\n"), "nameserver 169.254.1.1\n");
    }
}
