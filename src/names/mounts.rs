//! A service's volumes: what each is called, and where it is mounted in the container.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::NameError;
use super::text::{is_label, shown, text_name};

/// How many volumes a service can have.
pub const MOST_VOLUMES: usize = 50;

/// Why volumes were refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MountError {
    /// A path that no volume can be mounted at.
    #[error(
        "`{0}` is not a path for a volume: it takes an absolute path of letters, digits and ._-+=@~ that is not one of \
         /proc, /sys and /dev"
    )]
    Path(String),
    /// Two volumes that hide one another.
    #[error("two volumes, `{0}` and `{1}`, are mounted at {2}: give each a path of its own")]
    Twice(VolumeName, VolumeName, MountPath),
    /// Two volumes of one name.
    #[error("two volumes are called `{0}`")]
    OneName(VolumeName),
    /// More than a service can have.
    #[error("there are more than {MOST_VOLUMES} volumes")]
    TooMany,
}

text_name! {
    /// A volume's name within its service. Podman knows it as `SERVICE.VOLUME`, and takes what ends with `.volume` for a
    /// unit's name (podman-systemd.unit(5)).
    VolumeName
}

impl FromStr for VolumeName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) && text != "volume" { Ok(Self(text.to_owned())) } else { Err(NameError::Volume(shown(text))) }
    }
}

/// Where a volume is mounted: an absolute path without `..`, of letters, digits and a few marks that mean nothing to
/// systemd, Podman or a shell; at most 500 bytes. `/data/.//` is `/data`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MountPath(String);

impl MountPath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what is at `path` is the kernel's to show, and not a volume's to hide. `/dev/shm` is a folder like any other.
    #[must_use]
    pub fn is_kernels(path: &str) -> bool {
        let mut parts = parts(path);
        match parts.next() {
            Some("proc" | "sys") => true,
            Some("dev") => parts.next() != Some("shm"),
            _ => false,
        }
    }

    /// What a volume at this path is called that nobody gave a name. No two paths have the same one: where the path is
    /// not of plain lower-case words, a part of its hash stands behind it.
    fn own_name(&self) -> VolumeName {
        let word = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let plain = self.0[1..].replace('/', "-");
        match plain.parse() {
            Ok(name) if self.0[1..].split('/').all(word) => name,
            _ => self.hashed_name(),
        }
    }

    /// The same with a part of the path's hash, for where somebody else's volume has the plain name.
    fn hashed_name(&self) -> VolumeName {
        let words = self.0.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let mut name = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            name.insert_str(0, "v-");
        }
        name.truncate(40 - 11);
        let hash = HEXLOWER.encode(&Sha256::digest(&self.0)[..5]);
        VolumeName(format!("{}-{hash}", name.trim_end_matches('-')))
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MountPath {
    type Err = MountError;
    fn from_str(text: &str) -> Result<Self, MountError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+=@~".contains(&b);
        let parts: Vec<&str> = parts(text).collect();
        let good = text.starts_with('/')
            && text.len() <= 500
            && text.bytes().all(plain)
            && !parts.is_empty()
            && !parts.contains(&"..")
            && !Self::is_kernels(text);
        if good { Ok(Self(format!("/{}", parts.join("/")))) } else { Err(MountError::Path(shown(text))) }
    }
}

impl TryFrom<String> for MountPath {
    type Error = MountError;
    fn try_from(text: String) -> Result<Self, MountError> {
        text.parse()
    }
}

impl From<MountPath> for String {
    fn from(path: MountPath) -> Self {
        path.0
    }
}

/// A service's volumes by their names: at most [`MOST_VOLUMES`], each at a path of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<VolumeName, MountPath>")]
pub struct Volumes(BTreeMap<VolumeName, MountPath>);

impl Volumes {
    /// Each volume with its path.
    pub fn iter(&self) -> impl Iterator<Item = (&VolumeName, &MountPath)> {
        self.0.iter()
    }

    /// The volume at `path`.
    #[must_use]
    pub fn at(&self, path: &MountPath) -> Option<&VolumeName> {
        self.0.iter().find_map(|(name, at)| (at == path).then_some(name))
    }

