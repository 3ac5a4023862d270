//! The page: a table of cells, the versions, and what fails with its reason.

use super::clients::Client;
use super::relays::Relay;
use super::{Carrier, Cell, Point, Status};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// `docs/INTEROP.md`.
pub(crate) fn page(cells: &[Cell], versions: &[(&str, String)]) -> String {
    let mut text = String::from(
        "# Interoperability\n\n\
         Written by `cargo xtask interop`; do not edit. Each number is cases passed / cases run, over\n\
         raw QUIC and over WebTransport; skipped cases are not counted.\n\n",
    );
    text.push_str("| relay | client | draft | QUIC | WebTransport |\n|---|---|---|---|---|\n");
    let mut rows: BTreeMap<_, [Option<&Cell>; 2]> = BTreeMap::new();
    for (index, cell) in cells.iter().enumerate() {
        let first = cells.iter().position(|other| {
            other.relay == cell.relay && other.client == cell.client && other.draft == cell.draft
        });
        let row = rows.entry(first.unwrap_or(index)).or_default();
        match cell.carrier {
            Carrier::Quic => row[0] = Some(cell),
            Carrier::WebTransport => row[1] = Some(cell),
        }
    }
    for row in rows.values() {
        let Some(any) = row.iter().flatten().next() else {
            continue;
        };
        let [quic, web] = row.map(|cell| cell.map_or_else(|| "-".to_owned(), score));
        let (relay, client) = (any.relay.name(), any.client.name());
        let _ = writeln!(
            text,
            "| {relay} | {client} | {} | {quic} | {web} |",
            any.draft
        );
    }
    text.push_str("\n## Versions\n\n| program | version |\n|---|---|\n");
    for (name, version) in versions {
        let _ = writeln!(text, "| {name} | {version} |");
    }
    text.push_str(
        "\n## What fails, and why\n\nThe same failure at several drafts and carriers stands once.\n\n\
         | relay | client | case | where | whose | what and why |\n|---|---|---|---|---|---|\n",
    );
    for ((relay, client, case), failure) in failures(cells) {
        let _ = writeln!(
            text,
            "| {relay} | {client} | {case} | {} | {} | {} |",
            failure.places.join(", "),
            failure.whose,
            failure.reason.replace('|', "\\|")
        );
    }
    text
}

/// `docs/interop.json`.
pub(crate) fn json(cells: &[Cell], versions: &[(&str, String)]) -> anyhow::Result<String> {
    let cell = |cell: &Cell| {
        let points: Vec<_> = cell
            .points
            .iter()
            .map(|point| {
                let status = match point.status {
                    Status::Passed => "passed",
                    Status::Skipped => "skipped",
                    Status::Failed => "failed",
                };
                serde_json::json!({
                    "case": point.case,
                    "status": status,
                    "detail": point.detail,
                    "reason": cell.known(point).map(|known| known.reason),
                })
            })
            .collect();
        serde_json::json!({
            "relay": cell.relay.name(),
            "client": cell.client.name(),
            "draft": cell.draft,
            "carrier": cell.carrier.name(),
            "cases": points,
        })
    };
    let versions: BTreeMap<_, _> = versions.iter().cloned().collect();
    let cells: Vec<_> = cells.iter().map(cell).collect();
    let value = serde_json::json!({"versions": versions, "cells": cells});
    Ok(format!("{}\n", serde_json::to_string_pretty(&value)?))
}

/// The cells of an earlier run, to keep those that this one leaves out.
pub(crate) fn read(json: &str) -> Vec<Cell> {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    let cells = value.get("cells").and_then(Value::as_array);
    cells.into_iter().flatten().filter_map(read_cell).collect()
}

fn read_cell(value: &Value) -> Option<Cell> {
    let text = |name: &str| value.get(name)?.as_str();
    let find_point = |point: &Value| {
        let text = |name: &str| point.get(name)?.as_str();
        Some(Point {
            case: text("case")?.to_owned(),
            status: match text("status")? {
                "passed" => Status::Passed,
                "skipped" => Status::Skipped,
                _ => Status::Failed,
            },
            detail: text("detail")?.to_owned(),
        })
    };
    let points = value.get("cases")?.as_array()?;
    Some(Cell {
        relay: named(&Relay::ALL, text("relay")?, Relay::name)?,
        client: named(&Client::ALL, text("client")?, Client::name)?,
        draft: u8::try_from(value.get("draft")?.as_u64()?).ok()?,
        carrier: named(&Carrier::ALL, text("carrier")?, Carrier::name)?,
        points: points.iter().filter_map(find_point).collect(),
    })
}

fn named<T: Copy>(all: &[T], wanted: &str, name: fn(T) -> &'static str) -> Option<T> {
    all.iter().copied().find(|each| name(*each) == wanted)
}

fn score(cell: &Cell) -> String {
    let passed = cell.count(Status::Passed);
    format!("{passed}/{}", passed + cell.count(Status::Failed))
}

struct Failure {
    places: Vec<String>,
    whose: &'static str,
    reason: String,
}

fn failures(cells: &[Cell]) -> BTreeMap<(&'static str, &'static str, String), Failure> {
    let mut found: BTreeMap<_, Failure> = BTreeMap::new();
    for cell in cells {
        for point in &cell.points {
            if point.status != Status::Failed {
                continue;
            }
            let known = cell.known(point);
            let key = (cell.relay.name(), cell.client.name(), point.case.clone());
            let failure = found.entry(key).or_insert_with(|| Failure {
                places: Vec::new(),
                whose: known.map_or("not looked into", |known| known.whose),
                reason: known.map_or_else(|| point.detail.clone(), |known| known.reason.to_owned()),
            });
            let short = match cell.carrier {
                Carrier::Quic => "Q",
                Carrier::WebTransport => "W",
            };
            failure.places.push(format!("{}{short}", cell.draft));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Vec<Cell> {
        let point = |case: &str, status| Point {
            case: case.to_owned(),
            status,
            detail: "because".to_owned(),
        };
        let cell = |carrier, failed| Cell {
            relay: Relay::Aiomoqt,
            client: Client::Mainstem,
            draft: 22,
            carrier,
            points: vec![
                point("a", Status::Passed),
                point("b", Status::Skipped),
                point("c", failed),
            ],
        };
        vec![
            cell(Carrier::Quic, Status::Passed),
            cell(Carrier::WebTransport, Status::Failed),
        ]
    }

    #[test]
    fn both_carriers_stand_in_one_row_and_failures_have_their_reason() {
        let page = page(&cells(), &[("aiomoqt", "1".to_owned())]);
        assert!(
            page.contains("| aiomoqt | mainstem | 22 | 2/2 | 1/2 |\n"),
            "{page}"
        );
        assert!(
            page.contains("| aiomoqt | mainstem | c | 22W | not looked into | because |\n"),
            "{page}"
        );
    }

    #[test]
    fn what_was_written_can_be_read_again() {
        let json = json(&cells(), &[]).unwrap();
        let again = read(&json);
        assert_eq!(again.len(), 2);
        assert_eq!(again[1].points, cells()[1].points);
        assert_eq!(super::json(&again, &[]).unwrap(), json);
    }
}
