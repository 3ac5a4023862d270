//! Relays follow a control plane over a network that fails and through its restarts.
//!
//! Both sides are the ones that ship, hosts of [`turmoil`] with its TCP and its virtual time; seeds
//! draw the delays of each segment and the times of faults. What a relay's machine is told is
//! compared with what the control plane's feed of changes holds in the end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a test's way of speaking"
)]

mod world;

use mainstem_core::jwt::verify;
use mainstem_core::resolve::{RefusalCode, ResolveKind, ResolveRequest, Secret};
use mainstem_core::time::UnixTime;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use world::*;

const CREATE: &str = "streams.liveInputs.create";
const ROTATE: &str = "streams.liveInputs.rotateStreamKey";

/// As long as a half-dead long poll takes to be noticed, and a pause.
const CATCH_UP: Duration = Duration::from_secs(36);

/// Whether a relay would let the bearer of this token watch, by the keys that it was told.
fn permits(relay: &Relay, token: &str) -> bool {
    let keys = relay.keys();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = UnixTime::from_secs(now.as_secs());
    verify(token, &keys, now, Duration::from_secs(2)).is_ok()
}

/// Rotates stream keys as long as a while takes, some with grace and some without.
async fn rotate_for(world: &World, input: &serde_json::Value, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        let grace = 60 * world.draw(2);
        let rotation = json!({ "id": input["id"], "graceSeconds": grace });
        // While the server is away nothing is changed.
        let _ = world.call(ROTATE, rotation).await;
        sleep(Duration::from_millis(world.draw(3000))).await;
    }
}

#[test]
fn relays_hear_every_change_once_and_in_order_through_restarts_of_the_control_plane() {
    worlds(|world| {
        Box::pin(async move {
            let input = world.call(CREATE, json!({ "name": "x" })).await.unwrap();
            world.all_informed().await;
            for _ in 0..3 {
                rotate_for(&world, &input, Duration::from_secs(8)).await;
                world.kill(Duration::from_millis(world.draw(9000))).await;
            }
            rotate_for(&world, &input, Duration::from_secs(3)).await;
            sleep(Duration::from_secs(10)).await;
            let feed = world.feed().await;
            assert!(feed.len() > 10, "{} changes", feed.len());
            for relay in &world.relays {
                assert_eq!(relay.told(), feed, "seed {}, {}", world.seed, relay.name);
                assert_eq!(relay.missed(), 0);
            }
        })
    });
}

#[test]
fn relays_of_a_control_plane_that_is_away_ask_ever_more_rarely_and_are_back_soon_after_it() {
    worlds(|world| {
        Box::pin(async move {
            let input = world.call(CREATE, json!({ "name": "x" })).await.unwrap();
            world.all_informed().await;
            let before: Vec<usize> = world.relays.iter().map(Relay::dials).collect();
            world.kill(Duration::from_mins(2)).await;
            for (relay, before) in world.relays.iter().zip(before) {
                let dials = relay.dials() - before;
                // One long poll that nobody ends, and then each attempt takes five seconds and a
                // pause of up to four.
                assert!((8..24).contains(&dials), "{dials} attempts");
            }
            rotate_for(&world, &input, Duration::from_secs(1)).await;
            sleep(Duration::from_secs(6)).await;
            let feed = world.feed().await;
            assert!(!feed.is_empty());
            for relay in &world.relays {
                assert_eq!(relay.told(), feed);
            }
        })
    });
}

