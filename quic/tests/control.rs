//! Control and request streams beside data that uses up the connection's credit.

mod world;

use mainstem_core::moqt::session::CONTROL_PRIORITY;
use mainstem_core::transport::{Carrier, Input, Output, SessionId, StreamEvent};
use mainstem_quic::Limits;
use mainstem_spec_covers::covers;
use std::time::Duration;
use world::*;

const SOON: Duration = Duration::from_secs(5);
const WINDOW: u32 = 64 << 10;
const DATA_STREAMS: u64 = 6;
const STREAM_BYTES: usize = 200 << 10;
/// The most urgent that data may be.
const DATA_PRIORITY: i32 = i32::MAX - 2;

fn open_at(session: SessionId, index: u64, priority: i32) -> Output {
    Output::Open {
        session,
        stream: local(UNI, index),
        priority,
    }
}

/// A server that has opened its control stream, and been asked something on a stream of the client's
/// own; the client grants no more than a small window. The sessions' names at both ends.
fn world(carrier: Carrier) -> (World, SessionId, SessionId) {
    let small = Limits {
        receive_window: WINDOW,
        stream_receive_window: WINDOW,
        ..Limits::default()
    };
    let limits = [small, Limits::default()];
    let mut world = World::new(GOOD, limits, Probe::new(), Probe::new());
    let (client, server) = world.open(carrier);
    world.act(SERVER, open_at(server, 0, CONTROL_PRIORITY));
    world.act(SERVER, write(server, local(UNI, 0), "setup", false, false));
    world.act(CLIENT, open(client, local(BIDI, 0)));
    world.act(CLIENT, write(client, local(BIDI, 0), "ask", false, false));
    world.run_for(SOON);
    (world, client, server)
}

fn send_data(world: &mut World, server: SessionId) {
    for index in 1..=DATA_STREAMS {
        world.act(SERVER, open_at(server, index, DATA_PRIORITY));
        let bytes = vec![b'.'; STREAM_BYTES];
        world.act(SERVER, write(server, local(UNI, index), bytes, true, false));
    }
}

fn send_control(world: &mut World, server: SessionId) {
    let (control, answer) = (local(UNI, 0), peer(BIDI, 0));
    world.act(SERVER, write(server, control, "control", false, false));
    world.act(SERVER, write(server, answer, "answer", false, false));
}

/// How many bytes the client had got before this text, and all in all.
fn before(world: &World, text: &str) -> (Option<usize>, usize) {
    let (mut found, mut bytes) = (None, 0);
    for input in world.log(CLIENT) {
        if let Input::Stream {
            event: StreamEvent::Data(data),
            ..
        } = input
        {
            if data.ends_with(text.as_bytes()) {
                found = found.or(Some(bytes));
            }
            bytes += data.len();
        }
    }
    (found, bytes)
}

fn assert_ahead(world: &World, most: usize, what: &str) {
    for text in ["control", "answer"] {
        let (at, bytes) = before(world, text);
        assert!(bytes > 6 * STREAM_BYTES, "{what}: all arrives, {bytes}");
        let at = at.unwrap_or(usize::MAX);
        assert!(at <= most, "{what}: {text} came after {at} bytes");
    }
}

#[test]
fn control_and_answers_get_credit_before_data() {
    covers!("MOQT19-11.4.2-1");
    for carrier in CARRIERS {
        let (mut world, client, server) = world(carrier);
        let now = world.now;
        world.hosts[CLIENT].pause(now, client, true);
        send_data(&mut world, server);
        world.run_for(SOON);
        // The window is full, and more data waits than it can take.
        send_control(&mut world, server);
        world.run_for(SOON);
        assert_eq!(before(&world, "control").0, None);
        let now = world.now;
        world.hosts[CLIENT].pause(now, client, false);
        world.run_for(SOON);
        // What was under way, and no byte of data that got its credit later.
        assert_ahead(&world, 2 * WINDOW as usize, "paused");
    }
}

#[test]
fn data_that_nobody_awaits_keeps_no_credit_from_control() {
    covers!("MOQT19-11.4.2-1");
    for carrier in CARRIERS {
        let (mut world, _, server) = world(carrier);
        send_data(&mut world, server);
        // The window is full many times over, and never stays so: whatever arrives is read.
        world.run_for(Duration::from_millis(15));
        send_control(&mut world, server);
        world.run_for(SOON);
        assert_ahead(&world, 4 * WINDOW as usize, "flowing");
    }
}
