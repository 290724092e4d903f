//! Builds: from a commit's files to an image.

mod choose;
pub mod detect;
mod error;
mod look;
mod run;
mod tidy;

pub use choose::Instructions;
pub use error::BuildError;
pub use run::Builds;
