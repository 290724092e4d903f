//! Builds: from a commit's files to an image.

mod choose;
pub mod detect;
mod error;
mod files;
mod node;
mod python;
mod recipe;
mod run;
mod tidy;
mod versions;

pub use choose::Instructions;
pub use error::BuildError;
pub use run::Builds;