    /// Adds a volume.
    pub fn add(&mut self, name: VolumeName, path: MountPath) -> Result<(), MountError> {
        if let Some(other) = self.at(&path) {
            return Err(MountError::Twice(other.clone(), name, path));
        }
        if self.0.contains_key(&name) {
            return Err(MountError::OneName(name));
        }
        if self.0.len() == MOST_VOLUMES {
            return Err(MountError::TooMany);
        }
        self.0.insert(name, path);
        Ok(())
    }

    /// Adds those of `others` whose names and paths are free.
    pub fn add_free(&mut self, others: &Self) {
        for (name, path) in others.iter() {
            // One that isn't free is passed over.
            let _ = self.add(name.clone(), path.clone());
        }
    }

    /// Adds a volume for each of the paths `declared` that has none. `before` are those that the service's releases had:
    /// what was kept at a path stays at it, and nothing that was kept at another comes to it.
    pub fn complete(&mut self, declared: &[MountPath], before: &Self) -> Result<(), MountError> {
        // Those that have their names come first, so that no other path gets one of them.
        let (known, new): (Vec<_>, Vec<_>) = declared.iter().partition(|path| before.at(path).is_some());
        for path in known.into_iter().chain(new) {
            if self.at(path).is_some() {
                continue;
            }
            let free = |name: &VolumeName| !self.0.contains_key(name);
            let name = before.at(path).cloned().filter(free);
            let own = || path.own_name();
            let name = name.or_else(|| Some(own()).filter(|name| free(name) && !before.0.contains_key(name)));
            self.add(name.unwrap_or_else(|| path.hashed_name()), path.clone())?;
        }
        Ok(())
    }
}

