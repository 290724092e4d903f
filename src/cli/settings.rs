//! `podkeeper settings`: how a service is set, and when a change of it counts.

use std::io::Write;
use std::process::ExitCode;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::client::{Agent, Answer, segment};
use super::options::{Failure, Outcome};
use super::show;
use super::show::{Cell, Paint, cell, text};
use super::tables::table;
use crate::api::plans::{Changed, Counts, Plan};
use crate::api::services::Service;
use crate::api::settings::Settings;
use crate::builds::FILE;
use crate::names::{BranchName, ContainerPort};
use crate::store::{self, Origin};
use crate::text::Plain;

/// Which settings.
#[derive(Debug, clap::Args)]
#[command(after_help = list())]
pub struct Args {
    /// The service
    name: String,
    /// What to change; a list replaces the one before, and nothing behind the = is the same as --unset
    #[arg(value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What to take back to the host's default
    #[arg(long, value_name = "KEY", value_parser = clap::builder::PossibleValuesParser::new(keys().filter(|key| *key != BRANCH)))]
    unset: Vec<String>,
    /// Only tell what would change, when that would count, and that nothing is restarted for it
    #[arg(long)]
    dry_run: bool,
}

/// What stands beside the settings in the interface, and has no default to go back to.
const BRANCH: &str = "branch";

/// How a value is typed.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    /// A number, or the word `none`.
    NumberOrNone,
    Flag,
    /// `a,b`
    List,
    /// `NAME:PATH,NAME:PATH`
    Places,
    /// `NAME=TEXT,NAME=TEXT`; a part without `=` belongs to the text before it, with its comma.
    Texts,
}

/// When a change counts.
#[derive(Debug, Clone, Copy)]
enum From {
    Now,
    /// A release keeps the settings that it was made with.
    Release,
    Build,
}

struct Setting {
    key: &'static str,
    kind: Kind,
    from: From,
    what: &'static str,
}

const fn setting(key: &'static str, kind: Kind, from: From, what: &'static str) -> Setting {
    Setting { key, kind, from, what }
}

const SETTINGS: [Setting; 22] = [
    setting(BRANCH, Kind::Text, From::Build, "the branch that is built"),
    setting(
        "container_port",
        Kind::NumberOrNone,
        From::Release,
        "where its program listens, or none; else the first EXPOSE, else 8080",
    ),
    setting("health_path", Kind::Text, From::Release, "a path that must answer 2xx or 3xx before traffic moves"),
    setting("health_timeout", Kind::Number, From::Release, "seconds that a new release may take until it is healthy"),
    setting("health_interval", Kind::Number, From::Release, "seconds between two runs of the image's HEALTHCHECK"),
    setting("tcp", Kind::Flag, From::Release, "yes: it speaks no HTTP, and taking connections is enough"),
    setting("memory_mib", Kind::Number, From::Release, "memory limit in MiB"),
    setting("cpu_percent", Kind::Number, From::Release, "CPU limit in percent of one core"),
    setting("domains", Kind::List, From::Now, "host names beside its own: a.example.org,b.example.org"),
    setting("volumes", Kind::Places, From::Release, "what is kept, and where it is mounted: data:/data,more:/srv"),
    setting(
        "strategy",
        Kind::Text,
        From::Release,
        "rolling, or recreate: what runs stops before the next starts; else as its image needs it",
    ),
    setting("stop_timeout", Kind::Number, From::Release, "seconds that its program may take to stop"),
    setting(
        "stop_signal",
        Kind::Text,
        From::Release,
        "what asks it to stop, like SIGQUIT; else its image's, else SIGTERM",
    ),
    setting("keep", Kind::Number, From::Now, "how many releases are kept, to go back to"),
    setting("root", Kind::Text, From::Build, "the folder of the repository that is built, such as apps/web"),
    setting("containerfile", Kind::Text, From::Build, "the file below that folder that it is built by"),
    setting("watch", Kind::List, From::Now, "files of which a push must change one: apps/web/**,go.mod"),
    setting("build_args", Kind::Texts, From::Build, "arguments of each build, for all to see: MODE=production,X=y"),
    setting("build_env", Kind::List, From::Build, "variables that each build has as arguments, kept in the image"),
    setting("build_secrets", Kind::List, From::Build, "variables that each build has as secrets, kept nowhere"),
    setting(
        "prefer_repository",
        Kind::Flag,
        From::Release,
        "yes: what the repository's podkeeper.toml says counts for more",
    ),
    setting("skip_marks", Kind::Flag, From::Now, "no: what is pushed with `[skip ci]` in its message is built, too"),
];

fn keys() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.key)
}

