//! The audit log: rows that are only ever appended, each with the hash of the one before in its own. Old ones are cut
//! behind a row that carries the hash of the last that went.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Transaction, params};
use sha2::{Digest, Sha256};

use super::{Store, StoreError, micros, time};

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who.
    pub actor: String,
    /// From where.
    pub address: Option<String>,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// With what result.
    pub result: String,
    /// How often.
    pub count: u32,
    /// What more there is to say.
    pub detail: Option<String>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number; there is no gap between two.
    pub id: i64,
    /// When.
    pub time: Timestamp,
    /// What it says.
    pub entry: AuditEntry,
    /// In a checkpoint: the last row that was cut, whose hash is the entry's detail.
    pub cut_to: Option<i64>,
    /// The hash of the one before and of this one, in hexadecimal digits.
    pub hash: String,
}

/// What looking at the whole log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditState {
    /// No row is missing or was changed.
    Whole {
        /// How many rows there are.
        rows: u64,
        /// The last one's hash; none where there is no row.
        head: Option<String>,
    },
    /// This row, or the one before it, is not what was written.
    Broken {
        /// The row.
        id: i64,
    },
}

/// The hash before the first row.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// How many rows are read at once, so that others get their turn.
const PAGE: i64 = 1000;

impl AuditRow {
    /// What its hash must be.
    fn hash_after(&self, before: &str) -> Result<String, StoreError> {
        let AuditEntry { actor, address, action, target, result, count, detail } = &self.entry;
        let row = (self.id, micros(self.time), actor, address, action, target, result, count, detail, self.cut_to);
        Ok(HEXLOWER.encode(&Sha256::digest(super::to_json(&(before, row), "audit")?)))
    }
}

impl Store {
    /// Appends a row. Where there are more than `keep` by a tenth, the oldest are cut.
    pub async fn append_audit(&self, entry: AuditEntry, keep: u32) -> Result<AuditRow, StoreError> {
        self.write(move |transaction| {
            let row = append(transaction, entry, None)?;
            let oldest: i64 = transaction.query_row("SELECT min(id) FROM audit", [], |row| row.get(0))?;
            let keep = i64::from(keep);
            if row.id - oldest > keep + keep / 10 {
                cut(transaction, row.id - keep)?;
            }
            Ok(row)
        })
        .await
    }

    /// At most `limit` rows before the row `before`, the newest first.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.read(move |connection| {
            rows(connection, "WHERE id < ?1 ORDER BY id DESC LIMIT ?2", params![before.unwrap_or(i64::MAX), limit])
        })
        .await
    }

    /// Looks at every row's hash, and that none is missing, neither in the middle nor at an end.
    pub async fn verify_audit(&self) -> Result<AuditState, StoreError> {
        let mut last: Option<(i64, String)> = None;
        let mut count = 0;
        loop {
            let after = last.as_ref().map_or(0, |(id, _)| *id);
            let page = self
                .read(move |connection| rows(connection, "WHERE id > ?1 ORDER BY id LIMIT ?2", params![after, PAGE]))
                .await?;
            let Some(first) = page.first() else { break };
            let (mut id, mut hash) = match last {
                Some(last) => last,
                None => match self.hash_before(first.id).await? {
                    Some(hash) => (first.id - 1, hash),
                    None => return Ok(AuditState::Broken { id: first.id }),
                },
            };
            for row in page {
                if row.id != id + 1 || row.hash_after(&hash)? != row.hash {
                    return Ok(AuditState::Broken { id: row.id });
                }
                (id, hash) = (row.id, row.hash);
                count += 1;
            }
            last = Some((id, hash));
        }
        let (seen, head) = last.map_or((0, None), |(id, hash)| (id, Some(hash)));
        let written = self.read(newest).await?;
        // A row may have come since the last page was read; one that is gone is missing.
        let there = self.audit(written.checked_add(1), 1).await?.first().is_some_and(|row| row.id == written);
        if written < seen || (written > seen && !there) {
            return Ok(AuditState::Broken { id: written });
        }
        Ok(AuditState::Whole { rows: count, head })
    }

    /// The hash that the oldest row was written after.
    async fn hash_before(&self, id: i64) -> Result<Option<String>, StoreError> {
        if id == 1 {
            return Ok(Some(BEGINNING.to_owned()));
        }
        self.read(move |connection| {
            let mut all = rows(connection, "WHERE cut_to = ?1", [id - 1])?;
            Ok(all.pop().and_then(|row| row.entry.detail))
        })
        .await
    }
}

/// The number of the newest row that was ever written.
fn newest(connection: &Connection) -> Result<i64, StoreError> {
    let newest = connection.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'audit'", [], |row| row.get(0));
    Ok(newest.optional()?.unwrap_or(0))
}

