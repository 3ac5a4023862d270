//! How a command fails: in words for a person, and with an exit code for a script.

use std::fmt;
use std::process::ExitCode;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Permission was refused. The words begin with `auth_failed`.
    Auth(String),
    /// With an exit code of the command's own.
    Code(u8, String),
    /// Anything else.
    Other(anyhow::Error),
}

impl Failure {
    /// Sorts a peer's reason: clients tell a refused permission by its first word.
    pub(crate) fn of_reason(reason: &str, context: &str) -> Self {
        if reason.starts_with("auth_failed") {
            Self::Auth(reason.to_owned())
        } else {
            Self::Other(anyhow::anyhow!("{context}: {reason}"))
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Auth(_) => ExitCode::from(3),
            Self::Code(code, _) => ExitCode::from(*code),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth(reason) | Self::Code(_, reason) => f.write_str(reason),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}
