//! Bytes: an object's payload is f(track, group, object), wherever it is seen.

use super::{Checker, Finding, Observation, Seen, finding};
use crate::nodes::content;
use crate::plan::Plan;

const NAME: &str = "payload";

/// See the module's description.
#[derive(Debug)]
pub struct Payloads {
    tracks: Vec<crate::plan::TrackPlan>,
}

impl Payloads {
    /// For the tracks of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self {
            tracks: plan.tracks.clone(),
        }
    }
}

impl Checker for Payloads {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        let Seen::Delivered { place, object, .. } = &observation.seen else {
            return Ok(());
        };
        let refuse = |class, message: String| Err(finding(NAME, class, observation, message));
        let Some(track) = self.tracks.get(usize::from(place.track)) else {
            return refuse("unknown-track", format!("no track of the plan: {place}"));
        };
        if place.object >= track.group_objects {
            let most = track.group_objects;
            return refuse(
                "never-published",
                format!("expected an object below {most}, got {place}"),
            );
        }
        let expected_subgroup = place.object % track.subgroups;
        if object
            .subgroup
            .is_some_and(|found| found != expected_subgroup)
        {
            return refuse(
                "wrong-subgroup",
                format!(
                    "expected subgroup {expected_subgroup} for {place}, got {:?}",
                    object.subgroup
                ),
            );
        }
        if content::is_payload(
            track,
            place.track,
            place.group,
            place.object,
            &object.payload,
        ) {
            return Ok(());
        }
        let bytes = content::size(track, place.track, place.group, place.object);
        refuse(
            "wrong-bytes",
            format!(
                "expected the {bytes} bytes of {place}, got {} other ones",
                object.payload.len()
            ),
        )
    }
}
