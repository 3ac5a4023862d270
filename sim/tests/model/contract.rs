//! Each claim holds over real QUIC and over the model, raw and over WebTransport.

use crate::world::*;
use bytes::Bytes;
use mainstem_core::transport::{Carrier, Closed, Input, Origin, Output, Side, StreamEvent};
use mainstem_quic::Limits;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

fn everywhere(claim: impl Fn(Kind, Carrier)) {
    for kind in KINDS {
        for carrier in CARRIERS {
            claim(kind, carrier);
        }
    }
}

#[test]
fn both_ends_learn_what_was_negotiated() {
    everywhere(|kind, carrier| {
        let pair = Pair::new(kind, carrier);
        for (end, side) in [(CLIENT, Side::Client), (SERVER, Side::Server)] {
            let host = pair.ends[end].borrow();
            let Some(Input::Opened { opened, .. }) = host.log().first() else {
                panic!("{kind:?} {carrier:?}: not opened: {:?}", host.log());
            };
            assert_eq!((opened.side, opened.carrier), (side, carrier));
            assert_eq!(opened.protocol, "moqt-22", "the server's order decides");
            let path = opened.target.as_ref().map(|it| it.path.as_str());
            match (carrier, side) {
                (Carrier::Quic, Side::Server) => assert_eq!(path, None),
                _ => assert_eq!(path, Some("/live?jwt=secret")),
            }
            assert_eq!(host.counters().sessions_open, 1);
        }
    });
}

#[test]
fn sessions_open_after_as_many_round_trips() {
    let opened = |kind, carrier| {
        let mut world = World::new(kind, GOOD);
        let (_, client) = world.add(false, Limits::default(), Script::default());
        let (to, server) = world.add(true, Limits::default(), Script::default());
        let request = world.request(to, carrier, "/");
        client.borrow_mut().connect(world.now, request);
        let mut at = [None; 2];
        for ms in 0..200 {
            world.run_for(Duration::from_millis(1));
            for (at, host) in at.iter_mut().zip([&client, &server]) {
                if at.is_none() && !host.borrow().log().is_empty() {
                    *at = Some(ms);
                }
            }
        }
        at
    };
    for carrier in CARRIERS {
        let (quic, model) = (opened(Kind::Quic, carrier), opened(Kind::Model, carrier));
        assert_eq!(quic, model, "{carrier:?}");
    }
}

#[test]
fn a_protocol_that_nobody_shares_opens_no_session() {
    everywhere(|kind, carrier| {
        let mut world = World::new(kind, GOOD);
        let (_, client) = world.add(false, Limits::default(), Script::default());
        let (to, server) = world.add(true, Limits::default(), Script::default());
        let mut request = world.request(to, carrier, "/");
        request.protocols = vec!["moqt-14".into()];
        client.borrow_mut().connect(world.now, request);
        world.run_for(SOON);
        let host = client.borrow();
        let [
            Input::Closed {
                closed: Closed::Transport { reason },
                ..
            },
        ] = host.log()
        else {
            panic!("{kind:?}: {:?}", host.log());
        };
        assert!(reason.contains("protocol") || reason.contains("status 400"));
        assert!(server.borrow().log().is_empty());
    });
}

#[test]
fn an_address_that_is_too_long_is_refused() {
    for kind in KINDS {
        let mut world = World::new(kind, GOOD);
        let (_, client) = world.add(false, Limits::default(), Script::default());
        let (to, _) = world.add(true, Limits::default(), Script::default());
        let path = format!("/{}", "x".repeat(20_000));
        let request = world.request(to, Carrier::WebTransport, &path);
        client.borrow_mut().connect(world.now, request);
        world.run_for(SOON);
        let host = client.borrow();
        let [
            Input::Closed {
                closed: Closed::Transport { reason },
                ..
            },
        ] = host.log()
        else {
            panic!("{kind:?}: {:?}", host.log());
        };
        assert!(reason.contains("431"), "{kind:?}: {reason}");
    }
}

#[test]
fn nobody_at_the_other_end_is_a_time_out() {
    for kind in KINDS {
        let mut world = World::new(kind, GOOD);
        let (_, client) = world.add(false, Limits::default(), Script::default());
        let (to, _) = world.add(false, Limits::default(), Script::default());
        let request = world.request(to, Carrier::Quic, "/");
        client.borrow_mut().connect(world.now, request);
        world.run_for(Limits::default().open_timeout * 2);
        let host = client.borrow();
        assert!(matches!(
            host.log(),
            [Input::Closed {
                closed: Closed::Transport { .. },
                ..
            }]
        ));
    }
}

