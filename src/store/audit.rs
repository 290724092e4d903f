//! The audit log: rows that are only ever appended, each with the hash of the one before in its own. Old ones are cut
//! behind a row that carries the hash of the last that went.
//!
//! It is two logs in one table, what was done and what was refused, so that no flood of refusals pushes out what was done:
//! each has its own numbers, hashes and bound. A row also tells how far the other log was, so that the newest row of all
//! tells where both must end.

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, params};
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
    /// Whether it was refused, or else done.
    pub refused: bool,
    /// When the first and the last were, where several are counted together.
    pub counted: Option<(Timestamp, Timestamp)>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number among those of both logs.
    pub id: i64,
    /// Its number in its log, from 1; there is no gap between two.
    pub number: i64,
    /// When; of several the last.
    pub time: Timestamp,
    /// What it says.
    pub entry: AuditEntry,
    /// In a checkpoint: the last row of its log that was cut, whose hash is the entry's detail.
    pub cut_to: Option<i64>,
    /// The other log's newest number when it was written; none in a row of before there were two.
    other: Option<i64>,
    /// The hash of the one before in its log and of this one, in hexadecimal digits.
    pub hash: String,
}

/// How much of the audit log is kept.
#[derive(Debug, Clone, Copy)]
pub struct AuditBounds {
    /// How many rows of what was done. Of what was refused there are a tenth of that.
    pub rows: u32,
    /// How old they may be.
    pub age: SignedDuration,
}

impl AuditBounds {
    fn rows_of(self, refused: bool) -> i64 {
        i64::from(if refused { self.rows / 10 } else { self.rows })
    }
}

/// What was cut from a log so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCut {
    /// Whether from what was refused, or else from what was done.
    pub refused: bool,
    /// How many rows.
    pub rows: i64,
    /// When last.
    pub time: Timestamp,
}

/// What looking at the whole log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditState {
    /// No row is missing or was changed.
    Whole {
        /// How many rows there are.
        rows: u64,
        /// The newest one's hash; none where there is no row.
        head: Option<String>,
    },
    /// This row, or the one before it in its log, is not what was written.
    Broken {
        /// The row's `id`.
        id: i64,
    },
}

/// The hash before the first row.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// How many rows are read at once, so that others get their turn.
const PAGE: i64 = 1000;
/// How much older than they may be the oldest rows become before they are cut, so that not each row cuts one.
const OVERDUE: SignedDuration = SignedDuration::from_hours(24);

impl AuditRow {
    /// What its hash must be.
    fn hash_after(&self, before: &str) -> Result<String, StoreError> {
        let AuditEntry { actor, address, action, target, result, count, detail, refused, .. } = &self.entry;
        let row = (self.id, micros(self.time), actor, address, action, target, result, count, detail, self.cut_to);
        let json = match self.other {
            None => super::to_json(&(before, row), "audit")?,
            Some(other) => super::to_json(&(before, row, refused, self.number, other, self.since()), "audit")?,
        };
        Ok(HEXLOWER.encode(&Sha256::digest(json)))
    }

    fn since(&self) -> Option<i64> {
        self.entry.counted.map(|(first, _)| micros(first))
    }
}

impl Store {
    /// Appends a row. Where its log has more than its bound by a tenth, or older ones by a day, the oldest are cut.
    pub async fn append_audit(&self, entry: AuditEntry, bounds: AuditBounds) -> Result<AuditRow, StoreError> {
        self.write(move |transaction| {
            let refused = entry.refused;
            let row = append(transaction, entry, None)?;
            let by_age = older(transaction, refused, bounds.age)?;
            let keep = bounds.rows_of(refused);
            let oldest: i64 =
                transaction
                    .query_row("SELECT min(number) FROM audit WHERE refused = ?1", [refused], |row| row.get(0))?;
            let by_count = (row.number - oldest > keep + keep / 10).then_some(row.number - keep);
            if let Some(to) = by_age.max(by_count) {
                cut(transaction, refused, to)?;
            }
            Ok(row)
        })
        .await
    }

