//! `podkeeper create`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::client::{Agent, segment};
use super::options::{Failure, Outcome};
use super::{input, show};
use crate::api::services::{CreatedService, Source};
use crate::names::RepoUri;
use crate::text::Plain;

/// What is made.
#[derive(Debug, clap::Args)]
pub struct New {
    /// What it shall be called: it answers at NAME.localhost, or as the configuration says
    name: String,
    /// What its repository begins with; `podkeeper templates` lists them
    #[arg(long, default_value = "empty", conflicts_with = "from")]
    template: String,
    /// A repository elsewhere instead, such as `https://example.org/site.git`; `podkeeper deploy` fetches and builds it
    #[arg(long, value_name = "URI")]
    from: Option<String>,
    /// A file with the password or token that reads it; - is standard input
    #[arg(long, value_name = "FILE", requires = "from")]
    password_file: Option<PathBuf>,
    /// The branch that is built; without it `main`, and with --from the one that the repository's HEAD names
    #[arg(long)]
    branch: Option<String>,
}

/// The address of the repository elsewhere, which `command` is given, with its password, which must not have come by the command line. Nor may a
/// token, as which a user name without a password is read.
pub(super) fn external(command: &str, text: &str, password: Option<&Path>) -> Result<SecretString, Failure> {
    let (uri, typed) = RepoUri::parse(text)?;
    match password {
        Some(file) if typed.is_none() || uri.is_token() => {
            Ok(RepoUri::with_password(text, &input::secret(file, "password")?)?)
        }
        None if typed.is_none() => Ok(text.to_owned().into()),
        _ => {
            let from = if uri.is_token() { uri.address().to_owned() } else { uri.to_string() };
            Err(format!(
                "others can read a command line, and so the password or token in it; nothing is done\n\
                 Next: podkeeper {command} --from {from} --password-file FILE, where - is standard input"
            )
            .into())
        }
    }
}

/// Makes it.
pub async fn run(agent: &Agent, new: &New, json: bool) -> Outcome {
    let name = new.name.as_str();
    let mut body = match &new.from {
        Some(uri) => {
            let uri = external(&format!("create {name}"), uri, new.password_file.as_deref())?;
            json!({ "external": uri.expose_secret() })
        }
        None => json!({ "template": new.template }),
    };
    if let Some(branch) = &new.branch {
        body["branch"] = branch.as_str().into();
    }
    let answer = agent.call(Method::PUT, &format!("/services/{}", segment(name)), Some(&body)).await?;
    if json {
        answer.print()?;
    } else {
        tell(new, &answer.read()?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What there is to do next.
fn tell(new: &New, created: &CreatedService) -> std::io::Result<()> {
    const PASSWORD: &str = "with a token (podkeeper token create --name NAME) as the password";
    let mut out = show::out();
    let CreatedService { service, hook_url, hook_key, kept_volumes } = created;
    let (name, branch) = (&new.name, &service.branch);
    let push_url = Plain::from(service.push_url.as_deref().unwrap_or_default());
    match &service.source {
        Source::External { uri } => {
            if uri.starts_with("ssh://") && new.password_file.is_none() {
                writeln!(out, "{name} is made. Let it read its repository, by this key: podkeeper deploy-key {name}")?;
                writeln!(out, "Then build and start it: podkeeper deploy {name}")?;
            } else {
                writeln!(out, "{name} is made. Build and start it: podkeeper deploy {name}")?;
            }
            let pushes =
                new.branch.as_ref().map_or_else(|| "pushes".to_owned(), |branch| format!("pushes to {branch}"));
            writeln!(out, "So that {pushes} do, give the forge's webhook this address and key:")?;
            writeln!(out, "  {}\n  {}", Plain::from(hook_url), Plain::from(hook_key))?;
        }
        Source::Template { template } if template == "empty" => {
            writeln!(out, "{name} is made. Push to it, {PASSWORD}:")?;
            writeln!(out, "  git push {push_url} HEAD:{branch}")?;
        }
        Source::Template { .. } => {
            writeln!(out, "{name} is made. Clone it, {PASSWORD}, and push what you change; or run it as it is:")?;
            writeln!(out, "  git clone {push_url}\n  podkeeper deploy {name}")?;
        }
    }
    match kept_volumes.as_deref() {
        Some([]) => {}
        Some(volumes) => {
            let volumes: Vec<_> = volumes.iter().map(|volume| Plain::from(volume).to_string()).collect();
            writeln!(
                out,
                "It gets the volumes that an earlier {name} left, with all that they hold: {}",
                volumes.join(", ")
            )?;
            writeln!(out, "Without them: podkeeper remove {name} --volumes, and make it again")?;
        }
        None => writeln!(
            out,
            "Whether an earlier {name} left volumes, which it would get, is not known: Podman did not tell"
        )?,
    }
    match &service.url {
        Some(url) => writeln!(out, "It will answer at {}", Plain::from(url)),
        None => Ok(()),
    }
}
