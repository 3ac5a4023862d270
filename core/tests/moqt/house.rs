//! A relay that asks for credentials, with keys of its own, a wall clock and a control plane that
//! the test plays; and peers that come to it by address.

use crate::net::{Net, Node, NodeId};
use bytes::Bytes;
use mainstem_core::jwt::{self, Claims, KeySet, SigningKey, VerifyingKey};
use mainstem_core::moqt::message::Message;
use mainstem_core::moqt::name::{FullTrackName, RequestId, TrackName, TrackNamespace};
use mainstem_core::moqt::parameter::{AuthorizationToken, Parameters};
use mainstem_core::moqt::relay::{Config, Event, Policy, Relay};
use mainstem_core::moqt::session::{self, Event as SessionEvent, Sessions};
use mainstem_core::moqt::subscriber::{self, Subscriber};
use mainstem_core::resolve::{self, Refusal, ResolveReply, ResolveRequest};
use mainstem_core::time::{Instant, UnixTime};
use mainstem_core::transport::{Action, App, Closed, Input, SessionId};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub(crate) const ORG: &str = "org_1";
pub(crate) const INPUT: &str = "lv_1";
pub(crate) const STREAM_KEY: &str = "sk_live_secret";
pub(crate) const EPOCH: UnixTime = UnixTime::from_secs(1_800_000_000);

pub(crate) fn session_config() -> session::Config {
    session::Config {
        sessions_max: 1_000,
        ..session::Config::default()
    }
}

pub(crate) fn track_name(namespace: &str, track: &str) -> FullTrackName {
    let namespace = TrackNamespace::from_path(namespace).unwrap();
    let name = TrackName(Bytes::copy_from_slice(track.as_bytes()));
    FullTrackName::new(namespace, name).unwrap()
}

/// A signing key of the test's organisation.
pub(crate) fn signing_key(kid: &str) -> SigningKey {
    let mut secret = [7; 32];
    secret[0] = kid.len().to_le_bytes()[0];
    secret[1] = kid.as_bytes()[kid.len() - 1];
    SigningKey::ed25519(kid, &secret)
}

pub(crate) fn policy(active: &[&str], inactive: &[&str]) -> Policy {
    let mut keys = KeySet::new();
    let with_state = active.iter().map(|kid| (kid, true));
    for (kid, active) in with_state.chain(inactive.iter().map(|kid| (kid, false))) {
        keys.insert(VerifyingKey {
            kid: (*kid).to_owned(),
            org: ORG.to_owned(),
            active,
            key: signing_key(kid).public_key(),
        })
        .unwrap();
    }
    Policy::Tokens {
        keys,
        skew: Duration::ZERO,
    }
}

pub(crate) fn token(kid: &str, input: &str, ttl_secs: u64) -> String {
    let ttl = Duration::from_secs(ttl_secs);
    let claims = Claims::playback("mainstem", ORG, &[input], EPOCH, ttl);
    jwt::mint(&signing_key(kid), &claims, EPOCH).unwrap()
}

pub(crate) fn good_reply() -> ResolveReply {
    ResolveReply {
        namespace: format!("stream/{ORG}/{INPUT}"),
        org: ORG.to_owned(),
        input: INPUT.to_owned(),
        expires_at: None,
        credential: "cred_1".to_owned(),
        policy: resolve::Policy {
            ingest: resolve::IngestKind::Fmp4,
            recheck_secs: 60,
        },
    }
}

