//! The feed of changes that relays follow: a durable, growing sequence, cut at its old end.

use super::{Store, StoreError, Write};
use crate::clock;
use mainstem_core::resolve::{Change, ChangeKind, Changes};
use mainstem_core::time::UnixTime;
use sqlx::Row;
use sqlx::sqlite::SqliteExecutor;

/// How many changes are kept for readers that come late.
pub(crate) const CHANGES_KEPT: i64 = 10_000;
/// Most changes in one answer.
const PAGE: i64 = 500;

impl Store {
    /// Adds a change to the write that makes it; gives its place in the feed.
    pub(crate) async fn add_change(
        &self,
        write: &mut Write,
        change: &ChangeKind,
        now: UnixTime,
    ) -> Result<u64, StoreError> {
        let body = serde_json::to_string(change).map_err(|_| StoreError::Value("changes.body"))?;
        let done = sqlx::query("INSERT INTO changes (created_at, body) VALUES (?, ?)")
            .bind(clock::to_db(now))
            .bind(body)
            .execute(&mut **write)
            .await?;
        let seq = done.last_insert_rowid();
        sqlx::query("DELETE FROM changes WHERE seq <= ?")
            .bind(seq - CHANGES_KEPT)
            .execute(&mut **write)
            .await?;
        Ok(u64::try_from(seq).unwrap_or(0))
    }

    /// The place of the last change; 0 when there was none.
    pub(crate) async fn latest_change(&self) -> Result<u64, StoreError> {
        latest(&self.read).await
    }

    /// What changed after `after`.
    pub(crate) async fn changes(&self, after: u64) -> Result<Changes, StoreError> {
        let mut snapshot = self.read.begin().await?;
        let last = latest(&mut *snapshot).await?;
        let kept = u64::try_from(CHANGES_KEPT).unwrap_or(0);
        if after > last || after < last.saturating_sub(kept) {
            return Ok(Changes {
                cursor: last,
                reset: true,
                changes: Vec::new(),
            });
        }
        let rows = sqlx::query("SELECT seq, body FROM changes WHERE seq > ? ORDER BY seq LIMIT ?")
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .bind(PAGE)
            .fetch_all(&mut *snapshot)
            .await?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            let (seq, body): (i64, &str) = (row.try_get("seq")?, row.try_get("body")?);
            let kind = serde_json::from_str(body).map_err(|_| StoreError::Value("changes.body"))?;
            changes.push(Change {
                seq: u64::try_from(seq).unwrap_or(0),
                kind,
            });
        }
        let cursor = changes.last().map_or(after, |change| change.seq);
        Ok(Changes {
            cursor,
            reset: false,
            changes,
        })
    }
}

pub(super) async fn latest(from: impl SqliteExecutor<'_>) -> Result<u64, StoreError> {
    let seq: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM changes")
        .fetch_one(from)
        .await?;
    Ok(u64::try_from(seq).unwrap_or(0))
}
