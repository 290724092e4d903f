//! Builds: from a commit's files to an image.

mod choose;
pub mod detect;
mod error;
mod expose;
mod file_fault;
mod files;
mod inputs;
mod look;
mod near_miss;
mod node;
mod python;
mod recipe;
mod repository_file;
mod run;
mod tidy;
mod versions;

pub use choose::{By, Instructions};
pub use error::BuildError;
pub use file_fault::FileFault;
pub use inputs::{Inputs, Values};
pub use near_miss::NearMiss;
pub use repository_file::{FILE, ReadFile, RepositoryFile};
pub use run::{Build, Builds};
