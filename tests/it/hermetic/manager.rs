//! What systemd's manager does when it is asked: units are started, stopped and listed, and tell of their changes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use zbus::{Message, OwnedObjectPath, OwnedVariant, Variant};

use super::builder;
use super::calls::Call;
use super::release::{self, Ended};
use super::systemd::Bus;
use super::world::{Unit, World};

const PATH: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// The answer to a call. The end of a job may wait until that is sent, of which it is told by the drop.
pub enum Reply {
    Of(Message),
    Job(Message, oneshot::Sender<()>),
}

/// The manager. A clone is another handle.
#[derive(Clone)]
pub struct Manager(Arc<Inner>);

struct Inner {
    world: Arc<Mutex<World>>,
    bus: Arc<Bus>,
    quadlets: PathBuf,
    units: PathBuf,
    jobs: AtomicU32,
}

/// A row of ListUnitsByPatterns.
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
/// A unit's properties, as StartTransientUnit gets them.
type Given = Vec<(String, OwnedVariant)>;

/// The first argument of a call, where it is a text.
pub fn first_text(message: &Message) -> String {
    let body = message.body();
    let one = body.deserialize::<&str>().map(str::to_owned);
    let two = || body.deserialize::<(&str, &str)>().map(|(text, _)| text.to_owned());
    let kill = || body.deserialize::<(&str, &str, i32)>().map(|(text, ..)| text.to_owned());
    let transient =
        || body.deserialize::<(&str, &str, Given, Vec<(String, Given)>)>().map(|(text, ..)| text.to_owned());
    one.or_else(|_| two()).or_else(|_| kill()).or_else(|_| transient()).unwrap_or_default()
}

/// How systemd writes a unit's name in a path: what is no letter or digit by its number, `_2d`.
pub fn path_of_unit(unit: &str) -> String {
    let escaped = unit.bytes().enumerate().map(|(at, byte)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        b'0'..=b'9' if at > 0 => char::from(byte).to_string(),
        _ => format!("_{byte:02x}"),
    });
    format!("{PATH}/unit/{}", escaped.collect::<String>())
}

pub fn unit_of_path(path: &str) -> Option<String> {
    let mut rest = path.strip_prefix(PATH)?.strip_prefix("/unit/")?;
    let mut name = String::new();
    while let Some(next) = rest.chars().next() {
        if next == '_' {
            name.push(char::from(u8::from_str_radix(rest.get(1..3)?, 16).ok()?));
            rest = &rest[3..];
        } else {
            name.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    Some(name)
}

/// glob(7), as far as `*` goes.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(after, &rest[at..]))),
    }
}

fn path(text: &str) -> OwnedObjectPath {
    OwnedObjectPath::try_from(text.to_owned()).unwrap()
}

fn error(message: &Message, name: &str, said: &str) -> Reply {
    Reply::Of(Message::error(&message.header(), name).build(&said).unwrap())
}

fn done<B: serde::Serialize + zbus::DynamicType>(message: &Message, body: &B) -> Reply {
    Reply::Of(Message::method_return(&message.header()).build(body).unwrap())
}

impl Manager {
    pub fn new(world: Arc<Mutex<World>>, bus: Arc<Bus>, quadlets: PathBuf, units: PathBuf) -> Self {
        Self(Arc::new(Inner { world, bus, quadlets, units, jobs: AtomicU32::new(0) }))
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap()
    }

