//! Why a case did not pass.

/// A case's end, other than a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It failed.
    Failed(Failed),
    /// The draft, or this relay's answer to it, has no such thing.
    Skipped(String),
    /// There is no session with the relay.
    Unreachable(String),
}

/// What went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failed {
    /// In one line.
    pub(crate) message: String,
    /// What should have come.
    pub(crate) expected: Option<String>,
    /// What came.
    pub(crate) received: Option<String>,
}

impl Fault {
    /// A failure.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(Failed {
            message: message.into(),
            ..Failed::default()
        })
    }

    /// The relay cannot be reached.
    pub(crate) fn unreachable(reason: impl Into<String>) -> Self {
        Self::Unreachable(reason.into())
    }

    /// With what should have come.
    pub(crate) fn expected(mut self, what: impl Into<String>) -> Self {
        if let Self::Failed(failed) = &mut self {
            failed.expected = Some(what.into());
        }
        self
    }

    /// With what came.
    pub(crate) fn received(mut self, what: impl Into<String>) -> Self {
        if let Self::Failed(failed) = &mut self {
            failed.received = Some(what.into());
        }
        self
    }
}

/// Fails a case with `message` unless `holds`.
pub(crate) fn check(holds: bool, message: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds {
        Ok(())
    } else {
        Err(Fault::failed(message()))
    }
}
