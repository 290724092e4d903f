//! What all releases of a service have in common.

use crate::names::ServiceName;

/// The label that tells of containers, images and secrets whose they are.
pub const SERVICE_LABEL: &str = "podkeeper.service";
/// The label that says on which port an image's own instructions have its program listen.
pub const PORT_LABEL: &str = "podkeeper.port";

/// A text as systemd writes it within a slice's name, where `-` would make another level: systemd.unit(5), "String escaping
/// for inclusion in unit names". What a service's name holds beside `-` stands as it is.
fn escape(name: &str) -> String {
    name.replace('-', "\\x2d")
}

impl ServiceName {
    /// `app-blog.slice`, in which systemd puts the units of all releases, which are instances of one name.
    #[must_use]
    pub fn slice(&self) -> String {
        format!("app-{}.slice", escape(self.as_str()))
    }

    /// `blog.service` and `blog@.service`, which would hide the service's own units.
    #[must_use]
    pub fn hiding_units(&self) -> [String; 2] {
        [format!("{self}.service"), format!("{self}@.service")]
    }

    /// `podkeeper-build-blog.pid`, the file with the number of what carries the network of its build.
    #[must_use]
    pub fn network_file(&self) -> String {
        format!("podkeeper-build-{self}.pid")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_called_as_systemd_calls_it() {
        for (name, slice) in [("blog", "app-blog.slice"), ("my-blog", "app-my\\x2dblog.slice")] {
            let service: ServiceName = name.parse().unwrap();
            assert_eq!(service.slice(), slice);
        }
    }
}
