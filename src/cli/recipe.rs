//! `podkeeper recipe`: the Containerfile that a repository without one is built by, to be committed and changed.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::options::Outcome;
use super::show;
use crate::builds::detect::{Recipe, detect_in};

/// Which repository.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its folder
    #[arg(default_value = ".")]
    folder: PathBuf,
}

/// Prints it. It asks no agent.
pub fn run(wanted: &Args, json: bool) -> Outcome {
    let folder = &wanted.folder;
    if !folder.is_dir() {
        return Err(format!("`{}` is no folder\nNext: name the folder of a repository", folder.display()).into());
    }
    let Some(Recipe { name, containerfile }) = detect_in(folder) else {
        return Err(format!(
            "no recipe fits the files of `{}`\n\
             Next: write a Containerfile, or add what tells how it starts: a `start` script in package.json, app.py, \
             main.py, manage.py, go.mod, Cargo.toml, composer.json, config.ru or index.html",
            folder.display()
        )
        .into());
    };
    let mut out = show::out();
    if json {
        writeln!(out, "{}", json!({ "name": name, "containerfile": containerfile }))?;
        return Ok(ExitCode::SUCCESS);
    }
    out.write_all(containerfile.as_bytes())?;
    out.flush()?;
    let own = ["Containerfile", "Dockerfile"].into_iter().find(|own| {
        // The shell has made it already, where this is written into it.
        std::fs::metadata(folder.join(own)).is_ok_and(|metadata| metadata.len() > 0)
    });
    match own {
        Some(own) => show::note(json, &format!("the recipe is \"{name}\"; its own {own} is what is built"))?,
        None => show::note(json, &format!("the recipe is \"{name}\"; to change it: podkeeper recipe >Containerfile"))?,
    }
    Ok(ExitCode::SUCCESS)
}
