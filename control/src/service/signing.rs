//! Signing keys of an organisation.

use super::{Fault, Service, ServiceError, SharedSigner, lock};
use crate::ids;
use crate::keys::{self, NewKey};
use crate::store::{SigningKeyRow, StoreError, Write};
use mainstem_core::jwt::{Algorithm, PublicKey};
use mainstem_core::resolve::{ChangeKind, Jwk, KeyStatus};
use mainstem_core::time::UnixTime;

/// A signing key to make.
pub(crate) struct NewSigningKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) label: String,
}

/// What signing keys are used for; there is only this.
pub(super) const PLAYBACK: &str = "playback";
/// Loaded private keys that are kept ready.
const SIGNERS_MAX: usize = 1024;

impl Service {
    /// Makes a signing key.
    pub(crate) async fn create_signing_key(
        &self,
        org: &str,
        new: NewSigningKey,
        now: UnixTime,
    ) -> Result<SigningKeyRow, ServiceError> {
        let made = self.generate(new.algorithm).await?;
        let row = self.seal(org, &made, new.label, now)?;
        let mut write = self.store.write().await?;
        self.add_signing_key(&mut write, &row).await?;
        let seq = self.tell_of_key(&mut write, &row, now).await?;
        write.commit().await.map_err(StoreError::from)?;
        self.announce(seq);
        Ok(row)
    }

    /// The keys of an organisation, newest first.
    pub(crate) async fn signing_keys(&self, org: &str) -> Result<Vec<SigningKeyRow>, ServiceError> {
        Ok(self.store.signing_keys(org).await?)
    }

    /// Takes a key out of use. Doing so twice is the same as once.
    pub(crate) async fn deactivate_signing_key(
        &self,
        org: &str,
        id: &str,
        now: UnixTime,
    ) -> Result<SigningKeyRow, ServiceError> {
        const NO_KEY: ServiceError =
            ServiceError::NotFound("no signing key of that id in this organisation");
        let mut write = self.store.write().await?;
        let rows = self.store.signing_keys_in(&mut write, org).await?;
        let mut row = rows.into_iter().find(|row| row.id == id).ok_or(NO_KEY)?;
        row.status = KeyStatus::Inactive;
        if self.store.deactivate_signing_key(&mut write, id).await? {
            let seq = self.tell_of_key(&mut write, &row, now).await?;
            write.commit().await.map_err(StoreError::from)?;
            self.announce(seq);
        }
        lock(&self.signers).remove(id);
        Ok(row)
    }

    /// The key that signs an organisation's tokens now: the newest in use. If there is none, an
    /// Ed25519 key is made; of several that find none at once, one makes it.
    pub(super) async fn current_key(
        &self,
        org: &str,
        now: UnixTime,
    ) -> Result<SigningKeyRow, ServiceError> {
        let newest =
            |rows: Vec<SigningKeyRow>| rows.into_iter().find(|row| row.status == KeyStatus::Active);
        if let Some(row) = newest(self.store.signing_keys(org).await?) {
            return Ok(row);
        }
        let made = keys::generate(Algorithm::EdDsa)?;
        let row = self.seal(org, &made, "made for the first token".to_owned(), now)?;
        let mut write = self.store.write().await?;
        if let Some(row) = newest(self.store.signing_keys_in(&mut write, org).await?) {
            return Ok(row);
        }
        self.add_signing_key(&mut write, &row).await?;
        let seq = self.tell_of_key(&mut write, &row, now).await?;
        write.commit().await.map_err(StoreError::from)?;
        self.announce(seq);
        Ok(row)
    }

    /// The private half of a key, ready to sign.
    pub(super) fn signer(&self, row: &SigningKeyRow) -> Result<SharedSigner, ServiceError> {
        if let Some(signer) = lock(&self.signers).get(&row.id) {
            return Ok(signer.clone());
        }
        let private = self.vault.unseal(&seal_name(row), &row.sealed)?;
        let signer = keys::load(&row.id, row.algorithm, &private)?;
        let mut signers = lock(&self.signers);
        if signers.len() >= SIGNERS_MAX {
            signers.pop_first();
        }
        signers.insert(row.id.clone(), signer.clone());
        Ok(signer)
    }

    /// Makes a key; RSA on a thread where computing disturbs nobody, one at a time.
    async fn generate(&self, algorithm: Algorithm) -> Result<NewKey, ServiceError> {
        if algorithm == Algorithm::EdDsa {
            return Ok(keys::generate(algorithm)?);
        }
        let _turn = self.rsa.acquire().await.map_err(|_| Fault::Background)?;
        let made = tokio::task::spawn_blocking(move || keys::generate(algorithm)).await;
        Ok(made.map_err(|_| Fault::Background)??)
    }

    fn seal(
        &self,
        org: &str,
        made: &NewKey,
        label: String,
        now: UnixTime,
    ) -> Result<SigningKeyRow, ServiceError> {
        let mut row = SigningKeyRow {
            id: ids::signing_key()?,
            org: org.to_owned(),
            algorithm: made.public.algorithm(),
            key_use: PLAYBACK.to_owned(),
            label,
            public_pem: made.public.to_pem(),
            sealed: Vec::new(),
            status: KeyStatus::Active,
            created_at: now,
        };
        row.sealed = self.vault.seal(&seal_name(&row), &made.private)?;
        Ok(row)
    }

    async fn add_signing_key(
        &self,
        write: &mut Write,
        row: &SigningKeyRow,
    ) -> Result<(), ServiceError> {
        let rows = self.store.signing_keys_in(write, &row.org).await?;
        let limit = self.limits.signing_keys_per_org;
        let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let oldest = rows.iter().rfind(|row| row.status == KeyStatus::Inactive);
        if let (true, Some(oldest)) = (is_full, oldest) {
            // Its tokens are refused all the same: a key that is not known is as good as inactive.
            self.store.forget_signing_key(write, &oldest.id).await?;
        } else if is_full {
            let text =
                format!("this organisation has its limit of {limit} signing keys, all active");
            return Err(ServiceError::LimitReached(text));
        }
        Ok(self.store.add_signing_key(write, row).await?)
    }

    async fn tell_of_key(
        &self,
        write: &mut Write,
        row: &SigningKeyRow,
        now: UnixTime,
    ) -> Result<u64, ServiceError> {
        let change = ChangeKind::SigningKeyChanged {
            kid: row.id.clone(),
            key: jwk(row)?,
        };
        Ok(self.store.add_change(write, &change, now).await?)
    }
}

/// The public half of a key.
pub(super) fn jwk(row: &SigningKeyRow) -> Result<Jwk, StoreError> {
    let key = PublicKey::from_pem(&row.public_pem);
    let key = key.map_err(|_| StoreError::Value("signing_keys.public_pem"))?;
    Ok(key.to_jwk(&row.id, &row.org, row.status))
}

/// What a private key is sealed under: it cannot become another organisation's or another kind's.
fn seal_name(row: &SigningKeyRow) -> String {
    format!("signing key {} {} {}", row.id, row.org, row.algorithm)
}
