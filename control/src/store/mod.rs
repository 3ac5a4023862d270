//! The database: SQLite in WAL mode, every commit synchronous, migrations embedded.
//!
//! One connection writes, so that writers queue here and not inside SQLite; a few read. The files
//! are for their owner only. Nothing outside this module knows SQL.

mod accounts;
mod changes;
mod inputs;
mod signing;

pub(crate) use accounts::NewApiKey;
pub(crate) use inputs::{InputRow, NewInput, Rotation};
pub(crate) use signing::SigningKeyRow;

use sqlx::sqlite::SqliteSynchronous;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Sqlite, Transaction};
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const READERS: u32 = 4;
const BUSY: Duration = Duration::from_secs(5);

/// Why the database could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder could not be made.
    #[error("{path} cannot be made or opened: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite said no.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A stored value is not one that was ever written.
    #[error("the database holds a value that it should not: {0}")]
    Value(&'static str),
}

/// The opened database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    read: SqlitePool,
    write: SqlitePool,
}

/// A write in progress; dropped without `commit`, it never happened.
pub(crate) type Write = Transaction<'static, Sqlite>;

impl Store {
    /// Opens or makes `control.db` in `data_dir`.
    pub(crate) async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join("control.db");
        make_private(data_dir, &path)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(BUSY)
            .connect_with(options.clone())
            .await?;
        sqlx::migrate!().run(&write).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { read, write })
    }

    /// Begins a write; waits for the one before it.
    pub(crate) async fn write(&self) -> Result<Write, StoreError> {
        Ok(self.write.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Whether the database answers.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        Ok(())
    }

    /// Connections that somebody uses.
    pub(crate) fn in_use(&self) -> usize {
        let of_pool = |pool: &SqlitePool| {
            let open = usize::try_from(pool.size()).unwrap_or(usize::MAX);
            // One that is closing has work to do for those that rest as well.
            let resting = if pool.is_closed() { 0 } else { pool.num_idle() };
            open.saturating_sub(resting)
        };
        of_pool(&self.read) + of_pool(&self.write)
    }

    /// Finishes what is being written and closes.
    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    /// A value kept under a name.
    pub(crate) async fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let row = sqlx::query_scalar("SELECT value FROM meta WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.read)
            .await?;
        Ok(row)
    }

    /// Keeps a value under a name that has none yet.
    pub(crate) async fn add_meta(
        &self,
        write: &mut Write,
        name: &str,
        value: &[u8],
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO meta (name, value) VALUES (?, ?)")
            .bind(name)
            .bind(value)
            .execute(&mut **write)
            .await?;
        Ok(())
    }
}

/// Makes the folder and the file, for the owner only; SQLite gives its other files the mode of the
/// first.
fn make_private(data_dir: &Path, path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|source| StoreError::File {
            path: data_dir.to_owned(),
            source,
        })?;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| StoreError::File {
            path: path.to_owned(),
            source,
        })
}
