//! What every command that runs a relay is told: address, certificate, who may come in, the mesh, bounds.
//!
//! Settings come, each stronger than the one before, from a TOML file, `MAINSTEM_*` variables and the
//! command line; what nobody says is the default. The same names stand in all three. A name in the
//! file that means nothing is an error.

use crate::certificate::Source;
use crate::{bounds, mesh};
use anyhow::Context;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, Provider};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The relay's port unless the settings say otherwise.
const MOQT_PORT: u16 = 4443;
/// Names of these settings.
const NAMES: [&str; 7] = [
    "moqt",
    "data_dir",
    "tls_cert",
    "tls_key",
    "public_host",
    "open_relay",
    "control_secret_file",
];

/// Said on the command line; after [`read`], all that was said.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[group(id = "serving")]
#[serde(default)]
pub(crate) struct Arguments {
    /// UDP address of the relay, for raw QUIC and WebTransport [default: 127.0.0.1:4443]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moqt: Option<SocketAddr>,
    /// Folder for keys, the certificate and, where there is one, the database
    /// [default: mainstem-data; of a relay alone: mainstem-relay-data]
    #[arg(long, value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Certificate chain in PEM; without it a development certificate is made
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Host name that clients reach this machine by, for URLs and the development certificate
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_host: Option<String>,
    /// Let everybody publish and watch everything; on a loopback address only
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open_relay: bool,
    /// File with the secret that relays and the control plane know each other by
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_secret_file: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub mesh: mesh::Arguments,
    #[command(flatten)]
    #[serde(flatten)]
    pub bounds: bounds::Arguments,
    /// Print one line of JSON on standard output when serving
    #[arg(long)]
    #[serde(skip)]
    pub ready_json: bool,
    /// Settings file in TOML, with the names of these options in snake_case
    #[arg(long, value_name = "FILE", env = "MAINSTEM_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// What a command is told, on top of what the file and the variables say. `own` are the names of
/// settings that this command alone has.
pub(crate) fn read<T: Serialize + DeserializeOwned>(
    said: &T,
    file: Option<&Path>,
    own: &[&'static str],
) -> anyhow::Result<T> {
    let mut names: Vec<&str> = own.to_vec();
    names.extend(NAMES.iter().chain(&mesh::NAMES).chain(&bounds::NAMES));
    let mut layers = Figment::new();
    if let Some(file) = file {
        anyhow::ensure!(file.is_file(), "no settings file at {}", file.display());
        let toml = Toml::file_exact(file);
        let settings = toml.data().context("the settings file")?;
        for name in settings.values().flat_map(|of_profile| of_profile.keys()) {
            anyhow::ensure!(
                names.contains(&name.as_str()),
                "unknown setting {name:?} in {}: expected one of {}",
                file.display(),
                names.join(", ")
            );
        }
        layers = layers.merge(toml);
    }
    let layers = layers
        .merge(Env::prefixed("MAINSTEM_").only(&names))
        .merge(Serialized::defaults(said));
    layers.extract().context("the settings")
}

impl Arguments {
    /// Where the relay listens.
    pub(crate) fn listen(&self) -> SocketAddr {
        let local = || SocketAddr::from((Ipv4Addr::LOCALHOST, MOQT_PORT));
        self.moqt.unwrap_or_else(local)
    }

    /// The folder for what outlives the process.
    pub(crate) fn folder(&self, default: &str) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| default.into())
    }

    /// Where the certificate comes from.
    pub(crate) fn certificate(&self, folder: &Path) -> Source {
        Source::of_options(
            self.tls_cert.as_deref(),
            self.tls_key.as_deref(),
            folder,
            self.listen(),
            self.public_host.as_deref(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_numbers_of_every_group_are_read_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        let text = "open_relay = true\nupstream = [\"moqt://a:1\", \"moqt://b:2\"]\n\
                    drain_timeout = 3\ncache_mb_max = 64\ngrease = false\nadmin = \"127.0.0.1:0\"\n";
        std::fs::write(&file, text).unwrap();
        let said = Arguments {
            bounds: bounds::Arguments {
                cache_mb_max: Some(32),
                ..bounds::Arguments::default()
            },
            ..Arguments::default()
        };
        let all = read(&said, Some(&file), &[]).unwrap();
        assert!(all.open_relay);
        assert_eq!(all.mesh.upstream.len(), 2);
        assert_eq!(all.mesh.drain_timeout, Some(3));
        assert_eq!(
            all.bounds.cache_mb_max,
            Some(32),
            "the command line is stronger"
        );
        assert_eq!(all.bounds.grease, Some(false));
        assert!(all.bounds.admin.is_some());
        assert_eq!(all.listen().port(), MOQT_PORT);
        std::fs::write(&file, "http = \"127.0.0.1:1\"\n").unwrap();
        let error = format!("{:#}", read(&said, Some(&file), &[]).unwrap_err());
        assert!(error.contains("\"http\""), "{error}");
        assert!(read(&said, Some(&file), &["http"]).is_ok());
    }
}