    /// Carries a call out.
    pub async fn carry_out(&self, call: &Call, message: &Message) -> Reply {
        let body = message.body();
        let unit = call.of.as_str();
        match call.what.as_str() {
            "Subscribe" | "SetUnitProperties" => done(message, &()),
            "Reload" => {
                self.reload().await;
                done(message, &())
            }
            "GetUnit" if self.is_loaded(unit) => done(message, &path(&path_of_unit(unit))),
            "GetUnit" => error(message, NO_SUCH_UNIT, "not loaded"),
            "ListUnitFilesByPatterns" => done(message, &Vec::<(String, String)>::new()),
            "ListUnitsByPatterns" => {
                let (_, patterns): (Vec<String>, Vec<String>) = body.deserialize().unwrap();
                done(message, &self.list(&patterns))
            }
            "ResetFailedUnit" => {
                if !self.is_loaded(unit) {
                    return error(message, NO_SUCH_UNIT, "not loaded");
                }
                if self.world().units[unit].active == "failed" {
                    self.unload(unit).await;
                }
                done(message, &())
            }
            "KillUnit" if self.is_loaded(unit) => done(message, &()),
            "StopUnit" if self.is_loaded(unit) => {
                let (this, name) = (self.clone(), unit.to_owned());
                self.job(message, unit, async move {
                    this.stop(&name).await;
                    "done".to_owned()
                })
                .await
            }
            "KillUnit" | "StopUnit" => error(message, NO_SUCH_UNIT, "not loaded"),
            "StartUnit" => {
                let (this, name) = (self.clone(), unit.to_owned());
                if self.world().files.contains_key(unit) {
                    self.job(message, unit, async move { release::start(&this, &name).await }).await
                } else if self.0.units.join(unit).is_file() {
                    self.job(message, unit, async move { release::check(&this, &name) }).await
                } else {
                    error(message, NO_SUCH_UNIT, "not found")
                }
            }
            "StartTransientUnit" if self.is_loaded(unit) => {
                error(message, "org.freedesktop.systemd1.UnitExists", "loaded already")
            }
            "StartTransientUnit" => {
                let (_, _, given, _): (String, String, Given, Vec<(String, Given)>) = body.deserialize().unwrap();
                let (this, name, argv) = (self.clone(), unit.to_owned(), argv(&given));
                self.job(message, unit, async move { builder::run(&this, &name, argv).await }).await
            }
            "Get" => {
                let (_, name): (String, String) = body.deserialize().unwrap();
                match self.properties(unit).and_then(|mut all| all.remove(name.as_str())) {
                    Some(value) => done(message, &value),
                    None => error(message, "org.freedesktop.DBus.Error.UnknownObject", "not loaded"),
                }
            }
            "GetAll" => match self.properties(unit) {
                Some(all) => done(message, &all),
                None => error(message, "org.freedesktop.DBus.Error.UnknownObject", "not loaded"),
            },
            other => error(message, "org.freedesktop.DBus.Error.UnknownMethod", &format!("no test has needed {other}")),
        }
    }

    /// Begins a job. Its end is told before the call's own answer by one, and after it by the next.
    async fn job(&self, message: &Message, unit: &str, work: impl Future<Output = String> + Send + 'static) -> Reply {
        let number = self.0.jobs.fetch_add(1, Ordering::SeqCst) + 1;
        let job = path(&format!("{PATH}/job/{number}"));
        let answer = Message::method_return(&message.header()).build(&job).unwrap();
        let (this, unit) = (self.clone(), unit.to_owned());
        let (answered, is_answered) = oneshot::channel::<()>();
        // It goes on when whoever asked for it has left.
        let ending = tokio::spawn(async move {
            let result = work.await;
            // It fails where nobody is answered any more.
            let _ = is_answered.await;
            this.0.bus.emit(PATH, INTERFACE, "JobRemoved", &(number, job, unit, result)).await;
        });
        if number.is_multiple_of(2) {
            drop(answered);
            let _ = ending.await;
            Reply::Of(answer)
        } else {
            Reply::Job(answer, answered)
        }
    }

    pub fn is_loaded(&self, unit: &str) -> bool {
        self.world().units.contains_key(unit)
    }

    fn list(&self, patterns: &[String]) -> Vec<Row> {
        let world = self.world();
        let wanted = world.units.iter().filter(|(name, _)| patterns.iter().any(|pattern| matches(pattern, name)));
        let row = |(name, unit): (&String, &Unit)| {
            let text = |text: &str| text.to_owned();
            let none = path("/");
            (
                name.clone(),
                text(""),
                text("loaded"),
                text(unit.active),
                text(unit.sub),
                text(""),
                path(&path_of_unit(name)),
                0,
                text(""),
                none,
            )
        };
        wanted.map(row).collect()
    }

