//! Whoever has no right is told so: distinctly, at once, with an exit code, and without a secret.

#![expect(
    clippy::print_stdout,
    reason = "what each refusal says belongs in the output"
)]

use mainstem_conformance::harness::api::LiveInput;
use mainstem_conformance::harness::program::{Finished, Running};
use mainstem_conformance::harness::token::Token;
use mainstem_conformance::harness::up::{Options, Up, snapshot};
use mainstem_conformance::harness::watch::{EXIT_AUTH_FAILED, EXIT_USAGE, View, Watch};
use mainstem_conformance::harness::{Scratch, clip, mainstem, media};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// The shortest life that a token can be minted with.
const TTL_SECONDS_MIN: u64 = 30;
/// How soon a withdrawn right ends a session, by promise, and how long we wait for it.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);
const REVOKED_LIMIT: Duration = Duration::from_secs(8);
const REFUSED_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_control_plane_answers_each_mistake_in_its_own_way() {
    let scratch = Scratch::new("refusals_control");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let api = up.api();
    let input = api.create_input("refusals");
    let list = json!({"orgId": up.ready.org});
    let mut keyless = api.clone();
    keyless.key = None;
    let mut wrong_key = api.clone();
    wrong_key.key = Some("tqs_live_0000000000000000000000000000".to_owned());
    let ttl = json!({"orgId": up.ready.org, "id": input.id, "ttlSeconds": "soon"});
    let create = "streams.liveInputs.create";
    let answers = [
        (
            "missing key",
            401,
            keyless.get("streams.liveInputs.list", &list),
        ),
        (
            "wrong key",
            401,
            wrong_key.get("streams.liveInputs.list", &list),
        ),
        ("unknown input", 404, api.input_row("li_unknown")),
        ("malformed json", 400, api.post_text(create, "{\"orgId\":")),
        ("missing field", 400, api.post(create, &list)),
        (
            "wrong type",
            400,
            api.post("streams.liveInputs.mintPlaybackToken", &ttl),
        ),
        (
            "unknown procedure",
            404,
            api.post("streams.nothing.here", &list),
        ),
    ];
    let mut messages = BTreeMap::new();
    for (mistake, status, reply) in &answers {
        assert_eq!(reply.status, *status, "{mistake}: {}", reply.body);
        let (code, message) = reply.error();
        println!("{mistake}: {status} {code}: {message}");
        assert!(!message.is_empty() && reply.body.get("result").is_none());
        let same = messages.insert((code, message), *mistake);
        assert_eq!(same, None, "{mistake} reads like another mistake");
    }
    up.assert_log_holds_none_of(&[&input.stream_key, api.key.as_deref().unwrap()]);
}

#[test]
fn a_command_line_that_makes_no_sense_is_told_from_a_failure() {
    let scratch = Scratch::new("refusals_usage");
    for arguments in [
        &["watch"][..],
        &["--nonsense"],
        &["watch", "moqt://x/", "--seconds", "x"],
    ] {
        let mut command = Command::new(mainstem());
        let finished = Running::start(&scratch, "usage", command.args(arguments));
        finished
            .finish_within(REFUSED_LIMIT)
            .assert_code(EXIT_USAGE, &arguments.join(" "));
    }
}

