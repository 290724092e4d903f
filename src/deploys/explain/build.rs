//! Why a build failed.

use super::{Step, quoted, says_full, signal};
use crate::problem::{Code, Problem};

/// What buildah ends with where no step failed, but it could not carry one out.
const NOT_CARRIED_OUT: i32 = 125;
/// SIGKILL, as the kernel ends what needs too much memory.
const KILLED: i32 = 137;

/// What a step was to copy and the commit has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingSource {
    /// As the step names it.
    pub path: String,
    /// What is there under nearly that name.
    pub near: Option<String>,
    /// The submodule in which it lies.
    pub submodule: Option<String>,
}

/// What is known of a build that ended.
#[derive(Debug, Clone, Default)]
pub struct BuildFacts<'a> {
    /// Its status.
    pub status: i32,
    /// Whether the kernel ended one of its programs for want of memory; none where it doesn't count.
    pub ran_out_of_memory: Option<bool>,
    /// How much memory it may use, in MiB.
    pub memory_mib: u64,
    /// Its last lines.
    pub lines: &'a str,
    /// What the last step was to copy and isn't there.
    pub missing: Option<MissingSource>,
    /// The host's architecture, as images name it.
    pub host: &'a str,
}

impl BuildFacts<'_> {
    /// Why it failed, and what to do.
    #[must_use]
    pub fn explain(&self) -> Problem {
        let problem = |detail: String| Problem::new(Code::BuildFailed, detail);
        let step = Step::last(self.lines);
        let at = step.as_ref().map_or_else(String::new, |step| format!(", at the step `{}`", quoted(step.text)));
        let (status, memory) = (self.status, self.memory_mib);
        if self.ran_out_of_memory == Some(true) {
            return problem(format!("the build needed more than the {memory} MiB of memory that it may have{at}"))
                .with_hint("let it need less, or raise `builds.memory_mib` in the host's configuration");
        }
        if says_full(self.lines) {
            return Problem::disk_full();
        }
        if status == KILLED {
            return problem(format!(
                "a program of the build was killed (status 137){at}, which is what the kernel does where memory is short; \
                 the build may have {memory} MiB"
            ))
            .with_hint("let it need less memory, or raise `builds.memory_mib` in the host's configuration");
        }
        if let Some(missing) = &self.missing {
            return missing.problem(&at);
        }
        if status == NOT_CARRIED_OUT {
            let Some(step) = &step else {
                return problem("the Containerfile can't be read".into())
                    .with_hint("the last lines of the build name what is wrong in it; mend it, and push again");
            };
            if !step.is_known() {
                let word = quoted(step.instruction());
                return problem(format!(
                    "the Containerfile has a line that begins with `{word}`, which is no instruction"
                ))
                .with_hint("mend the line, and push again");
            }
            if let Some(image) = step.image() {
                return no_image(&quoted(image), self.lines);
            }
            return problem(format!("the build could not go on{at}")).with_hint("the last lines of the build tell why");
        }
        if let Some(platform) = self.foreign_platform() {
            return problem(format!(
                "the build asks for images for {platform}, whose programs this host, which is {}, can't run{at}",
                self.host
            ))
            .with_hint("take `--platform` out of the Containerfile, or build for this host's architecture");
        }
        let Some(step) = step.filter(|step| step.instruction().eq_ignore_ascii_case("RUN")) else {
            return problem(format!("the build ended with status {status}{at}"))
                .with_hint("the last lines of the build tell why");
        };
        let what = quoted(step.text);
        if let Some(signal) = signal(status) {
            return problem(format!("the step `{what}` was ended by {signal}"))
                .with_hint("the last lines of the build tell what it did until then");
        }
        let hint = match (status, step.manager()) {
            (127, _) => {
                "the image has no such program: install it in a step before, or begin with an image that has it".into()
            }
            (126, _) => {
                "its program can't be run: see that it is executable, and made for this host's architecture".into()
            }
            (_, Some(manager)) => {
                format!("{manager} says in the last lines of the build what it misses; try the same in a fresh clone")
            }
            _ => "the last lines of the build tell why".to_owned(),
        };
        problem(format!("the step `{what}` ended with status {status}")).with_hint(hint)
    }

    /// A platform that a stage of the build was asked for and that isn't the host's, where a program could not be run.
    fn foreign_platform(&self) -> Option<&str> {
        // What the kernel says to a program for another machine (ENOEXEC), as runtimes and shells pass it on: the status alone,
        // be it 1, 126 or 255, is any program's.
        if !self.lines.to_ascii_lowercase().contains("exec format error") {
            return None;
        }
        let steps = self.lines.lines().rev().filter_map(|line| Step::last(line)?.platform());
        steps
            .into_iter()
            .find(|platform| !platform.split('/').any(|part| part == self.host))
            .or(Some("another machine"))
    }
}

