//! Back-pressure and bounds: what happens when one end does not keep up.

mod world;

use bytes::Bytes;
use mainstem_core::payload::Payload;
use mainstem_core::transport::{
    Carrier, Closed, Input, Origin, Output, SessionId, StreamEvent, StreamId,
};
use mainstem_quic::Limits;
use std::time::Duration;
use world::*;

const SOON: Duration = Duration::from_secs(5);

#[test]
fn streams_beyond_the_peers_credit_wait_and_arrive() {
    for carrier in CARRIERS {
        let limits = Limits {
            peer_uni_streams_max: 8,
            ..Limits::default()
        };
        let mut world = World::new(
            GOOD,
            [Limits::default(), limits],
            Probe::new(),
            Probe::new(),
        );
        let (client, _) = world.open(carrier);
        for index in 0..100 {
            let stream = local(UNI, index);
            world.act(CLIENT, open(client, stream));
            let text = format!("stream {index}");
            world.act(CLIENT, write(client, stream, text, true, true));
        }
        // One of those that wait is given up: it never arrives, the others do.
        world.act(
            CLIENT,
            Output::Reset {
                session: client,
                stream: local(UNI, 90),
                code: 1,
            },
        );
        world.run_for(SOON);
        let finished = |world: &World, host: usize, event: &StreamEvent| {
            let of = |input: &&Input| matches!(input, Input::Stream { event: e, .. } if e == event);
            world.log(host).iter().filter(of).count()
        };
        assert_eq!(finished(&world, SERVER, &StreamEvent::Finished), 99);
        assert_eq!(finished(&world, CLIENT, &StreamEvent::Writable), 99);
        let texts: Vec<String> = (0..99)
            .map(|index| String::from_utf8(world.hosts[SERVER].app().stream(peer(UNI, index)).0))
            .map(Result::unwrap)
            .collect();
        assert!(!texts.contains(&"stream 90".to_owned()));
    }
}

#[test]
fn too_many_waiting_streams_close_the_session() {
    let limits = Limits {
        pending_opens_max: 50,
        overload_code: 9,
        ..Limits::default()
    };
    let server = Limits {
        peer_uni_streams_max: 8,
        ..Limits::default()
    };
    let mut world = World::new(GOOD, [limits, server], Probe::new(), Probe::new());
    let (client, server) = world.open(Carrier::Quic);
    for index in 0..60 {
        world.act(CLIENT, open(client, local(UNI, index)));
    }
    world.run_for(SOON);
    for (host, session, by) in [
        (CLIENT, client, Origin::Local),
        (SERVER, server, Origin::Peer),
    ] {
        let closed = world.hosts[host].app().closed(session);
        assert!(
            matches!(closed, Some(Closed::Application { by: b, code: 9, .. }) if *b == by),
            "{closed:?}"
        );
    }
    assert_eq!(world.hosts[CLIENT].counters().overloads, 1);
}

/// Writes one notified megabyte after the other as long as they are taken.
fn flood(session: SessionId, stream: StreamId) -> Probe {
    let mut probe = Probe::new();
    let megabyte = Bytes::from(vec![1; 1 << 20]);
    probe.reaction = Some(Box::new(move |_, input, out| {
        if let Input::Stream {
            event: StreamEvent::Writable,
            ..
        } = input
        {
            out.push(write(session, stream, megabyte.clone(), false, true));
        }
    }));
    probe
}

