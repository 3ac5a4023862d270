//! Authorization tokens by alias: what the peer registered with us, and what we registered with it.
//!
//! The owner sees every token of the peer by value: a registration is a use too, an alias stands for
//! what was registered, a retirement is no token. Expiry is the owner's to judge, at each use: an
//! alias stays registered, and counts, until the peer retires it.
//!
//! | the peer does | ends with |
//! |---|---|
//! | registers beyond the cache that was offered | AUTH_TOKEN_CACHE_OVERFLOW; in SETUP, a use by value |
//! | registers an alias again | DUPLICATE_AUTH_TOKEN_ALIAS |
//! | names an alias that is not registered | UNKNOWN_AUTH_TOKEN_ALIAS: a session code, it has no other |
//! | gives the same token twice in one message | MALFORMED_AUTH_TOKEN for the request |
//!
//! As a sender, the owner says what it would like, and the session what it may: `Register` is sent
//! by value when the peer's cache has no room, and so is `UseAlias` until the peer has answered the
//! message that registered it, unless on that message's own stream.
//!
//! Source: draft-ietf-moq-transport-18, Sections 10.2.2, 10.3.1.3, 10.3.1.4.

use super::{CommandError, ProtocolError, SessionCode, Side, StreamId, checks};
use crate::map::BTreeMap;
use crate::moqt::error::EncodeError;
use crate::moqt::parameter::AuthorizationToken as Token;
use bytes::Bytes;

/// What a registration takes beside its value.
const ENTRY_LEN: u64 = 16;
/// Most aliases of our own, registered or not.
const OWN_ALIASES_MAX: usize = 1024;

fn size(value: &Bytes) -> u64 {
    ENTRY_LEN.saturating_add(value.len() as u64)
}

/// What the peer registered.
#[derive(Debug, Default)]
pub(super) struct PeerTokens {
    limit: u64,
    used: u64,
    by_alias: BTreeMap<u64, (u64, Bytes)>,
}

/// The tokens of a message, by value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) tokens: Vec<Token>,
    /// Whether one of them was given twice.
    pub(super) is_repeated: bool,
}

impl PeerTokens {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// The tokens of a SETUP that came to `side`.
    pub(super) fn take_setup(
        &mut self,
        side: Side,
        tokens: Vec<Token>,
    ) -> Result<Vec<Token>, ProtocolError> {
        checks::setup_tokens(side, &tokens)?;
        let mut resolved = Vec::with_capacity(tokens.len());
        for token in tokens {
            // Room is judged one after the other: each registration takes some.
            let token = match token {
                Token::Register {
                    alias,
                    token_type,
                    value,
                } if !self.has_room(&value) && !self.by_alias.contains_key(&alias) => {
                    Token::UseValue { token_type, value }
                }
                token => token,
            };
            resolved.extend(self.take_one(token)?);
        }
        Ok(resolved)
    }

    /// The tokens of a request or an update.
    pub(super) fn take(&mut self, tokens: Vec<Token>) -> Result<Resolved, ProtocolError> {
        let mut resolved: Vec<Token> = Vec::with_capacity(tokens.len());
        let mut is_repeated = false;
        for token in tokens {
            // What is registered stays so, even when the message fails for another reason.
            if let Some(token) = self.take_one(token)? {
                if resolved.contains(&token) {
                    is_repeated = true;
                } else {
                    resolved.push(token);
                }
            }
        }
        Ok(Resolved {
            tokens: resolved,
            is_repeated,
        })
    }

    fn take_one(&mut self, token: Token) -> Result<Option<Token>, ProtocolError> {
        match token {
            Token::UseValue { .. } => Ok(Some(token)),
            Token::Register {
                alias,
                token_type,
                value,
            } => {
                if self.by_alias.contains_key(&alias) {
                    return Err(ProtocolError::new(
                        SessionCode::DUPLICATE_AUTH_TOKEN_ALIAS,
                        "alias of a token is registered already",
                    ));
                }
                if !self.has_room(&value) {
                    return Err(ProtocolError::new(
                        SessionCode::AUTH_TOKEN_CACHE_OVERFLOW,
                        "registered tokens pass the cache that was offered",
                    ));
                }
                self.used = self.used.saturating_add(size(&value));
                self.by_alias.insert(alias, (token_type, value.clone()));
                Ok(Some(Token::UseValue { token_type, value }))
            }
            Token::UseAlias { alias } => {
                let (token_type, value) = self.by_alias.get(&alias).ok_or(UNKNOWN_ALIAS)?;
                Ok(Some(Token::UseValue {
                    token_type: *token_type,
                    value: value.clone(),
                }))
            }
            Token::Delete { alias } => {
                let (_, value) = self.by_alias.remove(&alias).ok_or(UNKNOWN_ALIAS)?;
                self.used = self.used.saturating_sub(size(&value));
                Ok(None)
            }
        }
    }

    fn has_room(&self, value: &Bytes) -> bool {
        self.used.saturating_add(size(value)) <= self.limit
    }
}

const UNKNOWN_ALIAS: ProtocolError = ProtocolError::new(
    SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS,
    "alias of a token that is not registered",
);

/// What we registered.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnTokens {
    /// The peer's limit; `None` until its SETUP.
    limit: Option<u64>,
    used: u64,
    by_alias: BTreeMap<u64, Own>,
}

