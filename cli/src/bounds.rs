//! Settings of a relay's bounds, its grease, its event logs and its admin listener, for every command
//! that runs one.

use anyhow::Context;
use mainstem_core::resolve::Secret;
use mainstem_relay::{Admin, AdminConfig, EventLogConfig, RelayServer};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Names of these settings, for variables.
pub(crate) const NAMES: [&str; 7] = [
    "cache_mb_max",
    "connections_per_address_max",
    "unsent_mb_max",
    "event_log",
    "grease",
    "admin",
    "admin_key_file",
];
/// Megabytes of recent groups, unless the settings say otherwise.
const CACHE_MB_MAX: usize = 512;
/// Megabytes that wait for slow sessions, unless the settings say otherwise.
const UNSENT_MB_MAX: usize = 1024;

/// On the command line.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[group(id = "bounds")]
#[serde(default)]
pub(crate) struct Arguments {
    /// Megabytes of recent groups that the relay keeps for late viewers [default: 512]
    #[arg(long, value_name = "MEGABYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_mb_max: Option<usize>,
    /// Relay connections that one address may have; 0 for no bound [default: 0]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_address_max: Option<usize>,
    /// Megabytes that may wait for slow viewers, all together; past it those with most are closed [default: 1024]
    #[arg(long, value_name = "MEGABYTES", value_parser = clap::value_parser!(u32).range(1..))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsent_mb_max: Option<u32>,
    /// Write an event log of every relay session to this folder, for qlog's tools
    #[arg(long, value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_log: Option<PathBuf>,
    /// Whether sessions are opened with options that mean nothing, which a peer has to ignore
    /// [default: true]
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grease: Option<bool>,
    /// TCP address for whoever operates the relay: figures, open sessions, event logs on demand
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
    /// File with the key that requests to the admin address show; needed off loopback
    #[arg(long, value_name = "FILE", requires = "admin")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_key_file: Option<PathBuf>,
}

/// Folder of event logs on demand, below the folder of the relay's data.
const LOGS_ON_DEMAND: &str = "event-logs";

impl Arguments {
    /// Where event logs go: those of all sessions, or those that the admin is asked for.
    pub(crate) fn event_log(&self, data_dir: &Path) -> Option<EventLogConfig> {
        match (&self.event_log, self.admin) {
            (Some(folder), _) => Some(EventLogConfig::new(folder)),
            (None, Some(_)) => {
                let folder = data_dir.join(LOGS_ON_DEMAND);
                Some(EventLogConfig::on_demand(folder))
            }
            (None, None) => None,
        }
    }

    /// Starts the admin listener, if one is asked for.
    pub(crate) async fn admin(&self, relay: &RelayServer) -> anyhow::Result<Option<Admin>> {
        let Some(listen) = self.admin else {
            return Ok(None);
        };
        let key = self.admin_key_file.as_ref().map(|file| {
            let key = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the key in {}", file.display()))?;
            anyhow::ensure!(
                !key.trim().is_empty(),
                "the key in {} is empty",
                file.display()
            );
            Ok(Secret::new(key.trim()))
        });
        let key = key.transpose()?;
        Ok(Some(
            Admin::start(AdminConfig { listen, key }, relay).await?,
        ))
    }

    /// Connections that one address may have; 0 for no bound.
    pub(crate) fn connections_per_address_max(&self) -> usize {
        self.connections_per_address_max.unwrap_or(0)
    }

    /// Bytes that may wait for slow sessions, all together.
    pub(crate) fn unsent_bytes_max(&self) -> usize {
        let megabytes = self.unsent_mb_max.map_or(UNSENT_MB_MAX, |max| max as usize);
        megabytes.saturating_mul(1 << 20)
    }

    /// Whether sessions are greased.
    pub(crate) fn greases(&self) -> bool {
        self.grease.unwrap_or(true)
    }

    /// A relay that keeps so many megabytes, and greases or not.
    pub(crate) fn relay(&self) -> mainstem_core::moqt::relay::Config {
        let cache_mb_max = self.cache_mb_max.unwrap_or(CACHE_MB_MAX);
        let cache_bytes_max = cache_mb_max.saturating_mul(1 << 20);
        let mut config = mainstem_core::moqt::relay::Config::default();
        // Without randomness the relay does not start; it says so itself.
        config.sessions.grease = mainstem_net::os_seed().ok().filter(|_| self.greases());
        mainstem_core::moqt::relay::Config {
            cache_bytes_max,
            // Newest groups of very many tracks may pass the budget, but not without end.
            cache_bytes_hard_max: cache_bytes_max.saturating_mul(2),
            ..config
        }
    }
}
