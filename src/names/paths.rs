//! Paths of the host.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::settings::{SettingError, setting};
use super::text::shown;

setting! {
    /// The path of a file or folder: absolute, without `.`, `..` and double slashes, at most 500 bytes. Its letters,
    /// digits and few marks mean nothing in a unit (systemd.syntax(7)), in an address of D-Bus
    /// (<https://dbus.freedesktop.org/doc/dbus-specification.html#addresses>), in a URL and in Podman's options.
    AbsPath as Path
}

impl FromStr for AbsPath {
    type Err = SettingError;
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@~".contains(&b);
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        let good = text.starts_with('/')
            && text.len() <= 500
            && text.bytes().all(plain)
            && !parts.is_empty()
            && !parts.iter().any(|part| [".", ".."].contains(part));
        if good { Ok(Self(format!("/{}", parts.join("/")))) } else { Err(SettingError::Path(shown(text))) }
    }
}

impl TryFrom<PathBuf> for AbsPath {
    type Error = SettingError;
    fn try_from(path: PathBuf) -> Result<Self, SettingError> {
        path.to_string_lossy().parse()
    }
}

impl From<AbsPath> for PathBuf {
    fn from(path: AbsPath) -> Self {
        path.0.into()
    }
}

impl AsRef<Path> for AbsPath {
    fn as_ref(&self) -> &Path {
        self
    }
}

impl AsRef<OsStr> for AbsPath {
    fn as_ref(&self) -> &OsStr {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn paths() {
        for (text, is) in [
            ("/usr/bin/git", "/usr/bin/git"),
            ("/var/lib//podkeeper/", "/var/lib/podkeeper"),
            ("/tmp/.tmpAb12/...", "/tmp/.tmpAb12/..."),
            ("/run/user/999/netns/netns-4a6f_x+y@~z", "/run/user/999/netns/netns-4a6f_x+y@~z"),
        ] {
            assert_eq!(text.parse::<AbsPath>().unwrap().as_str(), is);
        }
        for text in [
            "",
            "/",
            "//",
            "a",
            "./a",
            "~/a",
            "../a",
            "/a/../b",
            "/a/./b",
            "/a b",
            "/a\tb",
            "/a\n",
            "/a\0",
            "/a\u{7f}",
            "/ä",
            "/$HOME",
            "/a%h",
            "/a\\x20",
            "/a\"",
            "/a'",
            "/a:b",
            "/a,guid=1",
            "/a;b",
            "/a=b",
            "/a?b",
            "/a#b",
            "/a*",
            "/{a}",
        ] {
            assert!(text.parse::<AbsPath>().is_err(), "{text:?}");
        }
        assert!(format!("/{}", "a".repeat(500)).parse::<AbsPath>().is_err());
        assert!(AbsPath::try_from(PathBuf::from(OsStr::from_bytes(b"/a\xff"))).is_err());
    }
}
