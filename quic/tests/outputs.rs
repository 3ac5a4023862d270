//! What an application may change while a session runs: how many streams its peer may open, which
//! stream goes first, and whether one that is all sent is still worth its retransmissions.

mod world;

use mainstem_core::transport::{Carrier, Direction, Input, Output, StreamEvent, StreamId};
use mainstem_quic::Limits;
use std::time::Duration;
use world::*;

const SOON: Duration = Duration::from_secs(5);

fn with_data(world: &World, host: usize) -> usize {
    let of_data = world.log(host).iter().filter_map(|input| match input {
        Input::Stream {
            stream,
            event: StreamEvent::Data(_),
            ..
        } => Some(*stream),
        _ => None,
    });
    of_data
        .collect::<std::collections::BTreeSet<StreamId>>()
        .len()
}

#[test]
fn a_peer_that_is_allowed_more_streams_opens_those_that_wait() {
    for carrier in CARRIERS {
        let few = Limits {
            peer_uni_streams_max: 8,
            ..Limits::default()
        };
        let mut world = World::new(GOOD, [Limits::default(), few], Probe::new(), Probe::new());
        let (client, server) = world.open(carrier);
        // None of them ends: only the allowance brings more.
        for index in 0..50 {
            world.act(CLIENT, open(client, local(UNI, index)));
            world.act(CLIENT, write(client, local(UNI, index), "x", false, false));
        }
        world.run_for(SOON);
        assert!(with_data(&world, SERVER) <= 8);
        world.act(
            SERVER,
            Output::Allow {
                session: server,
                direction: Direction::Unidirectional,
                streams: 100,
            },
        );
        world.run_for(SOON);
        assert_eq!(with_data(&world, SERVER), 50);
    }
}

/// In which order two streams end, the first of which begins as the more urgent one.
fn order(is_changed: bool) -> Vec<StreamId> {
    let little = Limits {
        send_window: 64 << 10,
        ..Limits::default()
    };
    let mut world = World::new(
        GOOD,
        [little, Limits::default()],
        Probe::new(),
        Probe::new(),
    );
    world.hosts[SERVER].app_mut().forget_data = true;
    let (session, _) = world.open(Carrier::Quic);
    for (index, priority, bytes) in [(0, 5, 600 << 10), (1, -5, 200 << 10)] {
        let stream = local(UNI, index);
        world.act(
            CLIENT,
            Output::Open {
                session,
                stream,
                priority,
            },
        );
        world.act(CLIENT, write(session, stream, vec![0; bytes], true, false));
    }
    if is_changed {
        world.act(
            CLIENT,
            Output::SetPriority {
                session,
                stream: local(UNI, 1),
                priority: 10,
            },
        );
    }
    world.run_for(Duration::from_mins(1));
    let ended = world.log(SERVER).iter().filter_map(|input| match input {
        Input::Stream {
            stream,
            event: StreamEvent::Finished,
            ..
        } => Some(*stream),
        _ => None,
    });
    ended.collect()
}

#[test]
fn a_stream_that_is_made_urgent_overtakes_one_that_was() {
    assert_eq!(order(false), [peer(UNI, 0), peer(UNI, 1)]);
    assert_eq!(order(true), [peer(UNI, 1), peer(UNI, 0)]);
}

/// SUBGROUP_DELIVERY_TIMEOUT counts until all is acknowledged, so that a stream is given up after
/// QUIC has all of it.
#[test]
fn a_stream_that_is_all_sent_is_given_up_unless_it_has_come_through() {
    for carrier in CARRIERS {
        let mut world = World::simple();
        let (client, _) = world.open(carrier);
        let reset = |index| Output::Reset {
            session: client,
            stream: local(UNI, index),
            code: 2,
        };
        // The link is dead for a moment: what was sent is lost and would be sent again.
        let good = world.link;
        world.link.loss_per_mille = 1000;
        world.act(CLIENT, open(client, local(UNI, 0)));
        world.act(CLIENT, write(client, local(UNI, 0), "late", true, true));
        world.run_for(Duration::from_millis(50));
        let (_, events) = world.hosts[CLIENT].app().stream(local(UNI, 0));
        assert_eq!(events, [StreamEvent::Writable], "QUIC has all of it");
        world.act(CLIENT, reset(0));
        world.link = good;
        world.run_for(SOON);
        let (data, events) = world.hosts[SERVER].app().stream(peer(UNI, 0));
        let is_reset = matches!(events[..], [] | [StreamEvent::Reset(_)]);
        assert!(data.is_empty() && is_reset, "{events:?}");
        // One that has come through is not touched.
        world.act(CLIENT, open(client, local(UNI, 1)));
        world.act(CLIENT, write(client, local(UNI, 1), "good", true, true));
        world.run_for(SOON);
        world.act(CLIENT, reset(1));
        world.run_for(SOON);
        let texts = [0, 1].map(|index| world.hosts[SERVER].app().stream(peer(UNI, index)));
        let good = texts.iter().find(|(data, _)| data == b"good");
        assert_eq!(good.unwrap().1, [StreamEvent::Finished]);
    }
}
