//! `podkeeper templates`

use std::process::ExitCode;

use super::client::Agent;
use super::options::Outcome;
use super::show::{Cell, text};
use super::tables;
use crate::api::templates::Templates;

/// Lists them.
pub async fn run(agent: &Agent, json: bool) -> Outcome {
    let answer = agent.get("/templates").await?;
    if json {
        answer.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    let templates = answer.read::<Templates>()?.templates;
    let rows: Vec<Vec<Cell>> =
        templates.iter().map(|template| vec![text(&template.name), text(&template.description)]).collect();
    tables::list(&["NAME", "DESCRIPTION"], &rows, "there are no templates in the configured folder")?;
    Ok(ExitCode::SUCCESS)
}
