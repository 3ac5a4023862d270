//! Sessions open, talk and end the same way over raw QUIC and over WebTransport.

mod world;

use bytes::Bytes;
use mainstem_core::transport::{
    Carrier, Closed, Input, Origin, Output, SessionId, Side, StreamEvent,
};
use mainstem_quic::{Limits, TlsTrust};
use mainstem_spec_covers::covers;
use std::time::Duration;
use world::*;

const SOON: Duration = Duration::from_secs(5);
const NOW: Duration = Duration::from_millis(5);

#[test]
fn both_ends_learn_what_was_negotiated() {
    for carrier in CARRIERS {
        let mut world = World::simple();
        let request = world.request(carrier, &["moqt-16", "moqt-18", "moqt-20"]);
        world.hosts[CLIENT].connect(world.now, request).unwrap();
        world.run_for(SOON);
        for (host, side) in [(CLIENT, Side::Client), (SERVER, Side::Server)] {
            let opened = world.hosts[host].app().opened().expect("opened");
            assert_eq!(opened.side, side);
            assert_eq!(opened.carrier, carrier);
            assert_eq!(opened.protocol, "moqt-20", "the server's order decides");
            assert_eq!(opened.remote, address(1 - host));
            let path = opened.target.as_ref().map(|target| target.path.as_str());
            match (carrier, side) {
                (Carrier::Quic, Side::Server) => assert_eq!(path, None),
                _ => assert_eq!(path, Some("/live?jwt=secret")),
            }
        }
    }
}

#[test]
fn a_protocol_that_nobody_shares_opens_no_session() {
    for carrier in CARRIERS {
        let mut world = World::simple();
        let request = world.request(carrier, &["moqt-14"]);
        let session = world.hosts[CLIENT].connect(world.now, request).unwrap();
        world.run_for(SOON);
        let closed = world.hosts[CLIENT].app().closed(session).expect("closed");
        let Closed::Transport { reason } = closed else {
            panic!("expected a transport close, not {closed:?}");
        };
        let want = match carrier {
            Carrier::Quic => "protocol",
            Carrier::WebTransport => "status 400",
        };
        assert!(reason.contains(want), "{reason}");
        assert!(world.log(SERVER).is_empty());
        assert_eq!(world.hosts[SERVER].counters().sessions_opened, 0);
        if carrier == Carrier::WebTransport {
            let refusal = world.hosts[SERVER]
                .poll_refusal()
                .expect("a refusal to log");
            assert!(refusal.reason.contains("names none of ours"));
        }
    }
}

#[test]
fn a_certificate_that_is_not_pinned_is_not_trusted() {
    covers!("MOQT19-13.2-2");
    let mut world = World::simple();
    let mut request = world.request(Carrier::Quic, &["moqt-22"]);
    request.trust = TlsTrust::Pinned(vec![[0; 32]]);
    let session = world.hosts[CLIENT].connect(world.now, request).unwrap();
    world.run_for(SOON);
    let closed = world.hosts[CLIENT].app().closed(session);
    assert!(matches!(closed, Some(Closed::Transport { .. })));
    assert!(world.hosts[SERVER].app().opened().is_none());
}

#[test]
fn a_replaced_certificate_is_shown_to_the_next_client() {
    let mut world = World::simple();
    world.open(Carrier::Quic);
    let old = world.pins.clone();
    let (chain, key) = identity("localhost");
    world.certificates.replace(chain, key).unwrap();
    world.pins = vec![world.certificates.sha256()];
    assert_ne!(world.pins, old);
    world.open(Carrier::WebTransport);
    assert_eq!(world.hosts[SERVER].counters().sessions_open, 2);
}