#[test]
fn a_relay_that_is_cut_off_judges_by_the_keys_it_knows_and_hears_the_rest_when_it_is_back() {
    worlds(|world| {
        Box::pin(async move {
            let input = world.call(CREATE, json!({ "name": "x" })).await.unwrap();
            let key = json!({ "alg": "Ed25519" });
            let key = world.call("streams.signingKeys.create", key).await.unwrap();
            let ticket = json!({ "id": input["id"] });
            let ticket = world
                .call("streams.liveInputs.mintPlaybackToken", ticket)
                .await;
            let token = ticket.unwrap()["token"].as_str().unwrap().to_owned();
            sleep(Duration::from_secs(2)).await;
            let (cut, other) = (&world.relays[0], &world.relays[1]);
            assert!(permits(cut, &token) && permits(other, &token));
            turmoil::partition(cut.name, "control");
            let deactivation = json!({ "id": key["id"] });
            let deactivate = "streams.signingKeys.deactivate";
            world.call(deactivate, deactivation).await.unwrap();
            rotate_for(&world, &input, Duration::from_secs(20 + world.draw(60))).await;
            assert!(
                permits(cut, &token),
                "the keys that are known stay in force"
            );
            assert!(!permits(other, &token), "nobody else is held up");
            turmoil::repair(cut.name, "control");
            sleep(CATCH_UP).await;
            assert!(
                !permits(cut, &token),
                "seed {}: not told in time",
                world.seed
            );
            let feed = world.feed().await;
            assert!(feed.len() > 3);
            for relay in &world.relays {
                assert_eq!(relay.told(), feed, "seed {}, {}", world.seed, relay.name);
                assert_eq!(relay.missed(), 0);
            }
        })
    });
}

#[test]
fn a_question_into_a_dead_network_is_refused_by_name_in_time_and_answered_when_it_is_back() {
    worlds(|world| {
        Box::pin(async move {
            let input = world.call(CREATE, json!({ "name": "x" })).await.unwrap();
            let question = ResolveRequest {
                kind: ResolveKind::Publish,
                id: input["id"].as_str().unwrap().to_owned(),
                sk: Some(Secret::new(input["stream_key_cleartext"].as_str().unwrap())),
                tok: None,
                ip: None,
            };
            let client = client(<_>::default());
            client.resolve(&question).await.unwrap();
            turmoil::hold("operator", "control");
            let began = Instant::now();
            let refusal = client.resolve(&question).await.unwrap_err();
            assert_eq!(refusal.code, RefusalCode::Unavailable);
            assert_eq!(
                refusal.message,
                "the control plane cannot be asked: it did not answer in time"
            );
            let took = began.elapsed().as_secs_f64();
            assert!((4.9..5.2).contains(&took), "{took}");
            turmoil::release("operator", "control");
            client.resolve(&question).await.unwrap();
            turmoil::partition("operator", "control");
            let refusal = client.resolve(&question).await.unwrap_err();
            assert_eq!(refusal.code, RefusalCode::Unavailable);
            turmoil::repair("operator", "control");
            client.resolve(&question).await.unwrap();
        })
    });
}

/// The database was put back to what it was before: its feed is another one.
#[test]
fn a_relay_whose_feed_is_gone_fetches_all_keys_and_has_its_publishers_show_theirs_again() {
    worlds(|world| {
        Box::pin(async move {
            let input = world.call(CREATE, json!({ "name": "x" })).await.unwrap();
            world.all_informed().await;
            sleep(Duration::from_secs(1)).await;
            world.back_up();
            rotate_for(&world, &input, Duration::from_secs(5)).await;
            sleep(Duration::from_secs(3)).await;
            world.put_back();
            world.kill(Duration::from_secs(1)).await;
            sleep(Duration::from_secs(10)).await;
            for relay in &world.relays {
                assert_eq!(relay.missed(), 1, "seed {}, {}", world.seed, relay.name);
            }
            // And goes on from there.
            let before: Vec<usize> = world.relays.iter().map(|it| it.told().len()).collect();
            let rotation = json!({ "id": input["id"], "graceSeconds": 0 });
            world.call(ROTATE, rotation).await.unwrap();
            sleep(Duration::from_secs(2)).await;
            for (relay, before) in world.relays.iter().zip(before) {
                assert_eq!(relay.told().len(), before + 1);
                assert_eq!(relay.missed(), 1);
            }
        })
    });
}
