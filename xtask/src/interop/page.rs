//! The page: a table of cells, the versions, and what fails with its reason.

use super::{Carrier, Cell, Status};
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
