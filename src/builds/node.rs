//! The recipes for what a `package.json` describes: a program that serves, or pages that are made once and served as files.

use serde_json::Value;

use super::files::Files;
use super::recipe::Recipe;
use super::versions::fitting;

/// The version of Node where the repository names none, and those that there are images of.
const USUAL: u32 = 22;
const KNOWN: std::ops::RangeInclusive<u32> = 14..=40;
/// From this version on its images have no corepack.
const WITHOUT_COREPACK: u32 = 25;
/// The scripts that run while packages are installed, and may need any file.
const HOOKS: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];
/// Programs that a `start` script calls for somebody who develops the pages: they are served as files instead.
const FOR_DEVELOPERS: [&str; 7] = ["vite", "react-scripts", "ng", "vue-cli-service", "parcel", "astro", "eleventy"];
/// Where these packages put the pages that they make.
const PAGES: [(&str, &str); 7] = [
    ("vite", "dist"),
    ("react-scripts", "build"),
    ("@vue/cli-service", "dist"),
    ("parcel", "dist"),
    ("astro", "dist"),
    ("@11ty/eleventy", "_site"),
    ("gatsby", "public"),
];

/// What installs the packages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manager {
    Npm,
    Pnpm,
    Yarn,
    /// Yarn from version 2 on.
    Berry,
    Bun,
}

struct Project<'a> {
    files: Files<'a>,
    package: Value,
    manager: Manager,
    lock: Option<&'static str>,
    version: u32,
}

/// The recipe for the package of this folder; none where there is none that serves anything.
pub(super) fn recipe(files: Files<'_>) -> Option<Recipe> {
    let package: Value = serde_json::from_str(&files.text("package.json")?).unwrap_or_default();
    let lock = files.first(&[
        "pnpm-lock.yaml",
        "bun.lock",
        "bun.lockb",
        "yarn.lock",
        "package-lock.json",
        "npm-shrinkwrap.json",
    ]);
    let named = package["packageManager"].as_str().unwrap_or_default();
    let manager = match lock.or_else(|| named.split('@').next()) {
        Some("pnpm-lock.yaml" | "pnpm") => Manager::Pnpm,
        Some("bun.lock" | "bun.lockb" | "bun") => Manager::Bun,
        Some("yarn.lock" | "yarn") if files.has(".yarnrc.yml") || is_berry(named) => Manager::Berry,
        Some("yarn.lock" | "yarn") => Manager::Yarn,
        _ => Manager::Npm,
    };
    let version = version(files, &package);
    Project { files, package, manager, lock, version }.recipe()
}

fn is_berry(named: &str) -> bool {
    named.strip_prefix("yarn@").is_some_and(|version| !version.starts_with(['0', '1']))
}

fn version(files: Files<'_>, package: &Value) -> u32 {
    let file = files.first(&[".nvmrc", ".node-version"]).and_then(|name| files.text(name));
    let code = |name: &str| match name.to_ascii_lowercase().as_str() {
        "lts/hydrogen" => Some(18),
        "lts/iron" => Some(20),
        "lts/jod" => Some(22),
        "lts/krypton" => Some(24),
        _ => None,
    };
    let written = file.as_deref().map(str::trim).and_then(|text| code(text).or_else(|| fitting(text, 0, USUAL)));
    let engines = || fitting(package["engines"]["node"].as_str()?, 0, USUAL);
    written.or_else(engines).filter(|version| KNOWN.contains(version)).unwrap_or(USUAL)
}

/// What may stand in a Containerfile's list as it is.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/=@:".contains(c))
}

