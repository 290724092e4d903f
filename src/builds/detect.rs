//! What a repository without a Containerfile is built by: a recipe that fits its files. The recipe is printed into the
//! build's log, so that it can be committed and changed.

use std::path::Path;

use super::files::Files;
pub use super::recipe::Recipe;
use super::{node, python};

/// A recipe that is the same for all repositories with these files.
struct Rule {
    name: &'static str,
    containerfile: &'static str,
    /// All of these must be there.
    files: &'static [&'static str],
}

macro_rules! rule {
    ($name:literal, $file:literal, $($needed:literal),+) => {
        Rule {
            name: $name,
            containerfile: include_str!(concat!("recipes/", $file, ".Containerfile")),
            files: &[$($needed),+],
        }
    };
}

/// The first that fits is taken, so what is particular comes before what is general: these come before what a
/// `package.json` says, which may be there for their pages' scripts alone.
const PARTICULAR: &[Rule] = &[
    rule!("Go", "go", "go.mod"),
    rule!("Rust", "rust", "Cargo.toml"),
    rule!("PHP, with Composer", "php-composer", "composer.json"),
    rule!("Ruby", "ruby", "Gemfile", "config.ru"),
];

/// And these behind all that may have a page among its files.
const GENERAL: &[Rule] = &[
    rule!("PHP", "php", "index.php"),
    rule!("static site", "static-public", "public/index.html"),
    rule!("static site", "static", "index.html"),
];

fn first(rules: &[Rule], files: Files<'_>) -> Option<Recipe> {
    let rule = rules.iter().find(|rule| rule.files.iter().all(|file| files.has(file)))?;
    Some(Recipe { name: rule.name, containerfile: rule.containerfile.to_owned() })
}

