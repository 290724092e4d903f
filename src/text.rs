//! What others wrote, as it can be shown: programs' lines, registries' words, commits. A terminal takes orders from what
//! it is sent (ECMA-48), and text that turns its own order around reads as another than it is; neither stays in it.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use vte::{Params, Parser, Perform};

/// The end of all colours.
const PLAIN: &str = "\x1b[m";

/// Whether a character shows nothing and changes how others are shown: a control character (C0, DEL, C1), or one that
/// turns around the order of what is beside it (Unicode's bidirectional embeddings, overrides and isolates).
fn commands(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What of one line is shown.
struct Line {
    text: String,
    colours: bool,
    /// Some colour lasts.
    open: bool,
    /// A carriage return; what is behind it stands beside what is before it, and not upon it.
    returned: bool,
    /// The parser is not within a string, such as a title, that never ended.
    heard: bool,
}

impl Line {
    fn parse(&mut self, bytes: &[u8]) {
        self.heard = false;
        let mut parser = Parser::new();
        parser.advance(self, bytes);
        // Of strings the parser says nothing; everywhere else it passes this on.
        parser.advance(self, b"\0");
    }
}

impl Perform for Line {
    fn print(&mut self, c: char) {
        if !commands(c) {
            if std::mem::take(&mut self.returned) && !self.text.is_empty() {
                self.text.push(' ');
            }
            self.text.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => self.text.push('\t'),
            b'\r' => self.returned = true,
            0 => self.heard = true,
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignored: bool, action: char) {
        if !self.colours || action != 'm' || !intermediates.is_empty() || ignored {
            return;
        }
        let numbers = |numbers: &[u16]| numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(":");
        let all = params.iter().map(numbers).collect::<Vec<_>>().join(";");
        self.open = all != "0";
        self.text.push_str(&format!("\x1b[{all}m"));
    }
}

/// One line: a sequence that doesn't end in it is text, since it must not hide what follows.
fn line(bytes: &[u8], colours: bool) -> String {
    let new = || Line { text: String::new(), colours, open: false, returned: false, heard: false };
    let mut shown = new();
    shown.parse(bytes);
    // Any ESC ends a string, so the last one began it.
    if let (false, Some(at)) = (shown.heard, bytes.iter().rposition(|byte| *byte == 0x1b)) {
        shown = new();
        shown.parse(&bytes[..at]);
        shown.parse(&bytes[at + 1..]);
    }
    if shown.open {
        shown.text.push_str(PLAIN);
    }
    shown.text
}

fn lines(bytes: &[u8], colours: bool) -> String {
    let all: Vec<String> = bytes.split(|byte| *byte == b'\n').map(|bytes| line(bytes, colours)).collect();
    all.join("\n")
}

/// Lines for a terminal: of all that a terminal obeys only colours stay (SGR), each closed where its line ends. What is
/// no UTF-8 is shown by U+FFFD.
#[must_use]
pub fn coloured(bytes: &[u8]) -> String {
    lines(bytes, true)
}

macro_rules! harmless {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub struct $name(String);

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::of(text)
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::of(&text)
            }
        }
        impl From<&String> for $name {
            fn from(text: &String) -> Self {
                Self::of(text)
            }
        }
        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    };
}

harmless! {
    /// A line without a character that commands. Where there were several lines, they are one.
    Plain
}

harmless! {
    /// The same in as many lines as there were, tabs among them.
    PlainLines
}

impl Plain {
    fn of(text: &str) -> Self {
        let shown = lines(text.as_bytes(), false);
        let mut all = shown.split('\n').map(str::trim_end);
        let mut one = all.next().unwrap_or_default().to_owned();
        for more in all.map(str::trim_start).filter(|line| !line.is_empty()) {
            one.push(' ');
            one.push_str(more);
        }
        Self(one.replace('\t', " "))
    }
}

impl PlainLines {
    fn of(text: &str) -> Self {
        Self(lines(text.as_bytes(), false))
    }

