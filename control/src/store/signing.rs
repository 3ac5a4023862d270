//! Signing keys: public halves in clear, private halves sealed.

use super::{Store, StoreError, Write};
use crate::clock;
use mainstem_core::jwt::Algorithm;
use mainstem_core::resolve::KeyStatus;
use mainstem_core::time::UnixTime;
use sqlx::Row;
use sqlx::sqlite::{SqliteExecutor, SqliteRow};

/// A signing key.
#[derive(Clone, Debug)]
pub(crate) struct SigningKeyRow {
    pub(crate) id: String,
    pub(crate) org: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key_use: String,
    pub(crate) label: String,
    pub(crate) public_pem: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) status: KeyStatus,
    pub(crate) created_at: UnixTime,
}

impl Store {
    /// Keys of an organisation, newest first.
    pub(crate) async fn signing_keys(&self, org: &str) -> Result<Vec<SigningKeyRow>, StoreError> {
        keys_of(&self.read, org).await
    }

    /// The same, as seen by a write in progress.
    pub(crate) async fn signing_keys_in(
        &self,
        write: &mut Write,
        org: &str,
    ) -> Result<Vec<SigningKeyRow>, StoreError> {
        keys_of(&mut **write, org).await
    }

    /// Every key that is in use.
    pub(crate) async fn active_signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM signing_keys WHERE status = 'active' ORDER BY id")
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(read_key).collect()
    }

    /// Every key, and the last change that this includes.
    pub(crate) async fn relay_state(&self) -> Result<(u64, Vec<SigningKeyRow>), StoreError> {
        let mut snapshot = self.read.begin().await?;
        let cursor = super::changes::latest(&mut *snapshot).await?;
        let rows = sqlx::query("SELECT * FROM signing_keys ORDER BY id")
            .fetch_all(&mut *snapshot)
            .await?;
        let keys: Result<_, _> = rows.iter().map(read_key).collect();
        Ok((cursor, keys?))
    }

    pub(crate) async fn add_signing_key(
        &self,
        write: &mut Write,
        key: &SigningKeyRow,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO signing_keys
             (id, org, alg, \"use\", label, public_pem, sealed, status, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&key.id)
        .bind(&key.org)
        .bind(key.algorithm.as_str())
        .bind(&key.key_use)
        .bind(&key.label)
        .bind(&key.public_pem)
        .bind(&key.sealed)
        .bind(status_text(key.status))
        .bind(clock::to_db(key.created_at))
        .execute(&mut **write)
        .await?;
        Ok(())
    }

    /// Forgets a key that is not in use.
    pub(crate) async fn forget_signing_key(
        &self,
        write: &mut Write,
        id: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM signing_keys WHERE id = ? AND status = 'inactive'")
            .bind(id)
            .execute(&mut **write)
            .await?;
        Ok(())
    }

    /// Takes a key out of use; `false` if it is not in use.
    pub(crate) async fn deactivate_signing_key(
        &self,
        write: &mut Write,
        id: &str,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE signing_keys SET status = 'inactive' WHERE id = ? AND status = 'active'",
        )
        .bind(id)
        .execute(&mut **write)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

async fn keys_of(
    from: impl SqliteExecutor<'_>,
    org: &str,
) -> Result<Vec<SigningKeyRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM signing_keys WHERE org = ? ORDER BY created_at DESC, id")
        .bind(org)
        .fetch_all(from)
        .await?;
    rows.iter().map(read_key).collect()
}

const fn status_text(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "active",
        KeyStatus::Inactive => "inactive",
    }
}

fn read_key(row: &SqliteRow) -> Result<SigningKeyRow, StoreError> {
    let (alg, status): (&str, &str) = (row.try_get("alg")?, row.try_get("status")?);
    Ok(SigningKeyRow {
        id: row.try_get("id")?,
        org: row.try_get("org")?,
        algorithm: Algorithm::from_name(alg).ok_or(StoreError::Value("signing_keys.alg"))?,
        key_use: row.try_get("use")?,
        label: row.try_get("label")?,
        public_pem: row.try_get("public_pem")?,
        sealed: row.try_get("sealed")?,
        status: match status {
            "active" => KeyStatus::Active,
            "inactive" => KeyStatus::Inactive,
            _ => return Err(StoreError::Value("signing_keys.status")),
        },
        created_at: clock::from_db(row.try_get("created_at")?),
    })
}