#[test]
fn a_viewer_without_a_right_is_refused_and_told_why() {
    let scratch = Scratch::new("refusals_viewer");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let api = up.api();
    let (input, other) = (api.create_input("mine"), api.create_input("another"));
    let mut encoder = media::push(&scratch, &up, &input, &clip(), 120);
    let short = api.mint(&input.id, TTL_SECONDS_MIN);
    let good = api.mint(&input.id, 3600);
    let taken_apart = Token::parse(&good.token);
    let keys = api.list_keys();
    let mut keys = keys.as_array().into_iter().flatten();
    let key = keys.find(|key| key["id"] == good.kid.as_str()).unwrap();
    let public_key = key["publicKeyPem"].as_str().unwrap();

    let mut cases = vec![
        ("token for another input", api.mint(&other.id, 3600).token),
        ("algorithm (none)", taken_apart.unsigned()),
        (
            "algorithm (public key as secret)",
            taken_apart.signed_with_public_key(public_key),
        ),
        (
            "changed claims",
            taken_apart.with_claim("exp", json!(4_102_444_800_u64)),
        ),
        ("not a token", "not-a-token".to_owned()),
        ("no token", String::new()),
    ];
    let mut said = BTreeMap::new();
    for (case, token) in &cases {
        record(
            &mut said,
            case,
            &refused(&scratch, &up, &input, token),
            token,
        );
    }
    wait_until_unix(short.expires_at + 1);
    record(
        &mut said,
        "expired",
        &refused(&scratch, &up, &input, &short.token),
        &short.token,
    );
    cases.push(("expired", short.token));

    // The good one is good, so that the refusals above are about the tokens.
    let view = View {
        input: &input.external_id,
        token: &good.token,
        seconds: 3,
        ..View::default()
    };
    assert!(Watch::start(&scratch, &up, view).report().frames > 0);
    for (_, token) in &cases {
        up.assert_log_holds_none_of(&[token]);
    }
    up.assert_log_holds_none_of(&[&good.token, &input.stream_key]);
    encoder.kill();
}

#[test]
fn a_session_ends_with_its_token_and_with_its_key() {
    let scratch = Scratch::new("refusals_session_end");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let api = up.api();
    let input = api.create_input("withdrawn");
    let mut encoder = media::push(&scratch, &up, &input, &clip(), 120);
    std::thread::sleep(Duration::from_secs(4));

    let short = api.mint(&input.id, TTL_SECONDS_MIN);
    let view = |token| View {
        input: &input.external_id,
        token,
        seconds: 60,
        ..View::default()
    };
    let expiring = Watch::start(&scratch, &up, view(&short.token));
    let ended = expiring.finish();
    let late = unix_now().saturating_sub(short.expires_at);
    ended.assert_code(EXIT_AUTH_FAILED, "a session past its token's end");
    println!("expired session ended {late} s after exp");
    assert!(
        unix_now() >= short.expires_at && late <= 5,
        "ended {late} s after exp"
    );

    let long = api.mint(&input.id, 3600);
    let mut viewer = Watch::start(&scratch, &up, view(&long.token));
    std::thread::sleep(Duration::from_secs(3));
    assert!(
        viewer.is_running(),
        "the viewer was turned away before its key was withdrawn"
    );
    api.deactivate_key(&long.kid);
    let withdrawn = Instant::now();
    let ended = viewer.finish();
    println!(
        "session ended {:.1} s after its key",
        withdrawn.elapsed().as_secs_f64()
    );
    ended.assert_code(EXIT_AUTH_FAILED, "a session whose key was withdrawn");
    assert!(
        withdrawn.elapsed() <= REVOKED_LIMIT,
        "promised within {REVOKED_WITHIN:?}"
    );
    refused(&scratch, &up, &input, &long.token);

    // The same for the publisher: a rotated stream key ends the session that used the old one.
    assert!(
        encoder.is_running(),
        "withdrawing a playback key must not end the publisher"
    );
    let new_key = api.rotate_stream_key(&input.id);
    encoder.finish_within(REVOKED_LIMIT);
    let rotated = LiveInput {
        stream_key: new_key,
        ..input.clone()
    };
    encoder = media::push(&scratch, &up, &rotated, &clip(), 60);
    std::thread::sleep(Duration::from_secs(3));
    assert!(encoder.is_running(), "the new stream key was refused");
    encoder.kill();
    up.assert_log_holds_none_of(&[
        &short.token,
        &long.token,
        &input.stream_key,
        &rotated.stream_key,
    ]);
}

