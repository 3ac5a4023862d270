//! Reading a procedure's input: a JSON object whose fields are all known and all well formed.
//! Each message names the field, what was expected and what came.

use super::envelope::{Code, Failure};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// The fields of an input that have not been read yet.
pub(super) struct Fields {
    rest: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Of an input; `None` when the call had none.
    pub(super) fn of(input: Option<Value>) -> Result<Self, Failure> {
        match input {
            Some(Value::Object(rest)) => Ok(Self {
                rest,
                known: Vec::new(),
            }),
            Some(other) => Err(bad(format!(
                "input: expected an object, got {}",
                kind(&other)
            ))),
            None => Err(bad("input: expected an object, got nothing".to_owned())),
        }
    }

    /// A text that must be there.
    pub(super) fn text(
        &mut self,
        name: &'static str,
        lengths: RangeInclusive<usize>,
    ) -> Result<String, Failure> {
        self.optional_text(name, lengths)?
            .ok_or_else(|| missing(name, "a string"))
    }

    /// A text that may be missing or `null`.
    pub(super) fn optional_text(
        &mut self,
        name: &'static str,
        lengths: RangeInclusive<usize>,
    ) -> Result<Option<String>, Failure> {
        let text = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text,
            Some(other) => return Err(wrong(name, "a string", &other)),
        };
        let (min, max) = (*lengths.start(), *lengths.end());
        let count = text.chars().count();
        if !lengths.contains(&count) {
            let text = format!("{name}: expected {min} to {max} characters, got {count}");
            return Err(bad(text));
        }
        if text.chars().any(char::is_control) {
            return Err(bad(format!("{name}: control characters are not allowed")));
        }
        Ok(Some(text))
    }

    /// One of several words, or the first of them when it is missing or `null`.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Result<T, Failure> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", words.join(", "));
        let found = match self.take(name) {
            None => choices.first(),
            Some(Value::String(text)) => {
                let found = choices.iter().find(|(word, _)| *word == text);
                if found.is_none() {
                    return Err(bad(format!(
                        "{name}: expected {expected}, got another word"
                    )));
                }
                found
            }
            Some(other) => return Err(wrong(name, &expected, &other)),
        };
        found
            .map(|(_, choice)| *choice)
            .ok_or_else(|| missing(name, &expected))
    }

    /// A whole number that may be missing or `null`.
    pub(super) fn optional_integer(&mut self, name: &'static str) -> Result<Option<i64>, Failure> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => {
                let whole = value.as_i64().or_else(|| whole(value.as_f64()?));
                whole
                    .map(Some)
                    .ok_or_else(|| wrong(name, "an integer", &value))
            }
        }
    }

    /// A whole number within bounds, or `default` when it is missing or `null`.
    pub(super) fn bounded(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<u32>,
        default: u32,
    ) -> Result<u32, Failure> {
        let Some(number) = self.optional_integer(name)? else {
            return Ok(default);
        };
        let fitting = u32::try_from(number)
            .ok()
            .filter(|number| bounds.contains(number));
        fitting.ok_or_else(|| {
            let (min, max) = (bounds.start(), bounds.end());
            bad(format!("{name}: expected {min} to {max}, got {number}"))
        })
    }

    /// Refuses what nobody read: a misspelt field must not be as good as a missing one.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.rest.keys().next() {
            None => Ok(()),
            Some(name) => {
                let short: String = name.chars().take(40).collect();
                let known = self.known.join(", ");
                Err(bad(format!(
                    "{short}: unknown field; the fields are {known}"
                )))
            }
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.rest.remove(name).filter(|value| !value.is_null())
    }
}

/// A float without a fraction is an integer in JSON's eyes, and some clients write `900.0`.
fn whole(number: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within 2^53 and without a fraction"
    )]
    let whole = number as i64;
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(whole)
}

fn bad(message: String) -> Failure {
    Failure::new(Code::BadRequest, message)
}

fn missing(name: &str, expected: &str) -> Failure {
    bad(format!("{name}: expected {expected}, got nothing"))
}

fn wrong(name: &str, expected: &str, got: &Value) -> Failure {
    bad(format!("{name}: expected {expected}, got {}", kind(got)))
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
