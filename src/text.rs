//! What others wrote, as it can be shown: programs' lines, registries' words, commits. A terminal takes orders from what
//! it is sent (ECMA-48), and text that turns its own order around reads as another than it is; neither stays in it.

use std::fmt::{self, Write};
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// The end of all colours.
const PLAIN: &str = "\x1b[m";
/// The longest parameters of a colour, in bytes: more than any colour has.
const PARAMETERS: usize = 128;

/// Whether a character shows nothing and changes how others are shown: a control character (C0, DEL, C1), or one that
/// turns around the order of what is beside it (Unicode's bidirectional embeddings, overrides and isolates).
fn commands(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The colour that `text` begins with (SGR), as it is written.
fn colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    let length = parameters.find(|c: char| !c.is_ascii_digit() && !matches!(c, ';' | ':'))?;
    let is_one = length <= PARAMETERS && parameters[length..].starts_with('m');
    is_one.then(|| &text[..text.len() - parameters.len() + length + 1])
}

/// One line: of what commands a terminal, colours stay or go, and all else is shown as it would be typed, such as `\x1b`.
/// What ended the line, as Windows writes it, too, is not its own.
fn line(bytes: &[u8], colours: bool) -> String {
    let end = bytes.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    let mut shown = String::with_capacity(end);
    // Some colour lasts.
    let mut open = false;
    for chunk in bytes[..end].utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(|c| commands(c) && c != '\t') {
            shown.push_str(&rest[..at]);
            rest = &rest[at..];
            let taken = match colour(rest) {
                Some(colour) => {
                    if colours {
                        open = !matches!(colour, PLAIN | "\x1b[0m");
                        shown.push_str(colour);
                    }
                    colour.len()
                }
                None => rest.chars().next().map_or(rest.len(), |c| {
                    escape(c, &mut shown);
                    c.len_utf8()
                }),
            };
            rest = &rest[taken..];
        }
        shown.push_str(rest);
        for byte in chunk.invalid() {
            escape_byte(*byte, &mut shown);
        }
    }
    if open {
        shown.push_str(PLAIN);
    }
    shown
}

fn escape_byte(byte: u8, shown: &mut String) {
    // Writing to a text can't fail.
    let _ = write!(shown, "\\x{byte:02x}");
}

fn escape(c: char, shown: &mut String) {
    match u8::try_from(c) {
        Ok(b'\r') => shown.push_str("\\r"),
        Ok(byte) if byte.is_ascii() => escape_byte(byte, shown),
        _ => shown.extend(c.escape_unicode()),
    }
}

fn lines(bytes: &[u8], colours: bool) -> String {
    let all: Vec<String> = bytes.split(|byte| *byte == b'\n').map(|bytes| line(bytes, colours)).collect();
    all.join("\n")
}

/// Lines for a terminal: of all that a terminal obeys only colours are left to it (SGR), each closed where its line ends.
/// The rest is shown and not obeyed, and so are bytes that are no UTF-8: `\x1b[2J`, `\r`, `\u{202e}`, `\xff`.
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
    /// A line without a character that commands: colours are gone, and all else of that is shown as it would be typed, such
    /// as `\x1b`. Where there were several lines, they are one.
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
            ("\x1b[4:3;58:2::1:2:3mcurly\x1b[m", "\x1b[4:3;58:2::1:2:3mcurly\x1b[m"),
            // Clears, moves, titles, a clipboard, a question, a link, what prints, another character set, a reset.
            ("a\x1b[2J\x1b[1;1Hb", r"a\x1b[2J\x1b[1;1Hb"),
            ("a\x1b]0;title\x07b\x1b]52;c;cHduZWQ=\x1b\\c", r"a\x1b]0;title\x07b\x1b]52;c;cHduZWQ=\x1b\c"),
            ("a\x1b[6n\x1b[c\x1bZb", r"a\x1b[6n\x1b[c\x1bZb"),
            ("\x1b]8;;file:///etc\x1b\\here\x1b]8;;\x1b\\", r"\x1b]8;;file:///etc\x1b\here\x1b]8;;\x1b\"),
            ("a\x1b[5ib\x1b(0c\x1bcd", r"a\x1b[5ib\x1b(0c\x1bcd"),
            ("a\x1bP$q\"p\x1b\\b\x1b_x\x1b\\c", "a\\x1bP$q\"p\\x1b\\b\\x1b_x\\x1b\\c"),
            // Neither private ones nor what is no number are colours.
            ("\x1b[>4;2ma\x1b[?25mb\x1b[0 mc", r"\x1b[>4;2ma\x1b[?25mb\x1b[0 mc"),
            ("a\x07b\x08c\x7fd\x0be\x0cf\x00g", r"a\x07b\x08c\x7fd\x0be\x0cf\x00g"),
            ("a\u{9b}2Jb\u{9d}0;x\u{9c}c\u{85}d", r"a\u{9b}2Jb\u{9d}0;x\u{9c}c\u{85}d"),
            ("user\u{202e}txt.exe\u{2066}x\u{2069}", r"user\u{202e}txt.exe\u{2066}x\u{2069}"),
            // Nothing is written over.
            ("10%\r20%\r\n30%\r", "10%\\r20%\n30%"),
            // What doesn't end hides nothing, and is not ended by what comes behind.
            ("\x1b]0;open and 10.0.0.1\nnext", "\\x1b]0;open and 10.0.0.1\nnext"),
            ("\x1b[31mred \x1bPopen\nnext", "\x1b[31mred \\x1bPopen\x1b[m\nnext"),
            ("cut \x1b[\n2J", "cut \\x1b[\n2J"),
            ("cut \x1b\n[31m", "cut \\x1b\n[31m"),
            ("\x1b[31mred\nnot red", "\x1b[31mred\x1b[m\nnot red"),
        ] {
            assert_eq!(coloured(written.as_bytes()), shown, "{written:?}");
        }
        assert_eq!(coloured(b"\xff\x9b2J\xe2\x80"), r"\xff\x9b2J\xe2\x80");
        let long = "31;".repeat(100);
        assert_eq!(coloured(format!("\x1b[{long}ma").as_bytes()), format!("\\x1b[{long}ma"));
    }

    #[test]
    fn plain_text_is_one_line_or_lines() {
        let written = "\x1b[31mone\x1b[0m\r\n   two\t2\u{202e}\n\n\x1b]0;x\x07three\n";
        assert_eq!(Plain::from(written), r"one two 2\u{202e} \x1b]0;x\x07three");
        assert_eq!(PlainLines::from(written), "one\n   two\t2\\u{202e}\n\n\\x1b]0;x\\x07three\n");
        // What was shown once is shown so again.
        assert_eq!(Plain::from(&*Plain::from(written)), Plain::from(written));
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