#[test]
fn a_publisher_with_a_wrong_stream_key_is_refused() {
    let scratch = Scratch::new("refusals_publisher");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let api = up.api();
    let (input, other) = (api.create_input("mine"), api.create_input("another"));
    let guess = "sk_live_00000000000000000000000000000000";
    let wrong = [
        (
            "guessed",
            LiveInput {
                stream_key: guess.to_owned(),
                ..input.clone()
            },
        ),
        (
            "another's",
            LiveInput {
                stream_key: other.stream_key.clone(),
                ..input.clone()
            },
        ),
        (
            "unknown input",
            LiveInput {
                external_id: "lv_unknown".to_owned(),
                ..input.clone()
            },
        ),
    ];
    for (case, input) in &wrong {
        let ended = media::push(&scratch, &up, input, &clip(), 30).finish_within(REFUSED_LIMIT);
        assert_ne!(ended.code, 0, "{case}: RTMP took a wrong stream key");

        let url = format!(
            "{}/publish/{}?sk={}",
            up.ready.moqt, input.external_id, input.stream_key
        );
        let mut publish = Command::new(mainstem());
        publish.args(["publish", &url]).arg(clip());
        publish.args(["--cert-sha256", &up.ready.cert_sha256]);
        let ended = Running::start(&scratch, "publish", &mut publish).finish_within(REFUSED_LIMIT);
        ended.assert_code(EXIT_AUTH_FAILED, case);
        assert!(
            ended.stderr.contains("auth_failed"),
            "{case}: {}",
            ended.stderr
        );
        assert!(
            !ended.stderr.contains(&input.stream_key),
            "{case}: the key was printed"
        );
    }
    up.assert_log_holds_none_of(&[&input.stream_key, &other.stream_key, guess]);
}

#[test]
fn no_key_stands_in_clear_in_the_data_directory() {
    let scratch = Scratch::new("refusals_at_rest");
    let options = Options::new(&scratch);
    let up = Up::start(&scratch, &options);
    let api = up.api();
    let input = api.create_input("at rest");
    let token = api.mint(&input.id, 60).token;
    let private = ["BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE KEY"];
    for (path, bytes) in snapshot(&options.data_dir) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let holds = |secret: &str| {
            bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes())
        };
        for secret in [&input.stream_key, api.key.as_ref().unwrap(), &token] {
            assert!(!holds(secret), "{name} holds a key or token in clear");
        }
        let is_database = name.contains(".db") || name.contains(".sqlite");
        assert!(
            !(is_database && private.iter().any(|secret| holds(secret))),
            "{name} holds a private key in clear"
        );
    }
}

/// Watches with this token, which must be refused.
fn refused(scratch: &Scratch, up: &Up, input: &LiveInput, token: &str) -> Finished {
    let view = View {
        input: &input.external_id,
        token,
        seconds: 5,
        ..View::default()
    };
    let ended = Watch::start(scratch, up, view).finish();
    ended
        .assert_code(EXIT_AUTH_FAILED, "a viewer without a right")
        .clone()
}

/// Each refusal is named `auth_failed`, says why in words of its own, and shows no token.
fn record(said: &mut BTreeMap<String, String>, case: &str, ended: &Finished, token: &str) {
    let all = format!("{}\n{}", ended.stderr, ended.stdout);
    assert!(
        all.contains("auth_failed"),
        "{case}: no auth_failed in:\n{all}"
    );
    assert!(
        token.is_empty() || !all.contains(token),
        "{case}: the token was printed"
    );
    let why = ended
        .stderr
        .lines()
        .rfind(|line| line.contains("auth_failed"));
    let why = why.unwrap_or_default().to_owned();
    println!("{case}: {why}");
    // The two confusions of the algorithm are one mistake.
    let mistake = case.split(" (").next().unwrap_or(case).to_owned();
    let same = said.insert(why, mistake.clone());
    assert!(
        same.is_none_or(|other| other == mistake),
        "{case} reads like another refusal"
    );
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn wait_until_unix(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds.saturating_sub(unix_now())));
}