/// The world of a test.
pub(crate) struct House {
    pub(crate) net: Net,
    pub(crate) relay_id: NodeId,
    pub(crate) relay: Rc<RefCell<Node<Relay>>>,
    answered: usize,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let mut net = Net::new(11);
        let (relay_id, relay) = net.add(Relay::new(config, policy(&["k1"], &[])));
        relay.borrow_mut().app.set_clock(net.now, EPOCH);
        Self {
            net,
            relay_id,
            relay,
            answered: 0,
        }
    }

    /// Acts on the relay as its owner.
    pub(crate) fn command(&mut self, act: impl FnOnce(&mut Relay, Instant)) {
        act(&mut self.relay.borrow_mut().app, self.net.now);
        self.net.settle();
    }

    /// The questions of the relay that were not answered yet, answered.
    pub(crate) fn answer(
        &mut self,
        mut reply: impl FnMut(&ResolveRequest) -> Result<ResolveReply, Refusal>,
    ) -> usize {
        let events: Vec<Event> = self.relay.borrow().events[self.answered..].to_vec();
        self.answered += events.len();
        let mut count = 0;
        for event in events {
            if let Event::Resolve { op, request } = event {
                count += 1;
                let answer = reply(&request);
                self.command(|relay, now| relay.resolved(now, op, answer));
            }
        }
        count
    }

    /// What the control plane was asked so far.
    pub(crate) fn resolve_calls(&self) -> usize {
        let relay = self.relay.borrow();
        let is_question = |event: &&Event| matches!(event, Event::Resolve { .. });
        relay.events.iter().filter(is_question).count()
    }

    /// A peer at an address of the relay.
    pub(crate) fn peer(&mut self, draft: &str, path: &str) -> Peer {
        let (id, node) = self.net.add(Sdk {
            sessions: Sessions::new(session_config()),
        });
        let (session, _) = self.net.connect(id, self.relay_id, draft, path);
        Peer { id, node, session }
    }

    /// A publisher whose stream key is good.
    pub(crate) fn publisher(&mut self, draft: &str) -> Peer {
        let peer = self.peer(draft, &format!("/publish/{INPUT}?sk={STREAM_KEY}"));
        self.answer(|_| Ok(good_reply()));
        peer
    }

    /// A viewer of one track, by a token in its address where `query` has one.
    pub(crate) fn viewer(&mut self, draft: &str, query: &str, track: &FullTrackName) -> Watcher {
        let (id, node) = self.net.add(Subscriber::new(session_config()));
        let path = format!("/playback/{INPUT}{query}");
        let (session, _) = self.net.connect(id, self.relay_id, draft, &path);
        let watcher = Watcher { id, node, session };
        watcher.subscribe(track, Vec::new());
        self.net.settle();
        watcher
    }

    /// A viewer of a track with a good token that holds for an hour.
    pub(crate) fn good_viewer(&mut self, draft: &str, track: &FullTrackName) -> Watcher {
        let query = format!("?tok={}", token("k1", INPUT, 3600));
        self.viewer(draft, &query, track)
    }

    /// The same, who waits half a minute for a publisher.
    pub(crate) fn patient_viewer(&mut self, draft: &str, track: &FullTrackName) -> Watcher {
        let (id, node) = self.net.add(Subscriber::new(session_config()));
        let path = format!("/playback/{INPUT}?tok={}", token("k1", INPUT, 3600));
        let (session, _) = self.net.connect(id, self.relay_id, draft, &path);
        let watcher = Watcher { id, node, session };
        let parameters = Parameters {
            rendezvous_timeout_ms: Some(30_000),
            ..Parameters::default()
        };
        watcher.subscribe_with(track, parameters);
        self.net.settle();
        watcher
    }
}

/// A peer that the test plays message by message.
pub(crate) struct Sdk {
    pub(crate) sessions: Sessions,
}

impl App for Sdk {
    type Event = (SessionId, SessionEvent);

    fn handle(&mut self, now: Instant, input: Input) {
        self.sessions.handle(now, input);
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.sessions.handle_timeout(now);
    }
    fn poll(&mut self) -> Option<Action<Self::Event>> {
        if let Some(output) = self.sessions.poll_output() {
            return Some(Action::Transport(output));
        }
        self.sessions.poll_event().map(Action::Event)
    }
    fn next_timeout(&self) -> Option<Instant> {
        self.sessions.next_timeout()
    }
}

pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) node: Rc<RefCell<Node<Sdk>>>,
    pub(crate) session: SessionId,
}

