//! Who is a member: default deny.

use super::{SECRET, World, all, name};
use bytes::Bytes;
use mainstem_core::moqt::error::{RequestCode, SessionCode};
use mainstem_core::moqt::message::{Setup, SetupOption};
use mainstem_core::moqt::name::TrackNamespace;
use mainstem_core::moqt::parameter::{AuthorizationToken, Parameters};
use mainstem_core::moqt::relay::mesh::{News, RelayId, credential};
use mainstem_core::moqt::session::{self, Event, Sessions};
use mainstem_core::moqt::subscriber::Subscriber;
use mainstem_core::time::Instant;
use mainstem_core::transport::{Action, App, Closed, Input, SessionId};

/// A peer that says what the test wants.
struct Forger {
    sessions: Sessions,
    setup: Setup,
}

impl App for Forger {
    type Event = (SessionId, Event);

    fn handle(&mut self, now: Instant, input: Input) {
        if let Input::Opened { session, .. } = &input {
            self.sessions.prepare(*session, self.setup.clone());
        }
        self.sessions.handle(now, input);
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.sessions.handle_timeout(now);
    }
    fn poll(&mut self) -> Option<Action<Self::Event>> {
        match self.sessions.poll_output() {
            Some(output) => Some(Action::Transport(output)),
            None => self.sessions.poll_event().map(Action::Event),
        }
    }
    fn next_timeout(&self) -> Option<Instant> {
        self.sessions.next_timeout()
    }
}

fn forger(secret: &str, id: Option<RelayId>) -> Forger {
    let mut setup = Setup::default();
    if let Some(id) = id {
        let id = Bytes::copy_from_slice(&id.0);
        setup.options.push(SetupOption::Bytes {
            key: credential::RELAY_ID_OPTION,
            value: id,
        });
    }
    setup
        .authorization_tokens
        .push(AuthorizationToken::UseValue {
            token_type: credential::SECRET_TOKEN_TYPE,
            value: Bytes::copy_from_slice(secret.as_bytes()),
        });
    let config = session::Config {
        sessions_max: 4,
        ..session::Config::default()
    };
    Forger {
        sessions: Sessions::new(config),
        setup,
    }
}

#[test]
fn a_wrong_mesh_credential_ends_the_session_unauthorized() {
    let id = Some(RelayId([9; 16]));
    for (here, shown, id) in [
        (Some(SECRET), "guessed", id),
        (Some(SECRET), "", id),
        (Some(SECRET), SECRET, None),
        (None, SECRET, id),
        (None, "", id),
    ] {
        let mut world = World::new();
        world.relay_with("a", &[], here, true);
        let (node, forger) = world.net.add(forger(shown, id));
        world.net.connect(node, world.relays["a"].0, "moqt-22", "/");
        let closed = forger
            .borrow()
            .events
            .iter()
            .find_map(|(_, event)| match event {
                Event::Closed(Closed::Application { code, reason, .. }) => {
                    Some((*code, reason.clone()))
                }
                _ => None,
            });
        let (code, reason) = closed.unwrap();
        assert_eq!(SessionCode(code), SessionCode::UNAUTHORIZED);
        assert!(reason.starts_with("auth_failed") && !reason.contains(SECRET));
    }
}

#[test]
fn a_relay_with_another_secret_is_no_member_and_keeps_trying_with_pauses() {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay_with("b", &["a"], Some("another"), true);
    world.publisher("a");
    world.advance(std::time::Duration::from_secs(5));
    assert_eq!(world.metrics("b").namespaces, 0);
    assert_eq!(world.metrics("a").sessions_denied.min(2), 2);
}

#[test]
fn the_secret_is_not_shown_to_an_upstream_that_is_no_member() {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay_with("b", &["a"], Some(SECRET), false);
    // A knows it as a client like any other: announced without hops, and no member.
    let broadcast = world.publisher("b");
    let viewer = world.watch("a");
    world.publish(&broadcast, 1, 0..2);
    assert_eq!(viewer.seen(), all(1, 0..2));
    assert!(!world.news.contains_key("a"));
    assert_eq!(world.news["b"], [News::PlainUp]);
}

fn replace_secret(world: &mut World, at: &str, secret: &str) {
    let now = world.net.now;
    let relay = std::rc::Rc::clone(&world.relays[at].1);
    let secret = Some(mainstem_core::resolve::Secret::new(secret));
    relay.borrow_mut().app.set_mesh_secret(now, secret);
    world.settle();
}

