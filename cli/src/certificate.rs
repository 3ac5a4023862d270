//! The relay's certificate: a development one that makes itself, or real ones by path.
//!
//! Browsers accept a self-signed certificate by its hash only if it is an ECDSA P-256 one that is
//! valid for at most 14 days, so the development certificate is made for 13 and replaced by a new
//! one when less than a quarter of that is left. It stays the same over restarts until then.

use anyhow::Context;
use mainstem_quic::Certificates;
use mainstem_quic::rustls::pki_types::pem::PemObject;
use mainstem_quic::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;

/// How long a development certificate is valid.
const VALID: Duration = Duration::from_hours(13 * 24);
/// What must be left of it for a certificate to stay in use.
const LEFT: Duration = Duration::from_hours(3 * 24);
/// How often files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Made here, kept in this folder.
    Development {
        /// The folder.
        folder: PathBuf,
        /// Names and addresses that it is for.
        names: Vec<String>,
    },
    /// PEM files that somebody else renews.
    Files {
        /// The chain, end entity first.
        chain: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

impl Source {
    /// The files that were named, or else a development certificate kept in `data_dir`, for this
    /// machine, the address and the public name.
    pub(crate) fn of_options(
        chain: Option<&Path>,
        key: Option<&Path>,
        data_dir: &Path,
        address: SocketAddr,
        public_host: Option<&str>,
    ) -> Self {
        if let (Some(chain), Some(key)) = (chain, key) {
            return Self::Files {
                chain: chain.to_owned(),
                key: key.to_owned(),
            };
        }
        let local = ["localhost", "127.0.0.1", "::1"];
        let mut names: Vec<String> = local.into_iter().map(str::to_owned).collect();
        if !address.ip().is_unspecified() && !address.ip().is_loopback() {
            names.push(address.ip().to_string());
        }
        names.extend(public_host.map(str::to_owned));
        Self::Development {
            folder: data_dir.join("tls"),
            names,
        }
    }

    /// Reads or makes the certificate.
    pub(crate) fn load(&self) -> anyhow::Result<Certificates> {
        let (chain, key) = self.read()?;
        Ok(Certificates::new(chain, key)?)
    }

    /// Replaces the certificate when its files change, or when a development one gets old. Runs
    /// until dropped.
    pub(crate) async fn keep_fresh(self, certificates: Certificates) {
        let mut seen = self.changed();
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            self.look(&mut seen, &certificates);
        }
    }

    /// One look at the files.
    fn look(&self, seen: &mut Changed, certificates: &Certificates) {
        let now = self.changed();
        let is_old = match self {
            Self::Development { folder, .. } => is_due(&folder.join(CHAIN)),
            Self::Files { .. } => false,
        };
        if now == *seen && !is_old {
            return;
        }
        let replaced = self
            .read()
            .and_then(|(chain, key)| Ok(certificates.replace(chain, key)?));
        match replaced {
            Ok(()) => {
                tracing::info!(sha256 = %hex(&certificates.sha256()), "certificate replaced");
            }
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "the old certificate stays");
            }
        }
        *seen = self.changed();
    }

    fn read(&self) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        match self {
            Self::Development { folder, names } => {
                let (chain, key) = (folder.join(CHAIN), folder.join(KEY));
                if !chain.exists() || !key.exists() || is_due(&chain) {
                    make(folder, names)?;
                }
                read_pem(&chain, &key)
            }
            Self::Files { chain, key } => read_pem(chain, key),
        }
    }

    /// When the files were last changed.
    fn changed(&self) -> Changed {
        let (chain, key) = match self {
            Self::Development { folder, .. } => (folder.join(CHAIN), folder.join(KEY)),
            Self::Files { chain, key } => (chain.clone(), key.clone()),
        };
        let modified = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
        Some((modified(&chain)?, modified(&key)?))
    }
}

/// When the chain and the key were last changed; `None` while one of them is not there.
type Changed = Option<(SystemTime, SystemTime)>;

const CHAIN: &str = "certificate.pem";
const KEY: &str = "certificate.key";

/// Whether a development certificate is too old to be kept. Its age is its file's: it is written
/// the moment it is made.
fn is_due(chain: &Path) -> bool {
    let made = chain.metadata().and_then(|meta| meta.modified());
    made.ok()
        .and_then(|made| made.elapsed().ok())
        .is_none_or(|age| age + LEFT > VALID)
}

fn read_pem(
    chain: &Path,
    key: &Path,
) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read certificates from {}", chain.display()))?;
    anyhow::ensure!(
        !certificates.is_empty(),
        "no certificate in {}",
        chain.display()
    );
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read a private key from {}", key.display()))?;
    Ok((certificates, key))
}

fn make(folder: &Path, names: &[String]) -> anyhow::Result<()> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = rcgen::CertificateParams::new(names.to_vec())?;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::from_mins(1);
    params.not_after = now + VALID - Duration::from_mins(2);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "mainstem development");
    let certificate = params.self_signed(&key)?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    write_private(&folder.join(KEY), key.serialize_pem().as_bytes())?;
    write_private(&folder.join(CHAIN), certificate.pem().as_bytes())
}

/// Writes a file for its owner's eyes only, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let fresh = path.with_extension("new");
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn development(folder: &Path) -> Source {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        Source::Development {
            folder: folder.to_owned(),
            names,
        }
    }

    #[test]
    fn development_certificate_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = development(folder.path()).load().unwrap().sha256();
        assert_eq!(development(folder.path()).load().unwrap().sha256(), first);
        std::fs::remove_file(folder.path().join(CHAIN)).unwrap();
        assert_ne!(development(folder.path()).load().unwrap().sha256(), first);
    }

    #[test]
    fn renewed_files_are_shown_and_broken_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, theirs) = (folder.path().join("mine"), folder.path().join("theirs"));
        make(&mine, &["localhost".to_owned()]).unwrap();
        make(&theirs, &["localhost".to_owned()]).unwrap();
        let source = Source::Files {
            chain: mine.join(CHAIN),
            key: mine.join(KEY),
        };
        let certificates = source.load().unwrap();
        let (first, mut seen) = (certificates.sha256(), source.changed());
        source.look(&mut seen, &certificates);
        assert_eq!(certificates.sha256(), first);

        std::fs::write(mine.join(CHAIN), "half a file").unwrap();
        source.look(&mut seen, &certificates);
        assert_eq!(certificates.sha256(), first, "the old one stays");

        for file in [CHAIN, KEY] {
            std::fs::copy(theirs.join(file), mine.join(file)).unwrap();
        }
        source.look(&mut seen, &certificates);
        assert_ne!(certificates.sha256(), first);
    }

    #[test]
    fn unreadable_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nothing.pem");
        let error = Source::Files {
            chain: path.clone(),
            key: path,
        }
        .load()
        .unwrap_err();
        assert!(format!("{error:#}").contains("nothing.pem"), "{error:#}");
    }
}
