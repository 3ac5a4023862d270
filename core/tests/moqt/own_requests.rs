//! What a relay asks for on its own account: never what one of its viewers asked it for.

use crate::house::Peer;
use crate::offers::{World, name};
use crate::passing::DRAFTS;
use mainstem_core::moqt::filter::GroupOrder;
use mainstem_core::moqt::message::Message;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::Event as SessionEvent;

fn asked(publisher: &Peer) -> Option<Parameters> {
    publisher.find(|event| match event {
        SessionEvent::Request {
            message: Message::Subscribe(subscribe),
            ..
        } => Some(subscribe.parameters.clone()),
        _ => None,
    })
}

#[test]
fn a_viewers_priorities_order_and_timeouts_are_its_own() {
    covers!("MOQT19-7.3-2", "MOQT19-10.2.3-1", "MOQT19-10.2.4-1");
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        publisher.announce("a");
        world.net.settle();
        let viewer = world.peer(draft);
        let parameters = Parameters {
            subscriber_priority: Some(3),
            group_order: Some(GroupOrder::Descending),
            object_delivery_timeout_ms: Some(700),
            subgroup_delivery_timeout_ms: Some(900),
            ..Parameters::default()
        };
        world
            .act(&viewer, |s| s.subscribe(name("a", "one"), parameters))
            .unwrap();
        let asked = asked(&publisher).unwrap();
        assert_ne!(asked.subscriber_priority, Some(3), "{draft}");
        assert_ne!(asked.group_order, Some(GroupOrder::Descending), "{draft}");
        assert_eq!(asked.object_delivery_timeout_ms, None, "{draft}");
        assert_eq!(asked.subgroup_delivery_timeout_ms, None, "{draft}");
    }
}
