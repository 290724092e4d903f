//! What a commit's message says where its author wants nothing to be built of it: the marks that forges know.

/// The marks of GitHub, GitLab, Bitbucket, Azure DevOps and others, and what they would be for a deployment. In any case of
/// letters, anywhere in the message.
const MARKS: [&str; 7] =
    ["[skip ci]", "[ci skip]", "[no ci]", "[skip deploy]", "[deploy skip]", "[no deploy]", "***no_ci***"];
/// The same as a line at a message's end, as GitHub and Azure DevOps take it.
const TRAILER: &str = "skip-checks: true";

/// The mark that a commit's message has, where it has one.
#[must_use]
pub fn skip_mark(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let mark = MARKS.into_iter().find(|mark| message.contains(mark));
    let trails = || message.trim_end().lines().skip(1).any(is_trailer);
    mark.or_else(|| trails().then_some(TRAILER))
}

fn is_trailer(line: &str) -> bool {
    line.split_once(':').is_some_and(|(key, value)| key.trim() == "skip-checks" && value.trim() == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_whether_it_is_built() {
        for (message, mark) in [
            ("Fix a typo [skip ci]", Some("[skip ci]")),
            ("[CI Skip] words", Some("[ci skip]")),
            ("Docs\n\nNothing to see [No CI]\n", Some("[no ci]")),
            ("Docs [skip deploy]", Some("[skip deploy]")),
            ("***NO_CI*** Docs", Some("***no_ci***")),
            ("Docs\n\nskip-checks:true\n", Some("skip-checks: true")),
            ("Docs\n\n\nSkip-Checks: true", Some("skip-checks: true")),
            ("skip-checks: true is a trailer", None),
            ("Say how to skip ci", None),
            ("[skip  ci] [skipci] (skip ci)", None),
            ("Docs\n\nskip-checks: false", None),
            ("", None),
        ] {
            assert_eq!(skip_mark(message), mark, "{message}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_message_is_looked_at(message in "\\PC{0,300}") {
            let _ = skip_mark(&message);
        }
    }
}
