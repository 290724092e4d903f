//! Findings as they are printed.

use std::io::Write;

use super::super::show;
use super::finding::{Finding, Level};

/// A line each, and one with the next step; or all of it as JSON.
pub(super) fn print(findings: &[Finding], json: bool) -> std::io::Result<()> {
    let mut out = show::out();
    if json {
        return writeln!(out, "{}", serde_json::json!({ "findings": findings }));
    }
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Bad => "BAD ",
        };
        writeln!(out, "{level}  {:<15} {}", finding.what, finding.detail)?;
        if let Some(next) = &finding.next {
            writeln!(out, "      {:<15} Next: {next}", "")?;
        }
    }
    Ok(())
}