    /// At most `limit` rows of both logs before the row `before`, the newest first.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.read(move |connection| {
            rows(connection, "WHERE id < ?1 ORDER BY id DESC LIMIT ?2", params![before.unwrap_or(i64::MAX), limit])
        })
        .await
    }

    /// What was cut so far.
    pub async fn audit_cuts(&self) -> Result<Vec<AuditCut>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT refused, max(cut_to), time FROM audit WHERE cut_to IS NOT NULL GROUP BY refused",
            )?;
            let mut rows = statement.query([])?;
            let mut cuts = Vec::new();
            while let Some(row) = rows.next()? {
                cuts.push(AuditCut { refused: row.get(0)?, rows: row.get(1)?, time: time(row.get(2)?, "time")? });
            }
            Ok(cuts)
        })
        .await
    }

    /// Looks at every row's hash, and that none is missing, neither in the middle nor at an end.
    pub async fn verify_audit(&self) -> Result<AuditState, StoreError> {
        let (id, newest) = self.newest_audit().await?;
        let Some(newest) = newest else {
            return Ok(if id == 0 { AuditState::Whole { rows: 0, head: None } } else { AuditState::Broken { id } });
        };
        let mut count = 0;
        for refused in [false, true] {
            let least = if refused == newest.entry.refused { newest.number } else { newest.other.unwrap_or(0) };
            match self.verify_log(refused, least, id).await? {
                Ok(rows) => count += rows,
                Err(id) => return Ok(AuditState::Broken { id }),
            }
        }
        Ok(AuditState::Whole { rows: count, head: Some(newest.hash) })
    }

    /// How many rows a log has, which must go to `least` at least; or the one that is not what was written.
    async fn verify_log(&self, refused: bool, least: i64, newest: i64) -> Result<Result<u64, i64>, StoreError> {
        let mut last: Option<(i64, String)> = None;
        let mut count = 0;
        loop {
            let after = last.as_ref().map_or(0, |(number, _)| *number);
            let page = self
                .read(move |connection| {
                    let rest = "WHERE refused = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
                    rows(connection, rest, params![refused, after, PAGE])
                })
                .await?;
            let Some(first) = page.first() else { break };
            let (mut number, mut hash) = match last {
                Some(last) => last,
                None => match self.hash_before(refused, first.number).await? {
                    Some(hash) => (first.number - 1, hash),
                    None => return Ok(Err(first.id)),
                },
            };
            for row in page {
                if row.number != number + 1 || row.hash_after(&hash)? != row.hash {
                    return Ok(Err(row.id));
                }
                (number, hash) = (row.number, row.hash);
                count += 1;
            }
            last = Some((number, hash));
        }
        // Rows may have come since the newest was looked for; fewer there can't be.
        if last.map_or(0, |(number, _)| number) < least { Ok(Err(newest)) } else { Ok(Ok(count)) }
    }

    /// The number of the newest row that was ever written, and that row.
    async fn newest_audit(&self) -> Result<(i64, Option<AuditRow>), StoreError> {
        self.read(|connection| {
            let id = newest(connection)?;
            Ok((id, rows(connection, "WHERE id = ?1", [id])?.pop()))
        })
        .await
    }

    /// The hash that the oldest row of a log was written after.
    async fn hash_before(&self, refused: bool, number: i64) -> Result<Option<String>, StoreError> {
        if number == 1 {
            return Ok(Some(BEGINNING.to_owned()));
        }
        self.read(move |connection| {
            let mut all = rows(connection, "WHERE refused = ?1 AND cut_to = ?2", params![refused, number - 1])?;
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

/// The newest number in a log, and its hash.
fn head(connection: &Connection, refused: bool) -> Result<(i64, String), StoreError> {
    let newest = rows(connection, "WHERE refused = ?1 ORDER BY number DESC LIMIT 1", [refused])?.pop();
    Ok(newest.map_or_else(|| (0, BEGINNING.to_owned()), |row| (row.number, row.hash)))
}

/// The last row of those that begin a log and are too old, where the first is by a day.
fn older(connection: &Connection, refused: bool, age: SignedDuration) -> Result<Option<i64>, StoreError> {
    let now = Timestamp::now();
    let before = |age: SignedDuration| now.checked_sub(age).map_or(0, micros);
    let oldest: i64 = connection.query_row(
        "SELECT time FROM audit WHERE refused = ?1 ORDER BY number LIMIT 1",
        [refused],
        |row| row.get(0),
    )?;
    if oldest >= before(age.saturating_add(OVERDUE)) {
        return Ok(None);
    }
    let kept: Option<i64> = connection
        .query_row(
            "SELECT number FROM audit WHERE refused = ?1 AND time >= ?2 ORDER BY number LIMIT 1",
            params![refused, before(age)],
            |row| row.get(0),
        )
        .optional()?;
    Ok(kept.map(|number| number - 1))
}

fn append(transaction: &Transaction<'_>, entry: AuditEntry, cut_to: Option<i64>) -> Result<AuditRow, StoreError> {
    let (before, hash) = head(transaction, entry.refused)?;
    let (other, _) = head(transaction, !entry.refused)?;
    let time_of = |time: Timestamp| self::time(micros(time), "time");
    // What is hashed must be what is read back: SQLite keeps microseconds.
    let counted =
        entry.counted.map(|(first, last)| Ok::<_, StoreError>((time_of(first)?, time_of(last)?))).transpose()?;
    let mut row = AuditRow {
        id: newest(transaction)? + 1,
        number: before + 1,
        time: time_of(counted.map_or_else(Timestamp::now, |(_, last)| last))?,
        entry: AuditEntry { counted, ..entry },
        cut_to,
        other: Some(other),
        hash: String::new(),
    };
    row.hash = row.hash_after(&hash)?;
    let AuditEntry { actor, address, action, target, result, count, detail, refused, .. } = &row.entry;
    let hash = HEXLOWER.decode(row.hash.as_bytes()).map_err(|_| StoreError::Corrupt { what: "hash" })?;
    let (time, since) = (micros(row.time), row.since());
    transaction.execute(
        "INSERT INTO audit (id, time, actor, address, action, target, result, count, detail, cut_to, hash, refused, \
         number, other, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        params![
            row.id, time, actor, address, action, target, result, count, detail, cut_to, hash, refused, row.number,
            other, since
        ],
    )?;
    Ok(row)
}

fn cut(transaction: &Transaction<'_>, refused: bool, to: i64) -> Result<(), StoreError> {
    let found = rows(transaction, "WHERE refused = ?1 AND number = ?2", params![refused, to])?.pop();
    let Some(last) = found else { return Ok(()) };
    let what = if refused { "refused" } else { "done" };
    let entry = AuditEntry {
        actor: "agent".into(),
        address: None,
        action: "cut".into(),
        target: format!("what was {what} up to row {}", last.id),
        result: "done".into(),
        count: 1,
        detail: Some(last.hash),
        refused,
        counted: None,
    };
    append(transaction, entry, Some(to))?;
    transaction.execute("DELETE FROM audit WHERE refused = ?1 AND number <= ?2", params![refused, to])?;
    Ok(())
}

fn rows(connection: &Connection, rest: &str, args: impl Params) -> Result<Vec<AuditRow>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, time, actor, address, action, target, result, count, detail, cut_to, hash, refused, number, other, \
         since FROM audit {rest}"
    ))?;
    let mut found = statement.query(args)?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

