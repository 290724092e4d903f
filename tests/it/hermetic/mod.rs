//! A whole agent on a host that isn't there: its Podman and its systemd are models behind real sockets, in which each call
//! can be refused, cut off or held, and everything else (git, SQLite, the files, the ports) is real.

mod builder;
pub mod calls;
mod disorder;
mod host;
mod manager;
mod podman;
pub mod program;
mod release;
mod systemd;
pub mod world;

pub use host::{TestHost, until};
