//! Podman's volumes.

use std::str::FromStr;

use crate::names::text::{is_sha256, shown, text_name};
use crate::names::{NameError, ServiceName, VolumeName};

text_name! {
    /// A volume as Podman knows it: `blog.data`, or the 64 hexadecimal digits of one that Podman named itself. It takes
    /// letters, digits and `._-`, and begins with none of these (Podman's `define.NameRegex`), at most 255 bytes.
    HostVolume
}

impl FromStr for HostVolume {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = (1..=255).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::HostVolume(shown(text))) }
    }
}

impl HostVolume {
    /// `blog.data`. The dot, which no service's name holds, keeps `blog`'s `api-data` and `blog-api`'s `data` apart.
    #[must_use]
    pub fn of(service: &ServiceName, name: &VolumeName) -> Self {
        Self(format!("{service}.{name}"))
    }

    /// The service that it belongs to, whatever it is called behind the dot: an administrator may have made it.
    #[must_use]
    pub fn service(&self) -> Option<ServiceName> {
        self.0.split_once('.')?.0.parse().ok()
    }

    /// Whether Podman named it itself.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        is_sha256(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::text::check;
    use super::*;

    #[test]
    fn a_volume_belongs_to_one_service() {
        for (service, name, text) in [("blog", "api-data", "blog.api-data"), ("blog-api", "data", "blog-api.data")] {
            let service: ServiceName = service.parse().unwrap();
            let volume = HostVolume::of(&service, &name.parse().unwrap());
            assert_eq!(volume.as_str(), text);
            assert_eq!(text.parse(), Ok(volume.clone()));
            assert_eq!((volume.service(), volume.is_nameless()), (Some(service), false));
        }
        let nameless: HostVolume = "0a".repeat(32).parse().unwrap();
        assert_eq!((nameless.service(), nameless.is_nameless()), (None, true));
        for other in ["podkeeper-shell.home", "data", "Blog.data"] {
            assert_eq!(other.parse::<HostVolume>().unwrap().service(), None, "{other}");
        }
        check::<HostVolume>(&["blog.Own_1"], &["", ".a", "-a", "a/b", "a b", "a\n", "a:b", &"a".repeat(256)]);
    }
}