/// The settings as the help has them.
fn list() -> String {
    let lines = SETTINGS.iter().map(|setting| format!("\n  {:<17} {}", setting.key, setting.what));
    format!("Settings:{}", lines.collect::<String>())
}

impl Setting {
    fn find(key: &str) -> Result<&'static Self, Failure> {
        SETTINGS.iter().find(|setting| setting.key == key).ok_or_else(|| {
            let keys: Vec<_> = keys().collect();
            format!("there is no setting `{}`\nNext: it is one of {}", Plain::from(key), keys.join(", ")).into()
        })
    }

    /// What is typed, as the interface takes it.
    fn read(&self, text: &str) -> Result<Value, Failure> {
        let wrong = |what: &str| format!("`{}` takes {what}, and `{}` is none", self.key, Plain::from(text)).into();
        let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
        if text.is_empty() {
            return match self.key {
                BRANCH => Err("`branch` has no default to go back to: name the branch that is to be built".into()),
                _ => Ok(Value::Null),
            };
        }
        match self.kind {
            Kind::Text => Ok(text.into()),
            Kind::Number => text.parse::<u64>().map(Value::from).map_err(|_| wrong("a whole number")),
            Kind::NumberOrNone if text == ContainerPort::NONE => Ok(text.into()),
            Kind::NumberOrNone => {
                text.parse::<u64>().map(Value::from).map_err(|_| wrong("a whole number or the word `none`"))
            }
            Kind::Flag => match text {
                "yes" | "true" => Ok(true.into()),
                "no" | "false" => Ok(false.into()),
                _ => Err(wrong("yes or no")),
            },
            Kind::List => Ok(parts().collect()),
            Kind::Places => {
                let places = parts().map(|part| part.split_once(':').ok_or_else(|| wrong("a list of NAME:PATH")));
                let places: Map<String, Value> = places
                    .map(|place| place.map(|(name, path)| (name.to_owned(), path.into())))
                    .collect::<Result<_, Failure>>()?;
                Ok(places.into())
            }
            Kind::Texts => {
                let mut texts: Vec<(&str, String)> = Vec::new();
                for part in text.split(',') {
                    match (part.split_once('='), texts.last_mut()) {
                        (Some((name, text)), _) => texts.push((name.trim(), text.to_owned())),
                        (None, Some((_, text))) => text.push_str(&format!(",{part}")),
                        (None, None) => return Err(wrong("a list of NAME=TEXT")),
                    }
                }
                Ok(Value::Object(texts.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()))
            }
        }
    }

    /// What the interface has, as it is typed.
    fn show(&self, value: &Value) -> Cell {
        let list = match value {
            Value::Null => return cell(None::<&str>),
            Value::Bool(flag) => return text(if *flag { "yes" } else { "no" }),
            Value::Array(list) => list.iter().map(plain).collect::<Vec<String>>().join(","),
            Value::Object(places) => {
                let between = if matches!(self.kind, Kind::Texts) { '=' } else { ':' };
                let places = places.iter().map(|(name, path)| format!("{name}{between}{}", plain(path)));
                places.collect::<Vec<_>>().join(",")
            }
            value => return text(plain(value)),
        };
        cell(Some(list).filter(|list| !list.is_empty()))
    }

    /// When a change of it counts. Without a release there is nothing yet that goes on as it is.
    fn counts(&self, name: &str, has_release: bool) -> String {
        match self.from {
            From::Now => "from now on".to_owned(),
            From::Build | From::Release if !has_release => "from the first release on".to_owned(),
            From::Build => format!("from the next build on: podkeeper deploy {name}"),
            From::Release => format!("from the next release on: podkeeper restart {name}"),
        }
    }
}

/// A text or a number, as it is typed.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What of a service is a setting, by its key; in the interface the branch stands beside the others.
fn of(service: &Service) -> Result<Map<String, Value>, serde_json::Error> {
    #[derive(Serialize)]
    struct All<'a> {
        #[serde(flatten)]
        settings: &'a Settings,
        branch: &'a BranchName,
    }
    serde_json::from_value(serde_json::to_value(All { settings: &service.settings, branch: &service.branch })?)
}

/// The same as the agent sent it.
#[derive(Serialize)]
struct AsTheyCame {
    branch: Value,
    #[serde(flatten)]
    settings: Map<String, Value>,
}

impl<'de> Deserialize<'de> for AsTheyCame {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Sent {
            branch: Value,
            settings: Map<String, Value>,
        }
        Sent::deserialize(deserializer).map(|Sent { branch, settings }| Self { branch, settings })
    }
}

