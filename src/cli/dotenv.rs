//! Files of variables: the grammar of dotenv files, without their substitutions. Every variable is taken byte for byte,
//! so a `$` in a password can't become another value. What is wrong is told by its line's number alone: the file is
//! secret.

use thiserror::Error;

use crate::names::EnvKey;

/// What `podkeeper env --help` says of it.
pub(super) const GRAMMAR: &str = r##"The file of --file holds variables as dotenv files do. Nothing in it is ever replaced: $NAME stays
as it is written.

  # why                an empty line, and one that begins with #, are passed over
  A=x  # why           x: a # behind a blank begins a comment, and blanks around a value go
  B=a#b                a#b
  C=                   an empty value
  export D=1           1
  E='\n $c "d"'        as it stands, up to the next '
  F="a\nb \"c\" \\"    \n, \r and \t are a line end, a carriage return and a tab; \", \\ and \$ are
                       the character itself; any other \ stays as it is
  G="-----BEGIN        a value in quotes may have several lines, and every byte of it stays
  -----END"
  PORT=80              passed over, with a word: the agent gives a service its port

Behind a closing quote only a comment may stand. Of two variables with one name the last counts. A
byte-order mark and the line ends of Windows are understood. A name takes up to 200 bytes without
blanks and without = , " ' \ % and $, and begins with no -."##;

/// A variable of a file.
pub(super) struct Variable {
    /// Its name.
    pub key: EnvKey,
    /// Its value.
    pub value: String,
    /// The line that it begins in, from 1 on.
    pub line: usize,
}

/// Why a file of variables was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {line} {fault}")]
pub(super) struct DotenvError {
    line: usize,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum Fault {
    #[error("holds no `=`\nNext: write KEY=VALUE, or # before a comment; a value of several lines stands in quotes")]
    NoValue,
    #[error(
        "begins with what can't be the name of a variable\n\
         Next: before the `=` write up to 200 bytes without blanks and without = , \" ' \\ % and $, and no - first"
    )]
    NoKey,
    #[error("opens a quote that is never closed\nNext: close it, or put quotes around the whole value")]
    Unclosed,
    #[error(
        "has something behind the closing quote of its value\nNext: leave only a comment there, or write \\\" for a quote within the value"
    )]
    Behind,
    #[error("begins a value that holds a NUL character, which no variable can")]
    Nul,
}

/// The blanks of a line, with what Windows ends one with.
const BLANKS: [char; 3] = [' ', '\t', '\r'];

/// The variables of a file, in its order.
pub(super) fn read(text: &str) -> Result<Vec<Variable>, DotenvError> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut line, mut all) = (1, Vec::new());
    while !rest.is_empty() {
        let first = rest.split('\n').next().unwrap_or_default();
        let mut taken = first.len();
        if !matches!(first.trim_start_matches(BLANKS).chars().next(), None | Some('#')) {
            let failed = |fault| DotenvError { line, fault };
            let (name, _) = first.split_once('=').ok_or(failed(Fault::NoValue))?;
            let key = key(name).ok_or(failed(Fault::NoKey))?;
            let (value, length) = value(&rest[name.len() + 1..]).map_err(failed)?;
            if value.contains('\0') {
                return Err(failed(Fault::Nul));
            }
            all.push(Variable { key, value, line });
            taken = name.len() + 1 + length;
        }
        // Behind it the line ends, or the file does.
        let (over, behind) = rest.split_at((taken + 1).min(rest.len()));
        line += over.matches('\n').count();
        rest = behind;
    }
    Ok(all)
}

/// The name before a `=`.
fn key(text: &str) -> Option<EnvKey> {
    let text = text.trim_matches(BLANKS);
    let exported = text.strip_prefix("export").filter(|rest| rest.starts_with(BLANKS));
    exported.map_or(text, |rest| rest.trim_start_matches(BLANKS)).parse().ok()
}

/// The value that `text` begins with, and how many bytes it takes up to the end of its last line.
fn value(text: &str) -> Result<(String, usize), Fault> {
    let begun = text.trim_start_matches(BLANKS);
    let blanks = text.len() - begun.len();
    let Some(quote @ ('"' | '\'')) = begun.chars().next() else {
        let line = text.split('\n').next().unwrap_or_default();
        return Ok((uncommented(line).trim_matches(BLANKS).to_owned(), line.len()));
    };
    let (value, length) = if quote == '"' { escaped(&begun[1..]) } else { bare(&begun[1..]) }.ok_or(Fault::Unclosed)?;
    let closed = blanks + 1 + length + 1;
    let behind = text[closed..].split('\n').next().unwrap_or_default();
    if !matches!(behind.trim_matches(BLANKS).chars().next(), None | Some('#')) {
        return Err(Fault::Behind);
    }
    Ok((value, closed + behind.len()))
}

/// A line without its comment.
fn uncommented(line: &str) -> &str {
    let mut comments = line.match_indices('#').map(|(at, _)| at);
    comments.find(|at| line[..*at].ends_with(BLANKS)).map_or(line, |at| &line[..at])
}