#[test]
fn streams_both_ways_with_fin_reset_and_stop() {
    everywhere(|kind, carrier| {
        let mut pair = Pair::new(kind, carrier);
        let [client, server] = pair.sessions;
        pair.ends[SERVER].borrow_mut().app().echo = true;
        let text: Vec<u8> = (0..50_000_u32).flat_map(u32::to_be_bytes).collect();
        pair.act(CLIENT, open(client, local(BIDI, 0), 0));
        pair.act(
            CLIENT,
            write(client, local(BIDI, 0), text.clone(), true, true),
        );
        // One that is reset after some bytes, one that is stopped by the peer.
        for index in 0..2 {
            pair.act(SERVER, open(server, local(UNI, index), 0));
            let data = vec![1; 1000];
            pair.act(SERVER, write(server, local(UNI, index), data, false, true));
        }
        pair.run_for(SOON);
        let session = server;
        pair.act(
            SERVER,
            Output::Reset {
                session,
                stream: local(UNI, 0),
                code: 41,
            },
        );
        let session = client;
        pair.act(
            CLIENT,
            Output::Stop {
                session,
                stream: peer(UNI, 1),
                code: 42,
            },
        );
        pair.run_for(SOON);
        let story = pair.story(CLIENT);
        let (back, events) = story.of(client, local(BIDI, 0));
        assert!(back == text, "{kind:?} {carrier:?}");
        assert_eq!(events, [StreamEvent::Writable, StreamEvent::Finished]);
        let (data, events) = story.of(client, peer(UNI, 0));
        assert_eq!(
            (data.len(), events),
            (1000, vec![StreamEvent::Reset(41)]),
            "{kind:?}"
        );
        assert_eq!(story.of(client, peer(UNI, 1)).1, []);
        let story = pair.story(SERVER);
        let stopped = vec![StreamEvent::Writable, StreamEvent::Stopped(42)];
        assert_eq!(story.of(server, local(UNI, 1)).1, stopped);
        assert_eq!(story.of(server, local(UNI, 0)).1, [StreamEvent::Writable]);
    });
}

#[test]
fn streams_beyond_the_peers_credit_wait_and_arrive() {
    everywhere(|kind, carrier| {
        let few = Limits {
            peer_uni_streams_max: 8,
            ..Limits::default()
        };
        let mut pair = Pair::with(kind, carrier, GOOD, [Limits::default(), few]);
        let [client, server] = pair.sessions;
        for index in 0..100 {
            let stream = local(UNI, index);
            pair.act(CLIENT, open(client, stream, 0));
            let text = format!("stream {index}");
            pair.act(CLIENT, write(client, stream, text, true, true));
        }
        // One of those that wait is given up: it never exists.
        let (session, stream, code) = (client, local(UNI, 90), 1);
        pair.act(
            CLIENT,
            Output::Reset {
                session,
                stream,
                code,
            },
        );
        pair.run_for(SOON);
        let story = pair.story(SERVER);
        assert_eq!(story.streams.len(), 99, "{kind:?} {carrier:?}");
        let writable = pair.story(CLIENT);
        let notices = writable
            .streams
            .values()
            .map(|it| it.1.len())
            .sum::<usize>();
        assert_eq!(notices, 99);
        let texts: Vec<_> = story.streams.values().map(|it| it.0.clone()).collect();
        assert!(!texts.contains(&b"stream 90".to_vec()));
        assert_eq!(story.of(server, peer(UNI, 0)).0, b"stream 0");
    });
}

#[test]
fn an_allowance_lets_the_peer_open_more_and_a_bound_closes() {
    everywhere(|kind, carrier| {
        let few = Limits {
            peer_uni_streams_max: 8,
            ..Limits::default()
        };
        let impatient = Limits {
            pending_opens_max: 30,
            overload_code: 9,
            ..Limits::default()
        };
        let mut pair = Pair::with(kind, carrier, GOOD, [impatient, few]);
        let [client, server] = pair.sessions;
        let (session, direction) = (server, UNI);
        pair.act(
            SERVER,
            Output::Allow {
                session,
                direction,
                streams: 50,
            },
        );
        pair.run_for(SOON);
        // 50 streams and 30 that wait; one of the 50 is HTTP/3's own over WebTransport.
        let own = u64::from(carrier == Carrier::WebTransport);
        for index in 0..80 - own {
            pair.act(CLIENT, open(client, local(UNI, index), 0));
        }
        pair.run_for(SOON);
        assert_eq!(pair.closed(CLIENT), None, "{kind:?} {carrier:?}");
        pair.act(CLIENT, open(client, local(UNI, 80 - own), 0));
        pair.run_for(SOON);
        for (end, by) in [(CLIENT, Origin::Local), (SERVER, Origin::Peer)] {
            let closed = pair.closed(end);
            assert!(
                matches!(closed, Some(Closed::Application { by: b, code: 9, .. }) if b == by),
                "{kind:?} {carrier:?}: {closed:?}"
            );
        }
    });
}