#[derive(Clone, Debug)]
struct Own {
    token_type: u64,
    value: Bytes,
    state: OwnState,
    /// Messages with this alias that have no answer.
    outstanding: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnState {
    /// The peer has no room for it.
    Unregistered,
    /// Registered on this stream by a message without an answer.
    Sent(StreamId),
    /// The peer has it.
    Known,
}

/// The aliases that a message uses, to be given back with its answer.
pub(super) type Used = Vec<u64>;

impl OwnTokens {
    /// Notes what our SETUP registers.
    pub(super) fn note_setup(&mut self, tokens: &[Token]) {
        for token in tokens {
            if let Token::Register {
                alias,
                token_type,
                value,
            } = token
            {
                let own = Own {
                    token_type: *token_type,
                    value: value.clone(),
                    state: OwnState::Known,
                    outstanding: 0,
                };
                self.by_alias.insert(*alias, own);
            }
        }
    }

    /// The peer's limit has come: what our SETUP registered beyond it is not registered. Both ends
    /// must agree on which, so they are taken in the order of the message.
    pub(super) fn set_limit(&mut self, limit: u64, setup: &[Token]) {
        self.limit = Some(limit);
        for token in setup {
            let Token::Register { alias, .. } = token else {
                continue;
            };
            let Some(own) = self.by_alias.get_mut(alias) else {
                continue;
            };
            let after = self.used.saturating_add(size(&own.value));
            if after <= limit {
                self.used = after;
            } else {
                own.state = OwnState::Unregistered;
            }
        }
    }

    /// What may be sent of these tokens on this stream, and which aliases it uses.
    pub(super) fn prepare(
        &mut self,
        stream: StreamId,
        tokens: Vec<Token>,
    ) -> Result<(Vec<Token>, Used), CommandError> {
        let mut used = Used::new();
        let mut sent = Vec::with_capacity(tokens.len());
        for token in tokens {
            sent.extend(self.prepare_one(stream, token, &mut used)?);
        }
        for alias in &used {
            if let Some(own) = self.by_alias.get_mut(alias) {
                own.outstanding = own.outstanding.saturating_add(1);
            }
        }
        Ok((sent, used))
    }

    fn prepare_one(
        &mut self,
        stream: StreamId,
        token: Token,
        used: &mut Used,
    ) -> Result<Option<Token>, CommandError> {
        match token {
            Token::UseValue { .. } => Ok(Some(token)),
            Token::Register {
                alias,
                token_type,
                value,
            } => {
                let is_sent = self.register(stream, alias, token_type, &value)?;
                if !is_sent {
                    return Ok(Some(Token::UseValue { token_type, value }));
                }
                used.push(alias);
                Ok(Some(Token::Register {
                    alias,
                    token_type,
                    value,
                }))
            }
            Token::UseAlias { alias } => {
                let own = self.by_alias.get(&alias).ok_or(invalid(NOT_REGISTERED))?;
                let may = match own.state {
                    OwnState::Known => true,
                    OwnState::Sent(on) => on == stream,
                    OwnState::Unregistered => false,
                };
                if may {
                    used.push(alias);
                    return Ok(Some(Token::UseAlias { alias }));
                }
                Ok(Some(Token::UseValue {
                    token_type: own.token_type,
                    value: own.value.clone(),
                }))
            }
            Token::Delete { alias } => {
                let own = self.by_alias.get(&alias).ok_or(invalid(NOT_REGISTERED))?;
                if own.outstanding > 0 {
                    return Err(invalid("a message with this token has no answer yet"));
                }
                let (state, len) = (own.state, size(&own.value));
                self.by_alias.remove(&alias);
                if state == OwnState::Unregistered {
                    return Ok(None);
                }
                self.used = self.used.saturating_sub(len);
                Ok(Some(Token::Delete { alias }))
            }
        }
    }

    /// Remembers a token by its alias. Returns whether the peer has room for it.
    fn register(
        &mut self,
        stream: StreamId,
        alias: u64,
        token_type: u64,
        value: &Bytes,
    ) -> Result<bool, CommandError> {
        if self.by_alias.contains_key(&alias) {
            return Err(invalid("the alias of a token is registered already"));
        }
        if self.by_alias.len() >= OWN_ALIASES_MAX {
            return Err(invalid("too many aliases of tokens"));
        }
        let after = self.used.saturating_add(size(value));
        let fits = self.limit.is_some_and(|limit| after <= limit);
        let mut state = OwnState::Unregistered;
        if fits {
            self.used = after;
            state = OwnState::Sent(stream);
        }
        let own = Own {
            token_type,
            value: value.clone(),
            state,
            outstanding: 0,
        };
        self.by_alias.insert(alias, own);
        Ok(fits)
    }

    /// The message that used these was answered: what it registered is known to the peer.
    pub(super) fn answered(&mut self, used: &Used) {
        for alias in used {
            if let Some(own) = self.by_alias.get_mut(alias) {
                own.outstanding = own.outstanding.saturating_sub(1);
                if matches!(own.state, OwnState::Sent(_)) {
                    own.state = OwnState::Known;
                }
            }
        }
    }
}

const NOT_REGISTERED: &str = "the alias of a token is not registered";

const fn invalid(reason: &'static str) -> CommandError {
    CommandError::Encode(EncodeError::Invalid(reason))
}
