//! Requests whose clients go away, and a server that is killed, in the middle of writes.

use crate::world::*;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const CREATE: &str = "streams.liveInputs.create";
const ROTATE: &str = "streams.liveInputs.rotateStreamKey";

/// Sends calls and goes away after a time that the seed draws: before, while or after they are
/// worked on. Gives the names of the inputs that it was told are made.
async fn cut_calls(world: &World, calls: usize) -> Vec<String> {
    let kept = world.called(CREATE, json!({ "name": "kept" })).await;
    let mut made = vec!["kept".to_owned()];
    world.is_free.set(true);
    for index in 0..calls {
        let name = format!("cut {index}");
        let call = match index % 3 {
            0 => world.call(ROTATE, json!({ "id": kept["id"], "graceSeconds": 60 })),
            _ => world.call(CREATE, json!({ "name": name })),
        };
        let patience = Duration::from_millis(world.draw(400));
        let answered = timeout(patience, ask(&call));
        if let Ok(Some((200, _))) = answered.await
            && index % 3 != 0
        {
            made.push(name);
        }
    }
    world.is_free.set(false);
    made
}

/// What must hold of the database whatever was cut off; `made` are inputs that clients know of.
async fn check(world: &World, made: &[String]) {
    world
        .until("no query is left", |it| it.queries.get() == 0)
        .await;
    let inputs = world.inputs().await;
    let names: BTreeSet<&str> = inputs
        .iter()
        .filter_map(|each| each["name"].as_str())
        .collect();
    for name in made {
        assert!(
            names.contains(name.as_str()),
            "{name} was answered, and is lost"
        );
    }
    let file = world.dir.path().join("control.db");
    let counted = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(count(
            SqliteConnectOptions::new().filename(file).read_only(true),
        ))
    });
    let counted = counted.await.unwrap();
    assert_eq!(
        counted.without_key, 0,
        "inputs without a stream key in force"
    );
    assert_eq!(counted.strays, 0, "stream keys without an input");
    assert_eq!(counted.damage, "ok");
    // What was said to relays is what is in force.
    assert_eq!(counted.told, counted.in_force);
    // And it goes on.
    let after = world.called(CREATE, json!({ "name": "after" })).await;
    let sk = &after["stream_key_cleartext"];
    let question = json!({ "kind": "publish", "id": after["id"], "sk": sk }).to_string();
    let question = post("/streams/resolve", RELAY_SECRET, &question);
    assert_eq!(ask(&question).await.expect("an answer").0, 200);
}

struct Counted {
    without_key: i64,
    strays: i64,
    damage: String,
    /// The version of the kept input's key that the last change names, and the one in force.
    told: Option<String>,
    in_force: Option<String>,
}

async fn count(options: SqliteConnectOptions) -> Counted {
    let mut base = options.connect().await.unwrap();
    let without_key = "SELECT count(*) FROM live_inputs WHERE id NOT IN
        (SELECT input FROM stream_keys WHERE ends_at IS NULL)";
    let strays = "SELECT count(*) FROM stream_keys WHERE input NOT IN (SELECT id FROM live_inputs)";
    let told = "SELECT body FROM changes ORDER BY seq DESC LIMIT 1";
    let in_force =
        "SELECT stream_keys.id FROM stream_keys JOIN live_inputs ON input = live_inputs.id
        WHERE ends_at IS NULL AND name = 'kept'";
    let told: Option<String> = sqlx::query_scalar(told)
        .fetch_optional(&mut base)
        .await
        .unwrap();
    let told = told.map(|body| serde_json::from_str::<Value>(&body).unwrap());
    let told = told.map(|told| told["credential"].as_str().unwrap().to_owned());
    let counted = Counted {
        without_key: number(&mut base, without_key).await,
        strays: number(&mut base, strays).await,
        damage: sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_one(&mut base)
            .await
            .unwrap(),
        in_force: sqlx::query_scalar(in_force)
            .fetch_optional(&mut base)
            .await
            .unwrap()
            .filter(|_| told.is_some()),
        told,
    };
    base.close().await.unwrap();
    counted
}

async fn number(base: &mut SqliteConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(base).await.unwrap()
}

#[test]
fn calls_whose_clients_go_away_leave_no_half_made_rows_and_no_query() {
    worlds(
        |_| {},
        &[("client", |world| {
            Box::pin(async move {
                let made = cut_calls(&world, 60).await;
                check(&world, &made).await;
            })
        })],
    );
}

#[test]
fn a_server_killed_in_the_middle_of_writes_keeps_what_it_answered_and_nothing_by_halves() {
    worlds(
        |_| {},
        &[
            ("client", |world| {
                Box::pin(async move {
                    let made = cut_calls(&world, 60).await;
                    // A kill may still be under way.
                    sleep(TICK * 4).await;
                    world.up().await;
                    check(&world, &made).await;
                })
            }),
            ("killer", |world| {
                Box::pin(async move {
                    world.until("calls are cut", |it| it.is_free.get()).await;
                    loop {
                        sleep(Duration::from_millis(500 + world.draw(1500))).await;
                        if !world.is_free.get() {
                            return;
                        }
                        world.kill.set(true);
                        sleep(TICK * 2).await;
                        world.up().await;
                    }
                })
            }),
        ],
    );
}
