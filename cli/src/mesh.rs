//! The settings of a relay among relays: upstreams, who is a member, and where its clients go when it
//! goes away.
//!
//! `up` and `relay` share them. A secret is taken from a file or a variable rather than from the
//! command line, where every program of the machine can read it.

use crate::connect::Trust;
use anyhow::Context;
use mainstem_core::moqt::relay::mesh::{Config, RelayId, Upstream};
use mainstem_core::resolve::Secret;
use mainstem_quic::{SessionUrl, TlsTrust};
use mainstem_relay::{RelayServer, StaticList, Upstreams};
use serde::{Deserialize, Deserializer, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Shortest mesh secret, in bytes.
const SECRET_BYTES_MIN: usize = 16;
/// How often the file with the secret is read.
const SECRET_READ_INTERVAL: Duration = Duration::from_secs(2);
/// Time that clients get to move when nothing is said.
const DRAIN_SECONDS_DEFAULT: u64 = 10;

/// What can be said on the command line.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[group(id = "mesh")]
#[serde(default)]
pub(crate) struct Arguments {
    /// A relay to take from and to give to: a member of the mesh when there is a mesh secret;
    /// repeatable
    #[arg(long, value_name = "URL")]
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<String>,
    /// An upstream outside the mesh, which is not shown the mesh secret; repeatable
    #[arg(long, value_name = "URL")]
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub plain_upstream: Vec<String>,
    /// SHA-256 of an upstream's certificate, in hex: trust these and no others; repeatable
    #[arg(long, value_name = "HEX")]
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub upstream_cert_sha256: Vec<String>,
    /// Trust any certificate of an upstream; for debugging only
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub upstream_insecure: bool,
    /// What members of the mesh show each other, 16 bytes at least; better by file or variable
    #[arg(long, value_name = "SECRET")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_secret: Option<String>,
    /// File with the mesh secret; read again when it changes
    #[arg(long, value_name = "FILE", conflicts_with = "mesh_secret")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_secret_file: Option<PathBuf>,
    /// Where clients are sent when this relay ends [default: the same address]
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_to: Option<String>,
    /// Seconds that clients get to move when this relay ends [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<u64>,
}

/// The names of these settings, for variables.
pub(crate) const NAMES: [&str; 8] = [
    "upstream",
    "plain_upstream",
    "upstream_cert_sha256",
    "upstream_insecure",
    "mesh_secret",
    "mesh_secret_file",
    "drain_to",
    "drain_timeout",
];

/// A list in a file; in a variable, its items parted by commas.
fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(text) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect(),
        OneOrMany::Many(items) => items,
    })
}

/// All of them, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    upstreams: Vec<Upstream>,
    secret: Option<Secret>,
    secret_file: Option<PathBuf>,
    trust: Trust,
    drain_to: String,
    drain_timeout: Duration,
}

impl Settings {
    /// Checks what was said.
    pub(crate) fn read(said: Arguments) -> anyhow::Result<Self> {
        let secret_file = said.mesh_secret_file.filter(|_| said.mesh_secret.is_none());
        let secret = match (said.mesh_secret, &secret_file) {
            (Some(secret), _) => Some(checked(&secret)?),
            (None, Some(file)) => Some(read_secret(file)?),
            (None, None) => None,
        };
        let members = said.upstream.into_iter().map(|url| (url, true));
        let plain = said.plain_upstream.into_iter().map(|url| (url, false));
        let mut upstreams = Vec::new();
        for (url, is_member) in members.chain(plain) {
            url.parse::<SessionUrl>()
                .context("the url of an upstream")?;
            upstreams.push(Upstream { url, is_member });
        }
        if let Some(url) = &said.drain_to {
            url.parse::<SessionUrl>().context("--drain-to")?;
        }
        let seconds = said.drain_timeout.unwrap_or(DRAIN_SECONDS_DEFAULT);
        Ok(Self {
            upstreams,
            secret,
            secret_file,
            trust: Trust {
                cert_sha256: said.upstream_cert_sha256,
                insecure: said.upstream_insecure,
            },
            drain_to: said.drain_to.unwrap_or_default(),
            drain_timeout: Duration::from_secs(seconds),
        })
    }

    /// Who the relay is among relays; `random` names it.
    pub(crate) fn config(&self, random: [u8; 24]) -> Config {
        let (mut relay_id, mut seed) = ([0; 16], [0; 8]);
        for (from, to) in random.iter().zip(relay_id.iter_mut().chain(&mut seed)) {
            *to = *from;
        }
        Config {
            relay_id: RelayId(relay_id),
            secret: self.secret.clone(),
            seed: u64::from_be_bytes(seed),
            ..Config::default()
        }
    }

