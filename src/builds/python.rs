//! The recipes for Python programs: what installs their packages, and what starts them.

use toml::Table;

use super::files::Files;
use super::recipe::Recipe;
use super::versions::fitting;

/// The second number of the version where the repository names none, and those that there are images of.
const USUAL: u32 = 13;
const KNOWN: std::ops::RangeInclusive<u32> = 8..=40;

/// What installs the packages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manager {
    Uv,
    Poetry,
    Pip,
    /// By `pyproject.toml` alone.
    Project,
    Nothing,
}

struct Program<'a> {
    files: Files<'a>,
    manager: Manager,
    version: u32,
    /// All that names packages.
    packages: String,
}

/// The recipe for the program of this folder; none where nothing tells how it starts.
pub(super) fn recipe(files: Files<'_>) -> Option<Recipe> {
    let text = files.text("pyproject.toml").unwrap_or_default();
    let project: Table = text.parse().unwrap_or_default();
    let is_poetrys = project.get("tool").and_then(|tool| tool.get("poetry")).is_some();
    let manager = match files.first(&["uv.lock", "poetry.lock", "requirements.txt"]) {
        Some("uv.lock") if !project.is_empty() => Manager::Uv,
        Some("poetry.lock") if !project.is_empty() => Manager::Poetry,
        Some("requirements.txt") => Manager::Pip,
        _ if is_poetrys => Manager::Poetry,
        _ if project.contains_key("project") => Manager::Project,
        _ => Manager::Nothing,
    };
    let packages = text + &files.text("requirements.txt").unwrap_or_default();
    Program { files, manager, version: version(files, &project), packages }.recipe()
}

fn version(files: Files<'_>, project: &Table) -> u32 {
    let file = files.text(".python-version").or_else(|| {
        let text = files.text("runtime.txt")?;
        Some(text.trim().strip_prefix("python-")?.to_owned())
    });
    let written = file.and_then(|text| fitting(text.lines().next()?.trim(), 1, USUAL));
    let project = || {
        let own = project.get("project").and_then(|project| project.get("requires-python"));
        let poetrys = || project.get("tool")?.get("poetry")?.get("dependencies")?.get("python");
        fitting(own.or_else(poetrys)?.as_str()?, 1, USUAL)
    };
    written.or_else(project).filter(|version| KNOWN.contains(version)).unwrap_or(USUAL)
}

impl Program<'_> {
    fn recipe(&self) -> Option<Recipe> {
        let django = self.files.text("manage.py").map(|manage| self.django(&manage));
        let is_django = django.is_some();
        let (more, start) = django.or_else(|| Some((String::new(), self.start()?)))?;
        let name = match (is_django, self.manager) {
            (true, _) => "Django",
            (_, Manager::Uv) => "Python, with uv",
            (_, Manager::Poetry) => "Python, with Poetry",
            (_, Manager::Pip) => "Python, with requirements",
            (_, Manager::Project) => "Python, with a project file",
            (_, Manager::Nothing) => "Python",
        };
        let (version, install) = (self.version, self.install());
        let start = serde_json::json!(start).to_string().replace("\",\"", "\", \"");
        let containerfile = format!(
            "# The packages, then the program, which must listen on $PORT.\n\
             FROM docker.io/library/python:3.{version}-slim\nWORKDIR /app\nENV PYTHONUNBUFFERED=1 PORT=8080\n\
             {install}{more}EXPOSE 8080\nUSER 1000\nCMD {start}\n"
        );
        Some(Recipe { name, containerfile })
    }

    fn names(&self, package: &str) -> bool {
        self.packages.to_ascii_lowercase().contains(package)
    }

    fn start(&self) -> Option<Vec<String>> {
        let file = self.files.first(&["app.py", "main.py"])?;
        let text = self.files.text(file).unwrap_or_default();
        let is_served = text.contains("FastAPI(") && !text.contains("uvicorn.run");
        let module = file.trim_end_matches(".py");
        let words: Vec<String> = if is_served && (self.names("uvicorn") || self.names("fastapi[")) {
            ["uvicorn", &format!("{module}:app"), "--host", "0.0.0.0", "--port", "8080"].map(str::to_owned).to_vec()
        } else {
            vec!["python".into(), file.into()]
        };
        Some(words)
    }

    /// What Django needs besides, and what starts it: the project's name is in its `manage.py`.
    fn django(&self, manage: &str) -> (String, Vec<String>) {
        let settings = manage.split_once("DJANGO_SETTINGS_MODULE").and_then(|(_, rest)| {
            let mut quoted = rest.split(['"', '\'']).skip(1);
            quoted.find(|text| text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        });
        let project = settings
            .and_then(|settings| settings.split('.').next())
            .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        let collect = "RUN python manage.py collectstatic --noinput || echo \"no static files are collected\"\n";
        let Some(project) = project.filter(|name| self.files.has(&format!("{name}/wsgi.py"))) else {
            let start = ["python", "manage.py", "runserver", "--noreload", "0.0.0.0:8080"];
            return (collect.to_owned(), start.map(str::to_owned).to_vec());
        };
        let server = match self.manager {
            _ if self.names("gunicorn") => String::new(),
            Manager::Uv => "RUN uv pip install gunicorn\n".to_owned(),
            Manager::Poetry => "RUN poetry run pip install --no-cache-dir gunicorn\n".to_owned(),
            _ => "RUN pip install --no-cache-dir gunicorn\n".to_owned(),
        };
        let start = ["gunicorn", "--bind", "0.0.0.0:8080", &format!("{project}.wsgi")].map(str::to_owned);
        (server + collect, start.to_vec())
    }

    /// The lines that bring the packages and all files; those come first that change seldom, so that what was installed is
    /// there again for the next build.
    fn install(&self) -> String {
        let venv = "ENV PATH=/app/.venv/bin:$PATH\n";
        match self.manager {
            Manager::Uv => format!(
                "ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never\nRUN pip install --no-cache-dir uv\n\
                 COPY pyproject.toml uv.lock ./\n\
                 RUN --mount=type=cache,target=/root/.cache/uv uv sync --locked --no-dev --no-install-project\n\
                 COPY . .\n\
                 RUN --mount=type=cache,target=/root/.cache/uv uv sync --locked --no-dev\n{venv}"
            ),
            Manager::Poetry => {
                let lock = if self.files.has("poetry.lock") { " poetry.lock" } else { "" };
                format!(
                    "ENV POETRY_VIRTUALENVS_IN_PROJECT=true\nRUN pip install --no-cache-dir poetry\n\
                     COPY pyproject.toml{lock} ./\n\
                     RUN --mount=type=cache,target=/root/.cache/pypoetry \
                     poetry install --only main --no-root --no-interaction\n\
                     COPY . .\n{venv}"
                )
            }
            Manager::Pip => {
                let run = "RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt\n";
                // A line that is no package's may be any file of the repository.
                let is_local = |line: &str| line.trim_start().starts_with(['-', '.', '/']);
                match self.files.text("requirements.txt") {
                    Some(text) if !text.lines().any(is_local) => {
                        format!("COPY requirements.txt ./\n{run}COPY . .\n")
                    }
                    _ => format!("COPY . .\n{run}"),
                }
            }
            Manager::Project => "COPY . .\nRUN --mount=type=cache,target=/root/.cache/pip pip install .\n".to_owned(),
            Manager::Nothing => "COPY . .\n".to_owned(),
        }
    }
}
