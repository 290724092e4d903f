//! `podkeeper enroll`: a link by which a browser registers a passkey.

use std::io::Write;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::client::Agent;
use super::show;

/// Asks the agent for a link and prints it: the link alone where a program reads it, with a QR code on a terminal.
pub async fn run(agent: &Agent, json: bool) -> Result<(), Box<dyn std::error::Error>> {
    let answer = agent.call(http::Method::POST, "/internal/enrolments", None).await?;
    let mut out = show::out();
    if json {
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    let url = answer["url"].as_str().unwrap_or_default();
    if !out.is_on_terminal() {
        writeln!(out, "{url}")?;
        return Ok(());
    }
    // Dark on light, whatever colours the terminal has.
    let code = QrCode::new(url)?.render::<Dense1x2>().quiet_zone(true).build();
    for line in code.lines() {
        writeln!(out, "\x1b[30;107m{line}\x1b[0m")?;
    }
    writeln!(
        out,
        "\n{url}\n\nOpen this within ten minutes in the browser that will hold the passkey. It is good once."
    )?;
    if url.starts_with("http://localhost") {
        writeln!(out, "From another machine, first: ssh -L 7070:localhost:7070 THIS-HOST")?;
    }
    Ok(())
}
