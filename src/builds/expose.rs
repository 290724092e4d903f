//! Which port a Containerfile itself says that its program listens on: the first of the last stage's EXPOSE instructions, in
//! the order that the image's own list has lost.

use std::collections::{BTreeMap, HashMap};

use crate::names::BuildArgs;

/// How many instructions and stages are looked at, and how long a variable's text gets.
const INSTRUCTIONS: usize = 10_000;
const STAGES: usize = 100;
const TEXT: usize = 4096;
/// How often the end of a here-document is looked for that has none.
const ENDLESS: usize = 10;

type Variables = HashMap<String, String>;

/// A stage, as far as it concerns the port.
#[derive(Debug, Default)]
struct Stage {
    /// The stage of the same file that it begins with.
    parent: Option<usize>,
    variables: Variables,
    port: Option<u16>,
}

/// The first TCP port that the last stage EXPOSEs, or else the stage that it begins with; none: they say none that can be
/// told without the image that the first of them begins with.
pub(super) fn exposed(text: &str, args: &BuildArgs) -> Option<u16> {
    let args: BTreeMap<&str, &str> = args.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut global = Variables::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut names: HashMap<String, usize> = HashMap::new();
    for (keyword, rest) in instructions(text).into_iter().take(INSTRUCTIONS) {
        match (keyword.as_str(), stages.last_mut()) {
            ("FROM", _) => {
                if stages.len() == STAGES {
                    return None;
                }
                let mut words = rest.split_whitespace().skip_while(|word| word.starts_with("--"));
                let base = expand(words.next().unwrap_or_default(), &global).to_ascii_lowercase();
                let parent = names.get(&base).copied().or_else(|| base.parse().ok().filter(|at| *at < stages.len()));
                if words.next().is_some_and(|word| word.eq_ignore_ascii_case("as")) {
                    names.insert(words.next().unwrap_or_default().to_ascii_lowercase(), stages.len());
                }
                let variables = parent.map_or_else(Variables::new, |parent| stages[parent].variables.clone());
                stages.push(Stage { parent, variables, port: None });
            }
            ("ARG", mut stage) => {
                for word in rest.split_whitespace() {
                    let (name, default) = word.split_once('=').map_or((word, None), |(name, text)| (name, Some(text)));
                    let own = stage.as_deref().map_or(&global, |stage| &stage.variables);
                    let default = default.map(|text| expand(text, own)).or_else(|| global.get(name).cloned());
                    let Some(text) = args.get(name).map(|text| (*text).to_owned()).or(default) else { continue };
                    match stage.as_deref_mut() {
                        Some(stage) => stage.variables.insert(name.to_owned(), text),
                        None => global.insert(name.to_owned(), text),
                    };
                }
            }
            ("ENV", Some(stage)) => {
                for (name, text) in pairs(&rest) {
                    let text = expand(text, &stage.variables);
                    stage.variables.insert(name.to_owned(), text);
                }
            }
            ("EXPOSE", Some(stage)) if stage.port.is_none() => {
                let expanded = expand(&rest, &stage.variables);
                stage.port = expanded.split_whitespace().find_map(port);
            }
            _ => {}
        }
    }
    let mut at = stages.len().checked_sub(1)?;
    loop {
        match (stages[at].port, stages[at].parent) {
            (Some(port), _) => return Some(port),
            // It stands before it in the file.
            (None, Some(parent)) => at = parent,
            (None, None) => return None,
        }
    }
}

/// `NAME=text NAME=text`, or the older `NAME text`.
fn pairs(rest: &str) -> Vec<(&str, &str)> {
    match rest.split_once(char::is_whitespace) {
        Some((name, text)) if !name.contains('=') => vec![(name, text.trim())],
        _ => rest.split_whitespace().filter_map(|word| word.split_once('=')).collect(),
    }
}

/// `8080`, `8080/tcp`, or the first of `7000-7003`.
fn port(word: &str) -> Option<u16> {
    let (ports, kind) = word.split_once('/').unwrap_or((word, "tcp"));
    let first = ports.split('-').next().unwrap_or_default();
    first.parse().ok().filter(|port| *port > 0 && kind.eq_ignore_ascii_case("tcp"))
}

/// The text with its variables, without its quotes.
fn expand(text: &str, variables: &Variables) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' | '\'' => {}
            '$' => {
                let braced = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
                let (what, behind) = braced.unwrap_or_else(|| {
                    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                    rest.split_at(end)
                });
                rest = behind;
                let (name, default) = what.split_once('-').unwrap_or((what, ""));
                let set = variables.get(name.trim_end_matches(':')).map(String::as_str);
                expanded.push_str(set.unwrap_or(default));
            }
            c => expanded.push(c),
        }
        // One that holds itself twice, again and again, would have no end.
        if expanded.len() > TEXT {
            return String::new();
        }
    }
    expanded
}

