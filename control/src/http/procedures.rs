//! The procedures: their names, inputs and rows. Source: CONTRACTS A1, the table.

use super::App;
use super::envelope::{Code, Failure};
use super::fields::Fields;
use crate::clock;
use crate::config::PublicRelay;
use crate::service::{Caller, Input, InputWithKey, NewSigningKey, Scope, Ticket};
use crate::store::SigningKeyRow;
use axum::http::Method;
use mainstem_core::jwt::Algorithm;
use mainstem_core::resolve::IngestKind;
use serde::Serialize;
use serde_json::Value;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Procedure {
    InputsCreate,
    InputsGet,
    InputsList,
    InputsMint,
    InputsRotate,
    KeysCreate,
    KeysList,
    KeysDeactivate,
    /// `signingKeys.retire`: an older name, whose callers leave the organisation out.
    KeysRetire,
}

use Procedure::{
    InputsCreate, InputsGet, InputsList, InputsMint, InputsRotate, KeysCreate, KeysDeactivate,
    KeysList, KeysRetire,
};

const NAMES: [(&str, Procedure); 9] = [
    ("streams.liveInputs.create", InputsCreate),
    ("streams.liveInputs.get", InputsGet),
    ("streams.liveInputs.list", InputsList),
    ("streams.liveInputs.mintPlaybackToken", InputsMint),
    ("streams.liveInputs.rotateStreamKey", InputsRotate),
    ("streams.signingKeys.create", KeysCreate),
    ("streams.signingKeys.list", KeysList),
    ("streams.signingKeys.deactivate", KeysDeactivate),
    ("streams.signingKeys.retire", KeysRetire),
];

const ID: RangeInclusive<usize> = 1..=128;
const NAME: RangeInclusive<usize> = 1..=200;
const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 100;
const GRACE_SECS_MAX: u32 = 86_400;

impl Procedure {
    /// The procedure of that name.
    pub(super) fn find(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, procedure)| *procedure)
    }

    /// Queries are asked with GET, mutations with POST.
    pub(super) const fn is_query(self) -> bool {
        matches!(self, InputsGet | InputsList | KeysList)
    }

    /// Whether it is to be called with this method.
    pub(super) fn allows(self, method: &Method) -> Result<(), Failure> {
        let expected = if self.is_query() {
            Method::GET
        } else {
            Method::POST
        };
        if *method == expected || (self.is_query() && *method == Method::HEAD) {
            return Ok(());
        }
        let text = format!("this procedure is called with {expected}, not with {method}");
        Err(Failure::new(Code::MethodNotSupported, text))
    }

    const fn scope(self) -> Scope {
        match self {
            InputsGet | InputsList | KeysList => Scope::Read,
            InputsCreate | InputsMint => Scope::Write,
            InputsRotate | KeysCreate | KeysDeactivate | KeysRetire => Scope::Keys,
        }
    }

    /// Does it.
    pub(super) async fn call(
        self,
        app: &App,
        caller: &Caller,
        input: Option<Value>,
    ) -> Result<Value, Failure> {
        caller.require(self.scope())?;
        let mut fields = Fields::of(input)?;
        let org = match self {
            KeysRetire => fields
                .optional_text("orgId", ID)?
                .unwrap_or_else(|| caller.org.clone()),
            _ => fields.text("orgId", ID)?,
        };
        caller.enter(&org)?;
        let (service, now) = (&app.service, clock::now());
        match self {
            InputsCreate => {
                let (name, ingest) = (fields.text("name", NAME)?, ingest(&mut fields)?);
                fields.finish()?;
                row(keyed_row(
                    service.create_input(&org, &name, ingest, now).await?,
                ))
            }
            InputsGet => {
                let id = fields.text("id", ID)?;
                fields.finish()?;
                row(input_row(service.input(&org, &id).await?))
            }
            InputsList => {
                let page = fields.bounded("page", 1..=1_000_000, 1)?;
                let per_page = fields.bounded("perPage", 1..=PAGE_MAX, PAGE_DEFAULT)?;
                fields.finish()?;
                let inputs = service.inputs(&org, page, per_page).await?;
                row(inputs.into_iter().map(input_row).collect::<Vec<_>>())
            }
            InputsMint => {
                let id = fields.text("id", ID)?;
                let ttl = fields.optional_integer("ttlSeconds")?;
                fields.finish()?;
                let ticket = service.mint_playback_token(&org, &id, ttl, now).await?;
                row(ticket_row(ticket, app.relay()))
            }
            InputsRotate => {
                let id = fields.text("id", ID)?;
                let grace = fields.bounded("graceSeconds", 0..=GRACE_SECS_MAX, 0)?;
                fields.finish()?;
                let grace = Duration::from_secs(u64::from(grace));
                row(keyed_row(
                    service.rotate_stream_key(&org, &id, grace, now).await?,
                ))
            }
            KeysCreate => {
                let new = new_key(&mut fields)?;
                fields.finish()?;
                row(key_row(service.create_signing_key(&org, new, now).await?))
            }
            KeysList => {
                fields.finish()?;
                let keys = service.signing_keys(&org).await?;
                row(keys.into_iter().map(key_row).collect::<Vec<_>>())
            }
            KeysDeactivate | KeysRetire => {
                let id = fields.text("id", ID)?;
                fields.finish()?;
                row(key_row(
                    service.deactivate_signing_key(&org, &id, now).await?,
                ))
            }
        }
    }
}

