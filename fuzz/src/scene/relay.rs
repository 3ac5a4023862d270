//! The relay between several sessions, open to all or with tokens and stream keys.
//!
//! Header: policy and limits (1), cut seed (2). The owner answers questions about stream keys, takes
//! keys and inputs back, sets the clock, drains. Beyond the laws of the stage: tracks, namespaces and
//! bytes stay within their limits at every step, and when the last session is over nothing is left.
//! Source: ARCHITECTURE, section 3; `core/src/moqt/relay`.

use super::session;
use super::stage::{self, Subject};
use crate::input::Cursor;
use mainstem_core::jwt::{KeySet, SigningKey};
use mainstem_core::moqt::relay::{self, Config, OpId, Policy, Relay};
use mainstem_core::resolve::{self, Jwk, KeyStatus, Refusal, RefusalCode, ResolveReply};
use mainstem_core::time::{Instant, UnixTime};
use mainstem_core::transport::{Action, App, Input, SessionId, Side};
use std::collections::VecDeque;
use std::time::Duration;

/// The organisation of every token and input.
pub const ORG: &str = "o";
/// The input of every stream key.
pub const INPUT: &str = "lv_1";
/// The wall clock when a script begins.
pub const UNIX_START: UnixTime = UnixTime::from_secs(1_700_000_000);

/// Plays the input to a relay; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let how = input.byte();
    let cuts = input.short();
    let has_tokens = how & 1 == 1;
    if how & 2 == 0 {
        stage::compare(&input, cuts, || Owned::new(has_tokens, false));
    } else {
        stage::endure(&input, cuts, || Owned::new(has_tokens, true));
    }
}

/// The key that signs the seeds' tokens.
pub fn signing_key() -> SigningKey {
    SigningKey::ed25519("k1", &[7; 32])
}

fn jwk(status: KeyStatus) -> Jwk {
    signing_key().public_key().to_jwk("k1", ORG, status)
}

fn tight() -> Config {
    Config {
        sessions: session::config(true),
        cache_bytes_max: 400,
        cache_bytes_hard_max: 800,
        tracks_max: 2,
        namespaces_max: 2,
        namespaces_listed_max: 2,
        tracks_offered_max: 2,
        requests_held_max: 2,
        held_bytes_max: 300,
        ..Config::default()
    }
}

/// The relay and what its owner was asked.
struct Owned {
    relay: Relay,
    bounds: Config,
    questions: VecDeque<OpId>,
}

impl Owned {
    fn new(has_tokens: bool, is_tight: bool) -> Self {
        let bounds = if is_tight { tight() } else { Config::default() };
        let policy = if has_tokens {
            tokens(KeyStatus::Active)
        } else {
            Policy::Open
        };
        let mut relay = Relay::new(bounds.clone(), policy);
        relay.set_clock(Instant::from_nanos(1_000_000_000), UNIX_START);
        Self {
            relay,
            bounds,
            questions: VecDeque::new(),
        }
    }

    fn answer(&mut self, now: Instant, input: &mut Cursor<'_>) {
        let Some(op) = self.questions.pop_front() else {
            return;
        };
        let reply = ResolveReply {
            namespace: format!("stream/{ORG}/{INPUT}"),
            org: ORG.to_owned(),
            input: INPUT.to_owned(),
            expires_at: input
                .flag()
                .then(|| UNIX_START.as_secs() + u64::from(input.byte())),
            credential: "v1".to_owned(),
            policy: resolve::Policy {
                ingest: resolve::IngestKind::Fmp4,
                recheck_secs: 60,
            },
        };
        let refusal = Refusal {
            code: RefusalCode::WrongStreamKey,
            message: "wrong stream key".to_owned(),
        };
        let answer = if input.byte() % 4 == 3 {
            Err(refusal)
        } else {
            Ok(reply)
        };
        self.relay.resolved(now, op, answer);
    }
}

fn tokens(status: KeyStatus) -> Policy {
    Policy::Tokens {
        keys: KeySet::from_jwks(&[jwk(status)]).0,
        skew: Duration::from_secs(5),
    }
}

impl App for Owned {
    type Event = relay::Event;

    fn handle(&mut self, now: Instant, input: Input) {
        self.relay.handle(now, input);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.relay.handle_timeout(now);
    }

    fn poll(&mut self) -> Option<Action<relay::Event>> {
        self.relay.poll()
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.relay.next_timeout()
    }
}

impl Subject for Owned {
    const SIDE: Side = Side::Server;

    fn command(&mut self, now: Instant, _: SessionId, input: &mut Cursor<'_>) {
        match input.byte() % 8 {
            0..=2 => self.answer(now, input),
            3 => {
                let valid = ["v1".to_owned()];
                let valid = if input.flag() { &valid[..] } else { &[] };
                self.relay.revoke_input(now, ORG, INPUT, valid);
            }
            4 => {
                let status = [KeyStatus::Active, KeyStatus::Inactive];
                self.relay.set_policy(now, tokens(input.one_of(&status)));
            }
            5 => {
                let seconds = Duration::from_secs(u64::from(input.byte()));
                self.relay.set_clock(now, UNIX_START + seconds);
            }
            6 => {
                let timeout = Duration::from_millis(10 * u64::from(input.byte()));
                self.relay.drain(now, "moqt://other.test", timeout);
            }
            _ if input.byte() > 200 => self.relay.close_all("shut down"),
            _ => self.relay.log_all(input.flag()),
        }
    }

    fn hear(&mut self, _: Instant, event: relay::Event) {
        if let relay::Event::Resolve { op, .. } = &event {
            self.questions.push_back(*op);
        }
        let _ = format!("{event:?}");
    }

    fn check_bounds(&self) {
        let metrics = self.relay.metrics();
        assert!(metrics.tracks <= self.bounds.tracks_max, "{metrics:?}");
        assert!(
            metrics.namespaces <= self.bounds.namespaces_max,
            "{metrics:?}"
        );
        assert!(
            metrics.cache_bytes <= self.bounds.cache_bytes_hard_max,
            "{metrics:?}"
        );
    }

    fn check_empty(&mut self) {
        let metrics = self.relay.metrics();
        let left = [
            metrics.sessions,
            metrics.tracks,
            metrics.namespaces,
            metrics.upstream_subscriptions,
            metrics.downstream_subscriptions,
            metrics.fetches,
            metrics.cache_bytes,
            metrics.groups_evictable,
            self.relay.live_inputs().len(),
        ];
        assert_eq!(left, [0; 9], "left behind: {metrics:?}");
    }
}
