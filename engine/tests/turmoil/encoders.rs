//! Encoders that stall, are cut off, and come back.

use crate::world::*;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const STALE_AFTER: Duration = Duration::from_secs(5);

#[test]
fn an_encoder_cut_off_anywhere_frees_its_input_and_comes_back_with_its_key() {
    worlds(
        |_| {},
        &[("encoder", |world| {
            Box::pin(async move {
                let first = Encoder::with(&CAPTURE[..world.cut(HEAD)]).await;
                world.until("publishing", |it| it.encoders() == 1).await;
                first.hang_up();
                world
                    .until("gone", |it| it.encoders() + it.connections() == 0)
                    .await;
                assert_eq!(world.inputs(), 1, "the broadcast waits for its encoder");
                let (before, began) = (world.chunks(), Instant::now());
                let second = Encoder::with(&CAPTURE[..NEARLY_ALL]).await;
                world
                    .until("it goes on", |it| it.chunks() > before + 70)
                    .await;
                // Nobody had to wait for the first one to count as stale.
                assert!(began.elapsed() < STALE_AFTER);
                assert_eq!(world.figure(|all| &all.publishes_refused_total), 0);
                second.hang_up();
                world
                    .until("gone", |it| it.encoders() + it.connections() == 0)
                    .await;
            })
        })],
    );
}

/// The first one's network vanished, and with it every word that the connection is over.
#[test]
fn an_encoder_behind_a_dead_network_is_taken_over_from_when_it_is_stale_and_not_before() {
    worlds(
        |config| config.stale_after = STALE_AFTER,
        &[
            ("encoder", |world| {
                Box::pin(async move {
                    let mut first = Encoder::with(&CAPTURE[..HEAD]).await;
                    world.until("publishing", |it| it.encoders() == 1).await;
                    turmoil::partition("encoder", "engine");
                    first.send(&CAPTURE[HEAD..world.cut(HEAD)]).await;
                    world
                        .until("taken over", |it| {
                            it.figure(|all| &all.publishes_total) == 2
                        })
                        .await;
                })
            }),
            ("spare", |world| {
                Box::pin(async move {
                    world.until("publishing", |it| it.encoders() == 1).await;
                    let began = Instant::now();
                    let mut refused = 0;
                    let second = loop {
                        let second = Encoder::with(&CAPTURE[..NEARLY_ALL]).await;
                        let answered = |it: &World| {
                            it.figure(|all| &all.publishes_refused_total) > refused
                                || it.figure(|all| &all.publishes_total) == 2
                        };
                        world.until("answered", answered).await;
                        if world.figure(|all| &all.publishes_total) == 2 {
                            break second;
                        }
                        refused += 1;
                        let told = second.told().await;
                        assert!(
                            told.contains("input lv_1 is being published by another encoder"),
                            "{told}"
                        );
                        sleep(Duration::from_millis(200)).await;
                    };
                    let waited = began.elapsed();
                    let slack = Duration::from_millis(500);
                    assert!(
                        refused > 3
                            && waited + slack > STALE_AFTER
                            && waited < STALE_AFTER + 2 * slack,
                        "seed {}: {refused} refusals in {waited:?}",
                        world.seed
                    );
                    // The first one's connection ends although it hears no word of it.
                    world.until("one is left", |it| it.connections() == 1).await;
                    assert_eq!(world.encoders(), 1);
                    world.until("all of it", |it| it.chunks() > 70).await;
                    second.hang_up();
                    world
                        .until("gone", |it| it.encoders() + it.connections() == 0)
                        .await;
                })
            }),
        ],
    );
}

/// What the first one sent before arrives after its input was taken over.
#[test]
fn nothing_that_arrives_late_gets_into_the_stream_of_the_next_encoder() {
    worlds(
        |config| config.stale_after = STALE_AFTER,
        &[
            ("encoder", |world| {
                Box::pin(async move {
                    let mut first = Encoder::with(&CAPTURE[..HEAD]).await;
                    world.until("publishing", |it| it.encoders() == 1).await;
                    turmoil::hold("encoder", "engine");
                    first.send(&CAPTURE[HEAD..NEARLY_ALL]).await;
                    let is_second = |it: &World| it.figure(|all| &all.publishes_total) == 2;
                    world.until("taken over", is_second).await;
                    turmoil::release("encoder", "engine");
                    let told = first.told().await;
                    assert!(
                        told.contains("another encoder publishes to this input"),
                        "{told}"
                    );
                })
            }),
            ("spare", |world| {
                Box::pin(async move {
                    world.until("publishing", |it| it.encoders() == 1).await;
                    sleep(STALE_AFTER + Duration::from_millis(100)).await;
                    let before = world.chunks();
                    let second = Encoder::with(&CAPTURE[..NEARLY_ALL]).await;
                    world.until("one is left", |it| it.connections() == 1).await;
                    let sent_by_one = sent_by_one(&world, before).await;
                    assert!(sent_by_one, "seed {}: {}", world.seed, world.chunks());
                    second.hang_up();
                    world
                        .until("gone", |it| it.encoders() + it.connections() == 0)
                        .await;
                })
            }),
        ],
    );
}

/// Whether one whole capture was published on top of `before`, and no more.
async fn sent_by_one(world: &World, before: u64) -> bool {
    sleep(Duration::from_secs(3)).await;
    let sent = world.chunks() - before;
    (75..=83).contains(&sent)
}

#[test]
fn a_publisher_that_stalls_is_let_go_after_the_idle_timeout() {
    worlds(
        |config| config.rtmp.limits.idle_timeout = Duration::from_secs(30),
        &[("encoder", |world| {
            Box::pin(async move {
                let mut encoder = Encoder::with(&CAPTURE[..HEAD]).await;
                world.until("publishing", |it| it.encoders() == 1).await;
                // A byte now and then is a sign of life.
                for at in HEAD..HEAD + 4 {
                    sleep(Duration::from_secs(20)).await;
                    encoder.send(&CAPTURE[at..=at]).await;
                }
                let began = Instant::now();
                world.until("let go", |it| it.encoders() == 0).await;
                let waited = began.elapsed().as_secs_f64();
                assert!((29.9..31.0).contains(&waited), "{waited}");
                encoder.told().await;
                world
                    .until("no connection", |it| it.connections() == 0)
                    .await;
            })
        })],
    );
}
