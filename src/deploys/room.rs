//! Room on the disk for a build.

use super::{DeployError, Uses};
use crate::names::ServiceName;
use crate::problem::chain;

/// Removes caches of builds where the disk is too full for one.
pub(super) async fn make_room(uses: &Uses) {
    let made = async {
        if uses.builds.lacks_space()? {
            uses.builds.clear_caches(&service_names(uses).await?).await?;
        }
        Ok::<(), DeployError>(())
    };
    if let Err(error) = made.await {
        tracing::warn!("can't make room on the disk: {}", chain(&error));
    }
}

/// The names of all services, those that are being removed among them.
pub(super) async fn service_names(uses: &Uses) -> Result<Vec<ServiceName>, DeployError> {
    Ok(uses.store.services().await?.into_iter().map(|service| service.name).collect())
}
