//! [`Wish`]: a configuration or a command, as JSON.
//!
//! Read field by field: derived readers of such objects would be a fifth of the module.
//! Errors: text that names the field and what was expected of it.

use serde_json::Value;

/// A JSON object.
#[derive(Debug)]
pub(crate) struct Wish(Value);

impl Wish {
    /// Reads one.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// A field that is text.
    pub(crate) fn text(&self, key: &str) -> Result<&str, String> {
        let text = self.0.get(key).and_then(Value::as_str);
        text.ok_or_else(|| format!("{key}: expected text"))
    }

    /// A field that is a whole number, if it is there.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).and_then(Value::as_u64)
    }

    /// A field that is an array of whole numbers; empty when it is not there.
    pub(crate) fn numbers(&self, key: &str) -> Vec<u64> {
        let values = self.0.get(key).and_then(Value::as_array);
        let values = values.into_iter().flatten();
        values.filter_map(Value::as_u64).collect()
    }

    /// Whether a field is true.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or(false)
    }
}
