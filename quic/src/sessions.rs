//! The names of sessions, and the connections that carry them.

use mainstem_core::transport::SessionId;
use std::collections::BTreeMap;

/// Which connection carries which session; ids are never reused.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_id: BTreeMap<SessionId, usize>,
    next: u64,
}

impl Sessions {
    pub(crate) fn add(&mut self, handle: usize) -> SessionId {
        let id = SessionId(self.next);
        self.next += 1;
        self.by_id.insert(id, handle);
        id
    }

    pub(crate) fn connection_of(&self, id: SessionId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn ids(&self) -> Vec<SessionId> {
        self.by_id.keys().copied().collect()
    }

    pub(crate) fn remove(&mut self, id: SessionId) {
        self.by_id.remove(&id);
    }
}
