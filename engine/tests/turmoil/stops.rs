//! The engine stops, whatever its encoders are doing.

use crate::world::*;
use std::time::Duration;

#[test]
fn stopping_tells_the_encoders_and_takes_a_bounded_time_whatever_they_do() {
    worlds(
        |_| {},
        &[
            ("encoder", |world| {
                Box::pin(async move {
                    let encoder = Encoder::with(&CAPTURE[..HEAD]).await;
                    let told = encoder.told().await;
                    assert!(told.contains("the engine is stopping"), "{told}");
                    world
                        .until("stopped", |it| it.stopped.get().is_some())
                        .await;
                    assert_eq!(world.encoders() + world.connections(), 0);
                })
            }),
            ("silent", |world| {
                Box::pin(async move {
                    let _stream = connect().await;
                    world
                        .until("stopped", |it| it.stopped.get().is_some())
                        .await;
                })
            }),
            ("gone", |world| {
                Box::pin(async move {
                    let other = capture_with("lv_1", "lv_2");
                    let mut gone = Encoder::with(&other[..HEAD]).await;
                    world.until("both publish", |it| it.encoders() == 2).await;
                    turmoil::partition("gone", "engine");
                    gone.send(&other[HEAD..]).await;
                    world
                        .until("stopped", |it| it.stopped.get().is_some())
                        .await;
                })
            }),
            ("judged", |world| {
                Box::pin(async move {
                    world.until("both publish", |it| it.encoders() == 2).await;
                    world.thinking.set(Duration::from_millis(4900));
                    let asked = world.asked.get();
                    let third = capture_with("lv_1", "lv_3");
                    let encoder = Encoder::with(&third[..HEAD]).await;
                    world.until("asked", |it| it.asked.get() > asked).await;
                    world.stop.set(Some(Duration::from_secs(3)));
                    world
                        .until("stopped", |it| it.stopped.get().is_some())
                        .await;
                    let took = world.stopped.get().unwrap();
                    assert!(took < Duration::from_millis(3500), "{took:?}");
                    assert_eq!(world.encoders(), 0);
                    drop(encoder);
                })
            }),
        ],
    );
}
