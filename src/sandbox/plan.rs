//! What is built, as the agent writes it down for the build's own programs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::SandboxError;
use crate::config::Pull;
use crate::names::{
    AbsPath, BuildName, CommitId, IdRange, ImageId, Network, ReleaseName, ReleaseNumber, RepoPath, ServiceName,
};

/// A build, whole. It is a file of JSON that the agent alone writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The service.
    pub service: ServiceName,
    /// Its release that the image is for.
    pub release: ReleaseNumber,
    /// The commit, which the image's labels name.
    pub commit: CommitId,
    /// The service's ids.
    pub ids: IdRange,
    /// The folder that is built, from the top of the commit's files on.
    pub root: RepoPath,
    /// What says how to build it.
    pub instructions: Instructions,
    /// The port that they say themselves that the program listens on; the image's label tells it.
    pub port: Option<u16>,
    /// What the build is given beside its files.
    pub inputs: Inputs,
    /// When a base is fetched anew.
    pub pull: Pull,
    /// The service's images that Podman has, by their ids: they needn't be handed over.
    pub known: Vec<ImageId>,
    /// Networks that the build reaches beside the internet.
    pub allow: Vec<Network>,
    /// So much of the disk stays free, in MiB; a build that takes more is ended.
    pub floor_mib: u64,
    /// The folder of the commit's files.
    pub context: AbsPath,
    /// The folder of what the build is given beside them; it is gone when the build has ended.
    pub given: AbsPath,
    /// The folder of the build's temporary files; it is made, and gone when the build has ended.
    pub temporary: AbsPath,
    /// The folder that the image is handed over in, likewise.
    pub out: AbsPath,
    /// The file that the image's id is written to, when Podman has it.
    pub image: AbsPath,
    /// The folder of what is kept from build to build, of all services.
    pub cache: AbsPath,
    /// The logins at registries; there may be none.
    pub logins: AbsPath,
    /// The folder of the helper that closes a network.
    pub helpers: AbsPath,
    /// Podman.
    pub podman: AbsPath,
    /// Buildah.
    pub buildah: AbsPath,
}

/// What says how an image is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Instructions {
    /// A file of the repository, from its top on.
    File(RepoPath),
    /// This text.
    Recipe(String),
}

/// What a build is given beside its files. The values are in files of a folder of the agent's, and nowhere here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Whether there is a file of arguments, lines of `NAME=text`.
    pub has_args: bool,
    /// The secrets that there is a file of.
    pub secrets: Vec<BuildName>,
}

impl Inputs {
    /// The file of the arguments.
    pub const ARGS: &'static str = "args";
    /// The folder of the secrets.
    pub const SECRETS: &'static str = "secrets";
}

impl Plan {
    pub(super) fn read(path: &Path) -> Result<Self, SandboxError> {
        let wrong = |source| SandboxError::Plan { path: path.to_owned(), source };
        let text = std::fs::read(path).map_err(|error| wrong(error.into()))?;
        serde_json::from_slice(&text).map_err(|error| wrong(error.into()))
    }

    /// So much of the disk stays free, in bytes.
    pub(super) fn floor(&self) -> u64 {
        self.floor_mib.saturating_mul(1024 * 1024)
    }

    pub(super) fn name(&self) -> ReleaseName {
        ReleaseName::new(&self.service, self.release)
    }
}

#[cfg(test)]
pub(super) fn example() -> Plan {
    Plan {
        service: "blog".parse().unwrap(),
        release: ReleaseNumber(7),
        commit: "0123456789012345678901234567890123456789".parse().unwrap(),
        ids: IdRange::of_slot(1),
        root: RepoPath::top(),
        instructions: Instructions::File("Containerfile".parse().unwrap()),
        port: Some(9090),
        inputs: Inputs { has_args: true, secrets: vec!["TOKEN".parse().unwrap()] },
        pull: Pull::Newer,
        known: vec!["a".repeat(64).parse().unwrap()],
        allow: vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()],
        floor_mib: 256,
        context: AbsPath::known("/state/builds/5"),
        given: AbsPath::known("/state/builds/5.inputs"),
        temporary: AbsPath::known("/state/builds/5.tmp"),
        out: AbsPath::known("/state/builds/5.out"),
        image: AbsPath::known("/state/builds/5.image"),
        cache: AbsPath::known("/state/cache"),
        logins: AbsPath::known("/state/auth.json"),
        helpers: AbsPath::known("/usr/lib/podkeeper"),
        podman: AbsPath::known("/usr/bin/podman"),
        buildah: AbsPath::known("/usr/bin/buildah"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        for instructions in
            [Instructions::File("docker/My File".parse().unwrap()), Instructions::Recipe("FROM a\nRUN \"b\"\n".into())]
        {
            let plan = Plan { instructions, ..example() };
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), serde_json::to_vec(&plan).unwrap()).unwrap();
            assert_eq!(Plan::read(file.path()).unwrap(), plan);
        }
        assert!(matches!(Plan::read(Path::new("/nowhere")), Err(SandboxError::Plan { .. })));
    }
}