fn read(row: &Row<'_>) -> Result<AuditRow, StoreError> {
    let last = time(row.get(1)?, "time")?;
    let since = row.get::<_, Option<i64>>(14)?.map(|since| time(since, "since")).transpose()?;
    Ok(AuditRow {
        id: row.get(0)?,
        number: row.get(12)?,
        time: last,
        entry: AuditEntry {
            actor: row.get(2)?,
            address: row.get(3)?,
            action: row.get(4)?,
            target: row.get(5)?,
            result: row.get(6)?,
            count: row.get(7)?,
            detail: row.get(8)?,
            refused: row.get(11)?,
            counted: since.map(|first| (first, last)),
        },
        cut_to: row.get(9)?,
        other: row.get(13)?,
        hash: HEXLOWER.encode(&row.get::<_, Vec<u8>>(10)?),
    })
}

#[cfg(test)]
mod tests {
    use super::super::MIGRATIONS;
    use super::*;

    const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

    fn keep(rows: u32) -> AuditBounds {
        AuditBounds { rows, age: YEAR }
    }

    fn entry(target: &str) -> AuditEntry {
        AuditEntry {
            actor: "token:ci".into(),
            address: Some("192.0.2.1".into()),
            action: "POST /services/:name/start".into(),
            target: target.into(),
            result: "202".into(),
            count: 1,
            detail: None,
            refused: false,
            counted: None,
        }
    }