/// What stands before the closing quote, and how many bytes it takes.
fn bare(text: &str) -> Option<(String, usize)> {
    let end = text.find('\'')?;
    Some((text[..end].to_owned(), end))
}

/// The same between quotes in which `\` means something.
fn escaped(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, at)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                c @ ('"' | '\\' | '$') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        read(text).unwrap().into_iter().map(|variable| (variable.key.into(), variable.value)).collect()
    }

    fn check(text: &str, wanted: &[(&str, &str)]) {
        let wanted: Vec<_> = wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(pairs(text), wanted, "{text:?}");
    }

    #[test]
    fn each_form_of_a_value() {
        check("A=x # why", &[("A", "x")]);
        check("B=\"y\" # why", &[("B", "y")]);
        check("B=\"y\"# why\nB2='y'#", &[("B", "y"), ("B2", "y")]);
        check("C=a#b", &[("C", "a#b")]);
        check("C=#b", &[("C", "#b")]);
        check("C= #b", &[("C", "")]);
        check("D='z'", &[("D", "z")]);
        check(r#"E="a\nb \"c\" \\""#, &[("E", "a\nb \"c\" \\")]);
        check(r#"E="\$a $b ${c} \d \\n""#, &[("E", r"$a $b ${c} \d \n")]);
        check(r#"E='\n "$c" # d'"#, &[("E", r#"\n "$c" # d"#)]);
        check("export G=1\nexport\tH = 2\nexport=3", &[("G", "1"), ("H", "2"), ("export", "3")]);
        check("H=\nI= \nJ=''\nK=\"\"", &[("H", ""), ("I", ""), ("J", ""), ("K", "")]);
        check("  A =  b c  \n\n \t\n#d=1\n  # e=1\n", &[("A", "b c")]);
        check("A=b=c\nB=it's\nC=a\\nb\nD=`x`", &[("A", "b=c"), ("B", "it's"), ("C", "a\\nb"), ("D", "`x`")]);
        check("discovery.type=single-node\na-b=1", &[("discovery.type", "single-node"), ("a-b", "1")]);
        check("", &[]);
    }

    #[test]
    fn the_marks_of_windows() {
        check("\u{feff}A=1\r\nB=\"2\"\r\n\r\n# c\r\nC='3' # d\r\n", &[("A", "1"), ("B", "2"), ("C", "3")]);
    }

    #[test]
    fn a_value_of_several_lines_is_one_byte_for_byte() {
        let key = "-----BEGIN KEY-----\nAb+/=\r\n\n  # no comment\n-----END KEY-----\n";
        check(&format!("A=1\nKEY=\"{key}\"\nB=2"), &[("A", "1"), ("KEY", key), ("B", "2")]);
        check(&format!("KEY='{key}' # why\nB=2"), &[("KEY", key), ("B", "2")]);
        let lines: Vec<_> = read(&format!("A=1\nKEY=\"{key}\"\nB=2")).unwrap().iter().map(|one| one.line).collect();
        assert_eq!(lines, [1, 2, 8]);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_alone() {
        for (text, line, fault) in [
            ("A=1\nhunter2", 2, Fault::NoValue),
            ("A=1\n\nKEY=\"a\n\nhunter2", 3, Fault::Unclosed),
            ("KEY='hunter2", 1, Fault::Unclosed),
            ("KEY=\"hunter2\\", 1, Fault::Unclosed),
            ("KEY=\"hunter2\\\"\n", 1, Fault::Unclosed),
            ("A=\"1\n2\"\nB='hunter'2'", 3, Fault::Behind),
            ("A=\"1\n2\" hunter2", 1, Fault::Behind),
            ("hunter 2=1", 1, Fault::NoKey),
            ("\n\"hunter2\"=1", 2, Fault::NoKey),
            ("=hunter2", 1, Fault::NoKey),
            ("export hunter2", 1, Fault::NoValue),
            ("A=hunter2\0", 1, Fault::Nul),
        ] {
            let error = read(text).err().unwrap();
            assert_eq!(error, DotenvError { line, fault }, "{text:?}");
            let told = format!("{error} {error:?}");
            assert!(told.contains(&format!("line {line} ")) && !told.contains("hunter"), "{told}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[AB=\"'\\\\#\r\n \u{feff}$\0é]{0,40}") {
            if let Err(error) = read(&text) {
                proptest::prop_assert!(error.line <= text.matches('\n').count() + 1);
            }
        }

        #[test]
        fn what_is_written_in_double_quotes_is_read_again(value in "\\PC*|[\"\\\\$n\n\r\t#' ]*") {
            let written = value.replace('\\', "\\\\").replace('"', "\\\"");
            let again = pairs(&format!("A=\"{written}\" # why\nB=1"));
            proptest::prop_assert_eq!(again, [("A".to_owned(), value), ("B".to_owned(), "1".to_owned())]);
        }
    }
}
