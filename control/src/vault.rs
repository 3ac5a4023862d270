//! Sealing of private signing keys (XChaCha20-Poly1305) under a master key.
//!
//! Sealed form: 24 random bytes of nonce, then ciphertext and tag. The name under which something
//! is sealed is authenticated with it, so that a sealed key cannot be moved to another row.

use crate::config::MasterKeySource;
use crate::ids::{self, NoRandomness};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const NONCE_LEN: usize = 24;

/// Seals and opens.
pub(crate) struct Vault {
    cipher: XChaCha20Poly1305,
}

/// Why the master key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file could not be read or made.
    #[error("the master key file {path} cannot be read or made: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error("others than its owner may read the master key file {0}: set its mode to 600")]
    Exposed(PathBuf),
    /// There is a database, but the file that opens its keys is gone.
    #[error("the master key file {0} is missing, and this database was made with one: restore it")]
    Missing(PathBuf),
    /// The variable is not set.
    #[error("the environment variable {0}, which should hold the master key, is not set")]
    Unset(String),
    /// Neither form.
    #[error("the master key is not 32 bytes in hexadecimal or base64")]
    Form,
    /// Nothing random.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// What was sealed cannot be opened: another master key, another name, or broken bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a sealed key cannot be opened")]
pub(crate) struct SealBroken;

impl Vault {
    /// Opens the master key. `is_new` allows a missing file to be made.
    pub(crate) fn open(
        source: &MasterKeySource,
        data_dir: &Path,
        is_new: bool,
    ) -> Result<Self, MasterKeyError> {
        let text = match source {
            MasterKeySource::Environment(name) => std::env::var(name)
                .map(Zeroizing::new)
                .map_err(|_| MasterKeyError::Unset(name.clone()))?,
            MasterKeySource::DataDir => read_or_make(&data_dir.join("master.key"), is_new)?,
            MasterKeySource::File(path) => read_or_make(path, is_new)?,
        };
        let key = parse(text.trim()).ok_or(MasterKeyError::Form)?;
        Ok(Self {
            cipher: XChaCha20Poly1305::new((&*key).into()),
        })
    }

    /// Seals `secret` under `name`.
    pub(crate) fn seal(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let mut sealed = vec![0; NONCE_LEN];
        ids::fill(&mut sealed)?;
        let nonce = nonce(&sealed).ok_or(NoRandomness)?;
        let payload = Payload {
            msg: secret,
            aad: name.as_bytes(),
        };
        // Encrypting fails only beyond 256 GiB.
        let ciphertext = self
            .cipher
            .encrypt(&nonce, payload)
            .map_err(|_| NoRandomness)?;
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// Opens what was sealed under `name`.
    pub(crate) fn unseal(
        &self,
        name: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealBroken> {
        let (head, msg) = sealed.split_at_checked(NONCE_LEN).ok_or(SealBroken)?;
        let payload = Payload {
            msg,
            aad: name.as_bytes(),
        };
        let opened = self
            .cipher
            .decrypt(&nonce(head).ok_or(SealBroken)?, payload);
        opened.map(Zeroizing::new).map_err(|_| SealBroken)
    }
}

fn nonce(bytes: &[u8]) -> Option<XNonce> {
    XNonce::try_from(bytes).ok()
}

fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(if text.len() == 64 {
        let digits = text.as_bytes().chunks(2);
        let pair = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        digits.map(pair).collect::<Option<Vec<u8>>>()?
    } else {
        STANDARD.decode(text).ok()?
    });
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

fn read_or_make(path: &Path, is_new: bool) -> Result<Zeroizing<String>, MasterKeyError> {
    let fault = |source| MasterKeyError::File {
        path: path.to_owned(),
        source,
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && is_new => make(path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(MasterKeyError::Missing(path.to_owned()));
        }
        Err(error) => return Err(fault(error)),
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
            return Err(MasterKeyError::Exposed(path.to_owned()));
        }
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(fault)
}

/// Writes a new key beside `path` and links it there whole: a crash leaves no half of a key, and of
/// two that start at once one wins.
fn make(path: &Path) -> Result<(), MasterKeyError> {
    let mut key = Zeroizing::new([0; 32]);
    ids::fill(&mut *key)?;
    let text = Zeroizing::new(STANDARD.encode(*key) + "\n");
    let fault = |source| MasterKeyError::File {
        path: path.to_owned(),
        source,
    };
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&beside, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    })();
    let removed = fs::remove_file(&beside);
    written.and(removed).map_err(fault)?;
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|dir| dir.sync_all())
        .map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_its_name_and_with_its_key_only() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open = |dir: &Path, is_new| Vault::open(&MasterKeySource::DataDir, dir, is_new);
        assert!(matches!(
            open(one.path(), false),
            Err(MasterKeyError::Missing(_))
        ));
        let vault = open(one.path(), true).unwrap();
        let sealed = vault.seal("a", b"secret").unwrap();
        assert_ne!(sealed, vault.seal("a", b"secret").unwrap());
        assert_eq!(vault.unseal("a", &sealed).unwrap().as_slice(), b"secret");
        assert!(vault.unseal("b", &sealed).is_err());
        assert!(vault.unseal("a", &sealed[..20]).is_err());
        assert!(
            open(two.path(), true)
                .unwrap()
                .unseal("a", &sealed)
                .is_err()
        );
        let again = open(one.path(), false).unwrap();
        assert_eq!(again.unseal("a", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(fs::read_dir(one.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_master_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        fs::write(&path, "00".repeat(32)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let source = MasterKeySource::File(path.clone());
        let open = || Vault::open(&source, dir.path(), true);
        assert!(matches!(open(), Err(MasterKeyError::Exposed(_))));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(open().is_ok());
        fs::write(&path, "short").unwrap();
        assert!(matches!(open(), Err(MasterKeyError::Form)));
    }
}