impl MissingSource {
    fn problem(&self, at: &str) -> Problem {
        let path = quoted(&self.path);
        let problem = |detail: String| Problem::new(Code::BuildFailed, detail);
        match (&self.submodule, &self.near) {
            (Some(submodule), _) => {
                let submodule = quoted(submodule);
                problem(format!("`{path}` lies in the submodule `{submodule}`, whose files are not there{at}"))
                    .with_hint("see that the submodule's address can be read without a password, or put its files into the repository")
            }
            (None, Some(near)) => {
                let near = quoted(near);
                problem(format!("the repository has no `{path}`{at}; it has `{near}`"))
                    .with_hint(format!("write `{near}` in the Containerfile: names differ by their capitals, too"))
            }
            (None, None) => problem(format!("the repository has no `{path}`{at}")).with_hint(
                "commit it, also where .gitignore names it, or have a step of the build make it; \
                 the path begins at the top of the repository",
            ),
        }
    }
}

/// What registries answer, in the words of their interface (distribution-spec, "Error Codes") and of the system's resolver. buildah
/// passes them on as text, and its status is the same for all: nothing else tells them apart.
const SAID: [(&[&str], &str, &str); 5] = [
    (
        &["toomanyrequests", "429 too many requests"],
        "has been fetched too often from its registry",
        "wait for the registry's limit to pass, or sign in to it: `podkeeper registry login`",
    ),
    (
        &["manifest unknown", "name unknown", "repository name not known", "manifest_unknown", "name_unknown"],
        "is not in its registry",
        "look at its name and its tag",
    ),
    (
        &["no image found in manifest list for architecture", "no image found in image index for architecture"],
        "is not there for this host's architecture",
        "choose one that is made for it",
    ),
    (
        &["unauthorized", "requested access to the resource is denied", "authentication required", "403 (forbidden)"],
        "is not there, or its registry wants a login for it",
        "look at its name; for a private one there is `podkeeper registry login`",
    ),
    (
        &["no such host", "connection refused", "i/o timeout", "network is unreachable"],
        "can't be fetched: its registry can't be reached",
        "look at the registry's name, and deploy again when it answers",
    ),
];

