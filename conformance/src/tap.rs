//! A reader of the Test Anything Protocol (version 14), as far as peers' clients use it.
//!
//! Input: the whole standard output of a client. Output: one [`TestPoint`] per `ok` / `not ok` line,
//! with its YAML block kept as text. A plan that does not match the points, or `Bail out!`, is an
//! error: a suite that stopped early has not passed. Source: testanything.org, TAP 14.

use std::fmt;

/// One test's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestPoint {
    /// The name after the dash.
    pub name: String,
    /// Whether the line began with `ok`.
    pub passed: bool,
    /// Whether the line carries a `SKIP` directive: reported as ok, but nothing was tested.
    pub skipped: bool,
    /// The lines of the YAML block, trimmed.
    pub details: Vec<String>,
}

/// Why an output is not a complete TAP report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapError {
    /// No `1..N` line.
    NoPlan,
    /// The plan named a number of tests and another number came.
    PlanMismatch {
        /// What the plan said.
        planned: usize,
        /// What came.
        came: usize,
    },
    /// The client gave up, for this reason.
    BailOut(String),
}

impl fmt::Display for TapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPlan => write!(f, "expected a TAP plan (1..N), found none"),
            Self::PlanMismatch { planned, came } => {
                write!(f, "TAP plan said {planned} tests, {came} came")
            }
            Self::BailOut(reason) => write!(f, "the client bailed out: {reason}"),
        }
    }
}

impl std::error::Error for TapError {}

/// Reads a whole report.
pub fn parse(output: &str) -> Result<Vec<TestPoint>, TapError> {
    let mut planned = None;
    let mut points: Vec<TestPoint> = Vec::new();
    let mut in_yaml = false;
    for line in output.lines() {
        let trimmed = line.trim();
        if in_yaml {
            if trimmed == "..." {
                in_yaml = false;
            } else if let Some(point) = points.last_mut() {
                point.details.push(trimmed.to_owned());
            }
        } else if trimmed == "---" {
            in_yaml = true;
        } else if let Some(reason) = trimmed.strip_prefix("Bail out!") {
            return Err(TapError::BailOut(reason.trim().to_owned()));
        } else if let Some(count) = trimmed.strip_prefix("1..") {
            let count = count.split_whitespace().next().unwrap_or_default();
            planned = count.parse().ok();
        } else if let Some(rest) = trimmed.strip_prefix("not ok") {
            points.push(point(rest, false));
        } else if let Some(rest) = trimmed.strip_prefix("ok") {
            points.push(point(rest, true));
        }
    }
    match planned {
        None => Err(TapError::NoPlan),
        Some(planned) if planned != points.len() => Err(TapError::PlanMismatch {
            planned,
            came: points.len(),
        }),
        Some(_) => Ok(points),
    }
}

/// Reads ` 3 - name # DIRECTIVE reason`.
fn point(rest: &str, passed: bool) -> TestPoint {
    let (description, directive) = rest.split_once('#').unwrap_or((rest, ""));
    let description = description.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
    TestPoint {
        name: description.trim_start_matches("- ").trim().to_owned(),
        passed,
        skipped: directive.trim().to_ascii_uppercase().starts_with("SKIP"),
        details: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_carry_outcome_directive_and_details() {
        let points = parse(concat!(
            "TAP version 14\n# target: x\n1..3\n",
            "ok 1 - setup-only\n  ---\n  duration_ms: 3\n  ...\n",
            "not ok 2 - fetch\n  ---\n  message: \"ok: no\"\n  ...\n",
            "ok 3 - join # SKIP unknown\n",
        ))
        .unwrap();
        let seen: Vec<_> = points
            .iter()
            .map(|p| (p.name.as_str(), p.passed, p.skipped))
            .collect();
        assert_eq!(
            seen,
            [
                ("setup-only", true, false),
                ("fetch", false, false),
                ("join", true, true)
            ]
        );
        assert_eq!(points[1].details, ["message: \"ok: no\""]);
    }

    #[test]
    fn a_report_that_stopped_early_is_an_error() {
        assert_eq!(parse(""), Err(TapError::NoPlan));
        let short = TapError::PlanMismatch {
            planned: 2,
            came: 1,
        };
        assert_eq!(parse("1..2\nok 1 - a\n"), Err(short));
        let bail = TapError::BailOut("no relay".to_owned());
        assert_eq!(parse("1..1\nBail out! no relay\n"), Err(bail));
    }
}