    fn refusal() -> AuditEntry {
        let now = Timestamp::now();
        AuditEntry { refused: true, count: 7, counted: Some((now, now)), ..entry("/services") }
    }

    async fn log(bounds: AuditBounds, rows: u32) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        for number in 0..rows {
            store.append_audit(entry(&format!("/services/s{number}/start")), bounds).await.unwrap();
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
        // Rows 1, 2, 5 and 7 were done, rows 3, 4 and 6 refused.
        for (sql, broken) in [
            ("", None),
            ("UPDATE audit SET actor = 'token:other' WHERE id = 5", Some(5)),
            ("UPDATE audit SET count = 1 WHERE id = 4", Some(4)),
            ("UPDATE audit SET since = since - 1 WHERE id = 4", Some(4)),
            ("UPDATE audit SET time = time + 1 WHERE id = 7", Some(7)),
            ("UPDATE audit SET other = NULL WHERE id = 7", Some(7)),
            ("UPDATE audit SET refused = 0, number = 5 WHERE id = 6", Some(6)),
            ("DELETE FROM audit WHERE id = 2", Some(5)),
            ("DELETE FROM audit WHERE id = 1", Some(2)),
            ("DELETE FROM audit WHERE id = 3", Some(4)),
            // The newest of each log.
            ("DELETE FROM audit WHERE id = 7", Some(7)),
            ("DELETE FROM audit WHERE id = 6", Some(7)),
            ("DELETE FROM audit WHERE refused = 1", Some(7)),
            ("DELETE FROM audit", Some(7)),
        ] {
            let (folder, store) = log(keep(100), 2).await;
            for entry in [refusal(), refusal(), entry("a"), refusal(), entry("b")] {
                store.append_audit(entry, keep(100)).await.unwrap();
            }
            tamper(&folder, sql);
            match (store.verify_audit().await.unwrap(), broken) {
                (AuditState::Whole { rows: 7, head: Some(_) }, None) => {}
                (AuditState::Broken { id }, Some(broken)) => assert_eq!(id, broken, "{sql}"),
                (state, _) => panic!("{sql}: {state:?}"),
            }
        }
        let (_folder, store) = log(keep(100), 0).await;
        assert_eq!(store.verify_audit().await.unwrap(), AuditState::Whole { rows: 0, head: None });
    }

