//! Organisations and API keys.

use super::{Store, StoreError, Write};
use crate::clock;
use mainstem_core::time::UnixTime;
use sqlx::Row;

/// What is kept of an API key.
pub(crate) struct ApiKeyRow {
    pub(crate) org: String,
    pub(crate) hash: Vec<u8>,
    pub(crate) scopes: String,
    pub(crate) is_revoked: bool,
}

/// An API key to keep.
pub(crate) struct NewApiKey<'a> {
    pub(crate) id: &'a str,
    pub(crate) org: &'a str,
    pub(crate) label: &'a str,
    pub(crate) hash: &'a [u8],
    pub(crate) scopes: &'a str,
}

impl Store {
    /// The oldest organisation.
    pub(crate) async fn first_org(&self) -> Result<Option<String>, StoreError> {
        let query = sqlx::query_scalar("SELECT id FROM orgs ORDER BY created_at, id LIMIT 1");
        Ok(query.fetch_optional(&self.read).await?)
    }

    /// Whether there is such an organisation.
    pub(crate) async fn has_org(&self, id: &str) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM orgs WHERE id = ?)");
        Ok(query.bind(id).fetch_one(&self.read).await?)
    }

    pub(crate) async fn add_org(
        &self,
        write: &mut Write,
        id: &str,
        name: &str,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO orgs (id, name, created_at) VALUES (?, ?, ?)")
            .bind(id)
            .bind(name)
            .bind(clock::to_db(now))
            .execute(&mut **write)
            .await?;
        Ok(())
    }

    pub(crate) async fn add_api_key(
        &self,
        write: &mut Write,
        key: NewApiKey<'_>,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO api_keys (id, org, label, hash, scopes, created_at)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(key.id)
        .bind(key.org)
        .bind(key.label)
        .bind(key.hash)
        .bind(key.scopes)
        .bind(clock::to_db(now))
        .execute(&mut **write)
        .await?;
        Ok(())
    }

    pub(crate) async fn api_key(&self, id: &str) -> Result<Option<ApiKeyRow>, StoreError> {
        let row = sqlx::query("SELECT org, hash, scopes, revoked_at FROM api_keys WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.read)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(ApiKeyRow {
            org: row.try_get("org")?,
            hash: row.try_get("hash")?,
            scopes: row.try_get("scopes")?,
            is_revoked: row.try_get::<Option<i64>, _>("revoked_at")?.is_some(),
        }))
    }

    /// Revokes an API key; `false` if there is none of that id in use.
    pub(crate) async fn revoke_api_key(
        &self,
        write: &mut Write,
        id: &str,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let done =
            sqlx::query("UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
                .bind(clock::to_db(now))
                .bind(id)
                .execute(&mut **write)
                .await?;
        Ok(done.rows_affected() > 0)
    }
}