impl TryFrom<BTreeMap<VolumeName, MountPath>> for Volumes {
    type Error = MountError;
    fn try_from(map: BTreeMap<VolumeName, MountPath>) -> Result<Self, MountError> {
        let mut volumes = Self::default();
        for (name, path) in map {
            volumes.add(name, path)?;
        }
        Ok(volumes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::check;
    use super::*;

    fn path(text: &str) -> MountPath {
        text.parse().unwrap()
    }

    fn volumes(of: &[(&str, &str)]) -> Volumes {
        let mut volumes = Volumes::default();
        for (name, at) in of {
            volumes.add(name.parse().unwrap(), path(at)).unwrap();
        }
        volumes
    }

    fn names(volumes: &Volumes) -> Vec<(&str, &str)> {
        volumes.iter().map(|(name, path)| (name.as_str(), path.as_str())).collect()
    }

    #[test]
    fn a_path_is_absolute_and_plain() {
        for (text, is) in [
            ("/data", "/data"),
            ("/data/", "/data"),
            ("//a//./b", "/a/b"),
            ("/dev/shm", "/dev/shm"),
            ("/v1.0_x-y+z=@~", "/v1.0_x-y+z=@~"),
        ] {
            assert_eq!(path(text).as_str(), is);
        }
        for text in [
            "",
            "/",
            "//",
            "data",
            "./data",
            "/a/../b",
            "/proc",
            "/proc/1",
            "/./sys",
            "/dev",
            "/dev/pts",
            "//proc/",
            "/a b",
            "/a:ro",
            "/a,b",
            "/a%n",
            "/a\\",
            "/a\"",
            "/a'",
            "/a$b",
            "/a\n[Service]\nExecStartPre=/bin/true",
            "/ä",
            "/a\0",
        ] {
            assert!(text.parse::<MountPath>().is_err(), "{text:?}");
        }
        assert!(format!("/{}", "a".repeat(500)).parse::<MountPath>().is_err());
    }

    #[test]
    fn each_path_has_a_volume_of_its_own_and_keeps_it() {
        let declared = ["/data", "/a/b", "/a-b", "/Data", "/volume", "/1"].map(path);
        let mut first = Volumes::default();
        first.complete(&declared, &Volumes::default()).unwrap();
        assert_eq!(first.at(&path("/data")).unwrap().as_str(), "data");
        assert_eq!(first.at(&path("/a/b")).unwrap().as_str(), "a-b");
        assert!(first.at(&path("/a-b")).unwrap().as_str().starts_with("a-b-"));
        assert!(first.at(&path("/1")).unwrap().as_str().starts_with("v-1-"));
        assert!(first.at(&path("/volume")).unwrap().as_str().starts_with("volume-"));
        assert_eq!(first.iter().count(), declared.len());
        // In another order, and with more beside them.
        let mut more = vec![path("/a/b/c"), path("/b")];
        more.extend(declared.iter().rev().cloned());
        let mut second = Volumes::default();
        second.complete(&more, &first).unwrap();
        for path in &declared {
            assert_eq!(second.at(path), first.at(path), "{path}");
        }
    }

    #[test]
    fn what_is_set_has_the_name() {
        let mut set = volumes(&[("data", "/srv")]);
        set.complete(&[path("/data"), path("/srv")], &Volumes::default()).unwrap();
        let name = set.at(&path("/data")).unwrap().clone();
        assert!(name.as_str().starts_with("data-"), "{name}");
        assert_eq!(set.iter().count(), 2);
        // It keeps its own when the other one goes, and the other's content never comes to its path.
        let mut later = Volumes::default();
        later.complete(&[path("/data")], &set).unwrap();
        assert_eq!(names(&later), [(name.as_str(), "/data")]);
    }

    #[test]
    fn what_an_earlier_release_had_at_a_path_is_there_again() {
        // The newest release sets nothing and declares nothing.
        let mut before = Volumes::default();
        for release in [volumes(&[]), volumes(&[("data", "/srv"), ("data-1", "/data")]), volumes(&[("x", "/data")])] {
            before.add_free(&release);
        }
        let mut now = Volumes::default();
        now.complete(&[path("/data")], &before).unwrap();
        assert_eq!(names(&now), [("data-1", "/data")]);
    }

    #[test]
    fn an_older_agents_names_stay() {
        let before = volumes(&[("var-lib-my-db", "/var/lib/My_DB")]);
        let mut now = Volumes::default();
        now.complete(&[path("/var/lib/my/db"), path("/var/lib/My_DB")], &before).unwrap();
        assert_eq!(now.at(&path("/var/lib/My_DB")).unwrap().as_str(), "var-lib-my-db");
        assert_ne!(now.at(&path("/var/lib/my/db")).unwrap().as_str(), "var-lib-my-db");
    }

    #[test]
    fn volumes_are_refused_together_where_one_is_wrong() {
        for (wrong, why) in [
            (r#"{"a":"/data","b":"/data/"}"#, "two volumes, `a` and `b`, are mounted at /data"),
            (r#"{"a":"/"}"#, "`/` is not a path for a volume"),
            (r#"{"volume":"/data"}"#, "`volume` is not a volume name"),
        ] {
            let error = serde_json::from_str::<Volumes>(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let many: BTreeMap<_, _> = (0..51).map(|n| (format!("v{n}"), format!("/v{n}"))).collect();
        assert!(serde_json::from_str::<Volumes>(&serde_json::to_string(&many).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn no_two_paths_share_a_volume(paths in proptest::collection::hash_set("(/[a-bA-B0-1._-]{1,24}){1,3}", 1..12),
                                       set in proptest::collection::btree_map("[a-b][a-b0-1]{0,3}", "/[a-b0-1]{1,3}", 0..4)) {
            let declared: Vec<MountPath> = paths.iter().filter_map(|path| path.parse().ok()).collect();
            let mut volumes = Volumes::default();
            for (name, path) in set {
                let _ = volumes.add(name.parse().unwrap(), path.parse().unwrap());
            }
            volumes.complete(&declared, &Volumes::default()).unwrap();
            for path in &declared {
                prop_assert!(volumes.at(path).is_some());
            }
        }
    }

    #[test]
    fn names_of_volumes() {
        check::<VolumeName>(&["data", "api-data"], &["", "volume", "a.b", "A", "-a", "a/b"]);
    }
}
