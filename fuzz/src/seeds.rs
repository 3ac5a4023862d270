//! Inputs that go well, made by code: where fuzzing begins, and what every replay includes.

mod media;

use crate::captures::{Capture, Target as Machine};
use crate::scene;
use mainstem_core::jwt::{Claims, mint};
use mainstem_core::resolve::{KeyStatus, RelayState};
use mainstem_sim::plan::{Plan, Profile};
use std::time::Duration;

/// The seeds of a target; none for one that needs none.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "relay" => relay(),
        "session" => session(),
        "publisher" => scene::seeds::of(Machine::Publisher, &[0, 0, 1]),
        "subscriber" => scene::seeds::of(Machine::Subscriber, &[0, 0, 1]),
        "viewer" => scene::seeds::watched(),
        "http3" => crate::web::seeds(),
        "rtmp_server" => media::rtmp_server(),
        "rtmp_values" => media::rtmp_values(),
        "cmaf" => media::cmaf(),
        "cmaf_codec" => media::cmaf_codec(),
        "catalog" => media::catalog(),
        "packager" => vec![vec![
            0, 3, 0, 1, 0x13, 3, 1, 4, 0, 0, 5, 0, 0, 0, 0, 3, 0x65, 0x88,
        ]],
        "plan" => plan(),
        "token" => token(),
        "moqt_values" => values(),
        _ => Vec::new(),
    }
}

/// A plan of each profile, drawn and written, where it is small.
fn plan() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, profile) in Profile::ALL.into_iter().enumerate() {
        let drawn = [&[0, index as u8][..], &7_u64.to_be_bytes()].concat();
        seeds.push(drawn);
        let text = Plan::generate(7, profile).to_json();
        seeds.extend((text.len() < 6000).then(|| text.into_bytes()));
    }
    seeds
}

/// A token that verifies, its claims, its key.
fn token() -> Vec<Vec<u8>> {
    let key = scene::relay::signing_key();
    let ids = ["lv_1"];
    let hour = Duration::from_hours(1);
    let claims = Claims::playback("i", scene::relay::ORG, &ids, scene::relay::UNIX_START, hour);
    let token = mint(&key, &claims, scene::relay::UNIX_START).unwrap_or_default();
    let jwk = key
        .public_key()
        .to_jwk("k1", scene::relay::ORG, KeyStatus::Active);
    let pem = key.public_key().to_pem();
    let state = RelayState {
        cursor: 1,
        keys: vec![jwk.clone()],
    };
    vec![
        [&[0], token.as_bytes()].concat(),
        [&[1, 0, 9, 9], json(&claims).as_bytes()].concat(),
        [&[2], json(&jwk).as_bytes()].concat(),
        [&[3], pem.as_bytes()].concat(),
        b"\x04\x0aplayback/*playback/lv_1".to_vec(),
        [&[5], json(&state).as_bytes()].concat(),
    ]
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn values() -> Vec<Vec<u8>> {
    [
        &b"\x01other-live--video.2d"[..],
        b"\x02moqt://u@relay.test:443/live?x=1#a:b",
        b"\x06moq-test-00/0/0/0/3/5/100/10/1/1/1/0/-1/-1/0/0",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Every session by itself, open and tight; and publishers beside viewers of the same draft.
fn relay() -> Vec<Vec<u8>> {
    let mut seeds = scene::seeds::of(Machine::Relay, &[0, 0, 1]);
    seeds.extend(scene::seeds::of(Machine::Relay, &[2, 0, 2]));
    seeds.extend(scene::seeds::with_tokens());
    let captures = Capture::all();
    let of = |what: &str| {
        let named = captures
            .iter()
            .filter(move |each| each.name.starts_with(what));
        named.collect::<Vec<_>>()
    };
    for publisher in of("publisher at") {
        for viewer in of("viewer at") {
            seeds.push(scene::seeds::together(publisher, viewer, &[0, 0, 3]));
        }
    }
    seeds
}

fn session() -> Vec<Vec<u8>> {
    let mut seeds = scene::seeds::of(Machine::Relay, &[0, 0, 1]);
    seeds.extend(scene::seeds::of(Machine::Fetched, &[0, 0, 2]));
    seeds.extend(scene::seeds::of(Machine::Fetcher, &[2, 0, 3]));
    seeds.extend(scene::seeds::of(Machine::Publisher, &[2, 0, 0]));
    seeds.extend(scene::seeds::of(Machine::Subscriber, &[2, 0, 5]));
    seeds
}
