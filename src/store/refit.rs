//! What older agents took for a volume, a domain or a repository's address and no type holds any more: it is dropped once,
//! with a word in the log, so that no row of before keeps the services from being read.

use rusqlite::{Transaction, params};
use serde_json::Value;

use super::StoreError;
use crate::names::{HostName, MountPath, RepoUri, VolumeName, Volumes};

/// The tables' columns of JSON that hold some.
const COLUMNS: [(&str, &str); 3] = [("services", "settings"), ("releases", "settings"), ("releases", "volumes")];

/// Where nothing is (RFC 2606).
const NOWHERE: &str = "https://address.invalid/refused";

/// Rewrites the rows that hold what can't be.
pub(super) fn refit(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    for (table, column) in COLUMNS {
        let mut statement = transaction.prepare(&format!("SELECT DISTINCT {column} FROM {table}"))?;
        let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
        for text in texts.collect::<Result<Vec<_>, _>>()? {
            let mut value: Value = serde_json::from_str(&text).map_err(|_| StoreError::Corrupt { what: column })?;
            let dropped = match column {
                "volumes" => refit_volumes(&mut value),
                _ => {
                    let mut dropped = value.get_mut("volumes").map(refit_volumes).unwrap_or_default();
                    dropped.extend(value.get_mut("domains").map(refit_domains).unwrap_or_default());
                    dropped
                }
            };
            if !dropped.is_empty() {
                let sql = format!("UPDATE {table} SET {column} = ?2 WHERE {column} = ?1");
                transaction.execute(&sql, params![text, value.to_string()])?;
                tracing::warn!("from the store's {table} this is dropped, which can't be: {}", dropped.join(", "));
            }
        }
    }
    Ok(())
}

/// Rewrites the addresses that hold what can't be. A user name without a password goes, too: it is a token,
/// and git was never told it as one.
pub(super) fn refit_addresses(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut statement =
        transaction.prepare("SELECT id, uri, uri_secret IS NOT NULL FROM services WHERE uri IS NOT NULL")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for (id, text, has_secret) in rows.collect::<Result<Vec<(i64, String, bool)>, _>>()? {
        let uri = RepoUri::stored(&text, has_secret).map(|uri| uri.to_string());
        let uri = uri.unwrap_or_else(|error| {
            tracing::warn!("the repository's address of the service in row {id} is dropped, which can't be: {error}");
            NOWHERE.to_owned()
        });
        if uri != text {
            transaction.execute("UPDATE services SET uri = ?2 WHERE id = ?1", params![id, uri])?;
        }
    }
    Ok(())
}

fn refit_volumes(value: &mut Value) -> Vec<String> {
    let mut dropped = Vec::new();
    let mut kept = Volumes::default();
    if let Some(volumes) = value.as_object_mut() {
        volumes.retain(|name, path| {
            let volume =
                name.parse::<VolumeName>().ok().zip(path.as_str().and_then(|path| path.parse::<MountPath>().ok()));
            let fits = volume.is_some_and(|(name, path)| kept.add(name, path).is_ok());
            if !fits {
                dropped.push(format!("the volume {name:?} at {path}"));
            }
            fits
        });
    }
    dropped
}

fn refit_domains(value: &mut Value) -> Vec<String> {
    let mut dropped = Vec::new();
    if let Some(domains) = value.as_array_mut() {
        domains.retain(|domain| {
            let fits = domain.as_str().is_some_and(|domain| domain.parse::<HostName>().is_ok());
            if !fits {
                dropped.push(format!("the domain {domain}"));
            }
            fits
        });
    }
    dropped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{MIGRATIONS, Source, Store};
    use super::NOWHERE;
    use crate::names::ServiceId;

    #[tokio::test]
    async fn a_row_of_an_older_agent_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let old = rusqlite::Connection::open(&path).unwrap();
        for sql in &MIGRATIONS[..5] {
            old.execute_batch(sql).unwrap();
        }
        old.pragma_update(None, "user_version", 5).unwrap();
        let volumes = json!({"data": "/data/", "dollar": "/a$b", "proc": "/proc", "twice": "/data", "volume": "/v"});
        let settings = json!({"volumes": volumes, "domains": ["127.0.0.1", "a.example"], "keep": 3}).to_string();
        old.execute(
            "INSERT INTO services (id, name, created, template, branch, hook_key, desired, id_slot, settings) \
             VALUES (1, 'blog', 0, 'static', 'main', ?2, 'running', 0, ?1)",
            [&settings, &"k".repeat(24)],
        )
        .unwrap();
        // Where one that is dropped has no other beside it, none is made.
        old.execute(
            "INSERT INTO services (id, name, created, template, branch, hook_key, desired, id_slot, settings) \
             VALUES (2, 'shop', 0, 'static', 'main', ?1, 'running', 1, '{\"volumes\":{\"a\":\"/proc\"}}')",
            ["k".repeat(24)],
        )
        .unwrap();
        for (id, uri, secret) in [
            (3, "https://ghp_secret@example.org/x", None),
            (4, "https://joe@example.org/x", Some("podkeeper-x4-URI-abcdefghijklmnop")),
            (5, "ssh://git@example.org/x", None),
            (6, "ssh://a;b@example.org/x", None),
        ] {
            old.execute(
                "INSERT INTO services (id, name, created, uri, uri_secret, branch, hook_key, desired, id_slot, settings) \
                 VALUES (?1, 'x' || ?1, 0, ?2, ?3, 'main', ?4, 'created', ?1, '{}')",
                rusqlite::params![id, uri, secret, "k".repeat(24)],
            )
            .unwrap();
        }
        let evil = json!({"d": "/d\n[Service]\nExecStartPre=/bin/true", "more": "/more"}).to_string();
        old.execute(
            "INSERT INTO releases (service, number, deployment, image, port, container_port, healthcheck, env, volumes, \
             settings, created) VALUES (1, 1, 1, 'localhost/podkeeper/blog:1', 20000, 8080, 0, '{\"A\":\"\"}', ?2, ?1, 0)",
            [&settings, &evil],
        )
        .unwrap();
        drop(old);
        let store = Store::open(&path).unwrap();
        let mut services = store.services().await.unwrap();
        let elsewhere = services.split_off(2);
        let uris = elsewhere.iter().map(|service| match &service.source {
            Source::External { uri, secret } => uri.shown(secret.is_some()),
            Source::Template(_) => panic!(),
        });
        let wanted = ["https://example.org/x", "https://joe:***@example.org/x", "ssh://git@example.org/x", NOWHERE];
        assert_eq!(uris.collect::<Vec<_>>(), wanted);
        // No token stays.
        let uris = rusqlite::Connection::open(&path).unwrap();
        let kept =
            uris.query_row("SELECT count(*) FROM services WHERE uri LIKE '%secret%'", [], |row| row.get::<_, i64>(0));
        assert_eq!(kept, Ok(0));
        let shop = services.pop().unwrap();
        assert_eq!((shop.settings.volumes.iter().count(), shop.settings.domains.len()), (0, 0));
        let service = services.remove(0);
        assert_eq!(serde_json::to_value(&service.settings.volumes).unwrap(), json!({"data": "/data"}));
        assert_eq!((service.settings.domains, service.settings.keep), (vec!["a.example".parse().unwrap()], Some(3)));
        let release = store.releases(ServiceId(1)).await.unwrap().remove(0);
        assert_eq!(serde_json::to_value(&release.volumes).unwrap(), json!({"more": "/more"}));
    }
}