/// A list of places or texts replaces the one before: what of that is not named goes, which the interface is told by null.
fn leave_out(typed: &mut Map<String, Value>, before: &Value) {
    let before = before.as_object().into_iter().flatten();
    before.for_each(|(name, _)| _ = typed.entry(name).or_insert(Value::Null));
}

/// What of a service counts of a setting, and where that comes from.
struct Counting<'a> {
    value: &'a Value,
    origin: Origin,
}

impl<'a> Counting<'a> {
    fn of(key: &str, settings: &'a Map<String, Value>, file: Option<&'a Map<String, Value>>, defaults: &Value) -> Self {
        let (nothing, prefers) = (&Value::Null, settings.get("prefer_repository") == Some(&Value::Bool(true)));
        let own = settings.get(key).unwrap_or(nothing);
        let said = file.and_then(|file| file.get(key));
        // A branch has no default, and no file names one.
        let default = defaults.get(key).unwrap_or(nothing);
        match (store::origin(own, said, default, prefers), said) {
            (Origin::Repository, Some(said)) => Self { value: said, origin: Origin::Repository },
            (origin, _) => Self { value: own, origin },
        }
    }

    fn from(&self) -> &'static str {
        match self.origin {
            Origin::Service => "service",
            Origin::Repository => FILE,
            Origin::Host => "default",
        }
    }
}

