//! Who is calling, and what they may do.

use super::{Service, ServiceError};
use crate::ids::ApiKey;

/// A capability of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `streams:read`: look at inputs and public keys.
    Read,
    /// `streams:write`: make inputs and playback tokens.
    Write,
    /// `streams:keys`: make and deactivate signing keys, replace stream keys.
    Keys,
}

impl Scope {
    /// Its name in an API key's list.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "streams:read",
            Self::Write => "streams:write",
            Self::Keys => "streams:keys",
        }
    }
}

/// The scope that is all of them.
pub(crate) const SCOPES_ALL: &str = "streams:*";
/// Another name for it.
const SCOPES_ADMIN: &str = "streams:admin";

/// The capabilities of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scopes(String);

impl Scopes {
    /// From the names; `None` when there is none, or one that is not known.
    pub(crate) fn of(names: &[&str]) -> Option<Self> {
        let scopes = [Scope::Read, Scope::Write, Scope::Keys].map(Scope::as_str);
        let is_known =
            |name: &&str| scopes.contains(name) || [SCOPES_ALL, SCOPES_ADMIN].contains(name);
        (!names.is_empty() && names.iter().all(is_known)).then(|| Self(names.join(" ")))
    }

    /// As the database holds them: names with spaces between.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn allow(&self, scope: Scope) -> bool {
        let mut names = self.0.split(' ');
        names.any(|name| [scope.as_str(), SCOPES_ALL, SCOPES_ADMIN].contains(&name))
    }
}

/// Someone with a good API key.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) org: String,
    pub(crate) key_id: String,
    pub(crate) scopes: Scopes,
}

impl Caller {
    /// Whether the key has the capability for this.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), ServiceError> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        let name = scope.as_str();
        Err(ServiceError::Forbidden(format!(
            "this API key lacks the scope {name}"
        )))
    }

    /// Whether the key belongs to the organisation. Says the same for one that does not exist.
    pub(crate) fn enter(&self, org: &str) -> Result<(), ServiceError> {
        if self.org == org {
            return Ok(());
        }
        Err(ServiceError::Forbidden(
            "this API key belongs to another organisation".to_owned(),
        ))
    }
}

impl Service {
    /// Finds out who calls from the text after `Bearer`.
    pub(crate) async fn authenticate(&self, key: Option<&str>) -> Result<Caller, ServiceError> {
        const MISSING: &str = "no API key: send it as `authorization: Bearer <key>`";
        const REFUSED: &str = "the API key is not valid or has been revoked";
        let key = key.ok_or(ServiceError::Unauthorized(MISSING))?;
        let key = ApiKey::parse(key).ok_or(ServiceError::Unauthorized(REFUSED))?;
        let row = self.store.api_key(&key.id).await?;
        match row {
            Some(row) if key.hash.matches(&row.hash) && !row.is_revoked => Ok(Caller {
                org: row.org,
                key_id: key.id,
                scopes: Scopes(row.scopes),
            }),
            _ => Err(ServiceError::Unauthorized(REFUSED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_allowed_by_its_name_or_by_all() {
        let allow = |text: &str, scope| Scopes(text.to_owned()).allow(scope);
        assert!(allow("streams:*", Scope::Keys));
        assert!(allow("voice:* streams:read", Scope::Read));
        assert!(!allow("voice:* streams:read", Scope::Write));
        assert!(!allow("streams:reads", Scope::Read));
        assert!(!allow("", Scope::Read));
    }
}
