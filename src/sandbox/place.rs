//! What a build sees of the host: its programs, and what they need to run. All else is hidden, so that even what gets out of
//! a step's container, or is read by a mistake of buildah's, is nobody's secret.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::error::{SandboxError, system};
use super::folders::{Cache, make};
use super::paths::{PLACE, place};
use super::plan::{Inputs, Plan};
use super::settings;

/// What of the host is shown: its programs, the kernel's folders, and this place. Whatever else there is is hidden.
const TOP: [&str; 12] = ["bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "mnt", "proc", "sbin", "sys", "usr"];
/// What of `/dev` is the host's own memory.
const DEVICES: [&str; 2] = ["/dev/shm", "/dev/mqueue"];
/// What of the host's settings is shown: how images are fetched, and what programs start with.
const SHOWN: [&str; 11] = [
    "alternatives",
    "ca-certificates",
    "containers",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "nsswitch.conf",
    "pki",
    "ssl",
];

/// Shows the build what it may have of the host, and hides the rest.
pub(super) fn show(plan: &Plan) -> Result<(), SandboxError> {
    let owner = plan.ids.base;
    let cache = Cache::of(plan);
    let settings = settings::of(plan)?;
    empty(Path::new(PLACE), "64m")?;
    open(Path::new(PLACE))?;
    for name in ["settings", "etc", "context", "nothing"] {
        make(&place(name), 0)?;
        open(&place(name))?;
    }
    for name in ["out", "store", "tmp", "home", "run"] {
        make(&place(name), owner)?;
    }
    bind(&plan.context, &place("context"))?;
    for name in ["home/.config", "home/.config/containers", settings::REGISTRIES_FOLDER] {
        make(&place(name), owner)?;
    }
    for (name, text) in &settings {
        write(name, text)?;
    }
    keep(settings::LOGINS, owner)?;
    give_inputs(plan)?;
    if settings::has_logins(&settings) {
        // What ADD fetches of a repository may be any folder of this place (CVE-2026-44517): a login is none of it.
        bind(Path::new("/dev/null"), Path::new("/usr/bin/git"))?;
    }
    bind(&plan.out, &place("out"))?;
    bind(&cache.store, &place("store"))?;
    bind(&plan.temporary, &place("tmp"))?;
    // Where buildah looks for the folders of `--mount=type=cache`.
    make(&place("tmp/buildah-cache-0"), owner)?;
    bind(&cache.mounts, &place("tmp/buildah-cache-0"))?;
    read_only(&place("context"))?;

    for name in SHOWN {
        let source = Path::new("/etc").join(name);
        let target = place("etc").join(name);
        match source.metadata() {
            Ok(found) if found.is_dir() => make(&target, 0)?,
            Ok(_) => write(&format!("etc/{name}"), b"")?,
            Err(_) => continue,
        }
        bind(&source, &target)?;
    }
    bind(&place("etc"), Path::new("/etc"))?;
    for entry in std::fs::read_dir("/").map_err(system("look at the host's folders"))?.flatten() {
        // By a link, what it leads to would be hidden twice.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && !TOP.iter().any(|shown| entry.file_name() == *shown) {
            empty(&entry.path(), "8m")?;
            // A program that is root keeps what it knows below /var: buildah what a short name meant, for one.
            give(&entry.path(), owner)?;
        }
    }
    for folder in DEVICES.map(Path::new).into_iter().filter(|folder| folder.is_dir()) {
        empty(folder, "64m")?;
    }
    // Buildah takes these for large files, whatever TMPDIR says.
    for folder in ["/tmp", "/var/tmp"].map(Path::new) {
        std::fs::create_dir_all(folder).map_err(system("make the build's place"))?;
        bind(&place("tmp"), folder)?;
    }
    // Of this network and of these processes.
    fresh("sysfs", "/sys")?;
    fresh("cgroup2", "/sys/fs/cgroup")
}

/// Gives a file or a folder to the build's root.
fn give(path: &Path, owner: u32) -> Result<(), SandboxError> {
    chown(path, Some(owner), Some(owner)).map_err(system("make the build's place"))
}

/// Makes a file the build's alone, among whatever else runs with other ids.
fn keep(name: &str, owner: u32) -> Result<(), SandboxError> {
    give(&place(name), owner)?;
    std::fs::set_permissions(place(name), Permissions::from_mode(0o400)).map_err(system("write the build's settings"))
}

/// Shows the build what it is given beside its files, in files of its own place, which lie in memory.
fn give_inputs(plan: &Plan) -> Result<(), SandboxError> {
    let take = |inner: &Path, name: &str| {
        let text = std::fs::read(plan.given.join(inner)).map_err(system("read what the build is given"))?;
        write(name, &text)?;
        keep(name, plan.ids.base)
    };
    if plan.inputs.has_args {
        take(Path::new(Inputs::ARGS), settings::ARGS)?;
    }
    make(&place(settings::SECRETS), 0)?;
    open(&place(settings::SECRETS))?;
    for secret in &plan.inputs.secrets {
        let inner = Path::new(Inputs::SECRETS).join(secret.as_str());
        take(&inner, &format!("{}/{secret}", settings::SECRETS))?;
    }
    Ok(())
}

/// Lets everybody enter a folder.
fn open(folder: &Path) -> Result<(), SandboxError> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(system("make the build's place"))
}

fn write(name: &str, text: &[u8]) -> Result<(), SandboxError> {
    let what = "write the build's settings";
    std::fs::write(place(name), text).map_err(system(what))?;
    std::fs::set_permissions(place(name), Permissions::from_mode(0o644)).map_err(system(what))
}

fn empty(target: &Path, size: &str) -> Result<(), SandboxError> {
    let options = format!("mode=755,size={size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|error| system("hide the host from the build")(error.into()))
}

fn fresh(kind: &str, target: &str) -> Result<(), SandboxError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    mount(Some(kind), target, Some(kind), flags, None::<&str>)
        .map_err(|error| system("hide the host from the build")(error.into()))
}

fn bind(source: &Path, target: &Path) -> Result<(), SandboxError> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|error| system("show the build its folders")(error.into()))
}

fn read_only(target: &Path) -> Result<(), SandboxError> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .map_err(|error| system("show the build its folders")(error.into()))
}
