//! Where a service's code comes from, and which branch of it, as that is found or changed later.

use rusqlite::params;

use super::services::find_kept;
use super::{Store, StoreError};
use crate::names::{BranchName, RepoUri, SecretName, ServiceId, ServiceName};

impl Store {
    /// Writes down that nobody said which branch of the service's repository is deployed.
    pub async fn follow_head(&self, id: ServiceId) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("UPDATE services SET follows_head = 1 WHERE id = ?1", [id])?;
            Ok(())
        })
        .await
    }

    /// Whether nobody has said, and no fetch has found, which branch is deployed.
    pub async fn follows_head(&self, id: ServiceId) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT 1 FROM services WHERE id = ?1 AND follows_head = 1")?;
            Ok(statement.exists([id])?)
        })
        .await
    }

    /// Writes down which branch a fetch has found. One that somebody has named meanwhile stays.
    pub async fn found_head(&self, id: ServiceId, branch: &BranchName) -> Result<(), StoreError> {
        let branch = branch.clone();
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE services SET branch = ?2, follows_head = 0 WHERE id = ?1 AND follows_head = 1",
                params![id, branch.as_str()],
            )?;
            Ok(())
        })
        .await
    }

    /// Gives a service whose code lies elsewhere another address of it, and the secret that holds what is secret of that.
    pub async fn set_external(
        &self,
        name: &ServiceName,
        uri: &RepoUri,
        secret: Option<SecretName>,
    ) -> Result<(), StoreError> {
        let (name, uri) = (name.clone(), uri.to_string());
        self.write(move |transaction| {
            let service = find_kept(transaction, &name)?;
            transaction.execute(
                "UPDATE services SET uri = ?2, uri_secret = ?3 WHERE id = ?1 AND template IS NULL",
                params![service.id, uri, secret.as_ref().map(SecretName::as_str)],
            )?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{new_service, store};
    use super::super::{NewService, Source};
    use super::*;

    #[tokio::test]
    async fn a_branch_that_somebody_named_is_not_the_found_one() {
        let (_folder, store) = store();
        let (trunk, other): (BranchName, BranchName) = ("trunk".parse().unwrap(), "other".parse().unwrap());
        let service = store.create_service(new_service("a")).await.unwrap();
        let branch = async || store.service(&service.name).await.unwrap().branch;
        store.found_head(service.id, &trunk).await.unwrap();
        assert_eq!((branch().await, store.follows_head(service.id).await.unwrap()), (service.branch.clone(), false));
        store.follow_head(service.id).await.unwrap();
        assert!(store.follows_head(service.id).await.unwrap());
        store.found_head(service.id, &trunk).await.unwrap();
        assert_eq!((branch().await, store.follows_head(service.id).await.unwrap()), (trunk.clone(), false));
        store.follow_head(service.id).await.unwrap();
        // Also where it is the one that stood there.
        let named = super::super::NewBranch { name: trunk.clone(), head: None };
        store.change_settings(&service.name, Some(named), Ok).await.unwrap().unwrap();
        store.found_head(service.id, &other).await.unwrap();
        assert_eq!(branch().await, trunk);
    }

    #[tokio::test]
    async fn an_address_is_replaced_with_its_secret() {
        let (_folder, store) = store();
        let (old, new) =
            (RepoUri::parse("https://a.example/x").unwrap().0, RepoUri::parse("https://b.example/y").unwrap().0);
        let source = Source::External { uri: old, secret: None };
        let service = store.create_service(NewService { source, ..new_service("a") }).await.unwrap();
        let secret = SecretName::new(&service.name, &"URI".parse().unwrap());
        store.set_external(&service.name, &new, Some(secret.clone())).await.unwrap();
        let now = store.service(&service.name).await.unwrap();
        assert_eq!(now.source, Source::External { uri: new.clone(), secret: Some(secret) });
        store.set_external(&service.name, &new, None).await.unwrap();
        assert_eq!(store.service(&service.name).await.unwrap().source, Source::External { uri: new, secret: None });
    }
}