impl Project<'_> {
    fn script(&self, name: &str) -> Option<&str> {
        self.package["scripts"][name].as_str().map(str::trim).filter(|script| !script.is_empty())
    }

    fn depends(&self, name: &str) -> bool {
        ["dependencies", "devDependencies"].iter().any(|kind| self.package[*kind].get(name).is_some())
    }

    fn has_packages(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| self.package[*kind].as_object().is_some_and(|packages| !packages.is_empty()))
    }

    fn recipe(&self) -> Option<Recipe> {
        let builds = self.script("build").is_some();
        let text = match self.start() {
            Some(start) => self.program(&start, builds),
            None if builds => self.pages(),
            None => return None,
        };
        let name = match (self.manager, self.lock) {
            (Manager::Npm, None) => "Node",
            (Manager::Npm, Some(_)) => "Node, with a lock file",
            (Manager::Pnpm, _) => "Node, with pnpm",
            (Manager::Yarn | Manager::Berry, _) => "Node, with Yarn",
            (Manager::Bun, _) => "Bun",
        };
        Some(Recipe { name, containerfile: text })
    }

    /// The words that start the program; none where it only makes pages.
    fn start(&self) -> Option<Vec<String>> {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let runtime = if self.manager == Manager::Bun { "bun" } else { "node" };
        if let Some(start) = self.script("start") {
            let typed: Vec<&str> = start.split_whitespace().collect();
            let is_for_developers = typed.first().is_some_and(|program| FOR_DEVELOPERS.contains(program));
            return match typed.as_slice() {
                _ if is_for_developers && self.script("build").is_some() => None,
                // Without npm between, the program is told when it shall end.
                ["node", rest @ ..] if self.manager != Manager::Bun && rest.iter().all(|word| is_plain(word)) => {
                    words(&typed)
                }
                _ => words(match self.manager {
                    // npm is in every image, and runs the script alike.
                    Manager::Npm | Manager::Pnpm | Manager::Yarn => &["npm", "start"],
                    Manager::Berry => &["yarn", "start"],
                    Manager::Bun => &["bun", "run", "start"],
                }),
            };
        }
        let main = self.package["main"].as_str().map(|main| main.trim_start_matches("./"));
        let main = main.filter(|main| is_plain(main) && !main.starts_with(['-', '/']) && self.files.has(main));
        let program = self.files.first(&["server.js"]).or(main.filter(|_| self.script("build").is_none()));
        match program.or_else(|| self.files.first(&["index.js", "app.js"]).filter(|_| self.script("build").is_none())) {
            Some(program) => words(&[runtime, program]),
            None => None,
        }
    }

    fn image(&self) -> String {
        match self.manager {
            Manager::Bun => "docker.io/oven/bun:1-slim".to_owned(),
            _ => format!("docker.io/library/node:{}-slim", self.version),
        }
    }

    /// The lines that bring all files and the packages: those come first that change seldom, so that what was installed is
    /// there again for the next build. `all`: what the build alone needs, too.
    fn install(&self, all: bool) -> String {
        let kinds: &[&str] = if all { &["dependencies", "devDependencies"] } else { &["dependencies"] };
        let mut lines = String::new();
        if matches!(self.manager, Manager::Berry) {
            // Its packages belong to the image, and not to what is mounted while it is built.
            lines.push_str("ENV COREPACK_HOME=/usr/local/share/corepack YARN_ENABLE_GLOBAL_CACHE=false\n");
        }
        if self.lock.is_none() && !self.has_packages(kinds) {
            return lines + "COPY . .\n";
        }
        let lock = self.lock.is_some();
        let (cache, command) = match (self.manager, lock) {
            (Manager::Npm, true) => ("/root/.npm", "npm ci --no-audit --no-fund"),
            (Manager::Npm, false) => ("/root/.npm", "npm install --no-audit --no-fund"),
            (Manager::Pnpm, true) => ("/root/.local/share/pnpm/store", "pnpm install --frozen-lockfile"),
            (Manager::Pnpm, false) => ("/root/.local/share/pnpm/store", "pnpm install"),
            (Manager::Yarn, true) => ("/usr/local/share/.cache/yarn", "yarn install --frozen-lockfile"),
            (Manager::Yarn, false) => ("/usr/local/share/.cache/yarn", "yarn install"),
            (Manager::Berry, true) => ("", "yarn install --immutable"),
            (Manager::Berry, false) => ("", "yarn install"),
            (Manager::Bun, true) => ("/root/.bun/install/cache", "bun install --frozen-lockfile"),
            (Manager::Bun, false) => ("/root/.bun/install/cache", "bun install"),
        };
        let only = match self.manager {
            _ if all => "",
            Manager::Npm => " --omit=dev",
            Manager::Pnpm => " --prod",
            Manager::Yarn | Manager::Bun => " --production",
            Manager::Berry => "",
        };
        let corepack = match self.manager {
            Manager::Pnpm | Manager::Yarn | Manager::Berry if self.version >= WITHOUT_COREPACK => {
                "npm install --global corepack && corepack enable && "
            }
            Manager::Pnpm | Manager::Yarn | Manager::Berry => "corepack enable && ",
            Manager::Npm | Manager::Bun => "",
        };
        let mount = if cache.is_empty() { String::new() } else { format!("--mount=type=cache,target={cache} ") };
        let run = format!("RUN {mount}{corepack}{command}{only}\n");
        let needs_all = self.manager == Manager::Berry
            || HOOKS.iter().any(|hook| self.script(hook).is_some())
            || self.package.get("workspaces").is_some()
            || self.files.has("pnpm-workspace.yaml")
            || self.has_local_packages();
        if needs_all {
            return format!("{lines}COPY . .\n{run}");
        }
        let first = ["package.json"].into_iter().chain(self.lock).chain(self.files.first(&[".npmrc"]));
        let first: Vec<&str> = first.collect();
        format!("{lines}COPY {} ./\n{run}COPY . .\n", first.join(" "))
    }

    /// Whether a package is a folder of the repository.
    fn has_local_packages(&self) -> bool {
        let packages = ["dependencies", "devDependencies"].map(|kind| self.package[kind].as_object());
        let mut versions = packages.into_iter().flatten().flat_map(|packages| packages.values());
        let is_local = |version: &str| ["file:", "link:", "portal:", "."].iter().any(|kind| version.starts_with(kind));
        versions.any(|version| version.as_str().is_some_and(is_local))
    }

    fn run(&self, script: &str) -> String {
        let manager = match self.manager {
            Manager::Npm => "npm",
            Manager::Pnpm => "pnpm",
            Manager::Yarn | Manager::Berry => "yarn",
            Manager::Bun => "bun",
        };
        format!("{manager} run {script}")
    }

    fn program(&self, start: &[String], builds: bool) -> String {
        let (image, start) = (self.image(), serde_json::json!(start).to_string().replace("\",\"", "\", \""));
        let ends = format!("EXPOSE 8080\nUSER 1000\nCMD {start}\n");
        let env = "ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080\n";
        if !builds {
            let install = self.install(false);
            return format!(
                "# The packages, then the program, which must listen on $PORT.\nFROM {image}\nWORKDIR /app\n{env}{install}{ends}"
            );
        }
        let prune = match self.manager {
            Manager::Npm => " && npm prune --omit=dev",
            Manager::Pnpm => " && pnpm prune --prod",
            _ => "",
        };
        let (install, build) = (self.install(true), self.run("build"));
        let corepack = match self.manager {
            Manager::Berry => {
                "ENV COREPACK_HOME=/usr/local/share/corepack YARN_ENABLE_GLOBAL_CACHE=false\n\
                               COPY --from=build /usr/local/share/corepack /usr/local/share/corepack\nRUN corepack enable\n"
            }
            _ => "",
        };
        format!(
            "# The packages, `build`, then the program, which must listen on $PORT.\n\
             FROM {image} AS build\nWORKDIR /app\n{install}RUN {build}{prune}\n\n\
             FROM {image}\nWORKDIR /app\n{env}{corepack}COPY --from=build /app .\n{ends}"
        )
    }

    fn pages(&self) -> String {
        let (image, install, build) = (self.image(), self.install(true), self.run("build"));
        let known = PAGES.iter().find(|(package, _)| self.depends(package)).map(|(_, folder)| *folder);
        let (find, from) = match known {
            Some(folder) => (String::new(), format!("/app/{folder}")),
            None => (
                "# Wherever `build` has put them.\n\
                 RUN for out in dist build out _site public; do \
                 if [ -e \"$out/index.html\" ]; then cp -r \"$out\" /site; break; fi; done; test -e /site/index.html\n"
                    .to_owned(),
                "/site".to_owned(),
            ),
        };
        format!(
            "# The packages, `build`, then the pages that it made, as files.\n\
             FROM {image} AS build\nWORKDIR /app\n{install}RUN {build}\n{find}\n\
             FROM docker.io/library/busybox:stable\nCOPY --from=build {from} /site\n\
             # An address that is no file's is the page's own to read.\n\
             RUN echo 'E404:/site/index.html' >/etc/httpd.conf\n\
             EXPOSE 8080\nUSER 1000\nSTOPSIGNAL SIGKILL\n\
             CMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/site\", \"-c\", \"/etc/httpd.conf\"]\n"
        )
    }
}
