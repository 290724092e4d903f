//! `podkeeper source`: where a service's code comes from.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;
use secrecy::ExposeSecret;
use serde_json::json;

use super::client::{Agent, segment};
use super::create::external;
use super::options::{Failure, Outcome};
use super::show;
use crate::api::services::{Service, Source};
use crate::names::RepoUri;
use crate::text::Plain;

/// Whose, and what becomes of it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
    /// Another address of its repository, from the next deployment on
    #[arg(long, value_name = "URI")]
    from: Option<String>,
    /// A file with the password or token that reads it from now on; - is standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// The address that is there, without what is hidden in it.
fn without_secret(source: &Source) -> Result<String, Failure> {
    let Source::External { uri } = source else {
        return Err("the code of this service lies on this host, and is pushed to it\nNext: git push".into());
    };
    let (uri, _) = RepoUri::parse(uri)?;
    Ok(if uri.is_token() { uri.address().to_owned() } else { uri.to_string() })
}

/// Prints or changes it.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    let path = format!("/services/{}", segment(&wanted.name));
    let mut answer = agent.get(&path).await?;
    let changes = wanted.from.is_some() || wanted.password_file.is_some();
    if changes {
        let from = match &wanted.from {
            Some(from) => from.clone(),
            None => without_secret(&answer.read::<Service>()?.source)?,
        };
        let command = format!("source {}", wanted.name);
        let uri = external(&command, &from, wanted.password_file.as_deref())?;
        answer = agent.call(Method::PATCH, &path, Some(&json!({ "external": uri.expose_secret() }))).await?;
    }
    if json {
        answer.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    let service: Service = answer.read()?;
    let mut out = show::out();
    match &service.source {
        Source::External { uri } => writeln!(out, "{}, branch {}", Plain::from(uri), service.branch)?,
        Source::Template { .. } => {
            let push_url = Plain::from(service.push_url.as_deref().unwrap_or_default());
            writeln!(out, "{push_url}, branch {}", service.branch)?;
        }
    }
    if changes {
        writeln!(out, "it counts from the next deployment on: podkeeper deploy {}", wanted.name)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_put_into_the_address_that_is_there() {
        let of = |uri: &str| without_secret(&Source::External { uri: uri.into() }).unwrap();
        assert_eq!(of("https://joe:***@a.example/x"), "https://joe@a.example/x");
        assert_eq!(of("https://***@a.example/x"), "https://a.example/x");
        assert_eq!(of("ssh://git@a.example/x"), "ssh://git@a.example/x");
        assert!(without_secret(&Source::Template { template: "empty".into() }).is_err());
    }
}