/// What a change would do.
fn tell(name: &str, answer: &Answer, json: bool) -> Outcome {
    if json {
        answer.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    let Plan { changes, restarts } = answer.read()?;
    let mut out = show::out();
    if changes.is_empty() {
        writeln!(out, "nothing would be changed: {name} is set so already")?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |(key, changed): (&String, &Changed)| {
        // One that this version doesn't know is shown as the agent has it.
        let value = |value| match Setting::find(key) {
            Ok(setting) => setting.show(value),
            Err(_) => cell(Some(value).filter(|value| !value.is_null()).map(plain)),
        };
        let counts = match changed.counts {
            Counts::Now => "from now on",
            Counts::NextRelease => "from the next release on",
            Counts::NextBuild => "from the next build on",
        };
        vec![text(key), value(&changed.before), value(&changed.after), (counts.into(), Paint::Dim)]
    };
    let rows: Vec<Vec<Cell>> = changes.iter().map(row).collect();
    table(&mut out, &["SETTING", "BEFORE", "AFTER", "WOULD COUNT"], &rows)?;
    match restarts {
        true => writeln!(out, "{name} would be restarted")?,
        false => writeln!(out, "nothing would be restarted")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes what is to be changed, and prints it; or prints all of it.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    let mut patch = Map::new();
    let mut changed: Vec<&Setting> = Vec::new();
    let given = wanted.set.iter().map(|text| {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            format!("`{}` is not KEY=VALUE\nNext: `podkeeper settings --help` lists the keys", Plain::from(text))
        })?;
        let setting = Setting::find(key.trim())?;
        Ok((setting, setting.read(value.trim())?))
    });
    let unset = wanted.unset.iter().map(|key| Ok((Setting::find(key)?, Value::Null)));
    for change in given.chain(unset) {
        let (setting, value) = change.map_err(|error: Failure| error)?;
        if patch.insert(setting.key.to_owned(), value).is_some() {
            return Err(format!("`{}` is given twice", setting.key).into());
        }
        changed.push(setting);
    }
    let path = format!("/services/{}", segment(&wanted.name));
    if patch.values().any(Value::is_object) {
        let now: Service = agent.get(&path).await?.read()?;
        let now = of(&now)?;
        for (key, typed) in &mut patch {
            if let (Value::Object(typed), Some(before)) = (typed, now.get(key)) {
                leave_out(typed, before);
            }
        }
    }
    if wanted.dry_run {
        let patch = Value::Object(patch);
        let answer = agent.call(Method::PATCH, &format!("{path}?dry_run=true"), Some(&patch)).await?;
        return tell(&wanted.name, &answer, json);
    }
    let answer = match patch.is_empty() {
        true => agent.get(&path).await?,
        false => agent.call(Method::PATCH, &path, Some(&Value::Object(patch))).await?,
    };
    let mut out = show::out();
    if json {
        writeln!(out, "{}", json!(answer.read::<AsTheyCame>()?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let service: Service = answer.read()?;
    let settings = of(&service)?;
    let has_release = service.release.is_some();
    let defaults = json!(Settings::default());
    let file = service.repository.as_ref().map(|file| &file.0);
    let row = |setting: &Setting, last: String| {
        let key = (setting.key.into(), Paint::Plain);
        let counting = Counting::of(setting.key, &settings, file, &defaults);
        vec![key, setting.show(counting.value), text(counting.from()), (last.into(), Paint::Dim)]
    };
    let (rows, last): (Vec<_>, _) = match changed.is_empty() {
        true => (SETTINGS.iter().map(|setting| row(setting, setting.what.to_owned())).collect(), "MEANING"),
        false => {
            let counts = |setting: &&Setting| row(setting, setting.counts(&wanted.name, has_release));
            (changed.iter().map(counts).collect(), "COUNTS")
        }
    };
    table(&mut out, &["SETTING", "VALUE", "FROM", last], &rows)?;
    for limit in &service.unenforced {
        let limit = limit.as_str();
        writeln!(out, "`{limit}` counts for nothing on this host: its kernel enforces no such limit")?;
        writeln!(out, "Next: `podkeeper doctor` on the host tells what is missing")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_the_interface_has_a_line() {
        let mut known: Vec<_> = json!(Settings::default()).as_object().unwrap().keys().cloned().collect();
        known.push(BRANCH.to_owned());
        known.sort();
        let mut ours: Vec<_> = keys().collect();
        ours.sort_unstable();
        assert_eq!(ours, known);
        for setting in &SETTINGS {
            let counts = match setting.from {
                From::Now => Counts::Now,
                From::Release => Counts::NextRelease,
                From::Build => Counts::NextBuild,
            };
            assert_eq!(crate::api::plans::counts(setting.key), counts, "{}", setting.key);
        }
    }

    #[test]
    fn places_that_are_not_named_go() {
        let Value::Object(mut typed) = Setting::find("volumes").unwrap().read("data:/srv,new:/new").unwrap() else {
            panic!("places are an object")
        };
        leave_out(&mut typed, &json!({ "data": "/data", "old": "/old" }));
        assert_eq!(json!(typed), json!({ "data": "/srv", "new": "/new", "old": null }));
    }

    #[test]
    fn whose_value_counts_is_told() {
        let defaults = json!(Settings::default());
        let Value::Object(mut settings) = json!({ "branch": "main", "container_port": 80, "tcp": false, "root": null })
        else {
            panic!("settings are an object")
        };
        let Value::Object(file) = json!({ "container_port": 81, "tcp": true }) else { panic!("so is a file") };
        let told = |settings: &Map<String, Value>, key: &str| {
            let counting = Counting::of(key, settings, Some(&file), &defaults);
            (counting.value.clone(), counting.from())
        };
        assert_eq!(told(&settings, "branch"), (json!("main"), "service"));
        assert_eq!(told(&settings, "container_port"), (json!(80), "service"));
        assert_eq!(told(&settings, "tcp"), (json!(true), "podkeeper.toml"));
        assert_eq!(told(&settings, "root"), (json!(null), "default"));
        settings.insert("prefer_repository".into(), true.into());
        assert_eq!(told(&settings, "container_port"), (json!(81), "podkeeper.toml"));
    }

    #[test]
    fn what_is_typed_is_what_is_shown() {
        let typed = [
            ("branch", "trunk", json!("trunk")),
            ("container_port", "80", json!(80)),
            ("container_port", "none", json!("none")),
            ("strategy", "recreate", json!("recreate")),
            ("tcp", "yes", json!(true)),
            ("domains", "a.example.org,b.example.org", json!(["a.example.org", "b.example.org"])),
            ("volumes", "data:/data,more:/srv", json!({ "data": "/data", "more": "/srv" })),
            ("build_args", "A=x=y,B=1,2,C=", json!({ "A": "x=y", "B": "1,2", "C": "" })),
            ("watch", "apps/web/**,go.mod", json!(["apps/web/**", "go.mod"])),
        ];
        for (key, text, value) in typed {
            let setting = Setting::find(key).unwrap();
            assert_eq!(setting.read(text).unwrap(), value);
            assert_eq!(setting.show(&value).0, text);
        }
        for (key, nothing) in [("memory_mib", json!(null)), ("domains", json!([])), ("volumes", json!({}))] {
            let setting = Setting::find(key).unwrap();
            assert_eq!((setting.read("").unwrap(), &*setting.show(&nothing).0), (Value::Null, "-"));
        }
        for (key, wrong) in [
            ("container_port", "http"),
            ("keep", "-1"),
            ("tcp", "maybe"),
            ("volumes", "/data"),
            ("branch", ""),
            ("build_args", "A"),
        ] {
            let told = Setting::find(key).unwrap().read(wrong).unwrap_err().to_string();
            assert!(told.contains(key) && told.contains(wrong), "{told}");
        }
        assert!(Setting::find("memory").err().unwrap().to_string().contains("memory_mib"));
    }
}