/// Each instruction, its keyword in capitals, without comments and the texts that follow it (here-documents).
fn instructions(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut lines = text.lines();
    let (mut escape, mut endless) = ('\\', 0);
    while let Some(first) = lines.next() {
        let first = first.trim();
        if let Some(comment) = first.strip_prefix('#') {
            let directive = comment.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("escape"));
            if let Some((_, value)) = directive.filter(|_| all.is_empty()) {
                escape = value.trim().chars().next().unwrap_or(escape);
            }
            continue;
        }
        let mut whole = String::new();
        let mut line = first;
        while let Some(part) = line.strip_suffix(escape) {
            whole.push_str(part);
            whole.push(' ');
            let next = lines.by_ref().map(str::trim).find(|line| !line.starts_with('#'));
            line = next.unwrap_or_default();
        }
        whole.push_str(line);
        let Some((keyword, rest)) = whole.split_once(char::is_whitespace) else { continue };
        let keyword = keyword.to_ascii_uppercase();
        if matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
            for end in heredocs(rest) {
                let mut ahead = lines.clone();
                if endless < ENDLESS && ahead.any(|line| line.trim_start_matches('\t').trim_end() == end) {
                    lines = ahead;
                } else {
                    endless += 1;
                }
            }
        }
        all.push((keyword, rest.trim().to_owned()));
    }
    all
}

/// The words with which the here-documents of an instruction end.
fn heredocs(rest: &str) -> Vec<String> {
    let ends = rest.split("<<").skip(1).filter_map(|behind| {
        let behind = behind.strip_prefix('-').unwrap_or(behind).trim_start_matches(['"', '\'']);
        let end: String = behind.chars().take_while(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).collect();
        (!end.is_empty() && !end.starts_with(|c: char| c.is_ascii_digit())).then_some(end)
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<u16> {
        exposed(text, &BuildArgs::default())
    }

    #[test]
    fn the_last_stages_own_first_one_counts() {
        for (text, port) in [
            ("FROM a\nEXPOSE 9090 80 443\n", Some(9090)),
            ("FROM a\nEXPOSE 443/udp 8080/tcp\nEXPOSE 80\n", Some(8080)),
            ("FROM a\nEXPOSE 7000-7003\n", Some(7000)),
            ("FROM a\nEXPOSE 53/udp\n", None),
            ("FROM a\n", None),
            ("", None),
            ("EXPOSE 80\n", None),
            ("FROM a AS build\nEXPOSE 3000\nFROM b\nCOPY --from=build /a /a\nEXPOSE 80\n", Some(80)),
            ("FROM a AS build\nEXPOSE 3000\nFROM b\nCOPY --from=build /a /a\n", None),
            ("FROM a AS Base\nEXPOSE 3000\nFROM --platform=$X base AS final\nRUN x\n", Some(3000)),
            ("FROM a\nEXPOSE 3000\nFROM 0\nRUN x\n", Some(3000)),
            ("FROM a AS a\nRUN x\n", None),
            ("from a\nexpose 81\n", Some(81)),
            ("FROM a\nONBUILD EXPOSE 80\n# EXPOSE 81\n", None),
            ("FROM a\nEXPOSE \\\n  # why\n  9000 \\\n  80\n", Some(9000)),
            ("# escape=`\nFROM a\nEXPOSE `\n 9000\n", Some(9000)),
            ("FROM a\nRUN <<EOF\nEXPOSE 1\nFROM b\nEOF\nEXPOSE 2\n", Some(2)),
            ("FROM a\nCOPY <<-'x.y' <<END /d/\n\tEXPOSE 1\n\tx.y\nEXPOSE 1\nEND\nEXPOSE 2\n", Some(2)),
            ("FROM a\nRUN echo $((1 <<x)) <<NEVER\nEXPOSE 2\n", Some(2)),
            ("FROM a\nEXPOSE 0 70000 80\n", Some(80)),
        ] {
            assert_eq!(of(text), port, "{text}");
        }
    }

    #[test]
    fn variables_are_what_the_file_says_of_them() {
        for (text, port) in [
            ("FROM a\nENV PORT=3000 X=1\nEXPOSE $PORT\n", Some(3000)),
            ("FROM a\nENV PORT 3000\nEXPOSE \"${PORT}\"/tcp\n", Some(3000)),
            ("ARG P=81\nFROM a\nARG P\nEXPOSE ${P}\n", Some(81)),
            ("ARG P=81\nFROM a\nEXPOSE ${P}\n", None),
            ("FROM a\nEXPOSE ${P:-82}\n", Some(82)),
            ("FROM a\nARG P=83\nEXPOSE $UNKNOWN $P\n", Some(83)),
            ("ARG B=base\nFROM a AS base\nENV P=84\nFROM $B\nEXPOSE $P\n", Some(84)),
        ] {
            assert_eq!(of(text), port, "{text}");
        }
        let args: BuildArgs = serde_json::from_str(r#"{"P":"85"}"#).unwrap();
        assert_eq!(exposed("FROM a\nARG P=1\nEXPOSE $P\n", &args), Some(85));
    }

    #[test]
    fn what_grows_without_end_is_given_up() {
        let doubles = format!("FROM a\nENV A=xxxxxxxxxxxxxxxx\n{}EXPOSE $A 80\n", "ENV A=$A$A\n".repeat(2000));
        assert_eq!(of(&doubles), Some(80));
        assert_eq!(of(&"FROM a AS b\n".repeat(5000)), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "(FROM|EXPOSE|ENV|ARG|RUN|[ \\n\\\\<$={}\"'/#-]|[a-z0-9é]){0,200}") {
            let _ = of(&text);
        }
    }
}