/// The recipe for the repository in `folder`. It is made of what its files say, none of which is more than a number or a
/// name in it.
#[must_use]
pub fn detect_in(folder: &Path) -> Option<Recipe> {
    let files = Files(folder);
    let django = files.has("manage.py").then(|| python::recipe(files)).flatten();
    django
        .or_else(|| first(PARTICULAR, files))
        .or_else(|| node::recipe(files))
        .or_else(|| python::recipe(files))
        .or_else(|| first(GENERAL, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by their names, each with its text.
    type Named<'a> = &'a [(&'a str, &'a str)];

    /// What fits a repository of these files.
    fn detect(files: Named<'_>) -> Option<Recipe> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        detect_in(folder.path())
    }

    #[test]
    fn files_and_their_recipe() {
        let serves = r#"{"scripts":{"start":"node server.js"}}"#;
        let cases: &[(Named<'_>, Option<&str>)] = &[
            (&[("go.mod", ""), ("main.go", "")], Some("Go")),
            (&[("Cargo.toml", ""), ("src/main.rs", "")], Some("Rust")),
            (
                &[("package.json", serves), ("package-lock.json", "{}"), ("index.html", "")],
                Some("Node, with a lock file"),
            ),
            (&[("package.json", "{}"), ("server.js", "")], Some("Node")),
            (&[("package.json", "no JSON"), ("server.js", "")], Some("Node")),
            (&[("package.json", serves), ("pnpm-lock.yaml", "")], Some("Node, with pnpm")),
            (&[("package.json", serves), ("yarn.lock", "")], Some("Node, with Yarn")),
            (&[("package.json", serves), ("bun.lock", "")], Some("Bun")),
            // It is there for whoever writes the pages.
            (&[("package.json", r#"{"devDependencies":{"prettier":"3"}}"#), ("index.html", "")], Some("static site")),
            (&[("composer.json", ""), ("package.json", serves), ("index.php", "")], Some("PHP, with Composer")),
            (&[("index.php", "")], Some("PHP")),
            (&[("Gemfile", ""), ("config.ru", ""), ("package.json", serves)], Some("Ruby")),
            (&[("requirements.txt", ""), ("app.py", "")], Some("Python, with requirements")),
            (&[("requirements.txt", ""), ("main.py", "")], Some("Python, with requirements")),
            (&[("pyproject.toml", "[project]\nname='a'"), ("uv.lock", ""), ("main.py", "")], Some("Python, with uv")),
            (&[("pyproject.toml", "[tool.poetry]\nname='a'"), ("main.py", "")], Some("Python, with Poetry")),
            (&[("pyproject.toml", "[project]\nname='a'"), ("main.py", "")], Some("Python, with a project file")),
            (&[("manage.py", ""), ("package.json", serves), ("requirements.txt", "")], Some("Django")),
            (&[("app.py", "")], Some("Python")),
            (&[("main.py", "")], Some("Python")),
            (&[("requirements.txt", ""), ("README.md", "")], None),
            (&[("public/index.html", "")], Some("static site")),
            (&[("index.html", "")], Some("static site")),
            (&[("README.md", "")], None),
            (&[], None),
        ];
        for (files, wanted) in cases {
            let recipe = detect(files);
            assert_eq!(recipe.as_ref().map(|recipe| recipe.name), *wanted, "{files:?}");
            let Some(Recipe { name, containerfile }) = recipe else { continue };
            // An image named in full, the port, a user without rights, and comments that say what it does.
            let froms: Vec<&str> = containerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
            assert!(!froms.is_empty() && froms.iter().all(|from| from.starts_with("docker.io/")), "{containerfile}");
            for line in ["EXPOSE 8080", "USER 1000"] {
                assert!(containerfile.lines().any(|has| has == line), "{name}: {line}");
            }
            assert!(containerfile.starts_with("# ") && containerfile.ends_with('\n'), "{name}");
        }
    }

    /// What the recipe of these files holds, line by line.
    fn holds(files: Named<'_>, lines: &[&str], not: &[&str]) {
        let recipe = detect(files).unwrap_or_else(|| panic!("{files:?}"));
        let text = recipe.containerfile;
        let mut rest = text.lines();
        for line in lines {
            assert!(rest.any(|has| has == *line), "{line}, in this order, of {files:?}:\n{text}");
        }
        for part in not {
            assert!(!text.contains(part), "{part} of {files:?}:\n{text}");
        }
    }

    #[test]
    fn node_is_installed_built_and_started_as_its_files_say() {
        holds(
            &[
                ("package.json", r#"{"scripts":{"start":"node server.js"},"dependencies":{"a":"1"}}"#),
                ("package-lock.json", "{}"),
                (".nvmrc", "v20.11.1\n"),
            ],
            &[
                "FROM docker.io/library/node:20-slim",
                "COPY package.json package-lock.json ./",
                "RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund --omit=dev",
                "COPY . .",
                r#"CMD ["node", "server.js"]"#,
            ],
            &["npm run build"],
        );
        holds(
            &[
                (
                    "package.json",
                    r#"{"packageManager":"pnpm@9.1.0","engines":{"node":">=24"},"scripts":{"build":"next build","start":"next start"},"dependencies":{"next":"1"}}"#,
                ),
                ("pnpm-lock.yaml", ""),
            ],
            &[
                "FROM docker.io/library/node:24-slim AS build",
                "COPY package.json pnpm-lock.yaml ./",
                "RUN --mount=type=cache,target=/root/.local/share/pnpm/store corepack enable && pnpm install --frozen-lockfile",
                "RUN pnpm run build && pnpm prune --prod",
                "COPY --from=build /app .",
                r#"CMD ["npm", "start"]"#,
            ],
            &[],
        );
        holds(
            &[
                ("package.json", r#"{"scripts":{"start":"x"},"dependencies":{"a":"1"},"packageManager":"yarn@4.2.0"}"#),
                ("yarn.lock", ""),
            ],
            &["COPY . .", "RUN corepack enable && yarn install --immutable", r#"CMD ["yarn", "start"]"#],
            &["--mount"],
        );
        holds(
            &[("package.json", r#"{"scripts":{"start":"bun index.ts"},"dependencies":{"a":"1"}}"#), ("bun.lockb", "")],
            &[
                "FROM docker.io/oven/bun:1-slim",
                "RUN --mount=type=cache,target=/root/.bun/install/cache bun install --frozen-lockfile --production",
                r#"CMD ["bun", "run", "start"]"#,
            ],
            &[],
        );
        // What runs while packages are installed may need any file.
        for more in [
            r#""scripts":{"start":"x","postinstall":"prisma generate"},"dependencies":{"a":"1"}"#,
            r#""scripts":{"start":"x"},"workspaces":["a"],"dependencies":{"a":"1"}"#,
            r#""scripts":{"start":"x"},"dependencies":{"a":"file:../a"}"#,
        ] {
            let run = "RUN --mount=type=cache,target=/root/.npm npm install --no-audit --no-fund --omit=dev";
            holds(&[("package.json", &format!("{{{more}}}"))], &["COPY . .", run], &[]);
        }
        // Nothing is installed where there is nothing to install.
        holds(&[("package.json", "{}"), ("server.js", "")], &[r#"CMD ["node", "server.js"]"#], &["RUN"]);
        holds(
            &[("package.json", r#"{"main":"./lib/run.js"}"#), ("lib/run.js", "")],
            &[r#"CMD ["node", "lib/run.js"]"#],
            &[],
        );
    }

    #[test]
    fn pages_that_a_build_makes_are_served_as_files() {
        for (package, folder) in [
            (r#"{"scripts":{"build":"vite build","dev":"vite"},"devDependencies":{"vite":"5"}}"#, "/app/dist"),
            (r#"{"scripts":{"build":"tsc && vite build","start":"vite"},"devDependencies":{"vite":"5"}}"#, "/app/dist"),
            (
                r#"{"scripts":{"build":"react-scripts build","start":"react-scripts start"},"dependencies":{"react-scripts":"5"}}"#,
                "/app/build",
            ),
            (r#"{"scripts":{"build":"make"}}"#, "/site"),
        ] {
            holds(
                &[("package.json", package), ("index.html", "")],
                &[
                    "RUN npm run build",
                    "FROM docker.io/library/busybox:stable",
                    &format!("COPY --from=build {folder} /site"),
                    r#"CMD ["httpd", "-f", "-p", "8080", "-h", "/site", "-c", "/etc/httpd.conf"]"#,
                ],
                &["npm start", "--omit=dev"],
            );
        }
    }

    #[test]
    fn python_is_installed_and_started_as_its_files_say() {
        holds(
            &[("requirements.txt", "flask==3\n"), ("app.py", ""), ("runtime.txt", "python-3.11.9\n")],
            &[
                "FROM docker.io/library/python:3.11-slim",
                "COPY requirements.txt ./",
                "RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt",
                "COPY . .",
                r#"CMD ["python", "app.py"]"#,
            ],
            &[],
        );
        holds(
            &[("requirements.txt", "-e .\n"), ("main.py", "")],
            &["COPY . .", r#"CMD ["python", "main.py"]"#],
            &["COPY req"],
        );
        holds(
            &[
                (
                    "pyproject.toml",
                    "[project]\nname = 'a'\nrequires-python = '>=3.12,<3.13'\ndependencies = ['fastapi[standard]']",
                ),
                ("uv.lock", ""),
                ("main.py", "app = FastAPI()"),
            ],
            &[
                "FROM docker.io/library/python:3.12-slim",
                "COPY pyproject.toml uv.lock ./",
                "RUN --mount=type=cache,target=/root/.cache/uv uv sync --locked --no-dev --no-install-project",
                "COPY . .",
                "ENV PATH=/app/.venv/bin:$PATH",
                r#"CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8080"]"#,
            ],
            &[],
        );
        holds(
            &[
                ("pyproject.toml", "[tool.poetry.dependencies]\npython = '^3.10'"),
                ("poetry.lock", ""),
                (".python-version", "3.10.4\n"),
                ("main.py", ""),
            ],
            &[
                "FROM docker.io/library/python:3.10-slim",
                "COPY pyproject.toml poetry.lock ./",
                "RUN --mount=type=cache,target=/root/.cache/pypoetry poetry install --only main --no-root --no-interaction",
                "COPY . .",
            ],
            &[],
        );
        let manage = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')";
        holds(
            &[("manage.py", manage), ("shop/wsgi.py", ""), ("requirements.txt", "Django\n")],
            &["RUN pip install --no-cache-dir gunicorn", r#"CMD ["gunicorn", "--bind", "0.0.0.0:8080", "shop.wsgi"]"#],
            &[],
        );
        holds(
            &[("manage.py", manage), ("shop/wsgi.py", ""), ("requirements.txt", "Django\ngunicorn\n")],
            &[r#"CMD ["gunicorn", "--bind", "0.0.0.0:8080", "shop.wsgi"]"#],
            &["pip install --no-cache-dir gunicorn"],
        );
        let start = r#"CMD ["python", "manage.py", "runserver", "--noreload", "0.0.0.0:8080"]"#;
        holds(&[("manage.py", "")], &[start], &[]);
    }

    /// Whatever a repository writes there, a recipe has no line, word or image of its choice.
    #[test]
    fn no_file_writes_into_a_recipe() {
        let evil = "x\nRUN evil\n";
        let start = |text: &str| serde_json::json!({ "scripts": { "start": text }, "main": text }).to_string();
        for files in [
            vec![("package.json", start("node evil\"]\nRUN evil")), ("server.js", String::new())],
            vec![("package.json", start("node $(evil)"))],
            vec![
                ("package.json", serde_json::json!({ "main": evil, "packageManager": evil }).to_string()),
                ("server.js", String::new()),
            ],
            vec![("package.json", start("x")), (".nvmrc", format!("20{evil}"))],
            vec![("main.py", String::new()), (".python-version", format!("3.12{evil}"))],
            vec![("main.py", String::new()), ("runtime.txt", format!("python-3.12-evil{evil}"))],
            vec![("manage.py", format!("DJANGO_SETTINGS_MODULE', 'evil\"]{evil}.settings'"))],
            vec![("manage.py", "DJANGO_SETTINGS_MODULE', '../evil/x'".to_owned())],
            vec![
                ("main.py", String::new()),
                ("pyproject.toml", "[project]\nrequires-python = '>=3.12 evil'".to_owned()),
            ],
        ] {
            let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
            holds(&files, &[], &["evil"]);
        }
        // What is far too long is not read, and no link is followed.
        let long = format!("{{\"scripts\":{{\"start\":\"x\"}}}}{}", " ".repeat(1 << 20));
        assert_eq!(detect(&[("package.json", &long)]), None);
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("package.json")).unwrap();
        assert_eq!(detect_in(folder.path()), None);
    }
}
