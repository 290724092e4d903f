//! Repositories as people have them elsewhere: moved, on another branch, with submodules, with large files.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use podkeeper::git::{Fetched, GitError, Repositories};
use podkeeper::names::{CommitId, RepoUri, ServiceName};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::fetch::{Forge, git};

fn blog() -> ServiceName {
    "blog".parse().unwrap()
}

impl Forge {
    /// A repository of this name, with these files in its first commit.
    fn repository(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.folder.path().join(name);
        git(self.folder.path(), &["init", "--quiet", "--initial-branch=trunk", name]);
        self.commit(&folder, files);
        folder
    }

    fn commit(&self, folder: &Path, files: &[(&str, &str)]) -> CommitId {
        for (path, text) in files {
            std::fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
            std::fs::write(folder.join(path), text).unwrap();
        }
        git(folder, &["add", "--all"]);
        git(folder, &["commit", "--quiet", "--allow-empty", "--message=x"]);
        git(folder, &["rev-parse", "HEAD"]).parse().unwrap()
    }

    /// Puts a commit of another repository into the place of a folder.
    fn link(&self, folder: &Path, path: &str, commit: &str, modules: &str) -> CommitId {
        std::fs::write(folder.join(".gitmodules"), modules).unwrap();
        git(folder, &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
        git(folder, &["add", ".gitmodules"]);
        git(folder, &["commit", "--quiet", "--message=link"]);
        git(folder, &["rev-parse", "HEAD"]).parse().unwrap()
    }

    fn uri(&self, path: &str) -> (RepoUri, Option<SecretString>) {
        RepoUri::parse(&format!("http://{}/{path}", self.address)).unwrap()
    }

    async fn fetched(
        &self,
        repositories: &Repositories,
        path: &str,
        branch: Option<&str>,
    ) -> Result<Fetched, GitError> {
        let ((uri, secret), branch) = (self.uri(path), branch.map(|branch| branch.parse().unwrap()));
        repositories.fetch(&blog(), &uri, branch.as_ref(), secret.as_ref()).await
    }

    /// What a checkout of the repository's newest commit comes to.
    async fn checked_out(&self, repositories: &Repositories, path: &str) -> Result<tempfile::TempDir, GitError> {
        let fetched = self.fetched(repositories, path, None).await?;
        let (into, (uri, secret)) = (tempfile::tempdir().unwrap(), self.uri(path));
        let files = into.path().join("files");
        std::fs::create_dir(&files).unwrap();
        repositories.checkout(&blog(), &fetched.commit, Some((&uri, secret.as_ref())), &files).await?;
        Ok(into)
    }
}

fn text(into: &tempfile::TempDir, path: &str) -> String {
    std::fs::read_to_string(into.path().join("files").join(path)).unwrap()
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 301 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_repository_that_has_moved_is_followed_once() {
    let forge = Forge::start("").await;
    forge.repository("moved.git", &[("a", "1")]);
    let repositories = forge.repositories();
    forge.answer("/old/", redirect("/moved.git/info/refs?service=git-upload-pack"));
    assert_eq!(forge.fetched(&repositories, "old", None).await.unwrap().branch.as_str(), "trunk");
    // Twice is once too often.
    forge.answer("/older/", redirect("/old/info/refs?service=git-upload-pack"));
    assert!(forge.fetched(&repositories, "older", None).await.is_err());
    // Where no repository is, nobody goes.
    forge.answer("/login/", redirect("/sign-in?next=x"));
    let error = forge.fetched(&repositories, "login", None).await.unwrap_err();
    let told = error.problem();
    assert!(told.detail.contains("/sign-in`") && told.hint.unwrap().contains("podkeeper source"), "{error}");
}

#[tokio::test]
async fn what_reads_one_forge_is_not_shown_to_another() {
    let (from, to) = (Forge::start("ann:right").await, Forge::start("").await);
    to.repository("open.git", &[("a", "1")]);
    from.answer("/x.git/", redirect(&format!("http://{}/open.git/info/refs", to.address)));
    let (uri, secret) = RepoUri::parse(&format!("http://ann:right@{}/x.git", from.address)).unwrap();
    let fetched = from.repositories().fetch(&blog(), &uri, None, secret.as_ref()).await.unwrap();
    assert_eq!(fetched.branch.as_str(), "trunk");
    assert!(!from.seen.lock().unwrap().logins.is_empty() && to.seen.lock().unwrap().logins.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_an_address_is_told() {
    let forge = Forge::start("ann:right").await;
    forge.answer(
        "/page/",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
    );
    forge.answer("/none/", "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let repositories = forge.repositories();
    for (path, detail, hint) in [
        ("page", "There is no git repository at", "check the address"),
        ("none", "There is no git repository at", "check the address"),
        ("r.git", "lets nobody read", "--password-file"),
    ] {
        let problem = forge.fetched(&repositories, path, Some("main")).await.unwrap_err().problem();
        let hint_told = problem.hint.unwrap_or_default().to_lowercase();
        assert!(problem.detail.contains(detail) && hint_told.contains(hint), "{path}: {} {hint_told}", problem.detail);
    }
}

#[tokio::test]
async fn without_a_branch_the_forges_own_is_taken_and_a_wrong_one_is_told_from_those_that_are_there() {
    let forge = Forge::start("").await;
    let folder = forge.repository("x.git", &[("a", "1")]);
    git(&folder, &["branch", "other"]);
    let repositories = forge.repositories();
    assert_eq!(forge.fetched(&repositories, "x.git", None).await.unwrap().branch.as_str(), "trunk");
    let error = forge.fetched(&repositories, "x.git", Some("main")).await.unwrap_err();
    assert_eq!(error.to_string(), "the repository has no branch `main`; it has `other`, `trunk`");
    git(forge.folder.path(), &["init", "--quiet", "empty.git"]);
    for branch in [None, Some("main")] {
        let error = forge.fetched(&repositories, "empty.git", branch).await.unwrap_err();
        assert_eq!(error.problem().code.as_str(), "no-commits", "{error}");
    }
}

#[tokio::test]
async fn submodules_come_along_with_theirs() {
    let forge = Forge::start("").await;
    let inner = forge.repository("inner.git", &[("deep", "3")]);
    let theme = forge.repository("theme.git", &[("style", "2")]);
    let module = |path: &str, url: &str| format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n");
    let deep = git(&inner, &["rev-parse", "HEAD"]);
    let themes = forge.link(&theme, "lib/inner", &deep, &module("lib/inner", "../inner.git"));
    let site = forge.repository("site.git", &[("index.html", "1")]);
    let url = format!("http://{}/theme.git", forge.address);
    forge.link(&site, "themes/t", themes.as_str(), &module("themes/t", &url));
    let repositories = forge.repositories();
    let into = forge.checked_out(&repositories, "site.git").await.unwrap();
    let files = ["index.html", "themes/t/style", "themes/t/lib/inner/deep"].map(|path| text(&into, path));
    assert_eq!(files, ["1", "2", "3"]);
    // What is there is not asked for once more.
    std::fs::remove_dir_all(&inner).unwrap();
    assert_eq!(text(&forge.checked_out(&repositories, "site.git").await.unwrap(), "themes/t/lib/inner/deep"), "3");
}

#[tokio::test]
async fn a_submodule_that_cannot_be_had_is_named_and_one_that_is_not_wanted_is_left_out() {
    let forge = Forge::start("").await;
    let site = forge.repository("site.git", &[("index.html", "1")]);
    let commit = git(&site, &["rev-parse", "HEAD"]);
    let module = |url: &str, more: &str| format!("[submodule \"x\"]\n\tpath = lib/x\n\turl = {url}\n{more}");
    let repositories = forge.repositories();
    for url in
        ["../gone.git", "/srv/gone.git", "file:///srv/gone.git", "ext::sh", "../../../../../etc", "http://[::]:1/x"]
    {
        forge.link(&site, "lib/x", &commit, &module(url, ""));
        let error = forge.checked_out(&repositories, "site.git").await.unwrap_err();
        assert!(matches!(&error, GitError::Submodules(paths) if paths == "lib/x"), "{url}: {error}");
        assert!(error.problem().hint.unwrap().contains("update = none"));
    }
    forge.link(&site, "lib/x", &commit, &module("../gone.git", "\tupdate = none\n"));
    assert_eq!(text(&forge.checked_out(&repositories, "site.git").await.unwrap(), "index.html"), "1");
    // One that nobody knows an address of is not there in any clone, either.
    forge.link(&site, "lib/x", &commit, "");
    assert_eq!(text(&forge.checked_out(&repositories, "site.git").await.unwrap(), "index.html"), "1");
}

#[tokio::test]
async fn a_forges_large_files_come_along_and_what_is_not_there_stays_a_pointer() {
    let forge = Forge::start("").await;
    let (large, other) = ("large ".repeat(1000), "another");
    let id = |text: &str| HEXLOWER.encode(&Sha256::digest(text));
    let pointer = |text: &str| {
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n", id(text), text.len())
    };
    let attributes = (".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    let (one, two, three) = (pointer(&large), pointer(other), pointer("never"));
    forge.repository("site.git", &[attributes, ("a/one.bin", &one), ("two.bin", &two), ("three.bin", &three)]);
    let ok =
        |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
    let object = |text: &str, size: usize, path: &str| {
        let href = format!("http://{}{path}", forge.address);
        format!(
            r#"{{"oid":"{}","size":{size},"actions":{{"download":{{"href":"{href}","header":{{"X":"y"}}}}}}}}"#,
            id(text)
        )
    };
    let answer = format!(r#"{{"objects":[{},{}]}}"#, object(&large, 6000, "/moved"), object(other, 7, "/broken"));
    forge.answer("/site.git/info/lfs/objects/batch", ok(&answer));
    forge.answer("/moved", redirect("/file"));
    forge.answer("/file", ok(&large));
    forge.answer("/broken", ok("anothex"));
    let repositories = forge.repositories();
    let into = forge.checked_out(&repositories, "site.git").await.unwrap();
    assert_eq!([text(&into, "a/one.bin"), text(&into, "two.bin"), text(&into, "three.bin")], [large, two, three]);
}
