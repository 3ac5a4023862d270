//! The report: TAP version 14 as it happens, or one JSON value at the end.
//!
//! Source: testanything.org, TAP 14; the moq-interop-runner's client interface for what its YAML
//! blocks hold.

use super::bench::Opened;
use super::cases::Case;
use super::fault::{Failed, Fault};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// A case that has been run.
pub(crate) struct Outcome {
    pub(crate) case: &'static Case,
    pub(crate) result: Result<String, Fault>,
    pub(crate) took: Duration,
    /// Its sessions.
    pub(crate) sessions: Vec<Opened>,
    /// How sessions are carried.
    pub(crate) transport: &'static str,
}

impl Outcome {
    /// Whether it counts as passed.
    pub(crate) fn is_ok(&self) -> bool {
        matches!(self.result, Ok(_) | Err(Fault::Skipped(_)))
    }

    /// The lines of a test point.
    pub(crate) fn to_tap(&self, number: usize) -> String {
        let verdict = if self.is_ok() { "ok" } else { "not ok" };
        let mut text = String::new();
        for Opened {
            role,
            connection_id,
            ..
        } in &self.sessions
        {
            if let Some(id) = connection_id {
                let _ = writeln!(text, "# {role}: connection id {id}");
            }
        }
        let _ = write!(text, "{verdict} {number} - {}", self.case.name);
        if let Err(Fault::Skipped(reason)) = &self.result {
            let _ = write!(text, " # SKIP {reason}");
        }
        text.push_str("\n  ---\n");
        for (name, value) in self.fields() {
            // A JSON value is a YAML value.
            let _ = writeln!(text, "  {name}: {value}");
        }
        text.push_str("  ...");
        text
    }

    /// The same for machines.
    pub(crate) fn to_json(&self) -> Value {
        let status = match &self.result {
            Ok(_) => "passed",
            Err(Fault::Skipped(_)) => "skipped",
            Err(_) => "failed",
        };
        let mut value = json!({"name": self.case.name, "set": self.case.set.name()});
        if let Some(object) = value.as_object_mut() {
            object.insert("status".to_owned(), json!(status));
            for (name, field) in self.fields() {
                object.insert(name.to_owned(), field);
            }
        }
        value
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        let milliseconds = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        let mut fields = vec![("duration_ms", json!(milliseconds))];
        let mut add = |name, value: &Option<String>| {
            if let Some(value) = value {
                fields.push((name, json!(value)));
            }
        };
        match &self.result {
            Ok(message) => add("message", &Some(message.clone())),
            Err(Fault::Failed(Failed {
                message,
                expected,
                received,
            })) => {
                add("message", &Some(message.clone()));
                add("expected", expected);
                add("received", received);
            }
            Err(Fault::Skipped(reason)) => add("message", &Some(reason.clone())),
            Err(Fault::Unreachable(reason)) => {
                add("message", &Some("no session with the relay".to_owned()));
                add("received", &Some(reason.clone()));
            }
        }
        if !self.sessions.is_empty() {
            let sessions: serde_json::Map<String, Value> = self
                .sessions
                .iter()
                .map(|opened| {
                    let about = json!({
                        "transport": self.transport,
                        "moqt_version": opened.draft.protocol(),
                    });
                    (opened.role.replace(' ', "_"), about)
                })
                .collect();
            fields.push(("sessions", Value::Object(sessions)));
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::*;
    use mainstem_core::moqt::Draft;

    fn outcome(result: Result<String, Fault>) -> Outcome {
        Outcome {
            case: &CASES[0],
            result,
            took: Duration::from_millis(12),
            sessions: vec![Opened {
                role: "client".to_owned(),
                draft: Draft::ALL[0],
                connection_id: Some("0a1b".to_owned()),
            }],
            transport: "quic",
        }
    }

    #[test]
    fn a_point_has_its_verdict_and_a_yaml_block() {
        let text = outcome(Ok("SETUP \"received\"".to_owned())).to_tap(1);
        let expected = [
            "# client: connection id 0a1b",
            "ok 1 - setup-only",
            "  ---",
            "  duration_ms: 12",
            "  message: \"SETUP \\\"received\\\"\"",
            "  sessions: {\"client\":{\"moqt_version\":\"moqt-22\",\"transport\":\"quic\"}}",
            "  ...",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn failures_and_skips_say_so() {
        let failed = outcome(Err(Fault::failed("no").expected("a").received("b"))).to_tap(2);
        assert!(failed.contains("0a1b\nnot ok 2 - setup-only\n"));
        assert!(failed.contains("\n  expected: \"a\"\n  received: \"b\"\n"));
        let skipped = outcome(Err(Fault::Skipped("too old".to_owned())));
        assert!(
            skipped
                .to_tap(3)
                .contains("0a1b\nok 3 - setup-only # SKIP too old\n")
        );
        assert_eq!(skipped.to_json()["status"], "skipped");
    }
}
