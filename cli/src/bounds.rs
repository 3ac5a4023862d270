//! Settings of a relay's bounds, its event logs and its grease, for every command that runs one.

use serde::Serialize;
use std::path::PathBuf;

/// Names of these settings, for variables.
pub(crate) const NAMES: [&str; 4] = [
    "cache_mb_max",
    "connections_per_address_max",
    "event_log",
    "grease",
];
/// Megabytes of recent groups, unless the settings say otherwise.
pub(crate) const CACHE_MB_MAX: usize = 512;

/// On the command line.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
#[group(id = "bounds")]
pub(crate) struct Arguments {
    /// Megabytes of recent groups that the relay keeps for late viewers [default: 512]
    #[arg(long, value_name = "MEGABYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_mb_max: Option<usize>,
    /// Relay connections that one address may have; 0 for no bound [default: 0]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_address_max: Option<usize>,
    /// Write an event log of every relay session to this folder, for qlog's tools
    #[arg(long, value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_log: Option<PathBuf>,
    /// Whether sessions are opened with options that mean nothing, which a peer has to ignore
    /// [default: true]
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grease: Option<bool>,
}

/// A relay that keeps so many megabytes, and greases or not.
pub(crate) fn relay(cache_mb_max: usize, grease: bool) -> mainstem_core::moqt::relay::Config {
    let cache_bytes_max = cache_mb_max.saturating_mul(1 << 20);
    let mut config = mainstem_core::moqt::relay::Config::default();
    // Without randomness the relay does not start; it says so itself.
    config.sessions.grease = mainstem_net::os_seed().ok().filter(|_| grease);
    mainstem_core::moqt::relay::Config {
        cache_bytes_max,
        // Newest groups of very many tracks may pass the budget, but not without end.
        cache_bytes_hard_max: cache_bytes_max.saturating_mul(2),
        ..config
    }
}
