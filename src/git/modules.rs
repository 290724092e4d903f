//! What a commit's `.gitmodules` says (gitmodules(5)), by path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::command::run;
use super::repositories::LOCAL;
use super::{GitError, Repositories};
use crate::names::CommitId;

/// What is said of one submodule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Module {
    /// Its repository's address, as it is written there.
    pub(super) url: Option<String>,
    /// Whether its files are wanted.
    pub(super) is_wanted: bool,
}

/// Reads what `git config --list -z` prints: `KEY<newline>VALUE<nul>`.
fn read(listed: &[u8]) -> BTreeMap<PathBuf, Module> {
    #[derive(Default)]
    struct Section {
        path: Option<PathBuf>,
        url: Option<String>,
        update: Option<String>,
    }
    let text = String::from_utf8_lossy(listed);
    let mut sections: BTreeMap<&str, Section> = BTreeMap::new();
    for entry in text.split_terminator('\0') {
        let (key, value) = entry.split_once('\n').unwrap_or((entry, ""));
        let Some((name, variable)) = key.strip_prefix("submodule.").and_then(|rest| rest.rsplit_once('.')) else {
            continue;
        };
        let section = sections.entry(name).or_default();
        match variable {
            "path" => section.path = Some(Path::new(value).components().collect()),
            "url" => section.url = Some(value.to_owned()),
            "update" => section.update = Some(value.to_owned()),
            _ => {}
        }
    }
    let modules = sections.into_values().filter_map(|section| {
        let is_wanted = section.update.as_deref() != Some("none");
        Some((section.path?, Module { url: section.url, is_wanted }))
    });
    modules.collect()
}

impl Repositories {
    /// What the commit of the repository `folder` says of its submodules.
    pub(super) async fn modules(
        &self,
        folder: &Path,
        commit: &CommitId,
    ) -> Result<BTreeMap<PathBuf, Module>, GitError> {
        let mut command = self.git();
        command.env("GIT_DIR", folder).args(["config", "--no-includes", "--list", "-z"]);
        command.arg(format!("--blob={commit}:.gitmodules"));
        Ok(read(&run(command, "read `.gitmodules`", LOCAL).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submodules_are_known_by_their_paths() {
        let listed = "submodule.a.b.path\nthemes/x/\0submodule.a.b.url\nhttps://a/x\0submodule.n.path\ny\0\
            submodule.n.update\nnone\0core.bare\ntrue\0submodule.no.url\nhttps://a/z\0submodule.v.path\0";
        let read = read(listed.as_bytes());
        let module = |url: Option<&str>, is_wanted| Module { url: url.map(str::to_owned), is_wanted };
        assert_eq!(read.get(Path::new("themes/x")), Some(&module(Some("https://a/x"), true)));
        assert_eq!(read.get(Path::new("y")), Some(&module(None, false)));
        assert_eq!(read.len(), 3);
    }
}
