//! Mutated MoQT sessions against whole machines: no panic, a code for every close, bounded memory,
//! and the sessions beside them undisturbed.
//!
//! `MAINSTEM_MUTATIONS` sets how many (default 2,000; the gate uses 20,000). The only test of its
//! binary, because it measures the peak of the whole process.
#![expect(
    clippy::unwrap_used,
    reason = "a failed expectation is a test's way of speaking"
)]

mod captures;
mod damage;
mod fetcher;
mod legacy;
#[allow(
    dead_code,
    reason = "shared with the tests that cut and stall sessions"
)]
#[path = "../moqt/net.rs"]
mod net;

use captures::{Capture, config, name};
use damage::Dice;
use fetcher::Fetcher;
use mainstem_core::moqt::error::SessionCode;
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::Publisher;
use mainstem_core::moqt::relay::{self, Policy, Relay};
use mainstem_core::moqt::subscriber::{self, Subscriber};
use mainstem_core::moqt::track::{self, cache::SubgroupInfo};
use mainstem_core::transport::{Action, App, Input};
use net::{Net, Node, NodeId};
use peak_alloc::PeakAlloc;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Most memory that one mutated session of at most some 10 kB may take while it lasts.
const PEAK_BYTES_MAX: usize = 1 << 20;
/// What may stay behind a session: nothing but what containers keep for their next use.
const KEPT_BYTES_MAX: usize = 256 << 10;

const INFO: SubgroupInfo = SubgroupInfo {
    priority: None,
    has_properties: false,
    end_of_group: true,
    first_object: true,
};

/// A relay with one honest publisher and one honest viewer.
struct World {
    net: Net,
    relay: (NodeId, Rc<RefCell<Node<Relay>>>),
    publisher: Rc<RefCell<Node<Publisher>>>,
    viewer: Rc<RefCell<Node<Subscriber>>>,
    published: Vec<(u64, u64)>,
}

impl World {
    fn new(draft: &str) -> Self {
        let mut net = Net::new(7);
        let relay = net.add(Relay::new(relay::Config::default(), Policy::Open));
        let (publisher_id, publisher) = net.add(Publisher::new(config(), track::Limits::default()));
        let (viewer_id, viewer) = net.add(Subscriber::new(config()));
        let track = name("honest", "video");
        {
            let app = &mut publisher.borrow_mut().app;
            app.announce(net.now, track.namespace.clone());
            app.create_track(track.clone(), Properties::default());
        }
        net.connect(publisher_id, relay.0, draft, "/");
        let (session, _) = net.connect(viewer_id, relay.0, draft, "/");
        let app = &mut viewer.borrow_mut().app;
        app.subscribe(session, track, Parameters::default())
            .unwrap();
        Self {
            net,
            relay,
            publisher,
            viewer: Rc::clone(&viewer),
            published: Vec::new(),
        }
    }

    /// Publishes the next object, in groups of eight, and sees it arrive.
    fn publish(&mut self, context: &str) {
        let count = self.published.len() as u64;
        let place = (count / 8, count % 8);
        let object = Object {
            group: place.0,
            object: place.1,
            subgroup: Some(0),
            payload: bytes::Bytes::from(vec![7; 100]).into(),
            ..Object::default()
        };
        self.published.push(place);
        {
            let app = &mut self.publisher.borrow_mut().app;
            let track = name("honest", "video");
            app.publish(self.net.now, &track, INFO, object);
            if place.1 == 7 {
                app.end_subgroup(self.net.now, &track, place.0, 0);
            }
        }
        self.net.settle();
        let mut viewer = self.viewer.borrow_mut();
        let arrived = viewer.events.drain(..).any(|event| match event {
            subscriber::Event::Object { object, .. } => (object.group, object.object) == place,
            _ => false,
        });
        assert!(arrived, "{context}: {place:?} did not arrive");
    }

    /// Feeds a session to the relay while the honest ones go on. Returns whether it was closed upon.
    fn attack(&mut self, inputs: Vec<Input>, context: &str) -> bool {
        let session = self.net.open_loose(self.relay.0);
        let middle = inputs.len() / 2;
        for (index, input) in inputs.into_iter().enumerate() {
            self.net
                .feed(self.relay.0, damage::for_session(input, session));
            if index == middle {
                self.publish(context);
            }
        }
        let closed = self.net.end_loose(self.relay.0, session);
        check_close(closed.as_ref(), context);
        self.publish(context);
        closed.is_some()
    }

    /// Nothing of the mutated sessions is left.
    fn check_empty(&mut self) {
        self.net.advance(Duration::from_mins(1));
        let metrics = self.relay.1.borrow().app.metrics();
        assert_eq!(metrics.sessions, 2);
        assert_eq!((metrics.tracks, metrics.namespaces), (1, 1));
        assert_eq!(metrics.upstream_subscriptions, 1);
        assert_eq!(metrics.downstream_subscriptions, 1);
    }
}