impl Peer {
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut session::Session) -> R) -> R {
        let mut node = self.node.borrow_mut();
        act(node.app.sessions.session_mut(self.session).unwrap())
    }

    pub(crate) fn publish(&self, track: &FullTrackName) -> RequestId {
        self.act(|session| {
            let (parameters, properties) = (Parameters::default(), <_>::default());
            session.publish(track.clone(), parameters, properties)
        })
        .unwrap()
    }

    pub(crate) fn announce(&self, namespace: &str) -> RequestId {
        let namespace = TrackNamespace::from_path(namespace).unwrap();
        self.act(|session| session.publish_namespace(namespace, Parameters::default()))
            .unwrap()
    }

    pub(crate) fn is_accepted(&self, wanted: RequestId) -> bool {
        self.has(
            |event| matches!(event, SessionEvent::Accepted { request, .. } if *request == wanted),
        )
    }

    pub(crate) fn refusal(&self, wanted: RequestId) -> Option<String> {
        self.find(|event| match event {
            SessionEvent::Rejected { request, error } if *request == wanted => {
                Some(format!("{}: {}", error.code, error.reason))
            }
            _ => None,
        })
    }

    /// Whether a request of the relay waits for an answer.
    pub(crate) fn is_pending(&self, wanted: RequestId) -> bool {
        let request = self.act(|session| session.request(wanted).cloned());
        request.is_some_and(|request| !request.is_established())
    }

    /// The tracks that the relay asked for, and how it asks for them.
    pub(crate) fn asked(&self) -> Vec<(RequestId, FullTrackName)> {
        let node = self.node.borrow();
        let asked = node.events.iter().filter_map(|(_, event)| match event {
            SessionEvent::Request {
                request,
                message: Message::Subscribe(subscribe),
            } => Some((*request, subscribe.track.clone())),
            _ => None,
        });
        asked.collect()
    }

    pub(crate) fn closed(&self) -> Option<String> {
        self.find(|event| match event {
            SessionEvent::Closed(closed) => Some(words(closed)),
            _ => None,
        })
    }

    pub(crate) fn has(&self, wanted: impl Fn(&SessionEvent) -> bool) -> bool {
        self.find(|event| wanted(event).then_some(())).is_some()
    }

    pub(crate) fn find<T>(&self, wanted: impl Fn(&SessionEvent) -> Option<T>) -> Option<T> {
        let node = self.node.borrow();
        node.events.iter().find_map(|(_, event)| wanted(event))
    }
}

/// A viewer of single tracks.
pub(crate) struct Watcher {
    pub(crate) id: NodeId,
    pub(crate) node: Rc<RefCell<Node<Subscriber>>>,
    pub(crate) session: SessionId,
}

impl Watcher {
    pub(crate) fn subscribe(&self, track: &FullTrackName, tokens: Vec<String>) {
        let authorization_tokens = tokens
            .into_iter()
            .map(|token| AuthorizationToken::UseValue {
                token_type: 0,
                value: token.into(),
            })
            .collect();
        let parameters = Parameters {
            authorization_tokens,
            ..Parameters::default()
        };
        self.subscribe_with(track, parameters);
    }

    pub(crate) fn subscribe_with(&self, track: &FullTrackName, parameters: Parameters) {
        let mut node = self.node.borrow_mut();
        node.app
            .subscribe(self.session, track.clone(), parameters)
            .unwrap();
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.find(|event| matches!(event, subscriber::Event::Accepted { .. }).then_some(()))
            .is_some()
    }

    pub(crate) fn refusal(&self) -> Option<String> {
        self.find(|event| match event {
            subscriber::Event::Rejected { error, .. } => {
                Some(format!("{}: {}", error.code, error.reason))
            }
            _ => None,
        })
    }

    pub(crate) fn ended(&self) -> Option<String> {
        self.find(|event| match event {
            subscriber::Event::Ended { reason, .. } => Some(reason.clone()),
            _ => None,
        })
    }

    pub(crate) fn closed(&self) -> Option<String> {
        self.find(|event| match event {
            subscriber::Event::Closed { closed, .. } => Some(words(closed)),
            _ => None,
        })
    }

    fn find<T>(&self, wanted: impl Fn(&subscriber::Event) -> Option<T>) -> Option<T> {
        self.node.borrow().events.iter().find_map(wanted)
    }
}

fn words(closed: &Closed) -> String {
    match closed {
        Closed::Application { code, reason, .. } => format!("0x{code:x}: {reason}"),
        Closed::Transport { reason } => reason.clone(),
    }
}
