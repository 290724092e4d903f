//! What things are called on the host: units, slices, containers, images, volumes, secrets. Each name is made here, and read
//! back here, so that what one part of the program makes another finds again.

mod builds;
mod releases;
mod secrets;
mod services;
mod shells;
mod upkeep;
mod volumes;

pub use secrets::{EnvValue, SecretName};
pub use services::{PORT_LABEL, SERVICE_LABEL};
pub use upkeep::{MEASURE_UNIT, TIDY_UNIT, checked_container, is_working_container, user_manager};
pub use volumes::HostVolume;

/// What stands between `before` and `after` in `name`, as the name that it is; none where it is none.
fn between<T: std::str::FromStr>(name: &str, before: &str, after: &str) -> Option<T> {
    name.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
}