    /// Those of the manager itself where `unit` is none.
    fn properties(&self, unit: &str) -> Option<HashMap<String, OwnedVariant>> {
        let owned = |value: Variant<'_>| OwnedVariant::try_from(value).unwrap();
        let text = |text: &str| owned(Variant::from(text.to_owned()));
        if unit.is_empty() {
            let all = [("Version", text("257")), ("ControlGroup", text("/hermetic"))];
            return Some(all.map(|(name, value)| (name.to_owned(), value)).into());
        }
        let world = self.world();
        let unit = world.units.get(unit)?;
        let all = [
            ("LoadState", text("loaded")),
            ("ActiveState", text(unit.active)),
            ("SubState", text(unit.sub)),
            ("StateChangeTimestamp", owned(Variant::from(unit.since))),
            ("InvocationID", owned(Variant::from(vec![7_u8; 16]))),
            ("NRestarts", owned(Variant::from(unit.restarts))),
            ("Result", text(unit.result)),
            // It has exited (sigaction(2), CLD_EXITED).
            ("ExecMainCode", owned(Variant::from(1_i32))),
            ("ExecMainStatus", owned(Variant::from(unit.status))),
        ];
        Some(all.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// Loads a unit, or puts it into another state, and tells of that.
    pub async fn set(&self, name: &str, change: impl FnOnce(&mut Unit)) {
        let is_new = {
            let mut world = self.world();
            let is_new = !world.units.contains_key(name);
            let unit = world.units.entry(name.to_owned()).or_insert_with(|| Unit::new("inactive", "dead"));
            let (active, sub) = (unit.active, unit.sub);
            change(unit);
            if (active, sub) != (unit.active, unit.sub) {
                unit.since = Unit::new("", "").since;
            }
            is_new
        };
        if is_new {
            self.0.bus.emit(PATH, INTERFACE, "UnitNew", &(name, path(&path_of_unit(name)))).await;
        }
        self.tell(name).await;
    }

    /// Lets what a unit does by itself begin.
    pub fn set_life(&self, name: &str, life: impl Future<Output = ()> + Send + 'static) {
        let life = AbortOnDropHandle::new(tokio::spawn(life));
        if let Some(unit) = self.world().units.get_mut(name) {
            unit.life = Some(life);
        }
    }

    async fn tell(&self, name: &str) {
        let Some(all) = self.properties(name) else { return };
        let body = ("org.freedesktop.systemd1.Unit", all, Vec::<String>::new());
        self.0.bus.emit(&path_of_unit(name), PROPERTIES, "PropertiesChanged", &body).await;
    }

    /// Stops a unit. One that failed stays so until it is forgotten.
    pub async fn stop(&self, name: &str) {
        let has_failed = self.world().units.get(name).is_some_and(|unit| unit.active == "failed");
        if !has_failed {
            release::end(self, name);
            self.set(name, |unit| (unit.active, unit.sub, unit.life) = ("inactive", "dead", None)).await;
            self.unload(name).await;
        }
    }

    /// A unit ends by itself, and systemd remembers that it failed.
    pub async fn fail(&self, name: &str, ended: Ended) {
        release::end(self, name);
        self.set(name, |unit| {
            (unit.active, unit.sub, unit.result, unit.status) = ("failed", "failed", ended.result, ended.status);
        })
        .await;
    }

    async fn unload(&self, name: &str) {
        let unit = self.world().units.remove(name);
        drop(unit);
        self.0.bus.emit(PATH, INTERFACE, "UnitRemoved", &(name, path(&path_of_unit(name)))).await;
    }

    /// Reads the Quadlet files, as systemd's generators do, and tells of all units anew.
    async fn reload(&self) {
        self.0.bus.emit(PATH, INTERFACE, "Reloading", &true).await;
        let files = self.read_files();
        let units: Vec<String> = {
            let mut world = self.world();
            // A unit that is loaded is known by what its file was.
            let before = std::mem::replace(&mut world.files, files);
            for (unit, text) in before {
                if world.units.contains_key(&unit) {
                    world.files.entry(unit).or_insert(text);
                }
            }
            world.units.keys().cloned().collect()
        };
        for member in ["UnitRemoved", "UnitNew"] {
            for unit in &units {
                self.0.bus.emit(PATH, INTERFACE, member, &(unit, path(&path_of_unit(unit)))).await;
            }
        }
        self.0.bus.emit(PATH, INTERFACE, "Reloading", &false).await;
    }

    fn read_files(&self) -> std::collections::BTreeMap<String, String> {
        let mut files = std::collections::BTreeMap::new();
        for entry in std::fs::read_dir(&self.0.quadlets).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if let Some(instance) = name.strip_suffix(".container")
                && let Ok(mut text) = std::fs::read_to_string(entry.path())
            {
                let live = std::fs::read_to_string(self.0.quadlets.join(format!("{name}.d/live.conf")));
                text.push_str(&live.unwrap_or_default());
                files.insert(format!("{instance}.service"), text);
            }
        }
        files
    }

    /// The host is started anew: nothing runs but what starts at boot.
    pub async fn boot(&self) {
        {
            let mut world = self.world();
            let units = std::mem::take(&mut world.units);
            world.containers.clear();
            world.ports.clear();
            drop(world);
            drop(units);
        }
        let files = self.read_files();
        let wanted: Vec<String> = files
            .iter()
            .filter(|(_, text)| text.contains("WantedBy=default.target"))
            .map(|(unit, _)| unit.clone())
            .collect();
        self.world().files = files;
        for unit in wanted {
            release::start(self, &unit).await;
        }
    }
}

/// The words of what a transient unit runs.
fn argv(given: &Given) -> Vec<String> {
    let Some((_, exec)) = given.iter().find(|(name, _)| name == "ExecStart") else { return Vec::new() };
    let Variant::Array(commands) = &**exec else { return Vec::new() };
    let Some(Variant::Structure(command)) = commands.iter().next() else { return Vec::new() };
    let Some(Variant::Array(words)) = command.fields().get(1) else { return Vec::new() };
    words.iter().filter_map(|word| <&str>::try_from(word).ok().map(str::to_owned)).collect()
}

/// A moment in which others may go on.
pub async fn moment() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}