    #[tokio::test]
    async fn a_row_is_neither_changed_nor_removed() {
        let (folder, store) = log(keep(100), 3).await;
        store.append_audit(refusal(), keep(100)).await.unwrap();
        let connection = Connection::open(folder.path().join("store.db")).unwrap();
        for sql in [
            "UPDATE audit SET actor = 'x'",
            "DELETE FROM audit WHERE id = 3",
            "DELETE FROM audit WHERE refused = 1",
            "DELETE FROM audit",
        ] {
            let error = connection.execute(sql, []).unwrap_err().to_string();
            assert!(error.contains("append-only"), "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn old_rows_are_cut_behind_one_that_carries_their_hash() {
        let (folder, store) = log(keep(20), 70).await;
        let rows = store.audit(None, 1000).await.unwrap();
        assert!((20..=24).contains(&rows.len()), "{} rows", rows.len());
        let cut = rows.iter().find_map(|row| row.cut_to).unwrap();
        let cuts = store.audit_cuts().await.unwrap();
        assert_eq!(cuts.iter().map(|cut| (cut.refused, cut.rows)).collect::<Vec<_>>(), [(false, cut)]);
        assert!(matches!(store.verify_audit().await.unwrap(), AuditState::Whole { .. }));
        let page = store.audit(Some(rows[4].id), 3).await.unwrap();
        assert_eq!(page, rows[5..8]);
        let oldest = rows.last().unwrap().id;
        tamper(&folder, &format!("DELETE FROM audit WHERE id = {oldest}"));
        assert_eq!(store.verify_audit().await.unwrap(), AuditState::Broken { id: oldest + 1 });
    }

    #[tokio::test]
    async fn refusals_push_out_no_row_of_what_was_done() {
        let (_folder, store) = log(keep(100), 50).await;
        for _ in 0..500 {
            store.append_audit(refusal(), keep(100)).await.unwrap();
        }
        let rows = store.audit(None, 1000).await.unwrap();
        let (refused, done): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.entry.refused);
        assert_eq!(done.len(), 50);
        assert!((10..=12).contains(&refused.len()), "{} refusals", refused.len());
        let cuts = store.audit_cuts().await.unwrap();
        assert!(cuts.len() == 1 && cuts[0].refused && cuts[0].rows > 450, "{cuts:?}");
        assert!(matches!(store.verify_audit().await.unwrap(), AuditState::Whole { rows, .. } if rows < 70));
    }

    #[tokio::test]
    async fn what_is_too_old_goes() {
        let (folder, store) = log(keep(100), 5).await;
        let bounds = AuditBounds { rows: 100, age: SignedDuration::ZERO };
        store.append_audit(entry("not yet a day"), bounds).await.unwrap();
        assert_eq!(store.audit(None, 100).await.unwrap().len(), 6);
        drop(store);
        let days = SignedDuration::from_hours(48).as_micros();
        tamper(&folder, &format!("UPDATE audit SET time = time - {days} WHERE id <= 4"));
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        store.append_audit(entry("now"), AuditBounds { rows: 100, age: OVERDUE / 2 }).await.unwrap();
        let rows = store.audit(None, 100).await.unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.id, row.cut_to)).collect::<Vec<_>>(),
            [(8, Some(4)), (7, None), (6, None), (5, None)]
        );
        assert!(matches!(store.verify_audit().await.unwrap(), AuditState::Whole { rows: 4, .. }));
    }

    #[tokio::test]
    async fn a_log_of_before_there_were_two_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let old = Connection::open(&path).unwrap();
        for sql in &MIGRATIONS[..7] {
            old.execute_batch(sql).unwrap();
        }
        old.pragma_update(None, "user_version", 7).unwrap();
        // As an agent of before wrote them.
        let mut before = BEGINNING.to_owned();
        for id in 1..=3_i64 {
            let row = (id, 1_000_000 + id, "agent", None::<String>, "a", "b", "done", 1, None::<String>, None::<i64>);
            let digest = Sha256::digest(serde_json::to_string(&(&before, row)).unwrap());
            let sql = "INSERT INTO audit (id, time, actor, action, target, result, count, hash) \
                       VALUES (?1, ?2, 'agent', 'a', 'b', 'done', 1, ?3)";
            old.execute(sql, params![id, 1_000_000 + id, digest.as_slice()]).unwrap();
            before = HEXLOWER.encode(&digest);
        }
        drop(old);
        let store = Store::open(&path).unwrap();
        assert!(matches!(store.verify_audit().await.unwrap(), AuditState::Whole { rows: 3, .. }));
        let forever = AuditBounds { rows: 100, age: SignedDuration::from_hours(100 * 366 * 24) };
        for entry in [refusal(), entry("new"), refusal()] {
            store.append_audit(entry, forever).await.unwrap();
        }
        let rows = store.audit(None, 100).await.unwrap();
        let numbers: Vec<_> = rows.iter().map(|row| (row.id, row.entry.refused, row.number)).collect();
        assert_eq!(numbers, [(6, true, 2), (5, false, 4), (4, true, 1), (3, false, 3), (2, false, 2), (1, false, 1)]);
        assert!(matches!(store.verify_audit().await.unwrap(), AuditState::Whole { rows: 6, .. }));
    }
}
