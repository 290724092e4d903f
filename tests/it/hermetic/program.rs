//! What a pushed commit is made of: how its build ends, and what its program does. A commit's Containerfile says so, in
//! lines that begin with `#!`, and the fakes do it.

/// How a build ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BuildEnd {
    /// With an image.
    #[default]
    Image,
    /// With this status.
    Status(i32),
    /// It took too long, by systemd's own limit.
    Timeout,
    /// It says that it has made an image that isn't there.
    NoImage,
    /// Not before the test says so.
    Never,
}

/// What a unit's start comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StartEnd {
    #[default]
    Done,
    /// The job's word, and the status of the main process.
    Job(String, i32),
}

/// What the program answers on its port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Answer {
    /// HTTP with this status.
    Status(u16),
    /// It listens on nothing.
    #[default]
    Nothing,
    /// It ends again and again with this status.
    Crash(i32),
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    pub build: BuildEnd,
    pub start: StartEnd,
    pub answer: Answer,
    /// Whether its image's own health check passes; none: it has none.
    pub check: Option<bool>,
    /// The paths that its image declares as volumes.
    pub volumes: Vec<String>,
    /// The variables that its image sets.
    pub env: Vec<String>,
    /// What its image runs.
    pub command: Vec<String>,
    /// The port that its build has read in its instructions.
    pub port: Option<u16>,
}

impl Program {
    /// What a Containerfile says.
    pub fn read(text: &str) -> Self {
        let mut program = Self { answer: Answer::Status(200), ..Self::default() };
        for line in text.lines().filter_map(|line| line.strip_prefix("#! ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(1);
            match words[..] {
                ["build", "fails", ..] => program.build = BuildEnd::Status(number(2)),
                ["build", "timeout"] => program.build = BuildEnd::Timeout,
                ["build", "no-image"] => program.build = BuildEnd::NoImage,
                ["build", "never"] => program.build = BuildEnd::Never,
                ["start", word, ..] => program.start = StartEnd::Job(word.to_owned(), number(2)),
                ["answers", "nothing"] => program.answer = Answer::Nothing,
                ["answers", ..] => program.answer = Answer::Status(u16::try_from(number(1)).unwrap()),
                ["crashes", ..] => program.answer = Answer::Crash(number(1)),
                ["check", word] => program.check = Some(word == "passes"),
                ["env", pair] => program.env.push(pair.to_owned()),
                ["command", ref words @ ..] => program.command = words.iter().map(|&word| word.to_owned()).collect(),
                ["volume", path] => program.volumes.push(path.to_owned()),
                _ => panic!("no program does this: {line}"),
            }
        }
        program
    }
}
