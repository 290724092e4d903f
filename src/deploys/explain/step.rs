//! The last step of a build, as buildah prints it.

/// The instructions of a Containerfile (containerfile(5)).
const INSTRUCTIONS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// Programs that fetch what others are made of, and say themselves what they miss.
const MANAGERS: [&str; 21] = [
    "npm",
    "npx",
    "pnpm",
    "yarn",
    "bun",
    "pip",
    "pip3",
    "poetry",
    "uv",
    "bundle",
    "gem",
    "composer",
    "cargo",
    "go",
    "mvn",
    "gradle",
    "./mvnw",
    "./gradlew",
    "apt-get",
    "apk",
    "dnf",
];

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'a> {
    /// Its text, from the instruction on.
    pub text: &'a str,
}

impl<'a> Step<'a> {
    /// The last one in these lines: `STEP 1/3: FROM NAME AS STAGE`, with `[1/2] ` before it where there are several stages;
    /// where that is too long ago, as buildah's last line names it.
    #[must_use]
    pub fn last(lines: &'a str) -> Option<Self> {
        let mut last = lines.lines().rev();
        last.find_map(Self::begun).or_else(|| lines.lines().rev().find_map(Self::named))
    }

    fn begun(line: &'a str) -> Option<Self> {
        let stage = line.strip_prefix('[').and_then(|rest| Some(rest.split_once("] ")?.1));
        Some(Self { text: stage.unwrap_or(line).strip_prefix("STEP ")?.split_once(": ")?.1 })
    }

    fn named(line: &'a str) -> Option<Self> {
        let rest = line.split_once("building at STEP \"")?.1;
        Some(Self { text: rest.split_once("\": ")?.0 })
    }

    /// What it is to do.
    #[must_use]
    pub fn instruction(&self) -> &'a str {
        self.text.split_whitespace().next().unwrap_or_default()
    }

    /// Whether there is such an instruction at all.
    pub(super) fn is_known(&self) -> bool {
        INSTRUCTIONS.iter().any(|known| known.eq_ignore_ascii_case(self.instruction()))
    }

    fn is(&self, instruction: &str) -> bool {
        self.instruction().eq_ignore_ascii_case(instruction)
    }

    /// The words behind the instruction that are no options.
    fn operands(&self) -> impl Iterator<Item = &'a str> {
        self.text.split_whitespace().skip(1).filter(|word| !word.starts_with("--"))
    }

    fn option(&self, name: &str) -> Option<&'a str> {
        let mut options = self.text.split_whitespace().skip(1).take_while(|word| word.starts_with("--"));
        options.find_map(|word| word.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }

    /// The image that it needs.
    pub(super) fn image(&self) -> Option<&'a str> {
        if self.is("FROM") { self.operands().next() } else { self.option("from").filter(|_| self.copies()) }
    }

    /// The platform that it asks for.
    pub(super) fn platform(&self) -> Option<&'a str> {
        self.option("platform").filter(|_| self.is("FROM"))
    }

    fn copies(&self) -> bool {
        self.is("COPY") || self.is("ADD")
    }

    /// The paths in the commit that it takes, where they are plain ones.
    #[must_use]
    pub fn sources(&self) -> Vec<&'a str> {
        if !self.copies() || self.option("from").is_some() {
            return Vec::new();
        }
        let words: Vec<&str> = self.operands().collect();
        let sources = words.split_last().map_or(&[][..], |(_, sources)| sources);
        let is_plain = |word: &&str| !word.contains(['*', '?', '[', '$', '"', '\\', '<', ',']) && !word.contains("://");
        sources.iter().copied().filter(is_plain).collect()
    }

    /// The package manager that it runs first.
    pub(super) fn manager(&self) -> Option<&'a str> {
        self.operands().find(|word| MANAGERS.contains(word)).filter(|_| self.is("RUN"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_is_found() {
        for (lines, step) in [
            ("STEP 1/3: FROM a\nSTEP 2/3: RUN npm ci\nnpm error x", Some("RUN npm ci")),
            ("[1/2] STEP 2/3: COPY dist /app\nError: no", Some("COPY dist /app")),
            (
                "npm error\nError: building at STEP \"RUN npm ci\": while running runtime: exit status 1",
                Some("RUN npm ci"),
            ),
            (
                "Error: building at STEP \"COPY dist /app\": checking on sources: copier: stat: \"/dist\": no such file",
                Some("COPY dist /app"),
            ),
            ("Error: no", None),
        ] {
            assert_eq!(Step::last(lines).map(|step| step.text), step, "{lines}");
        }
    }

    #[test]
    fn what_a_step_needs_is_read() {
        let step = |text| Step { text };
        assert_eq!(step("FROM --platform=linux/arm64 a.example/b AS c").image(), Some("a.example/b"));
        assert_eq!(step("FROM --platform=linux/arm64 a").platform(), Some("linux/arm64"));
        assert_eq!(step("COPY --chown=1 --from=y:2 /a /a").image(), Some("y:2"));
        assert_eq!(step("COPY --chown=1 a b/ /a").sources(), ["a", "b/"]);
        assert!(step("COPY --from=y a /a").sources().is_empty() && step("RUN cp a /a").sources().is_empty());
        assert_eq!(step("COPY *.json $X a /a").sources(), ["a"]);
        assert_eq!(step("RUN apk add x && npm ci").manager(), Some("apk"));
        assert_eq!(step("RUN make npm-x").manager(), None);
        assert!(step("run true").is_known() && !step("RUNN true").is_known());
    }
}
