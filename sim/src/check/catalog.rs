//! Catalogs: whoever follows a catalog by its updates has what the whole catalog of that place says.
//!
//! | class | what happened |
//! |---|---|
//! | `unreadable` | an object of a catalog track could not be read after those before it |
//! | `differs` | the catalog by updates is not the catalog of that version |
//!
//! Each group begins with a whole catalog, and is followed by a reader of its own for as long as its objects come
//! without a hole: what a subscription joins in the middle, or loses, begins again with the next group.

use super::{Checker, Finding, Observation, Seen, finding};
use crate::nodes::catalogs;
use crate::plan::{NodeId, Plan, TrackPlan};
use mainstem_core::catalog::{Limits, msf::Reader};
use mainstem_core::moqt::subscriber::Key;
use std::collections::BTreeMap;

const NAME: &str = "catalog";
/// Groups that are followed at a time: the oldest is forgotten for the next.
const FOLLOWED_MAX: usize = 256;

/// A group, as one viewer follows it by subscription or by fetch.
type Followed = (NodeId, u16, Key, bool, u64);

/// See the module's description.
#[derive(Debug)]
pub struct Catalogs {
    tracks: Vec<TrackPlan>,
    /// What each of them reads, and its next object.
    readers: BTreeMap<Followed, (Reader, u64)>,
}

impl Catalogs {
    /// For the catalog tracks of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self {
            tracks: plan.tracks.clone(),
            readers: BTreeMap::new(),
        }
    }
}

impl Checker for Catalogs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        let (node, life) = (observation.node, observation.life);
        let Seen::Delivered {
            key,
            place,
            object,
            is_past,
        } = &observation.seen
        else {
            return Ok(());
        };
        let track = self.tracks.get(usize::from(place.track));
        let Some(track) = track.filter(|track| track.is_catalog) else {
            return Ok(());
        };
        let followed = (node, life, *key, *is_past, place.group);
        if place.object == 0 {
            if self.readers.len() >= FOLLOWED_MAX {
                self.readers.pop_first();
            }
            let reader = Reader::new(Limits::default());
            self.readers.insert(followed, (reader, 0));
        }
        let Some((reader, next)) = self.readers.get_mut(&followed) else {
            return Ok(());
        };
        if *next != place.object {
            self.readers.remove(&followed);
            return Ok(());
        }
        *next += 1;
        let read = match reader.apply(&object.payload.to_bytes()) {
            Ok(read) => read,
            Err(error) => {
                let message = format!("expected a catalog or an update at {place}: {error}");
                self.readers.remove(&followed);
                return Err(finding(NAME, "unreadable", observation, message));
            }
        };
        let version = catalogs::version(track, place.group, place.object);
        let expected = catalogs::catalog(version);
        if *read == expected {
            return Ok(());
        }
        let message = format!(
            "expected version {version} at {place}, its {} tracks, by updates there are {}",
            expected.tracks.len(),
            read.tracks.len()
        );
        self.readers.remove(&followed);
        Err(finding(NAME, "differs", observation, message))
    }
}