#[test]
fn a_peer_that_stops_acknowledging_gets_no_more_than_the_window() {
    for carrier in CARRIERS {
        let mut world = World::new(GOOD, Default::default(), Probe::new(), Probe::new());
        world.hosts[SERVER].app_mut().forget_data = true;
        world.hosts[CLIENT].app_mut().forget_data = true;
        let (_, server) = world.open(carrier);
        let stream = local(UNI, 0);
        world.hosts[SERVER].app_mut().reaction = flood(server, stream).reaction;
        world.act(SERVER, open(server, stream));
        world.act(SERVER, write(server, stream, vec![0; 1 << 20], false, true));
        // Nothing is delivered: the client is frozen, the time stands still.
        let writable = |world: &World| {
            let is = |i: &&Input| {
                matches!(
                    i,
                    Input::Stream {
                        event: StreamEvent::Writable,
                        ..
                    }
                )
            };
            world.log(SERVER).iter().filter(is).count()
        };
        let window = Limits::default().send_window >> 20;
        assert!(writable(&world) as u64 <= window, "{}", writable(&world));
        // The client wakes up, and it goes on.
        world.run_for(SOON);
        assert!(world.hosts[CLIENT].app().received > 4 << 20);
    }
}

#[test]
fn a_session_that_is_not_drained_is_closed_and_others_go_on() {
    let limits = Limits {
        unsent_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let mut world = World::new(
        GOOD,
        [Limits::default(), limits],
        Probe::new(),
        Probe::new(),
    );
    let (first, server_first) = world.open(Carrier::Quic);
    let (_, server_second) = world.open(Carrier::WebTransport);
    world.act(SERVER, open(server_first, local(UNI, 0)));
    for _ in 0..8 {
        let part = vec![0; 512 << 10];
        world.act(
            SERVER,
            write(server_first, local(UNI, 0), part, false, false),
        );
    }
    world.act(SERVER, open(server_second, local(UNI, 0)));
    world.act(
        SERVER,
        write(server_second, local(UNI, 0), "alive", true, false),
    );
    world.run_for(SOON);
    let closed = world.hosts[CLIENT].app().closed(first);
    assert!(matches!(
        closed,
        Some(Closed::Application {
            by: Origin::Peer,
            code: 1,
            ..
        })
    ));
    assert_eq!(world.hosts[SERVER].counters().overloads, 1);
    let alive = world.log(CLIENT).iter().any(|input| {
        matches!(input, Input::Stream { event: StreamEvent::Data(data), .. } if data == "alive")
    });
    assert!(alive);
}

#[test]
fn notified_writes_are_answered_once_and_in_full() {
    for carrier in CARRIERS {
        let mut world = World::simple();
        let (client, _) = world.open(carrier);
        let stream = local(BIDI, 0);
        world.act(CLIENT, open(client, stream));
        let pieces: Vec<Bytes> = (0..100).map(|n| Bytes::from(vec![n; 777])).collect();
        let payload = Payload::from_pieces(pieces);
        for _ in 0..3 {
            world.act(
                CLIENT,
                Output::Write {
                    session: client,
                    stream,
                    head: Bytes::from_static(b"head"),
                    body: payload.clone(),
                    fin: false,
                    notify: true,
                },
            );
        }
        world.act(CLIENT, write(client, stream, Bytes::new(), true, false));
        world.run_for(SOON);
        let (_, events) = world.hosts[CLIENT].app().stream(stream);
        assert_eq!(events, vec![StreamEvent::Writable; 3]);
        let mut want = Vec::new();
        for _ in 0..3 {
            want.extend_from_slice(b"head");
            want.extend_from_slice(&payload.to_bytes());
        }
        let (data, events) = world.hosts[SERVER].app().stream(peer(BIDI, 0));
        assert!(data == want);
        assert_eq!(events, [StreamEvent::Finished]);
    }
}

#[test]
fn urgent_streams_overtake() {
    for carrier in CARRIERS {
        let mut world = World::simple();
        world.hosts[SERVER].app_mut().forget_data = true;
        let (client, _) = world.open(carrier);
        for (index, priority) in [(0, -5), (1, 5)] {
            let stream = local(UNI, index);
            world.act(
                CLIENT,
                Output::Open {
                    session: client,
                    stream,
                    priority,
                },
            );
            world.act(
                CLIENT,
                write(client, stream, vec![0; 900 << 10], true, false),
            );
        }
        world.run_for(Duration::from_secs(20));
        let order: Vec<StreamId> = world
            .log(SERVER)
            .iter()
            .filter_map(|input| match input {
                Input::Stream {
                    stream,
                    event: StreamEvent::Finished,
                    ..
                } => Some(*stream),
                _ => None,
            })
            .collect();
        assert_eq!(order.len(), 2);
        if carrier == Carrier::Quic {
            assert_eq!(order, [peer(UNI, 1), peer(UNI, 0)]);
        }
    }
}

#[test]
fn paused_peer_takes_a_window_and_goes_on_where_it_stopped() {
    for carrier in CARRIERS {
        let server = Limits {
            receive_window: 32 << 10,
            stream_receive_window: 32 << 10,
            ..Limits::default()
        };
        let mut world = World::new(
            GOOD,
            [Limits::default(), server],
            Probe::new(),
            Probe::new(),
        );
        let (client, at_server) = world.open(carrier);
        let now = world.now;
        world.hosts[SERVER].pause(now, at_server, true);
        world.act(CLIENT, open(client, local(UNI, 0)));
        let sent = vec![7; 200 << 10];
        world.act(
            CLIENT,
            write(client, local(UNI, 0), sent.clone(), true, true),
        );
        world.run_for(Duration::from_mins(1));
        let arrived = |world: &World| world.hosts[SERVER].app().stream(peer(UNI, 0)).0.len();
        // The connection outlives the pause: it is acknowledged, only not read.
        assert_eq!(arrived(&world), 0);
        assert_eq!(world.hosts[SERVER].counters().sessions_open, 1);
        let now = world.now;
        world.hosts[SERVER].pause(now, at_server, false);
        world.run_for(SOON);
        assert_eq!(arrived(&world), sent.len());
    }
}

#[test]
fn abandoned_session_ends_here_at_once_and_there_by_silence() {
    for carrier in CARRIERS {
        let limits = Limits {
            idle_timeout: Duration::from_secs(4),
            ..Limits::default()
        };
        let mut world = World::new(GOOD, [limits.clone(), limits], Probe::new(), Probe::new());
        let (client, _) = world.open(carrier);
        let now = world.now;
        world.hosts[CLIENT].abandon(now, client);
        assert!(world.hosts[CLIENT].is_idle());
        assert_eq!(world.hosts[SERVER].counters().sessions_open, 1);
        world.run_for(Duration::from_secs(20));
        assert_eq!(world.hosts[SERVER].counters().sessions_open, 0);
        assert!(world.hosts[SERVER].is_idle());
    }
}

#[test]
fn connections_of_one_address_are_bounded_and_freed() {
    let limits = Limits {
        connections_per_address_max: 2,
        ..Limits::default()
    };
    let mut world = World::new(
        GOOD,
        [Limits::default(), limits],
        Probe::new(),
        Probe::new(),
    );
    let (first, _) = world.open(Carrier::Quic);
    world.open(Carrier::WebTransport);
    let request = world.request(Carrier::Quic, &["moqt-22"]);
    let now = world.now;
    let third = world.hosts[CLIENT].connect(now, request.clone()).unwrap();
    world.run_for(SOON);
    assert!(world.hosts[CLIENT].app().closed(third).is_some());
    assert_eq!(
        world.hosts[SERVER].counters().connections_refused_address,
        1
    );
    world.act(
        CLIENT,
        Output::Close {
            session: first,
            code: 0,
            reason: String::new(),
        },
    );
    world.run_for(Duration::from_secs(30));
    world.open(Carrier::Quic);
    assert_eq!(world.hosts[SERVER].counters().sessions_open, 2);
    let figures = world.hosts[SERVER].figures();
    assert!(figures.packets_sent > 0);
    assert_eq!(figures.rtt.iter().sum::<u64>(), 2, "{figures:?}");
}

#[test]
fn payload_that_a_stalled_peer_pins_is_let_go_of_by_a_reset() {
    for carrier in CARRIERS {
        let server = Limits {
            receive_window: 32 << 10,
            ..Limits::default()
        };
        let mut world = World::new(
            GOOD,
            [Limits::default(), server],
            Probe::new(),
            Probe::new(),
        );
        let (client, at_server) = world.open(carrier);
        let now = world.now;
        world.hosts[SERVER].pause(now, at_server, true);
        let payload = Bytes::from(vec![7; 4 << 20]);
        world.act(CLIENT, open(client, local(UNI, 0)));
        world.act(
            CLIENT,
            Output::Write {
                session: client,
                stream: local(UNI, 0),
                head: Bytes::new(),
                body: Payload::from(payload.clone()),
                fin: true,
                notify: true,
            },
        );
        world.run_for(SOON);
        assert!(!payload.is_unique(), "the peer took a window of it only");
        assert!(world.hosts[CLIENT].figures().unsent_bytes > 1 << 20);
        world.act(
            CLIENT,
            Output::Reset {
                session: client,
                stream: local(UNI, 0),
                code: 2,
            },
        );
        world.run_for(SOON);
        assert_eq!(world.hosts[CLIENT].figures().unsent_bytes, 0);
        world.act(CLIENT, open(client, local(UNI, 1)));
        assert!(
            payload.is_unique(),
            "{carrier:?}: nothing holds it any more"
        );
    }
}

#[test]
fn sessions_that_keep_most_are_closed_when_all_together_keep_too_much() {
    for carrier in CARRIERS {
        let limits = Limits {
            send_window: 64 << 10,
            unsent_bytes_total_max: 4 << 20,
            overload_code: 9,
            ..Limits::default()
        };
        let mut world = World::new(
            GOOD,
            [Limits::default(), limits],
            Probe::new(),
            Probe::new(),
        );
        world.hosts[CLIENT].app_mut().forget_data = true;
        let sessions = [(); 4].map(|()| world.open(carrier));
        // None of them passes its own bound of 16 MiB, and all of them are stalled.
        for ((_, server), quarters) in sessions.iter().zip([10, 4, 1, 2]) {
            world.act(SERVER, open(*server, local(UNI, 0)));
            for _ in 0..quarters {
                let part = vec![0; 256 << 10];
                world.act(SERVER, write(*server, local(UNI, 0), part, false, false));
            }
        }
        let closed = |world: &World| {
            sessions.map(|(_, server)| {
                matches!(
                    world.hosts[SERVER].app().closed(server),
                    Some(Closed::Application { code: 9, .. })
                )
            })
        };
        assert_eq!(closed(&world), [true, false, false, false]);
        let counters = world.hosts[SERVER].counters();
        assert_eq!((counters.overloads, counters.overloads_shared), (1, 1));
        let unsent = world.hosts[SERVER].figures().unsent_bytes;
        assert!(unsent < 2 << 20, "{unsent}");
        // The others get everything.
        world.run_for(Duration::from_mins(1));
        assert_eq!(closed(&world), [true, false, false, false]);
        assert_eq!(world.hosts[SERVER].figures().unsent_bytes, 0);
    }
}

#[test]
fn nothing_of_a_stopped_stream_is_delivered_though_it_came_at_once() {
    for carrier in CARRIERS {
        let mut server = Probe::new();
        // The second piece is stopped: by then a link that reorders has brought several at a time.
        let mut pieces = 0;
        server.reaction = Some(Box::new(move |_, input, out| {
            let Input::Stream {
                session,
                stream,
                event: StreamEvent::Data(_),
            } = input
            else {
                return;
            };
            pieces += 1;
            if pieces == 2 {
                out.push(Output::Stop {
                    session: *session,
                    stream: *stream,
                    code: 7,
                });
            }
        }));
        let mut world = World::new(BAD, Default::default(), Probe::new(), server);
        let (client, _) = world.open(carrier);
        let stream = local(UNI, 0);
        world.act(CLIENT, open(client, stream));
        world.act(CLIENT, write(client, stream, vec![1; 60_000], true, false));
        world.run_for(SOON);
        let of_stream = |input: &&Input| matches!(input, Input::Stream { .. });
        let delivered = world.log(SERVER).iter().filter(of_stream).count();
        assert_eq!(delivered, 2, "{carrier:?}");
    }
}
