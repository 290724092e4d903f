//! What a command reads from a file, since others can read a command line.

use std::io::{IsTerminal, Read, stdin};
use std::path::Path;

use secrecy::SecretString;

use super::options::Failure;
use super::prompt;

/// More than a service's variables may have, in bytes.
const MOST: u64 = 1024 * 1024;

/// What a file holds; `-` is standard input.
pub fn text(file: &Path) -> Result<String, Failure> {
    let failed = |why: &str| Failure::from(format!("can't read `{}`: {why}", file.display()));
    let read = || {
        let mut bytes = Vec::new();
        let source: Box<dyn Read> =
            if file.as_os_str() == "-" { Box::new(stdin()) } else { Box::new(std::fs::File::open(file)?) };
        source.take(MOST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error: std::io::Error| failed(&error.to_string()))?;
    if bytes.len() as u64 > MOST {
        return Err(failed("it has more than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| failed("it is no UTF-8 text\nNext: save it as UTF-8"))
}

/// A file's only line: its end is no part of a secret. Whoever types it at a terminal is asked for it, and doesn't see it.
pub fn secret(file: &Path, what: &str) -> Result<SecretString, Failure> {
    let text = if file.as_os_str() == "-" && stdin().is_terminal() {
        prompt::hidden_line(&format!("The {what}, which is not shown: "))?
    } else {
        text(file)?
    };
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("the {what} is empty\nNext: write it into the file as its one line").into()),
        line if line.contains(['\r', '\n']) => {
            Err(format!("the {what} has more than one line\nNext: leave nothing but it in the file").into())
        }
        line => Ok(line.to_owned().into()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_is_one_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            secret(file.path(), "password").map(|secret| secret.expose_secret().to_owned()).ok()
        };
        for text in [" a b ", " a b \n", " a b \r\n"] {
            assert_eq!(read(text).as_deref(), Some(" a b "));
        }
        assert_eq!([read(""), read("\n"), read("a\nb\n")], [None, None, None]);
        assert!(secret(Path::new("/nothing"), "password").unwrap_err().to_string().contains("/nothing"));
    }
}