fn append(transaction: &Transaction<'_>, entry: AuditEntry, cut_to: Option<i64>) -> Result<AuditRow, StoreError> {
    let before = rows(transaction, "ORDER BY id DESC LIMIT 1", [])?.pop().map(|row| row.hash);
    let id = newest(transaction)? + 1;
    let mut row = AuditRow { id, time: Timestamp::now(), entry, cut_to, hash: String::new() };
    // What is hashed must be what is read back: SQLite keeps microseconds.
    row.time = time(micros(row.time), "time")?;
    row.hash = row.hash_after(before.as_deref().unwrap_or(BEGINNING))?;
    let AuditEntry { actor, address, action, target, result, count, detail } = &row.entry;
    let hash = HEXLOWER.decode(row.hash.as_bytes()).map_err(|_| StoreError::Corrupt { what: "hash" })?;
    transaction.execute(
        "INSERT INTO audit (id, time, actor, address, action, target, result, count, detail, cut_to, hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![id, micros(row.time), actor, address, action, target, result, count, detail, cut_to, hash],
    )?;
    Ok(row)
}

fn cut(transaction: &Transaction<'_>, to: i64) -> Result<(), StoreError> {
    let Some(last) = rows(transaction, "WHERE id = ?1", [to])?.pop() else { return Ok(()) };
    let entry = AuditEntry {
        actor: "agent".into(),
        address: None,
        action: "cut".into(),
        target: format!("rows up to {to}"),
        result: "done".into(),
        count: 1,
        detail: Some(last.hash),
    };
    append(transaction, entry, Some(to))?;
    transaction.execute("DELETE FROM audit WHERE id <= ?1", [to])?;
    Ok(())
}

fn rows(connection: &Connection, rest: &str, args: impl Params) -> Result<Vec<AuditRow>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, time, actor, address, action, target, result, count, detail, cut_to, hash FROM audit {rest}"
    ))?;
    let mut found = statement.query(args)?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(AuditRow {
            id: row.get(0)?,
            time: time(row.get(1)?, "time")?,
            entry: AuditEntry {
                actor: row.get(2)?,
                address: row.get(3)?,
                action: row.get(4)?,
                target: row.get(5)?,
                result: row.get(6)?,
                count: row.get(7)?,
                detail: row.get(8)?,
            },
            cut_to: row.get(9)?,
            hash: HEXLOWER.encode(&row.get::<_, Vec<u8>>(10)?),
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(target: &str) -> AuditEntry {
        AuditEntry {
            actor: "token:ci".into(),
            address: Some("192.0.2.1".into()),
            action: "POST /services/:name/start".into(),
            target: target.into(),
            result: "202".into(),
            count: 1,
            detail: None,
        }
    }

    async fn log(keep: u32, rows: u32) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        for number in 0..rows {
            store.append_audit(entry(&format!("/services/s{number}/start")), keep).await.unwrap();
        }
        (folder, store)
    }

    /// What somebody does who writes to the database's file and knows of the triggers.
    fn tamper(folder: &tempfile::TempDir, sql: &str) {
        let connection = Connection::open(folder.path().join("store.db")).unwrap();
        let triggers = "DROP TRIGGER audit_never_changes; DROP TRIGGER audit_is_cut_behind_a_checkpoint;";
        connection.execute_batch(&format!("{triggers} {sql}")).unwrap();
    }

    #[tokio::test]
    async fn a_log_is_whole_until_somebody_touches_it() {
        for (sql, broken) in [
            ("", None),
            ("UPDATE audit SET actor = 'token:other' WHERE id = 3", Some(3)),
            ("UPDATE audit SET time = time + 1 WHERE id = 5", Some(5)),
            ("DELETE FROM audit WHERE id = 2", Some(3)),
            ("DELETE FROM audit WHERE id = 1", Some(2)),
            ("DELETE FROM audit WHERE id = 5", Some(5)),
            ("DELETE FROM audit", Some(5)),
        ] {
            let (folder, store) = log(100, 5).await;
            tamper(&folder, sql);
            match (store.verify_audit().await.unwrap(), broken) {
                (AuditState::Whole { rows: 5, head: Some(_) }, None) => {}
                (AuditState::Broken { id }, Some(broken)) => assert_eq!(id, broken, "{sql}"),
                (state, _) => panic!("{sql}: {state:?}"),
            }
        }
        let (_folder, store) = log(100, 0).await;
        assert_eq!(store.verify_audit().await.unwrap(), AuditState::Whole { rows: 0, head: None });
    }

    #[tokio::test]
    async fn a_row_is_neither_changed_nor_removed() {
        let (folder, _store) = log(100, 3).await;
        let connection = Connection::open(folder.path().join("store.db")).unwrap();
        for sql in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit WHERE id = 3", "DELETE FROM audit"] {
            let error = connection.execute(sql, []).unwrap_err().to_string();
            assert!(error.contains("append-only"), "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn old_rows_are_cut_behind_one_that_carries_their_hash() {
        let (folder, store) = log(20, 70).await;
        let rows = store.audit(None, 1000).await.unwrap();
        assert!((20..=24).contains(&rows.len()), "{} rows", rows.len());
        assert!(rows.iter().any(|row| row.cut_to.is_some()));
        assert!(matches!(store.verify_audit().await.unwrap(), AuditState::Whole { .. }));
        let page = store.audit(Some(rows[4].id), 3).await.unwrap();
        assert_eq!(page, rows[5..8]);
        let oldest = rows.last().unwrap().id;
        tamper(&folder, &format!("DELETE FROM audit WHERE id = {oldest}"));
        assert_eq!(store.verify_audit().await.unwrap(), AuditState::Broken { id: oldest + 1 });
    }
}
