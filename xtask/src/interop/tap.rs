//! Reads what clients print: TAP version 14, or our own client's JSON.

use super::{Point, Status};
use serde_json::Value;

/// The points of a TAP report, with what their YAML blocks say about a failure.
pub(crate) fn points(report: &str) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for line in report.lines() {
        let trimmed = line.trim_start();
        if let Some(rest) = trimmed.strip_prefix("not ok ") {
            points.push(point(rest, Status::Failed));
        } else if let Some(rest) = trimmed.strip_prefix("ok ") {
            points.push(point(rest, Status::Passed));
        } else if let (Some(said), Some(point)) =
            (trimmed.strip_prefix("message: "), points.last_mut())
        {
            said.trim_matches('"').clone_into(&mut point.detail);
        }
    }
    points
}

/// The points of our client's JSON.
pub(crate) fn from_json(report: &str) -> Vec<Point> {
    let values: Vec<Value> = serde_json::from_str(report).unwrap_or_default();
    let text = |value: &Value, name: &str| {
        let field = value.get(name).and_then(Value::as_str);
        field.unwrap_or_default().to_owned()
    };
    let point = |value: &Value| {
        let mut detail = text(value, "message");
        for name in ["expected", "received"] {
            let said = text(value, name);
            if !said.is_empty() {
                detail = format!("{detail}; {name} {said}");
            }
        }
        Point {
            case: text(value, "name"),
            status: match text(value, "status").as_str() {
                "passed" => Status::Passed,
                "skipped" => Status::Skipped,
                _ => Status::Failed,
            },
            detail,
        }
    };
    values.iter().map(point).collect()
}

fn point(rest: &str, status: Status) -> Point {
    let (named, directive) = rest.split_once('#').unwrap_or((rest, ""));
    let name = named.split_once(" - ").map_or(named, |(_, name)| name);
    let directive = directive.trim();
    let is_skipped = directive.to_ascii_uppercase().starts_with("SKIP");
    Point {
        case: name.trim().to_owned(),
        status: if is_skipped { Status::Skipped } else { status },
        detail: directive.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tap_and_json_give_the_same_points() {
        let report = concat!(
            "TAP version 14\n1..3\nok 1 - a\n  ---\n  message: \"fine\"\n  ...\n",
            "not ok 2 - b\n  ---\n  message: \"no; expected x\"\n  ...\nok 3 - c # SKIP old\n"
        );
        let json = r#"[{"name":"a","status":"passed","message":"fine"},
            {"name":"b","status":"failed","message":"no","expected":"x"},
            {"name":"c","status":"skipped","message":"SKIP old"}]"#;
        let seen = points(report);
        assert_eq!(seen, from_json(json));
        let statuses: Vec<_> = seen.iter().map(|point| point.status).collect();
        assert_eq!(statuses, [Status::Passed, Status::Failed, Status::Skipped]);
    }
}
