//! A build's inner half: the first process of its own namespaces. With it ends whatever is in them.

use std::path::Path;
use std::process::{Command, Stdio};

use super::error::{SandboxError, code, system};
use super::paths::place;
use super::place::show;
use super::plan::{Instructions, Plan};
use super::settings::{ARGS, LOGINS, SECRETS};
use super::talk::Talk;
use crate::config;
use crate::names::{IdRange, ImageId, PORT_LABEL, SERVICE_LABEL};

/// Carries out the inner half of the plan in this file. The answer is the status of what failed, or 0.
pub fn build_inside(file: &Path) -> Result<u8, SandboxError> {
    let mut talk = Talk::on_stdin()?;
    talk.say("apart")?;
    let plan = Plan::read(file)?;
    show(&plan)?;
    // What a build that was killed left there would stay for ever.
    if has_containers() {
        let _ = buildah(&plan, &["rm", "--all"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
    talk.expect("go")?;
    let built = buildah(&plan, &arguments(&plan)).status().map_err(system("start the build"))?;
    if !built.success() {
        return Ok(code(built));
    }
    let id = std::fs::read_to_string(place("run/id")).map_err(system("read the image's id"))?;
    let id: ImageId = id.trim().parse().map_err(|_| SandboxError::Image("it has no id"))?;
    talk.say(&format!("built {id}"))?;
    // Later builds of the service may begin with it. As an option of the build the name would copy an image of cached steps
    // within the store, which is no registry.
    let image = plan.name().image();
    let named =
        buildah(&plan, &["tag", "--", id.as_str(), image.as_str()]).status().map_err(system("name the image"))?;
    if !named.success() {
        return Ok(code(named));
    }
    if talk.hear()?.as_deref() != Some("give") {
        return Ok(0);
    }
    let out = format!("dir:{}", place("out").display());
    // Not packed: it is read on this host at once.
    let given = buildah(&plan, &["push", "--quiet", "--disable-compression", "--", id.as_str(), &out]).status();
    Ok(code(given.map_err(system("hand the image over"))?))
}

/// Whether the store may hold a container, of which a build has one while it goes on.
fn has_containers() -> bool {
    let list = std::fs::read(place("store/overlay-containers/containers.json")).unwrap_or_default();
    !matches!(list.as_slice(), b"" | b"[]" | b"null")
}

/// The words for buildah that the build is made of.
fn arguments(plan: &Plan) -> Vec<String> {
    let file = match &plan.instructions {
        Instructions::File(file) => place("context").join(file.as_str()),
        Instructions::Recipe(_) => place("settings/Containerfile"),
    };
    // Also where there is none: a base may have one.
    let port = plan.port.map_or_else(String::new, |port| port.to_string());
    let mut words = vec![
        "build".into(),
        // HEALTHCHECK is not part of the OCI format, which drops it.
        "--format=docker".into(),
        "--layers".into(),
        "--isolation=rootless".into(),
        // That which was made for it, whatever the instructions ask for.
        "--network=host".into(),
        format!("--pull={}", plan.pull.as_str()),
        "--retry=1".into(),
        "--retry-delay=1s".into(),
        format!("--signature-policy={}", place("settings/policy.json").display()),
        format!("--label={SERVICE_LABEL}={}", plan.service),
        format!("--label=podkeeper.commit={}", plan.commit),
        format!("--label=org.opencontainers.image.revision={}", plan.commit),
        format!("--label={PORT_LABEL}={port}"),
        format!("--iidfile={}", place("run/id").display()),
        format!("--file={}", file.display()),
    ];
    if plan.inputs.has_args {
        words.push(format!("--build-arg-file={}", place(ARGS).display()));
    }
    let secrets = plan.inputs.secrets.iter();
    words
        .extend(secrets.map(|name| format!("--secret=id={name},src={}", place(SECRETS).join(name.as_str()).display())));
    words.extend(["--".into(), place("context").join(plan.root.as_str()).display().to_string()]);
    words
}

/// Buildah in a user namespace of the service's ids, with an environment of its own.
fn buildah<A: AsRef<std::ffi::OsStr>>(plan: &Plan, arguments: &[A]) -> Command {
    let map = format!("0:{}:{}", plan.ids.base, IdRange::SIZE);
    let mut command = Command::new(config::system::UNSHARE);
    command.args(["--user", "--mount", "--setuid=0", "--setgid=0"]);
    command.arg(format!("--map-users={map}")).arg(format!("--map-groups={map}"));
    // A repository that ADD can't fetch is to buildah what lies in its working folder.
    command.arg(format!("--wd={}", place("nothing").display())).arg("--").arg(&plan.buildah).args(arguments);
    command.stdin(Stdio::null()).env_clear().envs([
        ("PATH", config::system::PATH),
        // The user namespace is there already.
        ("_CONTAINERS_USERNS_CONFIGURED", "done"),
        ("BUILDAH_ISOLATION", "rootless"),
        // What ADD fetches with git.
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ALLOW_PROTOCOL", "https:http"),
    ]);
    command.env("HOME", place("home")).env("XDG_RUNTIME_DIR", place("run")).env("TMPDIR", place("tmp"));
    command.env("CONTAINERS_STORAGE_CONF", place("settings/storage.conf"));
    command.env("CONTAINERS_CONF_OVERRIDE", place("settings/containers.conf"));
    command.env("REGISTRY_AUTH_FILE", place(LOGINS));
    command
}

#[cfg(test)]
mod tests {
    use super::super::plan::example;
    use super::*;

    #[test]
    fn a_build_is_told_where_its_inputs_are_and_not_what() {
        let words = arguments(&example());
        let has = |word: &str| words.iter().any(|have| have == word);
        assert!(has("--build-arg-file=/mnt/settings/args"), "{words:?}");
        assert!(has("--secret=id=TOKEN,src=/mnt/settings/secrets/TOKEN"), "{words:?}");
        assert!(has("--label=podkeeper.port=9090") && has("--file=/mnt/context/Containerfile"), "{words:?}");
        assert_eq!(words[words.len() - 2..], ["--", "/mnt/context/."]);
        let plan = Plan {
            root: "apps/web".parse().unwrap(),
            instructions: Instructions::File("apps/web/docker/File".parse().unwrap()),
            port: None,
            inputs: super::super::plan::Inputs::default(),
            ..example()
        };
        let words = arguments(&plan);
        let has = |word: &str| words.iter().any(|have| have == word);
        assert!(has("--label=podkeeper.port=") && has("--file=/mnt/context/apps/web/docker/File"), "{words:?}");
        assert_eq!(words.last().unwrap(), "/mnt/context/apps/web");
        assert!(!words.iter().any(|word| word.starts_with("--secret") || word.starts_with("--build-arg")), "{words:?}");
    }
}
