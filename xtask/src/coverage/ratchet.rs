//! What a new page may not be worse in than the one in the checkout.

use super::page::RowState;
use std::collections::BTreeMap;

/// Everything that is wrong with the new states, in sentences.
pub(crate) fn problems(
    rows: &[RowState],
    committed: &str,
    open_max: usize,
    exceptions_percent_max: usize,
) -> Vec<String> {
    let mut problems = Vec::new();
    let before = states_on(committed);
    let now: BTreeMap<&str, &RowState> = rows.iter().map(|state| (state.row.id, state)).collect();
    for (id, state) in &before {
        match now.get(id) {
            None => problems.push(format!(
                "{id} is gone: ids stay, a rule that no longer holds gets `last`"
            )),
            Some(now) if *state == "proved" && !now.is_proved() && !now.is_excepted() => {
                problems.push(format!("{id} has lost its proof: {}", now.row.text));
            }
            Some(_) => {}
        }
    }
    let open = rows.iter().filter(|state| state.is_open()).count();
    if open > open_max {
        problems.push(format!(
            "{open} rows that have to be proved are open, at most {open_max} may be: prove them"
        ));
    }
    let due = rows.iter().filter(|state| state.row.must_be_proved());
    let due = due.count();
    let excepted = rows
        .iter()
        .filter(|state| state.row.must_be_proved() && state.is_excepted())
        .count();
    if excepted * 100 > due * exceptions_percent_max {
        problems.push(format!(
            "{excepted} of {due} rows carry an exception, at most {exceptions_percent_max} in 100 may"
        ));
    }
    problems
}

/// The state of each row that a page lists.
pub(crate) fn states_on(page: &str) -> BTreeMap<&str, &str> {
    page.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| MOQT")?.split(" | ");
            let id = line.get(2..)?.split(" | ").next()?;
            // The id's cell has been taken from the line itself, because its first letters are cut off.
            let state = cells.nth(4)?;
            Some((id, state))
        })
        .collect()
}