#[test]
fn streams_carry_bytes_both_ways() {
    for carrier in CARRIERS {
        for link in [GOOD, BAD] {
            let mut world = World::new(link, Default::default(), Probe::new(), Probe::echo());
            let (client, _) = world.open(carrier);
            let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
            for direction in [BIDI, UNI] {
                let stream = local(direction, 0);
                world.act(CLIENT, open(client, stream));
                for part in text.chunks(5000) {
                    let part = Bytes::copy_from_slice(part);
                    world.act(CLIENT, write(client, stream, part, false, false));
                }
                world.act(CLIENT, write(client, stream, Bytes::new(), true, false));
            }
            let back = [local(BIDI, 0), peer(UNI, 0)];
            world.run_until(Duration::from_mins(2), |world| {
                let app = world.hosts[CLIENT].app();
                let finished = |id| app.stream(id).1.contains(&StreamEvent::Finished);
                back.iter().all(|id| finished(*id))
            });
            for id in back {
                assert!(world.hosts[CLIENT].app().stream(id).0 == text);
            }
        }
    }
}

#[test]
fn the_server_opens_streams_too() {
    for carrier in CARRIERS {
        let mut world = World::new(GOOD, Default::default(), Probe::echo(), Probe::new());
        let (_, server) = world.open(carrier);
        for index in 0..3 {
            world.act(SERVER, open(server, local(BIDI, index)));
            world.act(
                SERVER,
                write(server, local(BIDI, index), "ping", true, false),
            );
        }
        world.run_for(SOON);
        for index in 0..3 {
            let (data, events) = world.hosts[SERVER].app().stream(local(BIDI, index));
            assert_eq!(data, b"ping");
            assert_eq!(events, [StreamEvent::Finished]);
        }
    }
}

#[test]
fn reset_and_stop_carry_their_codes() {
    for carrier in CARRIERS {
        let mut world = World::simple();
        let (client, server) = world.open(carrier);
        let (mine, theirs) = (local(BIDI, 0), peer(BIDI, 0));
        world.act(CLIENT, open(client, mine));
        world.act(CLIENT, write(client, mine, "x", false, false));
        world.run_for(SOON);
        let reset = |session, stream, code| Output::Reset {
            session,
            stream,
            code,
        };
        world.act(CLIENT, reset(client, mine, 0x1234_5678));
        world.act(SERVER, reset(server, theirs, 0));
        world.run_for(SOON);
        let (_, events) = world.hosts[SERVER].app().stream(theirs);
        assert_eq!(events, [StreamEvent::Reset(0x1234_5678)]);
        let (_, events) = world.hosts[CLIENT].app().stream(mine);
        assert_eq!(events, [StreamEvent::Reset(0)]);

        let (mine, theirs) = (local(UNI, 0), peer(UNI, 0));
        world.act(CLIENT, open(client, mine));
        world.act(CLIENT, write(client, mine, "x", false, false));
        world.run_for(SOON);
        world.act(
            SERVER,
            Output::Stop {
                session: server,
                stream: theirs,
                code: 30,
            },
        );
        world.run_for(SOON);
        let (_, events) = world.hosts[CLIENT].app().stream(mine);
        assert_eq!(events, [StreamEvent::Stopped(30)]);
        // Writing on is harmless, and the session goes on.
        world.act(CLIENT, write(client, mine, "y", true, true));
        world.run_for(SOON);
        assert_eq!(world.hosts[SERVER].counters().sessions_open, 1);
        assert!(world.hosts[SERVER].app().stream(theirs).1.is_empty());
    }
}

#[test]
fn closes_carry_code_and_reason_both_ways() {
    for carrier in CARRIERS {
        for closer in [CLIENT, SERVER] {
            let mut world = World::simple();
            let (client, server) = world.open(carrier);
            let names = [client, server];
            world.act(
                closer,
                Output::Close {
                    session: names[closer],
                    code: 0x11,
                    reason: "länger nicht".into(),
                },
            );
            let closed = |by| Closed::Application {
                by,
                code: 0x11,
                reason: "länger nicht".into(),
            };
            let own = world.hosts[closer].app().closed(names[closer]);
            assert_eq!(own, Some(&closed(Origin::Local)), "at once");
            world.run_for(SOON);
            let other = world.hosts[1 - closer].app().closed(names[1 - closer]);
            assert_eq!(other, Some(&closed(Origin::Peer)));
            assert!(matches!(
                world.log(CLIENT).last(),
                Some(Input::Closed { .. })
            ));
            assert!(matches!(
                world.log(SERVER).last(),
                Some(Input::Closed { .. })
            ));
            for host in [CLIENT, SERVER] {
                assert_eq!(world.hosts[host].counters().sessions_open, 0);
                assert!(world.hosts[host].is_idle(), "connections drain");
            }
            // A session that is gone takes outputs in silence.
            world.act(CLIENT, open(client, local(UNI, 0)));
            world.act(SERVER, write(server, local(UNI, 0), "late", true, true));
        }
    }
}

