//! What is kept, how it is kept, and what a stop or a kill leaves.

#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is a test's way of speaking"
)]

mod common;

use common::{World, ok, send, text, world};
use mainstem_control::{Control, MasterKeySource, StartError};
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MINT: &str = "streams.liveInputs.mintPlaybackToken";

async fn again(dir: tempfile::TempDir, before: &World) -> World {
    let running = Control::start(common::config(dir.path())).await.unwrap();
    assert!(running.bootstrap.is_none());
    assert_eq!(running.org, before.org);
    let client = reqwest::Client::new();
    World {
        running,
        dir,
        org: before.org.clone(),
        key: before.key.clone(),
        client,
    }
}

/// The files as a kill would leave them: nothing is closed or checkpointed.
fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["control.db", "control.db-wal", "master.key"] {
        fs::copy(dir.join(file), copy.path().join(file)).unwrap();
    }
    copy
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let world = world().await;
    let input = world.create_input("x").await;
    let rsa = json!({ "alg": "RS256" });
    let rsa = world.mutate("streams.signingKeys.create", rsa).await;
    let ticket = world.mutate(MINT, json!({ "id": input["id"] })).await;
    let last = world.create_input("the last thing").await;

    let after = again(copy_of(world.dir.path()), &world).await;
    let listed = after.query("streams.liveInputs.list", json!({})).await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let sk = json!({ "kind": "publish", "id": last["id"], "sk": last["stream_key_cleartext"] });
    ok(after.resolve(sk).await);
    let tok = json!({ "kind": "playback", "id": input["id"], "tok": ticket["token"] });
    ok(after.resolve(tok).await);
    // The sealed key signs again.
    let next = after.mutate(MINT, json!({ "id": input["id"] })).await;
    assert_eq!((&next["kid"], &next["alg"]), (&rsa["id"], &json!("RS256")));
    assert_eq!(
        after.changes(0, 0).await["changes"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// A control plane in a process of its own, which the test below kills.
#[tokio::test]
#[ignore = "run by what_was_answered_survives_sigkill"]
async fn serve_until_killed() {
    let Some(dir) = std::env::var_os("MAINSTEM_TEST_DATA_DIR") else {
        return;
    };
    let running = Control::start(common::config(Path::new(&dir)))
        .await
        .unwrap();
    let first = running.bootstrap.as_ref().unwrap();
    println!(
        "\nserving {} {} {}",
        running.local_addr,
        first.org,
        first.api_key.expose()
    );
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn what_was_answered_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["serve_until_killed", "--exact", "--ignored", "--nocapture"])
        .env("MAINSTEM_TEST_DATA_DIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.starts_with("serving "))
        .unwrap();
    let [_, address, org, key] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    let client = reqwest::Client::new();
    let input = json!({ "orgId": org, "name": "kept" });
    let url = format!("http://{address}/api/trpc/streams.liveInputs.create");
    let made = common::data(send(client.post(url).bearer_auth(key).json(&input)).await);
    child.kill().unwrap();
    child.wait().unwrap();

    let running = Control::start(common::config(dir.path())).await.unwrap();
    assert!(running.bootstrap.is_none());
    let (org, key) = (org.to_owned(), key.to_owned());
    let after = World {
        running,
        dir,
        org,
        key,
        client,
    };
    let got = after
        .query("streams.liveInputs.get", json!({ "id": made["id"] }))
        .await;
    assert_eq!(got["name"], "kept");
    let sk = json!({ "kind": "publish", "id": made["id"], "sk": made["stream_key_cleartext"] });
    ok(after.resolve(sk).await);
}

#[tokio::test]
async fn a_clean_stop_ends_long_polls_and_frees_the_port() {
    let world = world().await;
    let input = world.create_input("x").await;
    let address = world.running.local_addr;
    let path = world.url("/internal/v1/relay/changes?after=0&wait=60");
    let poll = world.client.get(path).bearer_auth(common::RELAY_SECRET);
    let poll = tokio::spawn(send(poll));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    let World {
        running,
        dir,
        org,
        key,
        client,
    } = world;
    running.shutdown().await;
    assert!(start.elapsed() < Duration::from_secs(2));
    ok(poll.await.unwrap());
    let mut config = common::config(dir.path());
    config.listen = address;
    let running = Control::start(config).await.unwrap();
    let world = World {
        running,
        dir,
        org,
        key,
        client,
    };
    let got = world
        .query("streams.liveInputs.get", json!({ "id": input["id"] }))
        .await;
    assert_eq!(got["name"], "x");
}

#[tokio::test]
async fn no_secret_is_in_the_files_and_the_files_are_private() {
    let world = world().await;
    let input = world.create_input("needle").await;
    let rotate = "streams.liveInputs.rotateStreamKey";
    let rotated = world
        .mutate(rotate, json!({ "id": input["id"], "graceSeconds": 60 }))
        .await;
    world
        .mutate("streams.signingKeys.create", json!({ "alg": "RS256" }))
        .await;
    let ticket = world.mutate(MINT, json!({ "id": input["id"] })).await;
    let mut bytes = Vec::new();
    for entry in fs::read_dir(world.dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{entry:?}"
        );
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("control.db")
        {
            bytes.extend(fs::read(entry.path()).unwrap());
        }
    }
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(has(b"needle"), "the search works");
    let api_secret = world.key.rsplit('_').next().unwrap();
    let token = text(&ticket["token"]);
    let (first, second) = (
        text(&input["stream_key_cleartext"]),
        text(&rotated["stream_key_cleartext"]),
    );
    let master = fs::read_to_string(world.dir.path().join("master.key")).unwrap();
    for secret in [
        api_secret,
        first.trim_start_matches("sk_live_"),
        second.trim_start_matches("sk_live_"),
        token.rsplit('.').next().unwrap(),
        master.trim(),
        common::RELAY_SECRET,
        // The start of an RSA private key in DER, after its length: version 0 and a 257-byte number.
        "PRIVATE KEY",
    ] {
        assert!(!has(secret.as_bytes()), "found {secret}");
    }
    assert!(
        !has(&[0x02, 0x01, 0x00, 0x02, 0x82, 0x01, 0x01, 0x00]),
        "an RSA key in clear"
    );
}

#[tokio::test]
async fn a_wrong_or_missing_master_key_stops_the_start() {
    let world = world().await;
    let start = async |dir: &Path, key: MasterKeySource| {
        let mut config = common::config(dir);
        config.master_key = key;
        Control::start(config).await.map(drop).unwrap_err()
    };
    let copy = copy_of(world.dir.path());
    fs::remove_file(copy.path().join("master.key")).unwrap();
    let error = start(copy.path(), MasterKeySource::DataDir).await;
    assert!(error.to_string().contains("restore it"), "{error}");
    assert!(!copy.path().join("master.key").exists());
    let other = copy.path().join("other.key");
    fs::write(&other, "11".repeat(32)).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
    let error = start(copy.path(), MasterKeySource::File(other)).await;
    assert!(matches!(error, StartError::WrongMasterKey));
    let unset = MasterKeySource::Environment("MAINSTEM_TEST_UNSET_KEY".to_owned());
    assert!(
        start(copy.path(), unset)
            .await
            .to_string()
            .contains("is not set")
    );
}

#[tokio::test]
async fn a_short_relay_secret_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = common::config(dir.path());
    config.relay_secret = Some(mainstem_control::Secret::new("short"));
    assert!(matches!(
        Control::start(config).await,
        Err(StartError::WeakRelaySecret)
    ));
}

#[tokio::test]
async fn health_and_readiness_are_told() {
    let world = world().await;
    for (path, status) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let said = ok(send(world.client.get(world.url(path))).await);
        assert_eq!(said, json!({ "status": status }));
    }
}
