//! [`Setting`]: what all nodes of a world share; [`Context`]: what one life of a node is made from.

use super::tokens::Tokens;
use crate::plan::{CarrierPlan, NodeId, NodeLimits, Plan};
use crate::quic::deterministic::{Identity, IdentityError, UNIX_TIME_AT_EPOCH, process_epoch};
use crate::random::{Purpose, Random, Streams};
use mainstem_core::moqt::session;
use mainstem_core::time::{Instant, UnixTime};
use mainstem_core::transport::Target;
use mainstem_quic::{ConnectRequest, TlsError};
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// The port that relays serve.
const PORT: u16 = 4433;
/// The first port of nodes that only dial.
const FIRST_CLIENT_PORT: u16 = 5000;

/// Why a node could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The plan has no such node.
    #[error("expected a node of the plan, not {0}")]
    NoSuchNode(NodeId),
    /// The world's certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A name that cannot be one.
    #[error("expected a name of a track: {0}")]
    Name(#[from] mainstem_core::moqt::name::NameError),
    /// The plan's token could not be made.
    #[error("a token of the plan was not made: {0}")]
    Token(String),
}

/// See the module's description.
pub struct Setting {
    /// The plan.
    pub plan: Plan,
    /// All chance.
    pub streams: Streams,
    /// The certificate of all relays.
    pub identity: Identity,
    /// The reading of the platform's clock at the world's beginning.
    pub epoch: std::time::Instant,
    /// Makes tokens, and keys to verify them.
    pub(crate) tokens: Tokens,
}

impl Setting {
    /// For a plan.
    pub fn new(plan: Plan) -> Result<Self, BuildError> {
        Self::at(plan, process_epoch())
    }

    /// For a plan, with another reading of the platform's clock.
    pub fn at(plan: Plan, epoch: std::time::Instant) -> Result<Self, BuildError> {
        Ok(Self {
            streams: Streams::new(plan.seed),
            identity: Identity::new()?,
            tokens: Tokens::new(),
            plan,
            epoch,
        })
    }
}

/// A node's address, after so many changes of it.
pub fn addressed(id: NodeId, is_relay: bool, changes: u16) -> SocketAddr {
    let host = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, changes, id.0.wrapping_add(1));
    let port = if is_relay {
        PORT
    } else {
        FIRST_CLIENT_PORT.wrapping_add(changes)
    };
    SocketAddr::from((host, port))
}

/// The name of a relay in URLs.
pub(crate) fn host_name(id: NodeId) -> String {
    format!("n{}.relay.sim", id.0)
}

/// The relay of a URL's host.
pub(crate) fn node_of_host(host: &str) -> Option<NodeId> {
    let number = host.strip_prefix('n')?.strip_suffix(".relay.sim")?;
    number.parse().ok().map(NodeId)
}

/// A wall clock: right at one moment, and then as fast as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    at: Instant,
    unix: UnixTime,
    drift_ppm: i64,
}

impl WallClock {
    /// A clock of a plan at the world's beginning.
    pub fn new(ahead_ms: i64, drift_ppm: i64) -> Self {
        Self {
            at: Instant::ZERO,
            unix: stepped(UNIX_TIME_AT_EPOCH, ahead_ms),
            drift_ppm,
        }
    }

    /// What it says.
    pub fn unix(&self, now: Instant) -> UnixTime {
        let since = i128::try_from(now.saturating_since(self.at).as_nanos()).unwrap_or(i128::MAX);
        let shown = since.saturating_mul(1_000_000 + i128::from(self.drift_ppm)) / 1_000_000;
        stepped(
            self.unix,
            i64::try_from(shown / 1_000_000).unwrap_or(i64::MAX),
        )
    }

    /// It steps, and runs so much faster from now on.
    pub fn change(&mut self, now: Instant, step_ms: i64, drift_change_ppm: i64) {
        self.unix = stepped(self.unix(now), step_ms);
        self.at = now;
        self.drift_ppm = self.drift_ppm.saturating_add(drift_change_ppm);
    }
}

fn stepped(unix: UnixTime, ms: i64) -> UnixTime {
    UnixTime::from_millis(unix.as_millis().saturating_add_signed(ms))
}

/// What one life of a node is made from.
pub(crate) struct Context {
    pub(crate) setting: Rc<Setting>,
    pub(crate) id: NodeId,
    pub(crate) life: u16,
    pub(crate) clock: WallClock,
    pub(crate) limits: NodeLimits,
}

impl Context {
    /// The node's own chance in this life, beside that of its transport.
    pub(crate) fn random(&self) -> Random {
        let mut random = self.setting.streams.stream(Purpose::Node {
            node: self.id.0,
            life: self.life,
        });
        // The first words seed the transport.
        let _ = random.seed();
        random
    }

    /// What the node's wall clock would have said at the world's beginning.
    pub(crate) fn unix_at_zero(&self, now: Instant) -> UnixTime {
        let since = now.saturating_since(Instant::ZERO).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        UnixTime::from_millis(self.clock.unix(now).as_millis().saturating_sub(since))
    }

    /// What every session of a node is told and allowed.
    pub(crate) fn sessions() -> session::Config {
        session::Config {
            sessions_max: 10_000,
            ..session::Config::default()
        }
    }

    /// A session with a relay.
    pub(crate) fn request(
        &self,
        relay: NodeId,
        carrier: CarrierPlan,
        draft: u8,
        path: String,
    ) -> ConnectRequest {
        let host = host_name(relay);
        ConnectRequest {
            remote: addressed(relay, true, 0),
            target: Target {
                authority: format!("{host}:{PORT}"),
                path,
            },
            server_name: host,
            carrier: carrier.into(),
            protocols: crate::plan::protocol(draft).into_iter().collect(),
            trust: self.setting.identity.trust.clone(),
        }
    }
}

/// Pauses between attempts: doubled from a first to a longest one, spread over their upper half.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Self {
        Self { pause: Self::FIRST }
    }

    pub(crate) fn next(&mut self, random: &mut Random) -> Duration {
        let full = u64::try_from(self.pause.as_micros()).unwrap_or(u64::MAX);
        self.pause = (self.pause * 2).min(Self::LONGEST);
        Duration::from_micros(random.between(full / 2, full))
    }

    pub(crate) fn reset(&mut self) {
        self.pause = Self::FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_steps_and_drifts() {
        let second = |n| Instant::ZERO + Duration::from_secs(n);
        let mut clock = WallClock::new(-500, 100_000);
        let base = UNIX_TIME_AT_EPOCH.as_millis();
        assert_eq!(clock.unix(second(10)).as_millis(), base - 500 + 11_000);
        clock.change(second(10), 2_000, -100_000);
        assert_eq!(clock.unix(second(20)).as_millis(), base + 12_500 + 10_000);
    }

    #[test]
    fn hosts_have_names() {
        assert_eq!(node_of_host(&host_name(NodeId(12))), Some(NodeId(12)));
        assert_eq!(node_of_host("example.com"), None);
    }
}
