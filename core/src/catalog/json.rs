//! What the catalog formats share: bounds, errors, careful access to JSON, format detection.

use super::model::Catalog;
use crate::map::BTreeSet;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Serializer;
use serde_json::{Map, Value};

/// Bounds on a catalog that a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest catalog object, in bytes of JSON.
    pub json_bytes_max: usize,
    /// Most tracks.
    pub tracks_max: usize,
    /// Longest text field, in bytes.
    pub text_bytes_max: usize,
    /// Most bytes of init segments over all tracks.
    pub init_bytes_max: usize,
    /// Most entries of an `initDataList`, and operations of a delta.
    pub entries_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            json_bytes_max: 256 << 10,
            tracks_max: 256,
            text_bytes_max: 4096,
            init_bytes_max: 1 << 20,
            entries_max: 1024,
        }
    }
}

/// Why a catalog was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than the limit.
    #[error("catalog is {bytes} bytes, at most {max} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The bound from [`Limits`].
        max: usize,
    },
    /// Not JSON.
    #[error("catalog is not json: error at line {line}, column {column}")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A value of the wrong type, or missing where it must be.
    #[error("catalog field {field}: expected {expected}")]
    BadField {
        /// Name of the field.
        field: &'static str,
        /// What should have been there.
        expected: &'static str,
    },
    /// A version that we do not read.
    #[error("catalog version is not one that we read (seed 1; msf draft-00, draft-01)")]
    UnknownVersion,
    /// Too many of something.
    #[error("catalog has more than {max} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The bound from [`Limits`].
        max: usize,
    },
    /// Two tracks have the same name and namespace.
    #[error("catalog names a track twice")]
    DuplicateTrack,
    /// A delta names a track that is not there, or came before any whole catalog.
    #[error("catalog delta names a track that is not there")]
    UnknownTrack,
    /// A delta has an operation that we do not know.
    #[error("catalog delta has an unknown operation")]
    UnknownOperation,
}

/// Formats that are found on catalog tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The seed's JSON, version 1.
    Seed,
    /// MSF, whole or delta.
    Msf,
    /// draft-ietf-moq-catalogformat, as Cloudflare's tools publish on `.catalog`. Not read.
    CatalogFormat,
}

/// Tells the formats apart: `.catalog` carries the seed JSON from us and catalogformat from others.
pub fn detect(json: &[u8], limits: &Limits) -> Result<Format, Error> {
    let root = parse_root(json, limits)?;
    let has = |key: &str| root.get(key).is_some_and(|value| !value.is_null());
    if has("streamingFormat") || has("commonTrackFields") {
        return Ok(Format::CatalogFormat);
    }
    let tracks = root.get("tracks").and_then(Value::as_array);
    let any_track = |key: &str| {
        tracks.is_some_and(|tracks| tracks.iter().any(|track| track.get(key).is_some()))
    };
    if has("deltaUpdate") || has("initDataList") || any_track("packaging") {
        return Ok(Format::Msf);
    }
    if any_track("selectionParams") {
        return Ok(Format::CatalogFormat);
    }
    let is_msf_version = root.get("version").is_some_and(Value::is_string);
    Ok(if is_msf_version {
        Format::Msf
    } else {
        Format::Seed
    })
}

