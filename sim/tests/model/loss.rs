//! Loss, reorder and duplicates are the transport's to repair.

use crate::world::*;
use mainstem_core::transport::StreamEvent;
use mainstem_quic::Limits;
use std::time::Duration;

#[test]
fn every_byte_arrives_once_and_in_order_over_a_bad_link() {
    for carrier in CARRIERS {
        for seed in 0..40 {
            let limits = [Limits::default(), Limits::default()];
            let mut pair = Pair::with(Kind::Model, carrier, GOOD, limits);
            pair.world.link = BAD;
            pair.world.reseed(seed);
            let [client, server] = pair.sessions;
            pair.ends[SERVER].borrow_mut().app().echo = true;
            let text: Vec<u8> = (0..60_000_u32).flat_map(u32::to_be_bytes).collect();
            for index in 0..4 {
                pair.act(CLIENT, open(client, local(BIDI, index), 0));
                for part in text.chunks(5000) {
                    let part = part.to_vec();
                    pair.act(
                        CLIENT,
                        write(client, local(BIDI, index), part, false, false),
                    );
                }
                pair.act(CLIENT, write(client, local(BIDI, index), "", true, true));
            }
            pair.run_for(Duration::from_mins(1));
            let (story, other) = (pair.story(CLIENT), pair.story(SERVER));
            for index in 0..4 {
                let (back, events) = story.of(client, local(BIDI, index));
                assert!(back == text, "{carrier:?} seed {seed}: {}", back.len());
                let want = [StreamEvent::Writable, StreamEvent::Finished];
                assert_eq!(events, want, "{carrier:?} seed {seed}");
                let there = other.streams.iter();
                let finished = there.filter(|(_, it)| it.1 == [StreamEvent::Finished]);
                assert_eq!(finished.count(), 4);
            }
            assert_eq!(pair.closed(CLIENT), None);
            assert_eq!(server, pair.sessions[SERVER]);
        }
    }
}

#[test]
fn sessions_open_and_close_over_a_bad_link() {
    for carrier in CARRIERS {
        for seed in 0..100 {
            let mut world = World::new(Kind::Model, BAD);
            world.reseed(seed);
            let (_, client) = world.add(false, Limits::default(), Script::default());
            let (to, server) = world.add(true, Limits::default(), Script::default());
            for _ in 0..3 {
                let request = world.request(to, carrier, "/");
                client.borrow_mut().connect(world.now, request);
            }
            world.run_for(Duration::from_secs(8));
            assert_eq!(server.borrow().counters().sessions_open, 3, "seed {seed}");
            client.borrow_mut().close_all(world.now, 5, "bye");
            world.run_for(Limits::default().idle_timeout * 2);
            assert_eq!(server.borrow().counters().sessions_open, 0, "seed {seed}");
            assert!(server.borrow().is_idle() && client.borrow().is_idle());
        }
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let run = || {
        let limits = [Limits::default(), Limits::default()];
        let mut pair = Pair::with(Kind::Model, CARRIERS[1], BAD, limits);
        let client = pair.sessions[CLIENT];
        pair.act(CLIENT, open(client, local(BIDI, 0), 0));
        let data = vec![3; 500_000];
        pair.act(CLIENT, write(client, local(BIDI, 0), data, true, true));
        pair.run_for(Duration::from_secs(20));
        (pair.world.packets_sent, pair.story(SERVER))
    };
    assert_eq!(run(), run());
}