    /// What a program printed, whatever bytes they are.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(lines(bytes, false))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_what_a_terminal_obeys_only_colours_stay() {
        for (written, shown) in [
            ("plain \u{1f980} text\tand more", "plain \u{1f980} text\tand more"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
            ("\x1b[1;38;5;0mbold", "\x1b[1;38;5;0mbold\x1b[m"),
            ("\x1b[4:3;58:2::1:2:3mcurly\x1b[m", "\x1b[4:3;58:2:0:1:2:3mcurly\x1b[0m"),
            // Clears, moves, titles, a clipboard, a question, a link, what prints, another character set, a reset.
            ("a\x1b[2J\x1b[1;1Hb", "ab"),
            ("a\x1b]0;title\x07b\x1b]52;c;cHduZWQ=\x1b\\c", "abc"),
            ("a\x1b[6n\x1b[c\x1bZb", "ab"),
            ("\x1b]8;;file:///etc\x1b\\here\x1b]8;;\x1b\\", "here"),
            ("a\x1b[5ib\x1b(0c\x1bcd", "abcd"),
            ("a\x1bP$q\"p\x1b\\b\x1b_x\x1b\\c\x1b^x\x1b\\d\x1bXx\x1b\\e", "abcde"),
            // Neither private ones nor ones with more than any colour has are colours.
            ("\x1b[>4;2ma\x1b[?25mb\x1b[0 mc", "abc"),
            ("a\x07b\x08c\x7fd\x0be\x0cf\x00g", "abcdefg"),
            ("a\u{9b}2Jb\u{9d}0;x\u{9c}c\u{85}d", "a2Jb0;xcd"),
            ("user\u{202e}txt.exe\u{2066}x\u{2069}", "usertxt.exex"),
            ("10%\r20%\r\n30%\r", "10% 20%\n30%"),
            // What doesn't end hides nothing, and is not ended by what comes behind.
            ("\x1b]0;open and 10.0.0.1\nnext", "]0;open and 10.0.0.1\nnext"),
            ("\x1b[31mred \x1bPopen\nnext", "\x1b[31mred Popen\x1b[m\nnext"),
            ("cut \x1b[\n2J", "cut \n2J"),
            ("cut \x1b\n[2J", "cut \n[2J"),
            ("\x1b[31mred\nnot red", "\x1b[31mred\x1b[m\nnot red"),
        ] {
            assert_eq!(coloured(written.as_bytes()), shown, "{written:?}");
        }
        assert_eq!(coloured(b"\xff\x9b2J\x9d"), "\u{fffd}2J");
        assert_eq!(coloured(format!("\x1b[{}ma", "31;".repeat(100_000)).as_bytes()), "a");
    }

    #[test]
    fn plain_text_is_one_line_or_lines() {
        let written = "\x1b[31mone\x1b[0m\r\n   two\t2\u{202e}\n\n\x1b]0;x\x07three\n";
        assert_eq!(Plain::from(written), "one two 2 three");
        assert_eq!(PlainLines::from(written), "one\n   two\t2\n\nthree\n");
        assert_eq!(Plain::from(""), "");
    }

    proptest! {
        #[test]
        fn no_bytes_give_a_command(bytes in proptest::collection::vec(
            prop_oneof![Just(0x1b), Just(b'['), Just(b']'), Just(b'm'), Just(b'\n'), Just(0xc2), Just(0x9b), any::<u8>()],
            0..200,
        )) {
            let colour = regex::Regex::new("\x1b\\[[0-9;:]*m").unwrap();
            let shown = coloured(&bytes);
            let rest = colour.replace_all(&shown, "");
            prop_assert!(!rest.chars().any(|c| commands(c) && c != '\n' && c != '\t'), "{shown:?}");
            for line in shown.lines() {
                let last = colour.find_iter(line).last().map(|found| found.as_str());
                prop_assert!(matches!(last, None | Some("\x1b[0m" | "\x1b[m")), "{line:?}");
            }
            prop_assert!(!Plain::from(&*shown).chars().any(commands));
            prop_assert!(!PlainLines::from_bytes(&bytes).chars().any(|c| commands(c) && c != '\n' && c != '\t'));
        }
    }
}