/// Parses the root object of a catalog within the limits.
pub(super) fn parse_root(json: &[u8], limits: &Limits) -> Result<Map<String, Value>, Error> {
    if json.len() > limits.json_bytes_max {
        return Err(Error::TooLong {
            bytes: json.len(),
            max: limits.json_bytes_max,
        });
    }
    match serde_json::from_slice(json) {
        Ok(Value::Object(root)) => Ok(root),
        Ok(_) => Err(Error::BadField {
            field: "(root)",
            expected: "an object",
        }),
        Err(error) => Err(Error::NotJson {
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// Typed access to the fields of an object; `null` is absent.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    fields: &'a Map<String, Value>,
    limits: &'a Limits,
}

impl<'a> Object<'a> {
    pub(super) fn new(fields: &'a Map<String, Value>, limits: &'a Limits) -> Self {
        Self { fields, limits }
    }

    pub(super) fn value(&self, field: &'static str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, field: &'static str) -> Result<Option<String>, Error> {
        let Some(value) = self.value(field) else {
            return Ok(None);
        };
        let text = value.as_str().ok_or(Error::BadField {
            field,
            expected: "a string",
        })?;
        if text.len() > self.limits.text_bytes_max {
            return Err(Error::BadField {
                field,
                expected: "a shorter string",
            });
        }
        Ok(Some(text.to_owned()))
    }

    /// A whole number that is not negative; a float without fraction counts.
    pub(super) fn whole(&self, field: &'static str) -> Result<Option<u64>, Error> {
        let Some(value) = self.value(field) else {
            return Ok(None);
        };
        let bad = Error::BadField {
            field,
            expected: "a whole number",
        };
        if let Some(number) = value.as_u64() {
            return Ok(Some(number));
        }
        let float = value.as_f64().ok_or(bad.clone())?;
        // 2^53: beyond it a float is no longer a whole number that somebody meant.
        if float.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&float) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in range"
            )]
            return Ok(Some(float as u64));
        }
        Err(bad)
    }

    pub(super) fn whole_u32(&self, field: &'static str) -> Result<Option<u32>, Error> {
        let bad = Error::BadField {
            field,
            expected: "a number below 2^32",
        };
        self.whole(field)?
            .map(|number| u32::try_from(number).map_err(|_| bad))
            .transpose()
    }

    pub(super) fn number(&self, field: &'static str) -> Result<Option<f64>, Error> {
        let Some(value) = self.value(field) else {
            return Ok(None);
        };
        value.as_f64().map(Some).ok_or(Error::BadField {
            field,
            expected: "a number",
        })
    }

    pub(super) fn boolean(&self, field: &'static str) -> Result<Option<bool>, Error> {
        let Some(value) = self.value(field) else {
            return Ok(None);
        };
        value.as_bool().map(Some).ok_or(Error::BadField {
            field,
            expected: "true or false",
        })
    }

    pub(super) fn base64(&self, field: &'static str) -> Result<Option<Bytes>, Error> {
        let Some(value) = self.value(field) else {
            return Ok(None);
        };
        let bad = Error::BadField {
            field,
            expected: "base64",
        };
        let bytes = BASE64
            .decode(value.as_str().ok_or(bad.clone())?)
            .map_err(|_| bad)?;
        Ok(Some(bytes.into()))
    }

    /// The objects of an array; at most `max`.
    pub(super) fn objects(
        &self,
        field: &'static str,
        max: usize,
    ) -> Result<Option<Vec<Object<'a>>>, Error> {
        let Some(value) = self.value(field) else {
            return Ok(None);
        };
        let bad = Error::BadField {
            field,
            expected: "an array of objects",
        };
        let array = value.as_array().ok_or(bad.clone())?;
        if array.len() > max {
            return Err(Error::TooMany { what: field, max });
        }
        let objects: Option<Vec<_>> = array
            .iter()
            .map(|item| {
                item.as_object().map(|fields| Object {
                    fields,
                    limits: self.limits,
                })
            })
            .collect();
        objects.map(Some).ok_or(bad)
    }
}

/// Checks what holds for every catalog, whatever it was written in.
pub(super) fn check(catalog: &Catalog, limits: &Limits) -> Result<(), Error> {
    if catalog.tracks.len() > limits.tracks_max {
        return Err(Error::TooMany {
            what: "tracks",
            max: limits.tracks_max,
        });
    }
    let names: BTreeSet<_> = catalog
        .tracks
        .iter()
        .map(|track| (&track.namespace, &track.name))
        .collect();
    if names.len() != catalog.tracks.len() {
        return Err(Error::DuplicateTrack);
    }
    let init_bytes: usize = catalog
        .tracks
        .iter()
        .filter_map(|track| track.init.as_ref())
        .map(Bytes::len)
        .sum();
    if init_bytes > limits.init_bytes_max {
        return Err(Error::TooMany {
            what: "init bytes",
            max: limits.init_bytes_max,
        });
    }
    Ok(())
}

/// Standard alphabet, written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Base64 of `bytes`.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Writes 25 for 25.0, and 29.97 as it is.
#[expect(clippy::ref_option, reason = "serde gives a reference")]
pub(super) fn write_rate<S: Serializer>(rate: &Option<f64>, out: S) -> Result<S::Ok, S::Error> {
    match *rate {
        Some(rate) if rate.fract() == 0.0 && (0.0..1e6).contains(&rate) =>
        {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in range"
            )]
            out.serialize_u32(rate as u32)
        }
        Some(rate) => out.serialize_f64(rate),
        None => out.serialize_none(),
    }
}
