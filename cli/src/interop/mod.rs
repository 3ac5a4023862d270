//! `mainstem interop`: asks a relay to do what the specification says, and reports in TAP.
//!
//! The interface is the public interoperability runner's: options or environment variables, one
//! case or all of them, TAP version 14 on standard output, exit code 0 (all passed), 1 (some
//! failed) or 127 (no such case).
//!
//! | module | what it holds |
//! |---|---|
//! | [`cases`] | the cases |
//! | [`bench`], [`party`], [`flow`] | sessions, and test tracks through them |
//! | [`tap`], [`fault`] | the report |
//!
//! Source: the moq-interop-runner's client interface; TAP version 14.

mod bench;
mod cases;
mod fault;
mod flow;
pub(crate) mod party;
mod tap;

use crate::connect::{Manners, Trust};
use crate::failure::Failure;
use bench::Bench;
use cases::{CASES, Case, Set};
use clap::builder::BoolishValueParser;
pub(crate) use fault::Fault;
use mainstem_core::moqt::Draft;
use mainstem_core::transport::Carrier;
use mainstem_net::ClientConfig;
use mainstem_quic::SessionUrl;
use std::time::Instant;
use tap::Outcome;

/// Exit code for a case that there is not.
const UNKNOWN_CASE: u8 = 127;

/// Test a relay.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The relay: `moqt://host:port` for raw QUIC, `https://host:port/path` for WebTransport
    #[arg(
        short,
        long,
        env = "RELAY_URL",
        hide_env_values = true,
        default_value = "https://localhost:4443"
    )]
    pub relay: String,
    /// A case, or a set of them (`runner`, `data`, `more`); all of them without it
    #[arg(short, long, env = "TESTCASE", value_name = "CASE")]
    pub test: Option<String>,
    /// Print the cases' names, one a line
    #[arg(short, long)]
    pub list: bool,
    /// The one draft to speak, such as 22; without it, the newest that the relay speaks
    #[arg(long, env = "MOQT_DRAFT", value_name = "N")]
    pub draft: Option<u8>,
    /// Say on standard error what happens in each session
    #[arg(short, long, env = "VERBOSE", value_parser = BoolishValueParser::new())]
    pub verbose: bool,
    /// Trust any certificate
    #[arg(long, env = "TLS_DISABLE_VERIFY", value_parser = BoolishValueParser::new())]
    pub tls_disable_verify: bool,
    /// SHA-256 of the relay's certificate, in hex: trust this one and no other
    #[arg(long, value_name = "HEX")]
    pub cert_sha256: Vec<String>,
    #[command(flatten)]
    pub manners: Manners,
    /// Print one JSON value at the end instead of TAP
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    fn client(&self) -> anyhow::Result<ClientConfig> {
        client(
            &self.relay,
            self.draft,
            self.tls_disable_verify,
            &self.cert_sha256,
        )
    }

    fn chosen(&self) -> Result<Vec<&'static Case>, Failure> {
        let Some(wanted) = self.test.as_deref().filter(|wanted| !wanted.is_empty()) else {
            return Ok(CASES.iter().collect());
        };
        let sets = [Set::Runner, Set::Data, Set::More];
        let set = sets.into_iter().find(|set| set.name() == wanted);
        let is_chosen = |case: &&Case| Some(case.set) == set || case.is_named(wanted);
        let chosen: Vec<_> = CASES.iter().filter(is_chosen).collect();
        if chosen.is_empty() {
            let said = format!("no case {wanted:?}: see `mainstem interop --list`");
            return Err(Failure::Code(UNKNOWN_CASE, said));
        }
        Ok(chosen)
    }
}

/// Where to connect to, with one draft or all of them.
pub(crate) fn client(
    url: &str,
    draft: Option<u8>,
    insecure: bool,
    cert_sha256: &[String],
) -> anyhow::Result<ClientConfig> {
    let trust = Trust {
        cert_sha256: if insecure {
            Vec::new()
        } else {
            cert_sha256.to_vec()
        },
        insecure,
    };
    let is_wanted = |each: &Draft| draft.is_none_or(|number| each.number() == number);
    let protocols: Vec<String> = Draft::ALL
        .into_iter()
        .filter(is_wanted)
        .map(|draft| draft.protocol().to_owned())
        .collect();
    if protocols.is_empty() {
        let spoken = Draft::ALL
            .map(|draft| draft.number().to_string())
            .join(", ");
        anyhow::bail!("--draft: expected one of {spoken}");
    }
    Ok(ClientConfig {
        url: url.to_owned(),
        trust: trust.resolve()?,
        protocols,
    })
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.list {
        for case in CASES {
            println!("{}", case.name);
        }
        return Ok(());
    }
    let chosen = arguments.chosen()?;
    let config = arguments.client()?;
    let url: SessionUrl = config.url.parse()?;
    let transport = match url.carrier {
        Carrier::Quic => "quic",
        Carrier::WebTransport => "webtransport",
    };
    // Cases wait for sessions: not on a thread that serves others.
    let work = move || run_all(&arguments, &config, &chosen, transport);
    tokio::task::spawn_blocking(work).await?
}

