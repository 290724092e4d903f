//! Why a new release did not become live.

use std::fmt;

use super::{quoted, says_full, signal};
use crate::podman::{CheckRun, Listening};
use crate::problem::{Code, Problem};

/// What asking a release for an answer came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody takes connections.
    Nobody,
    /// A connection, and nothing on it for so many seconds.
    Late(u64),
    /// A connection that is closed at once.
    Closed,
    /// Something that is no HTTP.
    NoHttp(String),
    /// A status that is none of a healthy one.
    Status {
        /// The path that was asked for.
        path: String,
        /// What it answered.
        status: u16,
    },
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nothing listens"),
            Self::Late(seconds) => write!(f, "no answer within {seconds} s"),
            Self::Closed => f.write_str("the connection is closed at once"),
            Self::NoHttp(why) => f.write_str(why),
            Self::Status { path, status } => write!(f, "{path} answers {status}"),
        }
    }
}

/// How it came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Its program ended, with this status, so often.
    Ended {
        /// The status.
        status: i32,
        /// How often.
        times: u32,
    },
    /// It went on, and did not answer.
    NoAnswer(NoAnswer),
    /// The health check of its image did not pass, of which this was the last run.
    CheckFails(Option<CheckRun>),
}

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseFacts {
    /// The service's name.
    pub service: String,
    /// How it ended.
    pub ending: Ending,
    /// How long it was given, in seconds.
    pub seconds: u64,
    /// The port that it is to listen on.
    pub container_port: Option<u16>,
    /// What it listens on; none where nobody could see that.
    pub listening: Option<Vec<Listening>>,
    /// Whether the kernel ended one of its programs for want of memory.
    pub ran_out_of_memory: bool,
    /// Its memory limit, in MiB.
    pub memory_mib: Option<u64>,
    /// The architecture that its image is for, and the host's, as images name them.
    pub architectures: Option<(String, String)>,
    /// The variables that it has.
    pub variables: Vec<String>,
    /// Where its volumes are.
    pub volumes: Vec<String>,
}

type Told = (String, String);

impl ReleaseFacts {
    /// Why it came to nothing, and what to do; `tail`: the last lines of its program.
    #[must_use]
    pub fn explain(&self, tail: Option<&str>) -> Problem {
        let code = match self.ending {
            Ending::Ended { .. } => Code::StartFailed,
            Ending::NoAnswer(_) | Ending::CheckFails(_) => Code::Unhealthy,
        };
        let ended = matches!(self.ending, Ending::Ended { .. });
        let tail = tail.unwrap_or_default();
        if ended && says_full(tail) {
            return Problem::disk_full();
        }
        let (detail, hint) = self
            .memory()
            .or_else(|| self.architecture().filter(|_| ended))
            .or_else(|| unrunnable(tail).filter(|_| ended))
            .or_else(|| self.denied(tail).filter(|_| ended))
            .or_else(|| self.variable(tail).filter(|_| ended))
            .unwrap_or_else(|| match &self.ending {
                Ending::Ended { status, times } => ended_with(*status, *times),
                Ending::NoAnswer(why) => self.no_answer(why),
                Ending::CheckFails(run) => self.check(run.as_ref()),
            });
        Problem::new(code, detail).with_hint(hint)
    }

    fn set(&self, setting: &str) -> String {
        format!("`podkeeper settings {} {setting}`", self.service)
    }

    fn memory(&self) -> Option<Told> {
        let what = match self.memory_mib {
            Some(limit) => {
                format!("the program needed more than its memory limit of {limit} MiB, and the kernel ended it")
            }
            None => "the host's memory was short, and the kernel ended the program".into(),
        };
        self.ran_out_of_memory
            .then(|| (what, format!("let it need less, or give it more: {}", self.set("memory_mib=MIB"))))
    }

    fn architecture(&self) -> Option<Told> {
        let (image, host) = self.architectures.as_ref().filter(|(image, host)| !image.is_empty() && image != host)?;
        let image = quoted(image);
        Some((
            format!("its image is for {image}, and this host is {host}"),
            "take `--platform` out of the Containerfile, or begin with an image for this host".into(),
        ))
    }

