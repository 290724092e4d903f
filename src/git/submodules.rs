//! The submodules of a commit, and theirs: fetched as an external repository is, without any of its secrets, into a
//! repository beside the service's own.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::command::run;
use super::fetch::Refspec;
use super::measure::{Link, Size};
use super::modules::Module;
use super::repositories::LOCAL;
use super::{GitError, Repositories};
use crate::names::{CommitId, RepoUri, ServiceName, Transport};
use crate::problem::{Code, chain};
use crate::text::Plain;

/// How many submodules a commit may have, with theirs.
const MOST: usize = 100;
/// How deep they may lie in each other.
const DEPTH: usize = 5;

/// A commit whose files go below one place of a checkout.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Where it lies.
    pub(super) repository: PathBuf,
    /// The commit.
    pub(super) commit: CommitId,
    /// The place, from the checkout's top on.
    pub(super) place: PathBuf,
    /// Where it came from, where that is elsewhere.
    pub(super) from: Option<RepoUri>,
    /// What is secret of that.
    secret: Option<SecretString>,
    depth: usize,
}

impl Part {
    /// What its forge is shown of who reads it, as a header's value.
    pub(super) fn login(&self) -> Option<HeaderValue> {
        let login = self.from.as_ref()?.basic(self.secret.as_ref()?)?;
        let mut value = HeaderValue::from_str(login.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Where an external repository is, and what is secret of its address.
pub type External<'a> = (&'a RepoUri, Option<&'a SecretString>);

/// A path as the story names it.
pub(super) fn shown(path: &Path) -> Plain {
    path.display().to_string().chars().take(200).collect::<String>().into()
}

impl Repositories {
    /// The service's commit and its submodules, each fetched where it is not there yet, and what the files of all take.
    pub(super) async fn parts(
        &self,
        service: &ServiceName,
        commit: &CommitId,
        source: Option<External<'_>>,
    ) -> Result<(Vec<Part>, Size), GitError> {
        let end = Instant::now() + self.config.get().git.fetch_timeout;
        let top = Part {
            repository: self.folder(service),
            commit: commit.clone(),
            place: PathBuf::new(),
            from: source.map(|(uri, _)| uri.clone()),
            secret: source.and_then(|(_, secret)| secret.cloned()),
            depth: 0,
        };
        let (mut parts, mut size, mut missing) = (Vec::new(), Size::default(), Vec::new());
        let (mut waiting, mut links) = (VecDeque::from([top]), 0);
        while let Some(part) = waiting.pop_front() {
            let measured = self.measure(&part.repository, &part.commit, size).await?;
            size = size + measured.size;
            links += measured.links.len();
            if links > MOST || (part.depth == DEPTH && !measured.links.is_empty()) {
                return Err(GitError::TooManySubmodules { most: MOST, depth: DEPTH });
            }
            let modules = match measured.has_modules && !measured.links.is_empty() {
                true => self.modules(&part.repository, &part.commit).await?,
                false => Default::default(),
            };
            for link in measured.links {
                let place = part.place.join(&link.path);
                let (path, module) = (shown(&place), modules.get(&link.path));
                let Some((url, module)) = module.and_then(|module| Some((module.url.as_deref()?, module))) else {
                    tracing::warn!("the submodule `{path}` is not there: `.gitmodules` has no address for it");
                    continue;
                };
                let Module { is_wanted: true, .. } = module else {
                    tracing::info!("the submodule `{path}` is left out, as `update = none` in `.gitmodules` says");
                    continue;
                };
                match self.submodule(service, &part, &link, url, parts.len() + waiting.len(), end).await {
                    Ok((repository, from, secret)) => {
                        let (commit, depth) = (link.commit, part.depth + 1);
                        waiting.push_back(Part { repository, commit, place, from: Some(from), secret, depth });
                    }
                    // Of what the host is to blame for nothing is said of an address.
                    Err(error) if error.problem().code != Code::FetchFailed => return Err(error),
                    Err(error) => {
                        tracing::warn!("the submodule `{path}` can't be had: {}", chain(&error));
                        missing.push(path.to_string());
                    }
                }
            }
            parts.push(part);
        }
        match missing.is_empty() {
            true => Ok((parts, size)),
            false => Err(GitError::Submodules(missing.join("`, `"))),
        }
    }

    /// Has the commit of a submodule, and tells in which repository, and where that came from. It is the `number`th.
    async fn submodule(
        &self,
        service: &ServiceName,
        part: &Part,
        link: &Link,
        url: &str,
        number: usize,
        end: Instant,
    ) -> Result<(PathBuf, RepoUri, Option<SecretString>), GitError> {
        let (uri, secret) = RepoUri::submodule(part.from.as_ref(), url).map_err(GitError::SubmoduleUri)?;
        let folder = self.folder(service).join("modules");
        self.make_modules(&folder).await?;
        let commit = &link.commit;
        if !self.names(&folder, commit).await? {
            tracing::info!("fetching the submodule `{}` from {}", shown(&part.place.join(&link.path)), uri.address());
            let (remote, room) = (self.remote(service, &uri, secret.as_ref()).await?, self.room(service).await?);
            let refspec = Refspec { text: format!("{commit}:refs/podkeeper/modules/{number}"), depth: 1 };
            let limit = end.saturating_duration_since(Instant::now());
            let fetched = self.fetch_into(&remote, &folder, room, &refspec, limit).await;
            if let Err(error) = fetched {
                let is_web = uri.transport() == Transport::Http && error.is_of_the_forge();
                if !is_web {
                    return Err(error);
                }
                // A forge that names another address for it is followed once, too.
                let moved = self.ask_why(&uri, secret.as_ref(), error).await?;
                let remote = self.remote(service, &moved, None).await?;
                let limit = end.saturating_duration_since(Instant::now());
                self.fetch_into(&remote, &folder, room, &refspec, limit).await?;
            }
            self.tidy_fetched(&folder).await;
        }
        Ok((folder, uri, secret))
    }

    /// The repository for all submodules of a service lies within its own, and goes with it.
    async fn make_modules(&self, folder: &Path) -> Result<(), GitError> {
        if tokio::fs::try_exists(folder.join("HEAD")).await.unwrap_or(false) {
            return Ok(());
        }
        // One that was begun is made whole by the same call.
        let mut init = self.git();
        init.args(["init", "--quiet", "--bare", "--initial-branch=none", "--"]).arg(folder);
        run(init, "make a repository", LOCAL).await.map(drop)
    }

    /// Whether a name of the repository holds the commit, so that all of it is there.
    async fn names(&self, folder: &Path, commit: &CommitId) -> Result<bool, GitError> {
        let mut command = self.git();
        command.env("GIT_DIR", folder).args(["for-each-ref", "--format=%(objectname)", "refs/podkeeper/modules/"]);
        let named = run(command, "look for a submodule", LOCAL).await?;
        Ok(String::from_utf8_lossy(&named).lines().any(|line| line == commit.as_str()))
    }
}