fn run_all(
    arguments: &Arguments,
    config: &ClientConfig,
    chosen: &[&'static Case],
    transport: &'static str,
) -> Result<(), Failure> {
    let say = |line: &str| {
        if !arguments.json {
            println!("{line}");
        }
    };
    say("TAP version 14");
    say(concat!("# client: mainstem/", env!("CARGO_PKG_VERSION")));
    // Without the query, which may hold a token.
    let target = config.url.split('?').next().unwrap_or_default();
    say(&format!("# relay: {target}"));
    if let [one] = config.protocols.as_slice() {
        say(&format!("# draft: {one}"));
    }
    say(&format!("1..{}", chosen.len()));
    let mut outcomes: Vec<Outcome> = Vec::new();
    for case in chosen {
        let outcome = run_one(arguments, config, case, transport);
        say(&outcome.to_tap(outcomes.len() + 1));
        let is_unreachable = matches!(outcome.result, Err(Fault::Unreachable(_)));
        outcomes.push(outcome);
        // Whoever cannot be reached for the first case cannot be tested.
        if is_unreachable && outcomes.len() == 1 && chosen.len() > 1 {
            say("Bail out! no session with the relay");
            break;
        }
    }
    if arguments.json {
        let points: Vec<_> = outcomes.iter().map(Outcome::to_json).collect();
        println!("{}", serde_json::Value::Array(points));
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.is_ok()).count();
    if failed > 0 {
        let said = format!("{failed} of {} cases failed", chosen.len());
        return Err(Failure::Code(1, said));
    }
    Ok(())
}

fn run_one(
    arguments: &Arguments,
    config: &ClientConfig,
    case: &'static Case,
    transport: &'static str,
) -> Outcome {
    let started = Instant::now();
    let mut bench = Bench::new(config.clone(), arguments.verbose, arguments.manners);
    let result = match skipped(&mut bench, case, arguments.draft) {
        Some(skipped) => Err(skipped),
        None => (case.run)(&mut bench),
    };
    Outcome {
        case,
        result,
        took: started.elapsed(),
        sessions: bench.sessions,
        transport,
    }
}

/// A draft that lacks the case's subject. When the relay chooses the draft, it is asked first.
fn skipped(bench: &mut Bench, case: &Case, draft: Option<u8>) -> Option<Fault> {
    if case.since == 0 {
        return None;
    }
    let draft = match draft {
        Some(number) => Draft::ALL
            .into_iter()
            .find(|each| each.number() == number)?,
        None => match bench.connect("probe") {
            Ok(party) => party.draft(),
            Err(fault) => return Some(fault),
        },
    };
    case.skipped_at(draft).map(Fault::Skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(test: &str) -> Arguments {
        Arguments {
            relay: "moqt://localhost:1".to_owned(),
            test: Some(test.to_owned()),
            list: false,
            draft: None,
            verbose: false,
            tls_disable_verify: true,
            cert_sha256: Vec::new(),
            manners: Manners::default(),
            json: false,
        }
    }

    #[test]
    fn a_case_is_chosen_by_name_alias_or_set() {
        let names = |test: &str| {
            let chosen = arguments(test).chosen().unwrap();
            chosen.iter().map(|case| case.name).collect::<Vec<_>>()
        };
        assert_eq!(names("setup-only"), ["setup-only"]);
        assert_eq!(names("publish-namespace-only"), ["announce-only"]);
        assert!(names("data").contains(&"moq-test-datagram"));
        assert_eq!(names("").len(), CASES.len());
        let unknown = arguments("nothing").chosen();
        assert!(matches!(unknown, Err(Failure::Code(127, _))));
    }

    #[test]
    fn one_draft_or_all_of_them_are_offered() {
        let one = client("moqt://localhost:1", Some(18), true, &[]).unwrap();
        assert_eq!(one.protocols, ["moqt-18"]);
        let all = client("moqt://localhost:1", None, true, &[]).unwrap();
        assert_eq!(all.protocols.len(), Draft::ALL.len());
        assert!(client("moqt://localhost:1", Some(3), true, &[]).is_err());
    }
}