fn no_image(name: &str, lines: &str) -> Problem {
    let lines = lines.to_ascii_lowercase();
    let said = SAID.iter().find(|(words, ..)| words.iter().any(|word| lines.contains(word)));
    let (why, next) = said.map_or(
        (
            "can't be had",
            "look at its name, and whether its registry answers; for a private one there is `podkeeper registry login`",
        ),
        |(_, why, next)| (*why, *next),
    );
    Problem::new(Code::BuildFailed, format!("the image `{name}`, which the build is made of, {why}")).with_hint(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(facts: &BuildFacts<'_>) -> (String, String) {
        let facts = BuildFacts { memory_mib: 1024, host: "amd64", ..facts.clone() };
        let problem = facts.explain();
        (problem.detail.to_string(), problem.hint.map(|hint| hint.to_string()).unwrap_or_default())
    }

    #[test]
    fn a_failed_build_explains_itself() {
        let npm = "STEP 1/2: FROM node:22\nSTEP 2/2: RUN npm ci\nnpm error code E404";
        for (status, lines, detail, next) in [
            (1, npm, "The step `RUN npm ci` ended with status 1.", "npm says in the last lines"),
            (127, "STEP 2/2: RUN maek", "The step `RUN maek` ended with status 127.", "The image has no such program"),
            (126, "STEP 2/2: RUN ./x", "The step `RUN ./x` ended with status 126.", "Its program can't be run"),
            (139, "STEP 2/2: RUN ./x", "The step `RUN ./x` was ended by SIGSEGV.", "The last lines"),
            (137, npm, "A program of the build was killed (status 137), at the step `RUN npm ci`", "builds.memory_mib"),
            (1, "STEP 1/2: RUN x\nx: No space left on device", "No space is left", "Free some space"),
            (125, "Error: no", "The Containerfile can't be read.", "mend it"),
            (
                125,
                "STEP 1/2: FROM x\nSTEP 2/2: RUNN true\nError: no",
                "The Containerfile has a line that begins with `RUNN`, which is no instruction.",
                "Mend the line",
            ),
            (
                125,
                "STEP 1/1: FROM x:9\nError: manifest unknown",
                "The image `x:9`, which the build is made of, is not in its",
                "its tag",
            ),
            (
                125,
                "STEP 1/1: FROM x\ntoomanyrequests: You have",
                "The image `x`, which the build is made of, has been",
                "limit",
            ),
            (
                125,
                "STEP 1/1: FROM x\nunauthorized: no",
                "The image `x`, which the build is made of, is not there, or",
                "login",
            ),
            (
                125,
                "STEP 1/1: FROM x\nlookup x: no such host",
                "The image `x`, which the build is made of, can't be fetched",
                "registry's name",
            ),
            (
                125,
                "STEP 1/1: FROM x\nError: no",
                "The image `x`, which the build is made of, can't be had.",
                "its registry answers",
            ),
            (125, "STEP 2/2: RUN exit 125", "The build could not go on, at the step `RUN exit 125`.", "The last lines"),
            (
                1,
                "STEP 1/2: FROM --platform=linux/arm64 x\nSTEP 2/2: RUN y\nexec /bin/sh: Exec format error",
                "The build asks for images for linux/arm64, whose programs this host, which is amd64, can't run",
                "--platform",
            ),
            (
                1,
                "STEP 1/2: FROM --platform=linux/arm64 x\nSTEP 2/2: RUN y",
                "The step `RUN y` ended with",
                "The last lines",
            ),
            (3, "", "The build ended with status 3.", "The last lines"),
        ] {
            let told = told(&BuildFacts { status, lines, ..BuildFacts::default() });
            assert!(told.0.starts_with(detail) && told.1.contains(next), "{status} {lines}: {told:?}");
        }
        let facts = BuildFacts { status: 1, lines: npm, ran_out_of_memory: Some(true), ..BuildFacts::default() };
        let told = told(&facts);
        assert_eq!(
            told.0,
            "The build needed more than the 1024 MiB of memory that it may have, at the step `RUN npm ci`."
        );
        assert!(told.1.contains("`builds.memory_mib`"));
    }

    #[test]
    fn what_is_to_be_copied_and_is_not_there_is_named() {
        let missing = |near: Option<&str>, submodule: Option<&str>| {
            let missing = MissingSource {
                path: "Dist".into(),
                near: near.map(str::to_owned),
                submodule: submodule.map(str::to_owned),
            };
            let lines = "STEP 2/2: COPY Dist /app\nError: no";
            told(&BuildFacts { status: 125, lines, missing: Some(missing), ..BuildFacts::default() })
        };
        let plain = missing(None, None);
        assert_eq!(plain.0, "The repository has no `Dist`, at the step `COPY Dist /app`.");
        assert!(plain.1.contains(".gitignore"));
        assert!(missing(Some("dist"), None).0.ends_with("; it has `dist`."));
        assert!(missing(None, Some("lib")).0.contains("submodule `lib`"));
    }
}