#[test]
fn a_paused_reader_holds_the_writer_back() {
    everywhere(|kind, carrier| {
        let mut pair = Pair::new(kind, carrier);
        let [client, server] = pair.sessions;
        let stream = local(UNI, 0);
        let now = pair.world.now;
        pair.ends[CLIENT].borrow_mut().pause(now, client, true);
        pair.ends[SERVER].borrow_mut().app().flood = Some((300 << 10, 20));
        pair.act(SERVER, open(server, stream, 0));
        pair.act(SERVER, write(server, stream, Bytes::new(), false, true));
        pair.run_for(SOON);
        let writable = pair.story(SERVER).of(server, stream).1.len();
        // The stream's window of a megabyte takes three whole writes beside the empty one.
        assert_eq!(writable, 4, "{kind:?} {carrier:?}");
        assert_eq!(pair.story(CLIENT).of(client, peer(UNI, 0)).0.len(), 0);
        let now = pair.world.now;
        pair.ends[CLIENT].borrow_mut().pause(now, client, false);
        pair.run_for(SOON * 4);
        let (data, events) = pair.story(CLIENT).of(client, peer(UNI, 0));
        assert_eq!(data.len(), (300 << 10) * 20);
        assert_eq!(events, [StreamEvent::Finished]);
    });
}

#[test]
fn unsent_bytes_beyond_the_bound_close_the_session() {
    everywhere(|kind, carrier| {
        let limits = Limits {
            unsent_bytes_max: 1 << 20,
            overload_code: 9,
            ..Limits::default()
        };
        let mut pair = Pair::with(kind, carrier, GOOD, [Limits::default(), limits]);
        let [client, server] = pair.sessions;
        let now = pair.world.now;
        pair.ends[CLIENT].borrow_mut().pause(now, client, true);
        pair.act(SERVER, open(server, local(UNI, 0), 0));
        for _ in 0..64 {
            let data = vec![0; 64 << 10];
            pair.act(SERVER, write(server, local(UNI, 0), data, false, false));
        }
        pair.run_for(SOON);
        // A paused end does not read the last words of a WebTransport session, which hold the code.
        let unread = carrier == Carrier::WebTransport;
        let of_client = if unread { 0 } else { 9 };
        for (end, by, code) in [
            (SERVER, Origin::Local, 9),
            (CLIENT, Origin::Peer, of_client),
        ] {
            let closed = pair.closed(end);
            assert!(
                matches!(closed, Some(Closed::Application { by: b, code: c, .. }) if (b, c) == (by, code)),
                "{kind:?} {carrier:?}: {closed:?}"
            );
        }
        assert_eq!(pair.ends[SERVER].borrow().counters().overloads, 1);
    });
}

#[test]
fn the_urgent_stream_goes_first_when_the_window_is_short() {
    everywhere(|kind, carrier| {
        let mut pair = Pair::new(kind, carrier);
        let [client, server] = pair.sessions;
        // Over WebTransport a stream has bytes, and its place in line, from the moment it is open.
        let may_change = carrier == Carrier::Quic;
        let last = if may_change { -5 } else { 20 };
        for (index, priority) in [(0, 0), (1, 10), (2, last)] {
            pair.act(SERVER, open(server, local(UNI, index), priority));
        }
        if may_change {
            let (session, stream) = (server, local(UNI, 2));
            pair.act(
                SERVER,
                Output::SetPriority {
                    session,
                    stream,
                    priority: 20,
                },
            );
        }
        for (index, bytes) in [(0, 300_000), (1, 300_001), (2, 300_002)] {
            let data = vec![0; bytes];
            pair.act(SERVER, write(server, local(UNI, index), data, true, false));
        }
        pair.run_for(SOON * 2);
        let story = pair.story(CLIENT);
        let host = pair.ends[CLIENT].borrow();
        let ends: Vec<usize> = host
            .log()
            .iter()
            .filter_map(|input| match input {
                Input::Stream {
                    stream,
                    event: StreamEvent::Finished,
                    ..
                } => Some(story.of(client, *stream).0.len()),
                _ => None,
            })
            .collect();
        assert_eq!(ends, [300_002, 300_001, 300_000], "{kind:?} {carrier:?}");
    });
}

