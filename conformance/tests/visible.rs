//! What a relay shows its operator while it runs: figures, sessions, event logs, to nobody but those
//! who have the key.

use mainstem_conformance::harness::Scratch;
use mainstem_conformance::harness::relays::Relay;
use mainstem_conformance::harness::wait_for;
use mainstem_conformance::harness::watch::Watch;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time for a publisher to be announced.
const SETTLE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(10);
const KEY: &str = "the operator's own key";

fn request(relay: &Relay, method: &str, path: &str, key: Option<&str>) -> (u16, String) {
    let url = format!("{}{path}", relay.admin);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(SOON))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(&url);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let mut answer = agent
        .run(request.body(()).expect("a request that can be made"))
        .expect("the admin listener answers");
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    (answer.status().as_u16(), text)
}

fn sessions(relay: &Relay, key: Option<&str>) -> Vec<Value> {
    let (status, text) = request(relay, "GET", "/sessions", key);
    assert_eq!(status, 200, "{text}");
    let value: Value = serde_json::from_str(&text).expect("sessions come as JSON");
    value["sessions"].as_array().cloned().unwrap_or_default()
}

/// The records of a JSON text sequence, its head left out.
fn records(log: &str) -> Vec<Value> {
    let texts = log.split('\u{1e}').filter(|text| !text.trim().is_empty());
    let parsed = texts.map(|text| serde_json::from_str(text).expect(text));
    parsed.skip(1).collect()
}

fn names(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect()
}

fn logs_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn every_session_has_its_event_log_when_the_operator_says_so() {
    let scratch = Scratch::new("visible_all");
    let folder = scratch.join("logs");
    let folder_text = folder.display().to_string();
    let relay = Relay::start(&scratch, "relay", &[], &["--event-log", &folder_text]);
    let mut publisher = relay.publish(&scratch, "lv_1");
    std::thread::sleep(SETTLE);
    let report = Watch::start_at(&scratch, &relay.stream("lv_1"), 3).report();
    assert_eq!(report.gaps, 0, "{report:?}");
    let watched = wait_for("the viewer's log", SOON, || {
        let logs = logs_in(&folder);
        let texts = logs
            .iter()
            .filter_map(|log| std::fs::read_to_string(log).ok());
        let mut of_viewer = texts.filter(|text| text.contains("subscribe_ok"));
        of_viewer.find(|text| names(&records(text)).len() > 20)
    });
    let records = records(&watched);
    let names = names(&records);
    assert!(
        names.iter().all(|name| name.starts_with("moqt:")),
        "{names:?}"
    );
    assert!(logs_in(&folder).len() >= 2, "the publisher has one, too");
    publisher.kill();
}

#[test]
fn an_operator_sees_sessions_and_takes_the_log_of_one_while_it_runs() {
    let scratch = Scratch::new("visible_admin");
    let relay = Relay::start(&scratch, "relay", &[], &["--admin", "127.0.0.1:0"]);
    let mut publisher = relay.publish(&scratch, "lv_1");
    std::thread::sleep(SETTLE);
    let before = ids(&sessions(&relay, None));
    assert_eq!(before.len(), 1, "the publisher");
    let viewer = Watch::start_at(&scratch, &relay.stream("lv_1"), 8);
    let id = wait_for("the viewer's session", SOON, || {
        let now = ids(&sessions(&relay, None));
        now.into_iter().find(|id| !before.contains(id))
    });
    let log = format!("/sessions/{id}/log");
    assert_eq!(request(&relay, "GET", &log, None).0, 404, "not switched on");
    let switched = request(&relay, "PUT", &log, None).0;
    assert!((200..300).contains(&switched), "{switched}");
    std::thread::sleep(SETTLE);
    let (status, text) = request(&relay, "GET", &log, None);
    assert_eq!(status, 200, "{text}");
    assert!(!records(&text).is_empty(), "{text}");
    let switched = request(&relay, "DELETE", &log, None).0;
    assert!((200..300).contains(&switched), "{switched}");
    assert_eq!(request(&relay, "PUT", "/sessions/999999/log", None).0, 404);
    let (status, figures) = request(&relay, "GET", "/metrics", None);
    assert_eq!(status, 200);
    assert!(figures.contains("mainstem_quic_overloads_shared_total 0"));
    let report = viewer.report();
    assert_eq!(report.gaps, 0, "{report:?}");
    publisher.kill();
}

#[test]
fn without_the_key_nobody_sees_anything() {
    let scratch = Scratch::new("visible_key");
    let file = scratch.join("admin.key");
    std::fs::write(&file, KEY).unwrap();
    let file = file.display().to_string();
    let more = ["--admin", "127.0.0.1:0", "--admin-key-file", &file];
    let relay = Relay::start(&scratch, "relay", &[], &more);
    for (path, method) in [
        ("/metrics", "GET"),
        ("/sessions", "GET"),
        ("/sessions/0/log", "PUT"),
        ("/sessions/0/log", "GET"),
    ] {
        assert_eq!(request(&relay, method, path, None).0, 401, "{path}");
        let wrong = request(&relay, method, path, Some("another key")).0;
        assert_eq!(wrong, 401, "{path}");
    }
    assert_eq!(request(&relay, "GET", "/metrics", Some(KEY)).0, 200);
    assert!(sessions(&relay, Some(KEY)).is_empty());
}

fn ids(sessions: &[Value]) -> Vec<u64> {
    let ids = sessions.iter().map(|session| session["session"].as_u64());
    ids.collect::<Option<_>>()
        .expect("each session has a number")
}
