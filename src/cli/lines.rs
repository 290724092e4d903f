//! Which lines of a log are wanted.

use jiff::Timestamp;

use super::client::segment;
use super::moments;
use crate::api::logs::LINES;

/// How many lines there are where nobody says it.
const USUAL: usize = 100;
/// How many lines one answer has at most.
#[allow(clippy::cast_possible_truncation)]
pub(super) const PAGE: usize = *LINES.end() as usize;

/// Which lines.
#[derive(Debug, clap::Args)]
pub struct Lines {
    /// The service
    pub(super) name: String,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// How many of the newest lines, or `all`; 100, or with --since all since then
    #[arg(short = 'n', long, value_name = "N", value_parser = count)]
    lines: Option<Count>,
    /// Not before this: so long ago (90m, 2h, 2d), today, yesterday, a day (2026-01-31), a time (08:30), both, or @SECONDS
    /// since 1970; all of it in UTC
    #[arg(long, value_name = "TIME", value_parser = moments::past, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// Not after this
    #[arg(long, value_name = "TIME", value_parser = moments::past, allow_hyphen_values = true, conflicts_with = "follow")]
    until: Option<Timestamp>,
    /// Only lines in which this regular expression finds something
    #[arg(long, value_name = "REGEX")]
    grep: Option<String>,
    /// Only lines of this syslog priority or a graver one: 3 is what a program prints as an error
    #[arg(long, value_name = "0-7", value_parser = clap::value_parser!(u8).range(0..=7))]
    priority: Option<u8>,
    /// Only this release's lines
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    release: Option<u32>,
}

/// How many lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// Each that there is.
    All,
    /// So many of the newest.
    Newest(usize),
}

fn count(text: &str) -> Result<Count, String> {
    match text {
        "all" => Ok(Count::All),
        number => number.parse().map(Count::Newest).map_err(|_| "neither a number of lines nor `all`".to_owned()),
    }
}

impl Lines {
    /// Whether those that come are wanted, too.
    pub(super) fn follow(&self) -> bool {
        self.follow
    }

    /// How many of those that are there.
    pub(super) fn count(&self) -> Count {
        self.lines.unwrap_or(if self.since.is_some() { Count::All } else { Count::Newest(USUAL) })
    }

    /// Whether nothing is left out but what is older.
    pub(super) fn are_all(&self) -> bool {
        self.since.or(self.until).is_none()
            && self.grep.is_none()
            && self.priority.is_none()
            && self.release.is_none()
            && self.count() != Count::Newest(0)
    }

    /// The address of `lines` of them: beyond `cursor` where there is one, from the oldest on or from the newest back.
    pub(super) fn path(&self, lines: usize, cursor: Option<&str>, forward: bool) -> String {
        let mut path = format!("/services/{}/logs?lines={lines}", segment(&self.name));
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                path.push_str(&format!("&{key}={}", segment(&value)));
            }
        };
        add("since", self.since.map(|since| since.to_string()));
        add("until", self.until.map(|until| until.to_string()));
        add("grep", self.grep.clone());
        add("priority", self.priority.map(|priority| priority.to_string()));
        add("release", self.release.map(|release| release.to_string()));
        add("cursor", cursor.map(str::to_owned));
        add("direction", forward.then(|| "forward".into()));
        path
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        lines: Lines,
    }

    #[test]
    fn what_is_asked_for_is_what_was_typed() {
        let lines = |typed: &str| Typed::try_parse_from(format!("logs {typed}").split(' ')).map(|typed| typed.lines);
        for (typed, count, all) in [
            ("x", Count::Newest(100), true),
            ("x -n 100000", Count::Newest(100_000), true),
            ("x -n 0", Count::Newest(0), false),
            ("x -n all", Count::All, true),
            ("x --since -1h", Count::All, false),
            ("x --since yesterday -n 5", Count::Newest(5), false),
            ("x --until @0", Count::Newest(100), false),
        ] {
            let lines = lines(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
            assert_eq!((lines.count(), lines.are_all()), (count, all), "{typed}");
        }
        for bad in ["x -n many", "x -n -1", "x --since soon", "x -f --until today", "x --priority 9", "x --release 0"] {
            assert!(lines(bad).is_err(), "{bad}");
        }
        let path = lines("a/b --since @0 --grep a&b --release 7").unwrap().path(10, Some("c"), true);
        let since = "since=1970-01-01T00:00:00Z";
        assert_eq!(
            path,
            format!("/services/a%2Fb/logs?lines=10&{since}&grep=a%26b&release=7&cursor=c&direction=forward")
        );
    }
}
