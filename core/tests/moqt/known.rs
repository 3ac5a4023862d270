//! Properties that the relay knows: it does what each of them says.

use crate::answers::{fetch, fetches};
use crate::offers::{World, name};
use crate::passing::{DRAFTS, header, object, objects};
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::PropertiesBuilder;
use mainstem_core::moqt::session::Event as SessionEvent;
use std::time::Duration;

#[test]
fn a_track_is_not_served_from_the_cache_beyond_its_time() {
    covers!("MOQT19-2.5-6", "MOQT19-12.3-1");
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        let properties = PropertiesBuilder::new().max_cache_duration_ms(2000).build();
        let none = Parameters::default();
        let request = world.publish_with(&publisher, &name("a", "one"), none, properties);
        let (_early, _) = world.watch(draft, None);
        let stream = world.open(&publisher, request, header(1, 0));
        world.write(&publisher, stream, &object(1, 0, 0), true);
        let start = Location::ZERO;
        let from_start = Some(Filter::Absolute { start });
        world.net.advance(Duration::from_millis(1900));
        let (in_time, _) = world.watch(draft, from_start);
        assert_eq!(objects(&in_time).len(), 1, "{draft}");
        world.net.advance(Duration::from_millis(200));
        let (late, _) = world.watch(draft, from_start);
        assert!(objects(&late).is_empty(), "{draft}");
    }
}

#[test]
fn gaps_of_which_objects_tell_are_not_asked_for() {
    covers!("MOQT19-2.5-6");
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        let request = world.publish(&publisher, &name("a", "one"));
        let (_early, _) = world.watch(draft, None);
        // Groups 0 and 1 do not exist, nor do the first three objects of group 2.
        let gaps = PropertiesBuilder::new();
        let gaps = gaps.prior_group_id_gap(2).prior_object_id_gap(3).build();
        let first = Object {
            properties: gaps,
            ..object(2, 0, 3)
        };
        let stream = world.open(&publisher, request, header(2, 0));
        world.write(&publisher, stream, &first, true);
        let viewer = world.peer(draft);
        fetch(&mut world, &viewer);
        assert!(fetches(&publisher).is_empty(), "{draft}");
        let fetched = viewer.find(|event| match event {
            SessionEvent::FetchObject { object, .. } => Some((object.group, object.object)),
            _ => None,
        });
        assert_eq!(fetched, Some((2, 3)), "{draft}");
        let has_gap = |event: &SessionEvent| matches!(event, SessionEvent::FetchGap { .. });
        assert!(!viewer.has(has_gap), "{draft}");
    }
}
