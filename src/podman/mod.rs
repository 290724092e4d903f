//! Podman's REST socket: images, containers, secrets, volumes. The only module that names podman-api's types.
//!
//! podman-api makes the typed reads. What it does wrong (it quotes secrets, it holds whole archives in memory), or lacks,
//! goes through `raw`, a small client on the same socket.

mod check;
mod client;
mod containers;
mod error;
mod images;
mod layers;
mod listening;
mod login_file;
mod logins;
mod raw;
mod refusal;
mod secrets;
mod shells;
mod storage;
mod volumes;

pub use check::run_check;
pub use client::Podman;
pub use containers::{CheckRun, ContainerFacts, ExternalContainer, Health, Traffic};
pub use error::PodmanError;
pub use images::{ImageFacts, StoredImage};
pub use listening::{Listening, tell_listening};
pub use login_file::Login;
pub use refusal::Refusal;
pub use shells::ShellContainer;
pub use storage::{ImageUse, StorageUse};