#[test]
fn a_close_survives_loss() {
    for carrier in CARRIERS {
        let mut world = World::new(BAD, Default::default(), Probe::new(), Probe::new());
        for code in 0..20 {
            let (client, server) = world.open(carrier);
            world.act(
                CLIENT,
                Output::Close {
                    session: client,
                    code,
                    reason: String::new(),
                },
            );
            world.run_until(Duration::from_mins(1), |world| {
                world.hosts[SERVER].app().closed(server).is_some()
            });
        }
    }
}

#[test]
fn a_close_in_peace_comes_after_what_was_ended_before_it() {
    for carrier in CARRIERS {
        let mut world = World::new(BAD, Default::default(), Probe::new(), Probe::new());
        for round in 0..5 {
            let (client, server) = world.open(carrier);
            let text = Bytes::from("all of it".repeat(20_000));
            let before = world.log(SERVER).len();
            world.act(CLIENT, open(client, local(UNI, 0)));
            world.act(
                CLIENT,
                write(client, local(UNI, 0), text.clone(), true, false),
            );
            world.act(CLIENT, close(client, 0));
            let own = world.hosts[CLIENT].app().closed(client);
            assert!(own.is_some(), "over for the application at once");
            world.run_until(Duration::from_mins(1), |world| {
                world.hosts[SERVER].app().closed(server).is_some()
            });
            let told = &world.log(SERVER)[before..];
            let bytes: usize = told.iter().map(data_len).sum();
            assert_eq!(bytes, text.len(), "{carrier:?} {round}");
            let is_end = |input: &Input| {
                matches!(
                    input,
                    Input::Stream {
                        event: StreamEvent::Finished,
                        ..
                    }
                )
            };
            assert!(told.iter().any(is_end));
            let expected = Closed::Application {
                by: Origin::Peer,
                code: 0,
                reason: String::new(),
            };
            assert_eq!(world.hosts[SERVER].app().closed(server), Some(&expected));
        }
    }
}

#[test]
fn a_close_in_peace_sends_what_was_written_on_streams_that_go_on() {
    for carrier in CARRIERS {
        let mut world = World::simple();
        let (client, server) = world.open(carrier);
        world.act(CLIENT, open(client, local(UNI, 0)));
        world.act(
            CLIENT,
            write(client, local(UNI, 0), "last words", false, false),
        );
        world.act(CLIENT, close(client, 0));
        world.run_for(SOON);
        let bytes: usize = world.log(SERVER).iter().map(data_len).sum();
        assert_eq!(bytes, "last words".len(), "{carrier:?}");
        assert!(world.hosts[SERVER].app().closed(server).is_some());
    }
}

#[test]
fn a_close_in_peace_waits_for_a_silent_peer_no_longer_than_its_limit() {
    for carrier in CARRIERS {
        let mut world = World::simple();
        let (client, _) = world.open(carrier);
        world.link.loss_per_mille = 1_000;
        world.act(CLIENT, open(client, local(UNI, 0)));
        world.act(CLIENT, write(client, local(UNI, 0), "unheard", true, false));
        world.act(CLIENT, close(client, 0));
        let limit = Limits::default().close_timeout;
        world.run_for(limit * 9 / 10);
        assert!(!world.hosts[CLIENT].is_closed());
        // The capsule that closes a WebTransport session is awaited in its turn.
        world.run_for(limit * 12 / 10);
        assert!(world.hosts[CLIENT].is_closed(), "{carrier:?}");
    }
}

#[test]
fn a_close_for_a_reason_waits_for_nothing() {
    for carrier in CARRIERS {
        let mut world = World::simple();
        let (client, server) = world.open(carrier);
        let text = Bytes::from("much".repeat(1 << 20));
        world.act(CLIENT, open(client, local(UNI, 0)));
        world.act(
            CLIENT,
            write(client, local(UNI, 0), text.clone(), true, false),
        );
        world.act(CLIENT, close(client, 3));
        world.run_for(SOON);
        let bytes: usize = world.log(SERVER).iter().map(data_len).sum();
        assert!(bytes < text.len());
        assert!(world.hosts[SERVER].app().closed(server).is_some());
    }
}