#[test]
fn a_replaced_secret_ends_the_sessions_that_rest_on_the_old_one_and_the_new_one_brings_them_back() {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    let broadcast = world.publisher("a");
    let viewer = world.watch("b");
    world.publish(&broadcast, 1, 0..2);
    assert_eq!(world.metrics("a").mesh.members, 1);
    assert_eq!(world.metrics("b").mesh.routes, 1);
    replace_secret(&mut world, "a", SECRET);
    assert_eq!(world.metrics("a").mesh.members, 1, "it is the same");
    replace_secret(&mut world, "a", "another secret");
    world.advance(std::time::Duration::from_secs(3));
    assert_eq!(world.metrics("a").mesh.members, 0, "the old one is refused");
    assert_eq!(world.metrics("b").mesh.routes, 0);
    assert!(world.metrics("a").sessions_denied > 0);
    replace_secret(&mut world, "b", "another secret");
    world.publish(&broadcast, 1, 2..4);
    world.advance(std::time::Duration::from_secs(6));
    assert_eq!(world.metrics("a").mesh.members, 1);
    assert_eq!(world.metrics("b").mesh.routes, 1);
    assert_eq!(viewer.seen(), all(1, 0..4), "its viewer has waited");
}

#[test]
fn secrets_stand_in_no_debug_output() {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    for at in ["a", "b"] {
        let shown = format!("{:?}", world.relays[at].1.borrow().app);
        assert!(!shown.contains(SECRET), "at {at}");
    }
}

#[test]
fn forged_hop_lists_are_refused_and_leave_nothing_behind() {
    let sender = RelayId([9; 16]);
    let (own, third) = (RelayId([1; 16]), RelayId([3; 16]));
    let list = |hops: &[RelayId]| -> Vec<u8> { hops.iter().flat_map(|hop| hop.0).collect() };
    let long: Vec<RelayId> = (9..20).map(|byte| RelayId([byte; 16])).collect();
    let cases = [
        (None, RequestCode::MALFORMED_AUTH_TOKEN),
        (Some(vec![]), RequestCode::MALFORMED_AUTH_TOKEN),
        (Some(vec![9; 17]), RequestCode::MALFORMED_AUTH_TOKEN),
        (Some(list(&long)), RequestCode::MALFORMED_AUTH_TOKEN),
        (
            Some(list(&[sender, third, third])),
            RequestCode::MALFORMED_AUTH_TOKEN,
        ),
        (Some(list(&[third])), RequestCode::UNAUTHORIZED),
        (Some(list(&[sender, own])), RequestCode::UNINTERESTED),
    ];
    for (hops, expected) in cases {
        let mut world = World::new();
        world.relay("a", &[]);
        let (node, forger) = world.net.add(forger(SECRET, Some(sender)));
        let (session, _) = world.net.connect(node, world.relays["a"].0, "moqt-22", "/");
        let parameters = Parameters {
            authorization_tokens: hops
                .into_iter()
                .map(|hops| AuthorizationToken::UseValue {
                    token_type: 0x6d68_6f70,
                    value: hops.into(),
                })
                .collect(),
            ..Parameters::default()
        };
        let namespace = TrackNamespace::from_path("stream/org_1/lv_1").unwrap();
        forger
            .borrow_mut()
            .app
            .sessions
            .session_mut(session)
            .unwrap()
            .publish_namespace(namespace, parameters)
            .unwrap();
        world.settle();
        let refused = forger
            .borrow()
            .events
            .iter()
            .find_map(|(_, event)| match event {
                Event::Rejected { error, .. } => Some(error.code),
                _ => None,
            });
        assert_eq!(refused, Some(expected));
        assert_eq!(world.metrics("a").namespaces, 0);
        let refusals = &world.news["a"];
        assert!(
            refusals
                .iter()
                .any(|news| matches!(news, News::RouteRefused { .. }))
        );
    }
}

#[test]
fn a_viewers_token_is_judged_at_its_own_relay_and_goes_no_further() {
    let mut world = World::new();
    let guarded = || crate::house::policy(&["k1"], &[]);
    world.relay("a", &[]);
    world.relay_of("b", &["a"], Some(SECRET), true, guarded());
    world.relay_of("c", &["b"], Some(SECRET), true, guarded());
    let broadcast = world.publisher("a");
    world.publish(&broadcast, 1, 0..2);
    assert!(world.watch("c").is_ended(), "without a token");
    let edge = world.relays["c"].0;
    let (id, node) = world.net.add(Subscriber::new(super::sessions()));
    let token = crate::house::token("k1", crate::house::INPUT, 3600);
    let path = format!("/playback/lv_1?tok={token}");
    let (session, _) = world.net.connect(id, edge, "moqt-22", &path);
    let asked = node
        .borrow_mut()
        .app
        .subscribe(session, name("video"), Parameters::default());
    asked.unwrap();
    world.settle();
    let viewer = super::Viewer { node, session };
    assert_eq!(viewer.seen(), all(1, 0..2));
    // An input that is deleted ends its viewers, and not the sessions that relays have.
    let now = world.net.now;
    for at in ["b", "c"] {
        let relay = std::rc::Rc::clone(&world.relays[at].1);
        relay
            .borrow_mut()
            .app
            .revoke_input(now, crate::house::ORG, crate::house::INPUT, &[]);
    }
    world.settle();
    assert!(viewer.is_ended());
    assert_eq!(world.metrics("b").sessions, 2, "its neighbours");
}