#[test]
fn datagrams_arrive_unless_too_large_or_too_late() {
    everywhere(|kind, carrier| {
        let mut pair = Pair::new(kind, carrier);
        let [client, server] = pair.sessions;
        for (size, is_late) in [(100, false), (1100, false), (5000, false), (10, true)] {
            let until = is_late.then_some(mainstem_core::time::Instant::ZERO);
            let (session, data) = (client, vec![1; size].into());
            pair.act(
                CLIENT,
                Output::Datagram {
                    session,
                    data,
                    until,
                },
            );
        }
        pair.run_for(SOON);
        let host = pair.ends[SERVER].borrow();
        let sizes: Vec<usize> = host
            .log()
            .iter()
            .filter_map(|input| match input {
                Input::Datagram { session, data } if *session == server => Some(data.len()),
                _ => None,
            })
            .collect();
        assert_eq!(sizes, [100, 1100], "{kind:?} {carrier:?}");
        assert_eq!(pair.ends[CLIENT].borrow().counters().datagrams_dropped, 2);
    });
}

#[test]
fn a_close_tells_the_other_end_once_and_leaves_nothing() {
    everywhere(|kind, carrier| {
        let mut pair = Pair::new(kind, carrier);
        let [client, server] = pair.sessions;
        for (direction, index) in [(BIDI, 0), (UNI, 0)] {
            pair.act(CLIENT, open(client, local(direction, index), 0));
            let data = vec![0; 100];
            pair.act(
                CLIENT,
                write(client, local(direction, index), data, false, false),
            );
        }
        pair.run_for(SOON);
        let now = pair.world.now;
        pair.ends[SERVER]
            .borrow_mut()
            .close_all(now, 0x12, "enough for today");
        pair.run_for(SOON);
        for (end, session, by) in [
            (CLIENT, client, Origin::Peer),
            (SERVER, server, Origin::Local),
        ] {
            let closed = Closed::Application {
                by,
                code: 0x12,
                reason: "enough for today".into(),
            };
            let host = pair.ends[end].borrow();
            let last = host.log().last().unwrap();
            assert_eq!(
                *last,
                Input::Closed { session, closed },
                "{kind:?} {carrier:?}"
            );
            assert!(host.is_idle(), "{kind:?} {carrier:?}");
        }
        // Over WebTransport the streams are stopped first, which is no news beside the reason.
        let before = pair.story(CLIENT).of(client, local(BIDI, 0)).1;
        assert_eq!(before, [], "{kind:?} {carrier:?}");
    });
}

#[test]
fn silence_ends_a_session_and_keep_alive_prevents_it() {
    everywhere(|kind, carrier| {
        let mut pair = Pair::new(kind, carrier);
        pair.run_for(Limits::default().idle_timeout * 4);
        assert_eq!(pair.closed(CLIENT), None, "{kind:?} {carrier:?}");
        pair.world.link.loss_per_mille = 1000;
        pair.run_for(Limits::default().idle_timeout * 2);
        for end in [CLIENT, SERVER] {
            let closed = pair.closed(end);
            assert!(
                matches!(closed, Some(Closed::Transport { .. })),
                "{kind:?} {carrier:?}"
            );
            assert!(pair.ends[end].borrow().is_idle());
        }
    });
}

#[test]
fn a_restarted_server_resets_what_it_does_not_know() {
    // Real QUIC needs the old reset key for that; the model always has it.
    for carrier in CARRIERS {
        let mut pair = Pair::new(Kind::Model, carrier);
        let server = std::rc::Rc::clone(&pair.ends[SERVER]);
        pair.world.restart(&server, true, Script::default());
        let client = pair.sessions[CLIENT];
        pair.act(CLIENT, open(client, local(BIDI, 0), 0));
        pair.act(CLIENT, write(client, local(BIDI, 0), "x", false, false));
        pair.run_for(Duration::from_millis(100));
        assert!(matches!(
            pair.closed(CLIENT),
            Some(Closed::Transport { .. })
        ));
        // And takes a new session.
        let request = pair.world.request(SERVER, carrier, "/");
        let now = pair.world.now;
        pair.ends[CLIENT].borrow_mut().connect(now, request);
        pair.run_for(SOON);
        assert_eq!(pair.ends[SERVER].borrow().counters().sessions_open, 1);
    }
}

#[test]
fn codes_are_what_the_carrier_can_hold() {
    everywhere(|kind, carrier| {
        let mut pair = Pair::new(kind, carrier);
        let [client, server] = pair.sessions;
        pair.act(CLIENT, open(client, local(UNI, 0), 0));
        pair.act(CLIENT, write(client, local(UNI, 0), "x", false, false));
        pair.run_for(SOON);
        let (session, stream, code) = (client, local(UNI, 0), 1 << 40);
        pair.act(
            CLIENT,
            Output::Reset {
                session,
                stream,
                code,
            },
        );
        pair.run_for(SOON);
        let got = pair.story(SERVER).of(server, peer(UNI, 0)).1;
        let want = match carrier {
            Carrier::Quic => 1 << 40,
            Carrier::WebTransport => u64::from(u32::MAX),
        };
        assert_eq!(got, [StreamEvent::Reset(want)], "{kind:?} {carrier:?}");
    });
}