fn close(session: SessionId, code: u64) -> Output {
    Output::Close {
        session,
        code,
        reason: String::new(),
    }
}

fn data_len(input: &Input) -> usize {
    match input {
        Input::Stream {
            event: StreamEvent::Data(data),
            ..
        } => data.len(),
        _ => 0,
    }
}

#[test]
fn a_silent_peer_times_out() {
    for carrier in CARRIERS {
        let mut world = World::simple();
        let (client, _) = world.open(carrier);
        // The server vanishes.
        world.hosts[SERVER] = World::simple().hosts.into_iter().nth(1).unwrap();
        world.run_for(Duration::from_secs(40));
        let closed = world.hosts[CLIENT].app().closed(client);
        assert!(
            matches!(closed, Some(Closed::Transport { .. })),
            "{closed:?}"
        );
        assert!(world.hosts[CLIENT].is_idle());
    }
}

#[test]
fn nobody_at_the_other_end_is_a_transport_close() {
    let mut world = World::simple();
    let request = world.request(Carrier::WebTransport, &["moqt-22"]);
    // A host that does not serve stays silent.
    std::mem::swap(&mut world.hosts[SERVER], &mut World::simple().hosts[CLIENT]);
    let session = world.hosts[CLIENT].connect(world.now, request).unwrap();
    world.run_for(Duration::from_secs(20));
    let Some(Closed::Transport { reason }) = world.hosts[CLIENT].app().closed(session) else {
        panic!("expected a transport close");
    };
    assert!(!reason.is_empty());
}

#[test]
fn datagrams_arrive_and_oversize_ones_are_dropped() {
    covers!("MOQT19-3.1-1");
    for carrier in CARRIERS {
        let mut world = World::new(GOOD, Default::default(), Probe::new(), Probe::echo());
        let (client, _) = world.open(carrier);
        for len in [0, 1, 1000, 100_000] {
            world.act(
                CLIENT,
                Output::Datagram {
                    session: client,
                    data: vec![7; len].into(),
                    until: None,
                },
            );
        }
        world.run_for(SOON);
        let app = world.hosts[CLIENT].app();
        let lens: Vec<usize> = app.datagrams().iter().map(|data| data.len()).collect();
        assert_eq!(lens, [0, 1, 1000]);
        assert_eq!(world.hosts[CLIENT].counters().datagrams_dropped, 1);
    }
}

#[test]
fn datagrams_that_wait_for_too_long_are_dropped() {
    covers!("MOQT19-8-7");
    for carrier in CARRIERS {
        // Far more than congestion control lets out in a round trip.
        for (patience, is_dropped) in [(None, false), (Some(SOON), false), (Some(NOW), true)] {
            let mut world = World::new(GOOD, Default::default(), Probe::new(), Probe::new());
            let (client, _) = world.open(carrier);
            let until = patience.map(|patience| world.now + patience);
            for _ in 0..150 {
                let data = vec![7; 1000].into();
                let datagram = Output::Datagram {
                    session: client,
                    data,
                    until,
                };
                world.act(CLIENT, datagram);
            }
            world.run_for(SOON);
            let came = world.hosts[SERVER].app().datagrams().len();
            let dropped = world.hosts[CLIENT].counters().datagrams_dropped;
            assert_eq!(came + usize::try_from(dropped).unwrap(), 150);
            assert_eq!(dropped > 0, is_dropped, "{patience:?}");
            assert!(came > 0, "what went at once was in time");
        }
    }
}

#[test]
fn a_full_host_refuses() {
    let limits = Limits {
        connections_max: 2,
        ..Limits::default()
    };
    let mut world = World::new(
        GOOD,
        [Limits::default(), limits],
        Probe::new(),
        Probe::new(),
    );
    world.open(Carrier::Quic);
    world.open(Carrier::WebTransport);
    let request = world.request(Carrier::Quic, &["moqt-22"]);
    let third = world.hosts[CLIENT].connect(world.now, request).unwrap();
    world.run_for(SOON);
    let closed = world.hosts[CLIENT].app().closed(third);
    assert!(matches!(closed, Some(Closed::Transport { .. })));
    assert_eq!(world.hosts[SERVER].counters().connections_refused, 1);
    assert_eq!(world.hosts[SERVER].counters().sessions_open, 2);
}