    /// EACCES at one of its volumes. Podman and systemd know nothing of it, and programs say it in the system's words, with the
    /// path.
    fn denied(&self, tail: &str) -> Option<Told> {
        let denies = |line: &&str| {
            let line = line.to_ascii_lowercase();
            line.contains("permission denied") || line.contains("eacces")
        };
        let line = |path: &&String| tail.lines().filter(denies).any(|line| line.contains(path.as_str()));
        let path = self.volumes.iter().find(line)?;
        Some((
            format!("its program may not write to its volume at `{path}`"),
            format!(
                "give the folder to the program's user in the Containerfile: `RUN mkdir -p {path} && chown USER {path}`"
            ),
        ))
    }

    /// A variable that it has not and that a line of its own asks for. What a program needs only the program knows: the line
    /// must name both that it is a variable, and one that isn't set.
    fn variable(&self, tail: &str) -> Option<Told> {
        const ASKS: [&str; 4] = ["environment", "env var", "keyerror", "env["];
        let asks = |line: &&str| {
            let line = line.to_ascii_lowercase();
            ASKS.iter().any(|word| line.contains(word))
        };
        let is_key = |word: &&str| {
            let mut bytes = word.bytes();
            word.len() > 2
                && bytes.next().is_some_and(|byte| byte.is_ascii_uppercase())
                && bytes.all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
                && word.contains('_')
        };
        let words = |line: &'_ str| -> Vec<String> {
            let parts = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            parts.filter(is_key).map(str::to_owned).collect()
        };
        let asked = tail.lines().rev().filter(asks).flat_map(words);
        let key = asked.into_iter().find(|word| !self.variables.contains(word))?;
        let key = quoted(&key);
        Some((
            format!("its program asks for the variable {key}, which is not set"),
            format!("set it: `podkeeper env {} {key}=VALUE`, or a secret by --file", self.service),
        ))
    }

    fn no_answer(&self, why: &NoAnswer) -> Told {
        let (seconds, Some(port)) = (self.seconds, self.container_port) else {
            return (format!("{why}, for {} s", self.seconds), "the last lines of the program tell why".into());
        };
        let more_time =
            || format!("where it needs longer, give it more than {seconds} s: {}", self.set("health_timeout=SECONDS"));
        let on_port = format!("on port {port} of the container: {why}, for {seconds} s");
        let Some(listening) = &self.listening else {
            return (on_port, "the program must listen on 0.0.0.0 and the port in $PORT, and answer in time".into());
        };
        if listening.iter().any(|one| one.port == port && !one.is_loopback()) {
            let hint = match why {
                // It began to listen after it was asked last.
                NoAnswer::Late(_) | NoAnswer::Nobody => more_time(),
                NoAnswer::Closed | NoAnswer::NoHttp(_) => {
                    format!("where it speaks no HTTP, say so: {}", self.set("tcp=yes"))
                }
                NoAnswer::Status { .. } => {
                    format!("it must answer 2xx or 3xx there; another path is {}", self.set("health_path=PATH"))
                }
            };
            return (on_port, hint);
        }
        let places = |of: &mut dyn Iterator<Item = &Listening>| {
            let mut all: Vec<String> =
                of.map(|one| std::net::SocketAddr::from((one.address, one.port)).to_string()).collect();
            all.truncate(5);
            all.join(", ")
        };
        let reachable: Vec<&Listening> = listening.iter().filter(|one| !one.is_loopback()).collect();
        if let Some(other) = reachable.first() {
            let found = other.port;
            let all = places(&mut reachable.iter().copied());
            return (
                format!("its program listens on port {found} ({all}), and nothing on port {port}, which is asked"),
                format!(
                    "let it listen on the port in $PORT, or say where it does: {}",
                    self.set(&format!("container_port={found}"))
                ),
            );
        }
        if !listening.is_empty() {
            let all = places(&mut listening.iter());
            return (
                format!("its program listens on {all} only, where nobody outside the container reaches it"),
                format!(
                    "let it listen on 0.0.0.0 (often the variable HOST, or an option), port {port}, which is in $PORT"
                ),
            );
        }
        (
            format!("its program runs, and listened on no port within {seconds} s; port {port} is asked"),
            format!(
                "let it listen on 0.0.0.0 and the port in $PORT; {}; where it serves nobody: {}",
                more_time(),
                self.set("container_port=none")
            ),
        )
    }

    fn check(&self, run: Option<&CheckRun>) -> Told {
        let seconds = self.seconds;
        let said = run.map_or_else(|| "; no run of it has ended".into(), said_last);
        let mut detail = format!("its health check did not pass within {seconds} s{said}");
        if self.listening.as_ref().is_some_and(Vec::is_empty) {
            detail.push_str("; nothing listens in the container");
        }
        let hint = format!(
            "the image's HEALTHCHECK is run in the container, and must end with status 0; \
             where the program needs longer until it does: {}",
            self.set("health_timeout=SECONDS")
        );
        (detail, hint)
    }
}

