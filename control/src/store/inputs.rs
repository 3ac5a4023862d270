//! Live inputs and the versions of their stream keys.

use super::{Store, StoreError, Write};
use crate::clock;
use mainstem_core::resolve::IngestKind;
use mainstem_core::time::UnixTime;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// A live input.
#[derive(Clone, Debug)]
pub(crate) struct InputRow {
    pub(crate) id: String,
    pub(crate) external_id: String,
    pub(crate) org: String,
    pub(crate) name: String,
    pub(crate) ingest: IngestKind,
    pub(crate) created_at: UnixTime,
}

/// A live input to make, with its first stream key.
pub(crate) struct NewInput<'a> {
    pub(crate) row: &'a InputRow,
    pub(crate) key_id: &'a str,
    pub(crate) key_hash: &'a [u8],
}

/// A version of a stream key.
pub(crate) struct StreamKeyRow {
    pub(crate) id: String,
    pub(crate) hash: Vec<u8>,
    /// When it ends; `None` for the version in force.
    pub(crate) ends_at: Option<UnixTime>,
}

/// A stream key to put in the place of another.
pub(crate) struct Rotation<'a> {
    pub(crate) input: &'a str,
    pub(crate) key_id: &'a str,
    pub(crate) key_hash: &'a [u8],
    /// Until when the one before it stays valid.
    pub(crate) previous_ends_at: UnixTime,
}

impl Store {
    pub(crate) async fn count_inputs(
        &self,
        write: &mut Write,
        org: &str,
    ) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar("SELECT count(*) FROM live_inputs WHERE org = ?");
        Ok(query.bind(org).fetch_one(&mut **write).await?)
    }

    pub(crate) async fn add_input(
        &self,
        write: &mut Write,
        new: NewInput<'_>,
    ) -> Result<(), StoreError> {
        let row = new.row;
        sqlx::query(
            "INSERT INTO live_inputs (id, external_id, org, name, ingest, created_at)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.id)
        .bind(&row.external_id)
        .bind(&row.org)
        .bind(&row.name)
        .bind(row.ingest.as_str())
        .bind(clock::to_db(row.created_at))
        .execute(&mut **write)
        .await?;
        add_stream_key(write, &row.id, new.key_id, new.key_hash, row.created_at).await
    }

    /// An input of an organisation, by either of its ids.
    pub(crate) async fn input(&self, org: &str, id: &str) -> Result<Option<InputRow>, StoreError> {
        Ok(self.any_input(id).await?.filter(|row| row.org == org))
    }

    /// An input of whichever organisation, by either of its ids.
    pub(crate) async fn any_input(&self, id: &str) -> Result<Option<InputRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, external_id, org, name, ingest, created_at FROM live_inputs
             WHERE id = ?1 OR external_id = ?1",
        )
        .bind(id)
        .fetch_optional(&self.read)
        .await?;
        row.as_ref().map(read_input).transpose()
    }

    /// Inputs of an organisation, newest first.
    pub(crate) async fn inputs(
        &self,
        org: &str,
        skip: i64,
        take: i64,
    ) -> Result<Vec<InputRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, external_id, org, name, ingest, created_at FROM live_inputs
             WHERE org = ? ORDER BY created_at DESC, id LIMIT ? OFFSET ?",
        )
        .bind(org)
        .bind(take)
        .bind(skip)
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(read_input).collect()
    }

    /// The versions of an input's stream key that are valid now.
    pub(crate) async fn stream_keys(
        &self,
        input: &str,
        now: UnixTime,
    ) -> Result<Vec<StreamKeyRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, hash, ends_at FROM stream_keys
             WHERE input = ? AND (ends_at IS NULL OR ends_at > ?)",
        )
        .bind(input)
        .bind(clock::to_db(now))
        .fetch_all(&self.read)
        .await?;
        let read = |row: &SqliteRow| {
            Ok(StreamKeyRow {
                id: row.try_get("id")?,
                hash: row.try_get("hash")?,
                ends_at: row
                    .try_get::<Option<i64>, _>("ends_at")?
                    .map(clock::from_db),
            })
        };
        rows.iter().map(read).collect()
    }

    /// Puts a new stream key in force; gives the id of the version that it replaces. Versions that
    /// have ended are forgotten.
    pub(crate) async fn rotate_stream_key(
        &self,
        write: &mut Write,
        rotation: Rotation<'_>,
        now: UnixTime,
    ) -> Result<Option<String>, StoreError> {
        let Rotation {
            input,
            key_id,
            key_hash,
            previous_ends_at,
        } = rotation;
        let previous = sqlx::query_scalar(
            "UPDATE stream_keys SET ends_at = ? WHERE input = ? AND ends_at IS NULL RETURNING id",
        )
        .bind(clock::to_db(previous_ends_at))
        .bind(input)
        .fetch_optional(&mut **write)
        .await?;
        // Of several rotations within one grace, only the last replaced key keeps it.
        sqlx::query("DELETE FROM stream_keys WHERE input = ?1 AND (ends_at <= ?2 OR id <> ?3)")
            .bind(input)
            .bind(clock::to_db(now))
            .bind(previous.as_deref().unwrap_or_default())
            .execute(&mut **write)
            .await?;
        add_stream_key(write, input, key_id, key_hash, now).await?;
        Ok(previous)
    }
}

async fn add_stream_key(
    write: &mut Write,
    input: &str,
    id: &str,
    hash: &[u8],
    now: UnixTime,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO stream_keys (id, input, hash, created_at) VALUES (?, ?, ?, ?)")
        .bind(id)
        .bind(input)
        .bind(hash)
        .bind(clock::to_db(now))
        .execute(&mut **write)
        .await?;
    Ok(())
}

fn read_input(row: &SqliteRow) -> Result<InputRow, StoreError> {
    let ingest: &str = row.try_get("ingest")?;
    Ok(InputRow {
        id: row.try_get("id")?,
        external_id: row.try_get("external_id")?,
        org: row.try_get("org")?,
        name: row.try_get("name")?,
        ingest: IngestKind::from_name(ingest).ok_or(StoreError::Value("live_inputs.ingest"))?,
        created_at: clock::from_db(row.try_get("created_at")?),
    })
}
