//! What lies at one place on every host that we run on, because the distribution or the kernel puts it there: named here
//! once, and set nowhere. What an administrator or a test may set lies in the sections.

/// Enters namespaces (util-linux).
pub const UNSHARE: &str = "/usr/bin/unshare";
/// Says who goes first where memory is short (util-linux).
pub const CHOOM: &str = "/usr/bin/choom";
/// Bounds what a program takes (util-linux).
pub const PRLIMIT: &str = "/usr/bin/prlimit";
/// Measures folders (coreutils).
pub const DU: &str = "/usr/bin/du";
/// Removes folders of any depth (coreutils).
pub const RM: &str = "/usr/bin/rm";
/// Answers nothing, where git would ask (coreutils).
pub const FALSE: &str = "/usr/bin/false";
/// Makes keys (openssh-client).
pub const SSH_KEYGEN: &str = "/usr/bin/ssh-keygen";
/// Asks an ssh server for its keys (openssh-client).
pub const SSH_KEYSCAN: &str = "/usr/bin/ssh-keyscan";
/// Carries the network of a namespace (passt). Debian's profile of AppArmor is for this path.
pub const PASTA: &str = "/usr/bin/pasta";
/// This program, where its own path can't be read.
pub const PODKEEPER: &str = "/usr/bin/podkeeper";
/// Where a program that is started with nothing of ours looks for others.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Where journald keeps its files, over a reboot and until one (systemd-journald.service(8)).
pub const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// Whose services start at boot, an empty file each (loginctl(1)).
pub const LINGERING: &str = "/var/lib/systemd/linger";
/// Which distribution it is (os-release(5)).
pub const OS_RELEASE: &str = "/etc/os-release";
/// Which ids a user may map (subuid(5)).
pub const SUBUID: &str = "/etc/subuid";
/// Which ids a group may map (subgid(5)).
pub const SUBGID: &str = "/etc/subgid";
/// The control groups (cgroups(7)).
pub const CGROUPS: &str = "/sys/fs/cgroup";