fn ingest(fields: &mut Fields) -> Result<IngestKind, Failure> {
    fields.choice("ingest", &IngestKind::ALL.map(|kind| (kind.as_str(), kind)))
}

fn new_key(fields: &mut Fields) -> Result<NewSigningKey, Failure> {
    let algorithms = [
        ("Ed25519", Algorithm::EdDsa),
        ("RS256", Algorithm::Rs256),
        ("EdDSA", Algorithm::EdDsa),
    ];
    let algorithm = fields.choice("alg", &algorithms)?;
    fields.choice("use", &[("playback", ())])?;
    let label = fields.optional_text("label", NAME)?.unwrap_or_default();
    Ok(NewSigningKey { algorithm, label })
}

/// A live input; the mixture of cases is what clients read.
#[derive(Serialize)]
struct InputRow {
    id: String,
    external_input_id: String,
    name: String,
    status: &'static str,
    ingest: IngestKind,
    #[serde(rename = "createdAt")]
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_key_cleartext: Option<String>,
}

fn input_row(Input { row, is_live }: Input) -> InputRow {
    InputRow {
        id: row.id,
        external_input_id: row.external_id,
        name: row.name,
        status: if is_live { "live" } else { "idle" },
        ingest: row.ingest,
        created_at: clock::iso(row.created_at),
        stream_key_cleartext: None,
    }
}

fn keyed_row(InputWithKey { input, stream_key }: InputWithKey) -> InputRow {
    InputRow {
        stream_key_cleartext: Some(stream_key.expose().to_owned()),
        ..input_row(input)
    }
}

#[derive(Serialize)]
struct TicketRow {
    token: String,
    kid: String,
    alg: &'static str,
    expires_at: u64,
    input: String,
    /// Where to watch with it: `moq://<relay>/playback/<input>?tok=<token>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

fn ticket_row(ticket: Ticket, relay: Option<PublicRelay>) -> TicketRow {
    // Ids and tokens are made of letters that URLs take as they are.
    let url = relay.map(|relay| {
        let host = relay.url.trim_start_matches("https://");
        format!(
            "moq://{host}/playback/{}?tok={}",
            ticket.input,
            ticket.token.expose()
        )
    });
    TicketRow {
        url,
        token: ticket.token.expose().to_owned(),
        kid: ticket.kid,
        alg: ticket.algorithm.as_str(),
        expires_at: ticket.expires_at.as_secs(),
        input: ticket.input,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyRow {
    id: String,
    alg: &'static str,
    r#use: String,
    public_key_pem: String,
    status: mainstem_core::resolve::KeyStatus,
    created_at: String,
}

fn key_row(key: SigningKeyRow) -> KeyRow {
    KeyRow {
        id: key.id,
        alg: match key.algorithm {
            Algorithm::EdDsa => "Ed25519",
            Algorithm::Rs256 => "RS256",
        },
        r#use: key.key_use,
        public_key_pem: key.public_pem,
        status: key.status,
        created_at: clock::iso(key.created_at),
    }
}

fn row(row: impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(row)
        .map_err(|_| Failure::new(Code::InternalServerError, "the row could not be written"))
}
