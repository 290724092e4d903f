//! What a build runs in: a place of its own that holds nothing of the host, of the agent and of other services.
//!
//! `build-ID.service` runs three programs, each in what the one before has made:
//!
//! 1. [`build`], as root of the service user's own user namespace, which `podman unshare` enters. It makes the folders, the
//!    network and the namespaces, and takes the image over when all of the build has ended.
//! 2. [`build_inside`], the first process of those namespaces: it shows the build the commit's files and the service's
//!    cache, and hides the host's folders.
//! 3. `buildah`, in a user namespace of the service's ids. It fetches bases and runs the steps; neither has another network
//!    than the one that was made here.
//!
//! So whoever gets out of a step's container has the ids of the one service, whose files are all that they open. The image
//! goes to Podman as files in a folder (containers-transports(5), `dir:`), which are looked at before Podman reads them.

mod addresses;
mod error;
mod folders;
mod hand_over;
mod inside;
mod measure;
mod network;
mod outside;
mod paths;
mod place;
mod plan;
mod room;
mod settings;
mod talk;
mod tidy;

pub use addresses::HostAddresses;
pub use error::SandboxError;
pub use inside::build_inside;
pub use measure::{Measured, measure};
pub use outside::build;
pub use plan::{Inputs, Instructions, Plan};
pub use room::room;
pub use tidy::{Bounds, tidy};