/// How many characters are told of what a health check has printed last.
const PRINTED: usize = 300;

/// How the last run of a health check ended, and the last that it printed.
fn said_last(run: &CheckRun) -> String {
    let took = run.took.map_or_else(String::new, |took| format!(" after {:.1} s", took.as_secs_f64()));
    let printed = run.output.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let printed = printed.map_or_else(
        || " and had printed nothing".into(),
        |line| format!(": {}", line.chars().take(PRINTED).collect::<String>()),
    );
    format!("; its last run ended with status {}{took}{printed}", run.status)
}

/// What to do with a program that isn't there, and with one that can't be run.
const LOOK_AT_CMD: &str = "look at CMD and ENTRYPOINT, at the program's path, and at the first line of a script";
const MAKE_EXECUTABLE: &str =
    "make it executable (`RUN chmod +x`), begin a script with `#!` and its interpreter, and build it for this host";

/// What Podman's init says where it can't run the program. Its status is then 1, which is any program's: nothing else tells.
fn unrunnable(tail: &str) -> Option<Told> {
    let said =
        tail.lines().rev().find_map(|line| line.split_once("(catatonit:")?.1.split_once("failed to exec pid1: "));
    let (why, next) = match said?.1.trim() {
        "No such file or directory" => ("there is none", LOOK_AT_CMD),
        "Permission denied" => ("it is not executable", MAKE_EXECUTABLE),
        _ => ("it is not for this host, or no program at all", MAKE_EXECUTABLE),
    };
    Some((format!("the program of the image can't be run: {why}"), next.into()))
}

