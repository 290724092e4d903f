//! `podkeeper enroll`: a link by which a browser registers a passkey.

use std::io::Write;
use std::process::ExitCode;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::client::Agent;
use super::options::Outcome;
use super::show;
use crate::api::auth::Enrolment;

/// Asks the agent for a link and prints it: the link alone where a program reads it, with a QR code on a terminal.
pub async fn run(agent: &Agent, json: bool) -> Outcome {
    let answer = agent.call(http::Method::POST, "/internal/enrolments", None).await?;
    if json {
        answer.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = show::out();
    let Enrolment { url, .. } = answer.read()?;
    if !out.is_on_terminal() {
        writeln!(out, "{url}")?;
        return Ok(ExitCode::SUCCESS);
    }
    // A link that is too long for one does without.
    if let Ok(code) = QrCode::new(&url) {
        // Dark on light, whatever colours the terminal has.
        for line in code.render::<Dense1x2>().quiet_zone(true).build().lines() {
            writeln!(out, "\x1b[30;107m{line}\x1b[0m")?;
        }
    }
    writeln!(
        out,
        "\n{url}\n\nOpen this within ten minutes in the browser that will hold the passkey. It is good once."
    )?;
    if url.starts_with("http://localhost") {
        writeln!(out, "From another machine, first: ssh -L 7070:localhost:7070 THIS-HOST")?;
    }
    Ok(ExitCode::SUCCESS)
}