#[test]
fn under_pressure_clients_prove_their_address_first() {
    let limits = Limits {
        handshakes_before_retry: 0,
        ..Limits::default()
    };
    let mut world = World::new(
        GOOD,
        [Limits::default(), limits],
        Probe::new(),
        Probe::new(),
    );
    world.open(Carrier::Quic);
    world.open(Carrier::WebTransport);
    assert_eq!(world.hosts[SERVER].counters().retries, 2);
}

#[test]
fn more_clients_than_the_rate_allows_get_in_later() {
    let limits = Limits {
        accepts_per_second_max: 4,
        ..Limits::default()
    };
    let mut world = World::new(
        GOOD,
        [Limits::default(), limits],
        Probe::new(),
        Probe::new(),
    );
    for _ in 0..8 {
        let request = world.request(Carrier::Quic, &["moqt-22"]);
        world.hosts[CLIENT].connect(world.now, request).unwrap();
    }
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.hosts[SERVER].counters().sessions_open, 4);
    world.run_for(Duration::from_secs(9));
    assert_eq!(world.hosts[SERVER].counters().sessions_open, 8);
    assert!(world.hosts[SERVER].counters().connections_dropped > 0);
}

#[test]
fn closing_all_ends_every_session_and_connection() {
    let mut world = World::simple();
    let sessions: Vec<_> = (0..6).map(|n| world.open(CARRIERS[n % 2])).collect();
    world.hosts[SERVER].stop_accepting();
    let now = world.now;
    world.hosts[SERVER].close_all(now, 5, "maintenance");
    world.run_for(SOON);
    assert!(world.hosts[SERVER].is_closed() && world.hosts[SERVER].is_idle());
    for (client, _) in sessions {
        let want = Closed::Application {
            by: Origin::Peer,
            code: 5,
            reason: "maintenance".into(),
        };
        assert_eq!(world.hosts[CLIENT].app().closed(client), Some(&want));
    }
}

#[test]
fn equal_entropy_gives_equal_packets_as_far_as_tls_allows() {
    let run = || {
        let mut world = World::new(BAD, Default::default(), Probe::new(), Probe::echo());
        let (client, _) = world.open(Carrier::WebTransport);
        world.act(CLIENT, open(client, local(BIDI, 0)));
        world.act(
            CLIENT,
            write(client, local(BIDI, 0), vec![1; 200_000], true, false),
        );
        world.run_for(SOON);
        world.seen
    };
    let (one, two) = (run(), run());
    assert!(one.len() > 300);
    assert!(one == two, "times, sizes and connection ids");
}

#[test]
fn the_reason_of_a_close_is_told_though_the_resets_of_its_streams_outrun_it() {
    let link = Link {
        loss_per_mille: 120,
        ..BAD
    };
    let mut world = World::new(link, Default::default(), Probe::new(), Probe::new());
    for _ in 0..20 {
        let (client, server) = world.open(Carrier::WebTransport);
        world.act(SERVER, open(server, local(UNI, 0)));
        world.act(SERVER, write(server, local(UNI, 0), "before", false, false));
        world.run_for(Duration::from_secs(1));
        let close = Output::Close {
            session: server,
            code: 2,
            reason: "auth_failed".to_owned(),
        };
        world.act(SERVER, close);
        world.run_for(SOON);
        let expected = Closed::Application {
            by: Origin::Peer,
            code: 2,
            reason: "auth_failed".to_owned(),
        };
        assert_eq!(world.hosts[CLIENT].app().closed(client), Some(&expected));
    }
    let is_cut = |input: &&Input| {
        let Input::Stream { event, .. } = input else {
            return false;
        };
        matches!(event, StreamEvent::Reset(_) | StreamEvent::Stopped(_))
    };
    assert_eq!(world.log(CLIENT).iter().find(is_cut), None);
}