fn ended_with(status: i32, times: u32) -> Told {
    let how = match signal(status) {
        Some(signal) => format!("status {status} ({signal})"),
        None => format!("status {status}"),
    };
    let detail = match times {
        0 | 1 => format!("the program ended with {how} before it was ready"),
        _ => format!("the program ends again and again, the last time with {how}"),
    };
    let hint = match status {
        0 => {
            "a service's program goes on in the foreground: look at CMD, and at options like --daemon; \
             the last lines of the program tell more"
        }
        125 => "Podman could not run the container; the last lines tell why",
        126 => MAKE_EXECUTABLE,
        127 => LOOK_AT_CMD,
        _ => "the last lines of the program tell why",
    };
    (detail, hint.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn facts(ending: Ending) -> ReleaseFacts {
        ReleaseFacts {
            service: "blog".into(),
            ending,
            seconds: 30,
            container_port: Some(8080),
            listening: None,
            ran_out_of_memory: false,
            memory_mib: Some(64),
            architectures: Some(("amd64".into(), "amd64".into())),
            variables: vec!["DATABASE_URL".into(), "PORT".into()],
            volumes: vec!["/data".into()],
        }
    }

    fn told(facts: &ReleaseFacts, tail: &str) -> (String, String) {
        let problem = facts.explain(Some(tail));
        (problem.detail.to_string(), problem.hint.map(|hint| hint.to_string()).unwrap_or_default())
    }

    #[test]
    fn what_was_found_instead_of_an_answer_is_told() {
        let at = |text: &str| {
            let socket: std::net::SocketAddr = text.parse().unwrap();
            Listening { address: socket.ip(), port: socket.port() }
        };
        let late = NoAnswer::Late(5);
        for (listening, why, detail, next) in [
            (
                vec!["0.0.0.0:3000"],
                NoAnswer::Closed,
                "Its program listens on port 3000 (0.0.0.0:3000)",
                "container_port=3000",
            ),
            (
                vec!["[::]:3000", "127.0.0.1:8080"],
                NoAnswer::Closed,
                "Its program listens on port 3000 ([::]:3000)",
                "=3000",
            ),
            (vec!["127.0.0.1:8080"], NoAnswer::Closed, "Its program listens on 127.0.0.1:8080 only", "0.0.0.0"),
            (vec!["[::1]:3000"], NoAnswer::Closed, "Its program listens on [::1]:3000 only", "port 8080"),
            (vec![], NoAnswer::Closed, "Its program runs, and listened on no port within 30 s", "container_port=none"),
            (vec!["0.0.0.0:8080"], NoAnswer::Closed, "On port 8080 of the container: the connection is", "tcp=yes"),
            (vec!["[::]:8080"], late.clone(), "On port 8080 of the container: no answer within 5 s", "health_timeout="),
            (
                vec!["0.0.0.0:8080"],
                NoAnswer::Status { path: "/up".into(), status: 404 },
                "On port 8080 of the container: /up answers 404, for 30 s.",
                "health_path=",
            ),
        ] {
            let listening = listening.into_iter().map(at).collect();
            let told = told(&ReleaseFacts { listening: Some(listening), ..facts(Ending::NoAnswer(why)) }, "");
            assert!(told.0.starts_with(detail) && told.1.contains(next), "{told:?}");
        }
        assert!(told(&facts(Ending::NoAnswer(late)), "").1.contains("$PORT"));
    }

    #[test]
    fn a_program_that_ended_is_told_with_what_is_known() {
        let ended = |status, times| Ending::Ended { status, times };
        for (ending, tail, detail, next) in [
            (ended(1, 1), "", "The program ended with status 1 before it was ready.", "last lines"),
            (ended(1, 3), "", "The program ends again and again, the last time with status 1.", "last lines"),
            (ended(0, 3), "", "The program ends again and again, the last time with status 0.", "foreground"),
            (ended(126, 1), "", "The program ended with status 126", "chmod +x"),
            (ended(127, 1), "", "The program ended with status 127", "CMD and ENTRYPOINT"),
            (
                ended(1, 3),
                "ERROR (catatonit:2): failed to exec pid1: No such file or directory",
                "The program of the image can't be run: there is none.",
                "CMD and ENTRYPOINT",
            ),
            (ended(139, 1), "", "The program ended with status 139 (SIGSEGV)", "last lines"),
            (ended(1, 1), "x: no space left on device", "No space is left", "Free some"),
            (
                ended(1, 1),
                "open /data/x: Permission denied",
                "Its program may not write to its volume at `/data`.",
                "chown",
            ),
            (ended(1, 1), "open /etc/x: Permission denied", "The program ended with status 1", "last lines"),
            (
                ended(1, 1),
                "KeyError: 'API_KEY'",
                "Its program asks for the variable API_KEY, which is not set.",
                "env blog",
            ),
            (ended(1, 1), "environment variable DATABASE_URL is bad", "The program ended with status 1", "last lines"),
            (ended(1, 1), "a NAME_OF of a thing", "The program ended with status 1", "last lines"),
        ] {
            let told = told(&facts(ending), tail);
            assert!(told.0.starts_with(detail) && told.1.contains(next), "{tail}: {told:?}");
        }
        let oom = ReleaseFacts { ran_out_of_memory: true, ..facts(ended(137, 1)) };
        let told_oom = told(&oom, "");
        assert!(told_oom.0.contains("memory limit of 64 MiB") && told_oom.1.contains("memory_mib="), "{told_oom:?}");
        let unlimited = told(&ReleaseFacts { memory_mib: None, ..oom }, "");
        assert!(unlimited.0.starts_with("The host's memory was short"), "{unlimited:?}");
        let foreign = ReleaseFacts { architectures: Some(("arm64".into(), "amd64".into())), ..facts(ended(1, 1)) };
        assert_eq!(told(&foreign, "").0, "Its image is for arm64, and this host is amd64.");
    }

    #[test]
    fn a_check_that_does_not_pass_is_told_with_what_it_came_to() {
        let run = |output: &str| CheckRun { status: 7, took: Some(Duration::from_millis(1250)), output: output.into() };
        assert_eq!(
            said_last(&run("a\nno database\n \n")),
            "; its last run ended with status 7 after 1.2 s: no database"
        );
        assert_eq!(
            said_last(&CheckRun { took: None, ..run("") }),
            "; its last run ended with status 7 and had printed nothing"
        );
        assert_eq!(said_last(&run(&"x".repeat(9999))).len(), said_last(&run("")).len() - 24 + 2 + PRINTED);
        let failed = told(&facts(Ending::CheckFails(Some(run("nope")))), "");
        assert!(failed.0.starts_with("Its health check did not pass within 30 s; its last run ended with status 7"));
        assert!(failed.1.contains("podkeeper settings blog health_timeout="), "{failed:?}");
        assert!(told(&facts(Ending::CheckFails(None)), "").0.contains("no run of it has ended"));
    }
}
