//! An entry by one pass over its fields.
//!
//! libsystemd looks for a field that is asked for by its name past all that come before it, and unpacks each of those that
//! is packed only to compare its name. Of eight fields the entry would be gone over eight times.

use systemd::journal::Journal as Handle;

use super::files::read;
use super::join::{Piece, goes_on};
use super::matches::NO_PRIORITY;
use super::{Entry, JournalError};
use crate::names::{DeploymentId, ReleaseName};

/// What is known of an entry by its own fields; of a field that is there more than once, the first counts.
#[derive(Default)]
struct Fields {
    message: Option<Vec<u8>>,
    bytes: Option<usize>,
    priority: Option<Option<u8>>,
    container: Option<String>,
    container_name: Option<String>,
    is_containers: bool,
    is_part: bool,
    identifier: Option<String>,
    unit: Option<String>,
    pid: Option<Option<u32>>,
}

impl Fields {
    fn take(&mut self, name: &[u8], value: &[u8], with_text: bool) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"MESSAGE" if self.bytes.is_none() => {
                self.bytes = Some(value.len());
                self.message = with_text.then(|| value.to_vec());
            }
            b"PRIORITY" => drop(self.priority.get_or_insert_with(|| number(value))),
            b"CONTAINER_ID_FULL" => drop(self.container.get_or_insert_with(text)),
            b"CONTAINER_NAME" => drop(self.container_name.get_or_insert_with(text)),
            b"CONTAINER_TAG" => self.is_containers = true,
            b"CONTAINER_PARTIAL_MESSAGE" => self.is_part = true,
            b"SYSLOG_IDENTIFIER" => drop(self.identifier.get_or_insert_with(text)),
            b"_SYSTEMD_USER_UNIT" => drop(self.unit.get_or_insert_with(text)),
            b"_PID" => drop(self.pid.get_or_insert_with(|| number(value))),
            _ => {}
        }
    }
}

impl Fields {
    /// Whether nothing is missing that such an entry has. A value that no entry before had is linked after those that some
    /// had, and libsystemd passes over one that is being linked at the moment, without a word. What is linked last of an
    /// entry is its text: of all that is read of one, that is the newest.
    fn are_whole(&self) -> bool {
        self.bytes.is_some() && (self.container.is_some() || !self.is_containers)
    }
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The entry that `handle` stands on, and whether it is whole: journald may be writing it at the moment. Without its text,
/// whose line it is and whether more of that follows is known all the same.
pub(super) fn entry(handle: &mut Handle, with_text: bool) -> Result<(Piece, bool), JournalError> {
    let mut fields = Fields::default();
    handle.restart_data();
    while let Some(field) = handle.enumerate_data().map_err(read)? {
        fields.take(field.name(), field.value().unwrap_or_default(), with_text);
    }
    let is_whole = fields.are_whole();
    let mut message = fields.message.unwrap_or_default();
    // conmon writes the line's end too.
    if fields.container.is_some() && message.last() == Some(&b'\n') {
        message.pop();
    }
    // Where there is none, journald came too late to see the process.
    let of_line = || unit(fields.container_name.as_deref(), fields.identifier.as_deref());
    let entry = Entry {
        cursor: handle.cursor().map_err(read)?,
        time: handle.timestamp_usec().map_err(read)?,
        priority: fields.priority.flatten().unwrap_or(NO_PRIORITY),
        unit: fields.unit.or_else(of_line),
        identifier: fields.identifier.clone(),
        pid: fields.pid.flatten(),
        message,
    };
    let partial = fields.container.is_some() && fields.is_part && goes_on(fields.bytes.unwrap_or_default());
    Ok((Piece { entry, container: fields.container, partial }, is_whole))
}

/// The unit of a release's container, or of a build.
fn unit(container: Option<&str>, identifier: Option<&str>) -> Option<String> {
    match container {
        Some(name) => ReleaseName::of_container(name).map(|release| release.unit()),
        None => identifier.and_then(DeploymentId::of_build).map(DeploymentId::build_unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ReleaseNumber;

    #[test]
    fn a_lines_unit_is_known_by_what_the_line_itself_says() {
        let release = ReleaseName::new(&"my-blog".parse().unwrap(), ReleaseNumber(7));
        assert_eq!(unit(Some(&release.container()), Some("my-blog")), Some(release.unit()));
        let build = DeploymentId(12).build();
        assert_eq!(unit(None, Some(&build)).as_deref(), Some("build-12.service"));
        assert_eq!(unit(None, Some("podkeeper")), None);
        assert_eq!(unit(None, None), None);
    }

    #[test]
    fn an_entry_without_its_text_or_its_container_is_not_whole() {
        let whole = |fields: &[(&str, &str)]| {
            let mut taken = Fields::default();
            fields.iter().for_each(|(name, value)| taken.take(name.as_bytes(), value.as_bytes(), false));
            taken.are_whole()
        };
        let (text, tag) = (("MESSAGE", ""), ("CONTAINER_TAG", "blog"));
        assert!(whole(&[text]) && whole(&[text, tag, ("CONTAINER_ID_FULL", "1")]));
        assert!(!whole(&[]) && !whole(&[("_PID", "1")]) && !whole(&[text, tag]));
    }

    #[test]
    fn of_fields_that_are_there_twice_the_first_counts() {
        let fields: [(&[u8], &[u8]); 9] = [
            (b"PRIORITY", b"x"),
            (b"PRIORITY", b"3"),
            (b"MESSAGE", b"one\n"),
            (b"MESSAGE", b"another"),
            (b"_PID", b"12"),
            (b"_PID", b"13"),
            (b"CONTAINER_NAME", b"blog-1"),
            (b"CONTAINER_NAME", b"other-1"),
            (b"ANYTHING", b""),
        ];
        for with_text in [true, false] {
            let mut taken = Fields::default();
            for (name, value) in fields {
                taken.take(name, value, with_text);
            }
            assert_eq!((taken.priority, taken.pid, taken.bytes), (Some(None), Some(Some(12)), Some(4)));
            assert_eq!(taken.message.as_deref(), with_text.then_some(&b"one\n"[..]));
            assert_eq!((taken.container_name.as_deref(), taken.container), (Some("blog-1"), None));
        }
    }
}