fn check_close(closed: Option<&(u64, String)>, context: &str) {
    if let Some((code, reason)) = closed {
        let code = SessionCode(*code);
        assert!(code.name().is_some(), "{context}: {code}");
        let is_ours = matches!(code, SessionCode::INTERNAL_ERROR | SessionCode::NO_ERROR);
        let unknown_version = reason == "unknown protocol version";
        assert!(!is_ours || unknown_version, "{context}: {code} {reason}");
        assert!(!reason.is_empty(), "{context}: {code}");
    }
}

/// Feeds a session to a client's machine by itself. Returns whether it was closed upon.
fn attack_client<A: App>(
    app: &mut A,
    inputs: Vec<Input>,
    context: &str,
    ready: fn(&mut A),
) -> bool {
    let mut now = captures::START;
    let mut closed = None;
    for input in inputs {
        app.handle(now, damage::for_session(input, captures::CLIENT));
        now = now + Duration::from_millis(50);
        while app.next_timeout().is_some_and(|at| at <= now) {
            app.handle_timeout(now);
        }
        ready(app);
        while let Some(action) = app.poll() {
            if let Action::Transport(mainstem_core::transport::Output::Close {
                code, reason, ..
            }) = action
            {
                closed = Some((code, reason));
            }
        }
    }
    check_close(closed.as_ref(), context);
    closed.is_some()
}

fn attack_subscriber(inputs: Vec<Input>, context: &str) -> bool {
    let mut subscriber = Subscriber::new(config());
    attack_client(&mut subscriber, inputs, context, |app| {
        while let Some(event) = app.poll_event() {
            if let subscriber::Event::Ready { session } = event {
                let track = name("other", "video");
                // The session may be closed by now.
                let _ = app.subscribe(session, track, Parameters::default());
            }
        }
    })
}

fn attack_fetcher(target: captures::Target, inputs: Vec<Input>, context: &str) -> bool {
    let mut fetcher = Fetcher::new(target == captures::Target::Fetcher);
    attack_client(&mut fetcher, inputs, context, |_| {})
}

fn attack_publisher(inputs: Vec<Input>, context: &str) -> bool {
    let track = name("other", "video");
    let mut publisher = Publisher::new(config(), track::Limits::default());
    publisher.announce(captures::START, track.namespace.clone());
    publisher.create_track(track.clone(), Properties::default());
    for place in 0..4 {
        let object = Object {
            group: place / 2,
            object: place % 2,
            subgroup: Some(0),
            payload: bytes::Bytes::from(vec![1; 50]).into(),
            ..Object::default()
        };
        publisher.publish(captures::START, &track, INFO, object);
    }
    attack_client(&mut publisher, inputs, context, |_| {})
}

#[test]
fn mutated_sessions_end_with_a_code_and_disturb_nobody() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how much to test is for the caller to say"
    )]
    let count = std::env::var("MAINSTEM_MUTATIONS").map_or(2_000, |count| count.parse().unwrap());
    let captures = Capture::all();
    for capture in &captures {
        // Unharmed, every capture is a session that nobody closes. Two have answers to requests that
        // the machine does not make this time: where answers name their requests, that is a fault.
        let name = capture.name.as_str();
        let answers_nothing =
            ["publisher at moqt-16", "relay's serving at moqt-16"].contains(&name);
        let mut world = World::new("moqt-22");
        let closed = match capture.target {
            captures::Target::Relay => world.attack(capture.inputs.clone(), &capture.name),
            captures::Target::Subscriber => {
                attack_subscriber(capture.inputs.clone(), &capture.name)
            }
            captures::Target::Publisher => attack_publisher(capture.inputs.clone(), &capture.name),
            target => attack_fetcher(target, capture.inputs.clone(), &capture.name),
        };
        assert_eq!(closed, answers_nothing, "{}", capture.name);
        world.check_empty();
    }
    let (mut closed, mut worst_peak) = (0_u64, 0);
    let mut world = World::new("moqt-22");
    for seed in 1..=count {
        if seed % 500 == 0 {
            world.check_empty();
            world = World::new(["moqt-18", "moqt-22"][usize::try_from(seed / 500 % 2).unwrap()]);
        }
        let mut dice = Dice::new(seed);
        let capture = &captures[dice.roll(captures.len())];
        let inputs = damage::damaged(capture, &captures, &mut dice);
        let context = format!("seed {seed}, {}", capture.name);
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let was_closed = match capture.target {
            captures::Target::Relay => world.attack(inputs, &context),
            captures::Target::Subscriber => attack_subscriber(inputs, &context),
            captures::Target::Publisher => attack_publisher(inputs, &context),
            target => attack_fetcher(target, inputs, &context),
        };
        let peak = ALLOCATOR.peak_usage().saturating_sub(before);
        assert!(peak <= PEAK_BYTES_MAX, "{context}: {peak} bytes");
        let kept = ALLOCATOR.current_usage().saturating_sub(before);
        assert!(kept <= KEPT_BYTES_MAX, "{context}: {kept} bytes are kept");
        worst_peak = worst_peak.max(peak);
        closed += u64::from(was_closed);
    }
    world.check_empty();
    println!("{count} sessions, {closed} closed upon, at most {worst_peak} bytes each");
    // Both ends of the range would prove little.
    assert!(
        closed > count / 10 && closed < count * 19 / 20,
        "{closed} of {count}"
    );
}
