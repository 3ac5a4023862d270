//! Independent MoQT software: aiomoqt's client of the public interoperability cases, and its relay
//! with our client before it.

use super::program::Running;
use super::{Scratch, mainstem, output_of, tool, wait_for};
use crate::tap::{self, TestPoint};
use serde_json::Value;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

/// How long all cases of our client may take.
const SUITE_LIMIT: Duration = Duration::from_mins(3);
/// How long a relay may take to listen.
const START_LIMIT: Duration = Duration::from_secs(15);

/// No case takes longer than this, its own time limit included.
const CASE_LIMIT: Duration = Duration::from_secs(30);

/// Runs one case against `url` with one draft; its outcome.
///
/// # Panics
///
/// When the client reports no outcome, for example because it does not speak the draft.
pub fn aiomoqt(scratch: &Scratch, url: &str, draft: u32, case: &str) -> TestPoint {
    let client = tool("MAINSTEM_AIOMOQT", "moq-interop-client");
    let mut command = Command::new(client);
    command.args(["--relay", url, "--draft", &draft.to_string()]);
    command.args(["--tls-disable-verify", "--test", case]);
    let finished = Running::start(scratch, "aiomoqt", &mut command).finish_within(CASE_LIMIT);
    let points = tap::parse(&finished.stdout);
    let point = points.map(|points| points.into_iter().next());
    assert!(
        matches!(point, Ok(Some(_))),
        "aiomoqt said nothing about {case} (exit {}):\n{}\n{}",
        finished.code,
        finished.stdout,
        finished.stderr
    );
    point.ok().flatten().expect("was just looked at")
}

/// aiomoqt's relay on a free port: the process and `host:port`.
///
/// # Panics
///
/// When it does not listen in time.
pub fn aiomoqt_relay(scratch: &Scratch) -> (Running, String) {
    let (certificate, key) = (scratch.join("cert.pem"), scratch.join("key.pem"));
    output_of(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=localhost", "-addext"])
            .arg("subjectAltName=DNS:localhost,IP:127.0.0.1")
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    );
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = free.expect("a free port").to_string();
    let port = address.rsplit(':').next().unwrap_or_default();
    let python = tool("MAINSTEM_AIOMOQT", "moq-interop-client").with_file_name("python");
    let mut relay = Command::new(python);
    relay
        .args(["-m", "aiomoqt.tools.moq_interop_relay", "--dual"])
        .args(["--bind", "127.0.0.1", "--port", port, "--cert"])
        .arg(&certificate)
        .arg("--key")
        .arg(&key);
    let relay = Running::start(scratch, "aiomoqt-relay", &mut relay);
    // It is up once nobody else can have its address.
    wait_for("aiomoqt's relay to listen", START_LIMIT, || {
        UdpSocket::bind(&address).is_err().then_some(())
    });
    (relay, address)
}

/// All cases of our client, or one, against `url` with one draft: name, status, and what was said.
///
/// # Panics
///
/// When the client reports nothing.
pub fn ours(
    scratch: &Scratch,
    url: &str,
    draft: u32,
    case: Option<&str>,
) -> Vec<(String, String, String)> {
    let mut command = Command::new(mainstem());
    command.args(["interop", "--relay", url, "--draft", &draft.to_string()]);
    command.args(["--tls-disable-verify", "--json"]);
    command.args(case.iter().flat_map(|case| ["--test", case]));
    let finished = Running::start(scratch, "interop", &mut command).finish_within(SUITE_LIMIT);
    let points: Vec<Value> = serde_json::from_str(&finished.stdout).unwrap_or_default();
    assert!(!points.is_empty(), "no report: {}", finished.stderr);
    let text = |point: &Value, name: &str| {
        let field = point.get(name).and_then(Value::as_str);
        field.unwrap_or_default().to_owned()
    };
    let said = |point: &Value| {
        let parts = ["message", "expected", "received"].map(|name| text(point, name));
        (
            text(point, "name"),
            text(point, "status"),
            parts.join(" | "),
        )
    };
    points.iter().map(said).collect()
}
