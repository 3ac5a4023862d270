//! Live inputs and their stream keys.

use super::{Service, ServiceError, lock};
use crate::ids::{self, Purpose, SecretHash};
use crate::store::{InputRow, NewInput, Rotation};
use mainstem_core::resolve::{ChangeKind, Grace, IngestKind, Secret};
use mainstem_core::time::UnixTime;
use std::time::Duration;

/// A live input as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) row: InputRow,
    pub(crate) is_live: bool,
}

/// A live input and its new stream key, which is not seen again.
#[derive(Clone, Debug)]
pub(crate) struct InputWithKey {
    pub(crate) input: Input,
    pub(crate) stream_key: Secret,
}

pub(super) const NO_INPUT: ServiceError =
    ServiceError::NotFound("no live input of that id in this organisation");

impl Service {
    /// Makes a live input.
    pub(crate) async fn create_input(
        &self,
        org: &str,
        name: &str,
        ingest: IngestKind,
        now: UnixTime,
    ) -> Result<InputWithKey, ServiceError> {
        let row = InputRow {
            id: ids::live_input()?,
            external_id: ids::external_input()?,
            org: org.to_owned(),
            name: name.to_owned(),
            ingest,
            created_at: now,
        };
        let (key_id, stream_key) = (ids::stream_key_version()?, ids::stream_key()?);
        let hash = SecretHash::of(Purpose::StreamKey, stream_key.expose());
        let mut write = self.store.write().await?;
        let count = self.store.count_inputs(&mut write, org).await?;
        let limit = self.limits.inputs_per_org;
        if count >= i64::from(limit) {
            let text = format!("this organisation has its limit of {limit} live inputs");
            return Err(ServiceError::LimitReached(text));
        }
        let new = NewInput {
            row: &row,
            key_id: &key_id,
            key_hash: hash.as_bytes(),
        };
        self.store.add_input(&mut write, new).await?;
        write
            .commit()
            .await
            .map_err(crate::store::StoreError::from)?;
        Ok(InputWithKey {
            input: Input {
                row,
                is_live: false,
            },
            stream_key,
        })
    }

    /// One live input.
    pub(crate) async fn input(&self, org: &str, id: &str) -> Result<Input, ServiceError> {
        let row = self.store.input(org, id).await?.ok_or(NO_INPUT)?;
        Ok(self.seen(row))
    }

    /// A page of live inputs, newest first; pages count from 1.
    pub(crate) async fn inputs(
        &self,
        org: &str,
        page: u32,
        per_page: u32,
    ) -> Result<Vec<Input>, ServiceError> {
        let skip = i64::from(page.saturating_sub(1)) * i64::from(per_page);
        let rows = self.store.inputs(org, skip, i64::from(per_page)).await?;
        Ok(rows.into_iter().map(|row| self.seen(row)).collect())
    }

    /// Replaces an input's stream key; the replaced one is valid for `grace` more.
    pub(crate) async fn rotate_stream_key(
        &self,
        org: &str,
        id: &str,
        grace: Duration,
        now: UnixTime,
    ) -> Result<InputWithKey, ServiceError> {
        let row = self.store.input(org, id).await?.ok_or(NO_INPUT)?;
        let (key_id, stream_key) = (ids::stream_key_version()?, ids::stream_key()?);
        let hash = SecretHash::of(Purpose::StreamKey, stream_key.expose());
        let rotation = Rotation {
            input: &row.id,
            key_id: &key_id,
            key_hash: hash.as_bytes(),
            previous_ends_at: now + grace,
        };
        let mut write = self.store.write().await?;
        let previous = self
            .store
            .rotate_stream_key(&mut write, rotation, now)
            .await?;
        let previous = previous.filter(|_| !grace.is_zero());
        let change = ChangeKind::StreamKeyRotated {
            org: row.org.clone(),
            input: row.external_id.clone(),
            credential: key_id,
            grace: previous.map(|credential| Grace {
                credential,
                until: (now + grace).as_secs(),
            }),
        };
        let seq = self.store.add_change(&mut write, &change, now).await?;
        write
            .commit()
            .await
            .map_err(crate::store::StoreError::from)?;
        self.announce(seq);
        Ok(InputWithKey {
            input: self.seen(row),
            stream_key,
        })
    }

    fn seen(&self, row: InputRow) -> Input {
        let is_live = lock(&self.live).is_live(&row.external_id, tokio::time::Instant::now());
        Input { row, is_live }
    }
}