    /// The relays to connect to.
    pub(crate) fn upstreams(&self) -> anyhow::Result<Upstreams> {
        let trust = if self.upstreams.is_empty() && self.drain_to.is_empty() {
            TlsTrust::Pinned(Vec::new())
        } else {
            self.trust.resolve()?
        };
        Ok(Upstreams {
            discovery: Box::new(StaticList::new(self.upstreams.clone())),
            trust,
        })
    }

    /// Reads the file with the mesh secret again and again, for as long as the relay runs: what
    /// changes there holds at once, and sessions with relays that showed the old secret end.
    pub(crate) fn follow_secret(&self, relay: &RelayServer) {
        let (Some(file), Some(secret)) = (self.secret_file.clone(), &self.secret) else {
            return;
        };
        let (mut known, control) = (secret.expose().to_owned(), relay.mesh_control());
        tokio::spawn(async move {
            let mut had_failed = false;
            loop {
                tokio::time::sleep(SECRET_READ_INTERVAL).await;
                let path = file.clone();
                let read = tokio::task::spawn_blocking(move || read_secret(&path)).await;
                let Ok(read) = read else { return };
                match read {
                    Ok(secret) if secret.expose() != known => {
                        secret.expose().clone_into(&mut known);
                        control.set_secret(secret).await;
                        tracing::info!("the mesh secret was replaced");
                        had_failed = false;
                    }
                    Ok(_) => had_failed = false,
                    Err(error) if !had_failed => {
                        tracing::warn!(%error, "the mesh secret stays as it was");
                        had_failed = true;
                    }
                    Err(_) => {}
                }
            }
        });
    }

    /// Sends the relay's clients on and waits until they have gone, or until a second signal.
    pub(crate) async fn drain(&self, relay: &RelayServer, ends: &mut Ends) -> anyhow::Result<()> {
        if self.drain_timeout.is_zero() {
            return Ok(());
        }
        tracing::info!(seconds = self.drain_timeout.as_secs(), "going away");
        tokio::select! {
            late = relay.drain(&self.drain_to, self.drain_timeout) => match late {
                Some(0) => tracing::info!("everybody has gone"),
                Some(late) => tracing::warn!(late, "sessions were left behind"),
                None => tracing::warn!("the relay ended early"),
            },
            end = ends.next() => {
                end?;
                tracing::info!("ending at once");
            }
        }
        Ok(())
    }
}

fn read_secret(file: &Path) -> anyhow::Result<Secret> {
    let secret = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the mesh secret in {}", file.display()))?;
    checked(secret.trim())
}

fn checked(secret: &str) -> anyhow::Result<Secret> {
    let found = secret.len();
    anyhow::ensure!(
        found >= SECRET_BYTES_MIN,
        "the mesh secret: expected {SECRET_BYTES_MIN} bytes at least, found {found}"
    );
    Ok(Secret::new(secret))
}

/// How a program was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGTERM: in order.
    Terminate,
    /// Ctrl-C: soon.
    Interrupt,
}

/// The signals that end a program.
pub(crate) struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    /// Listens from now on.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> anyhow::Result<End> {
        tokio::select! {
            got = self.terminate.recv() => got.map(|()| End::Terminate),
            got = self.interrupt.recv() => got.map(|()| End::Interrupt),
        }
        .context("no signal can be heard any more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let said = |upstream: &str, secret: &str| Arguments {
            upstream: vec![upstream.to_owned()],
            mesh_secret: Some(secret.to_owned()),
            ..Arguments::default()
        };
        let good = "0123456789abcdef";
        assert!(Settings::read(said("moqt://127.0.0.1:1", good)).is_ok());
        assert!(Settings::read(said("127.0.0.1:1", good)).is_err());
        let error = Settings::read(said("moqt://127.0.0.1:1", "short")).unwrap_err();
        assert!(!error.to_string().contains("short"), "{error}");
    }

    #[test]
    fn members_and_others_are_told_apart() {
        let read = Settings::read(Arguments {
            upstream: vec!["moqt://a:1".to_owned()],
            plain_upstream: vec!["https://b:2/x".to_owned()],
            ..Arguments::default()
        });
        let members: Vec<bool> = read
            .unwrap()
            .upstreams
            .iter()
            .map(|it| it.is_member)
            .collect();
        assert_eq!(members, [true, false]);
    }
}
