//! The control plane is slow, away, or comes back, while an encoder waits for it.

use crate::world::*;
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[test]
fn an_encoder_is_told_in_time_that_the_control_plane_is_away_and_may_publish_when_it_is_back() {
    worlds(
        |_| {},
        &[("encoder", |world| {
            Box::pin(async move {
                turmoil::hold("engine", "control");
                let began = Instant::now();
                let told = Encoder::with(CAPTURE).await.told().await;
                assert!(
                    told.contains(
                        "unavailable: the control plane cannot be asked: it did not answer in time"
                    ),
                    "{told}"
                );
                assert!(told.contains("NetStream.Failed") && !told.contains("auth_failed"));
                assert!(
                    began.elapsed() < Duration::from_secs(9),
                    "{:?}",
                    began.elapsed()
                );
                assert_eq!((world.asked.get(), world.inputs()), (0, 0));
                turmoil::release("engine", "control");
                let encoder = Encoder::with(&CAPTURE[..NEARLY_ALL]).await;
                world.until("it publishes", |it| it.chunks() > 70).await;
                encoder.hang_up();
            })
        })],
    );
}

/// The answer is lost on its way back: asked once, not answered, told in time.
#[test]
fn a_lost_answer_is_no_answer() {
    worlds(
        |_| {},
        &[("encoder", |world| {
            Box::pin(async move {
                world.thinking.set(Duration::from_millis(300));
                let encoder = Encoder::with(&CAPTURE[..HEAD]).await;
                world.until("asked", |it| it.asked.get() == 1).await;
                turmoil::partition("engine", "control");
                let told = encoder.told().await;
                assert!(told.contains("it did not answer in time"), "{told}");
                assert_eq!((world.asked.get(), world.inputs()), (1, 0));
                world
                    .until("gone", |it| it.encoders() + it.connections() == 0)
                    .await;
            })
        })],
    );
}

#[test]
fn an_encoder_that_hangs_up_while_it_is_judged_holds_nothing_afterwards() {
    worlds(
        |_| {},
        &[("encoder", |world| {
            Box::pin(async move {
                world
                    .thinking
                    .set(Duration::from_millis(500 + 400 * world.seed));
                for asked in 1..=3 {
                    let encoder = Encoder::with(&CAPTURE[..HEAD]).await;
                    world.until("asked", |it| it.asked.get() == asked).await;
                    encoder.hang_up();
                    sleep(Duration::from_millis(40)).await;
                }
                world
                    .until("gone", |it| it.encoders() + it.connections() == 0)
                    .await;
                world.thinking.set(Duration::ZERO);
                let before = world.chunks();
                let encoder = Encoder::with(&CAPTURE[..NEARLY_ALL]).await;
                world
                    .until("it publishes", |it| it.chunks() > before + 70)
                    .await;
                encoder.hang_up();
            })
        })],
    );
}
