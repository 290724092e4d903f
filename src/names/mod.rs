//! Names that come from outside, each parsed once, at the edge, into a type that can only hold a good one. One file a kind.
//! What they are called on the host is in `on_host`.

mod actor;
mod builds;
mod commits;
mod containers;
mod credentials;
mod env;
mod error;
mod hook_keys;
mod hosts;
mod id_range;
mod images;
mod mounts;
mod networks;
mod objects;
mod on_host;
mod paths;
mod people;
mod releases;
mod repository;
mod running;
mod scope;
mod services;
mod sessions;
mod settings;
mod ssh;
mod templates;
mod text;
mod urls;

pub use actor::Actor;
pub use builds::{
    BuildArgs, BuildName, BuildNames, BuildText, MOST_BUILD_NAMES, MOST_WATCHED, RepoPath, Watch, WatchPattern,
};
pub use commits::{BranchName, CommitId};
pub use containers::ContainerId;
pub use credentials::{LinkId, PasskeyId, SignInId, TokenId};
pub use env::EnvKey;
pub use error::NameError;
pub use hook_keys::HookKey;
pub use hosts::{HostName, RegistryHost};
pub use id_range::IdRange;
pub use images::{ImageId, ImageRef};
pub use mounts::{MOST_VOLUMES, MountError, MountPath, VolumeName, Volumes};
pub use networks::Network;
pub use objects::{LfsId, LfsPointer};
pub use on_host::{
    EnvValue, HostVolume, MEASURE_UNIT, PORT_LABEL, SERVICE_LABEL, SecretName, TIDY_UNIT, checked_container,
    is_working_container, user_manager,
};
pub use paths::AbsPath;
pub use people::{DeliveryId, Excerpt, HealthPath, PasskeyName, SenderName, TokenName};
pub use releases::{DeploymentId, ReleaseName, ReleaseNumber};
pub use repository::{RepoUri, Transport, UriError};
pub use running::{ContainerPort, StopSignal, Strategy};
pub use scope::Scope;
pub use services::{ServiceId, ServiceName};
pub use sessions::{SessionId, SessionName};
pub use settings::SettingError;
pub use ssh::{Fingerprint, HostKey};
pub use templates::TemplateName;
pub use urls::{BaseUrl, ServiceUrl};
