//! Builds: from a commit's files to an image.

pub mod detect;
mod run;

pub use run::{BuildError, Builds, Instructions};
