//! Fills: the past of a subscription, in the name of what asked for it.

use super::fetch::{object, stream};
use super::*;
use mainstem_core::moqt::filter::GroupOrder;
use mainstem_core::moqt::message::{PublishDone, RequestUpdate};
use mainstem_core::moqt::object::FetchEvent;
use mainstem_core::moqt::parameter::FillParameters;
use mainstem_core::moqt::session::{CommandError, StreamEnd};

fn filled(order: Option<GroupOrder>) -> Parameters {
    let fill = FillParameters {
        group_order: order,
        ..FillParameters::default()
    };
    Parameters {
        fill: Some(Box::new(fill)),
        ..Parameters::default()
    }
}

#[test]
fn fills_are_named_by_subscribe_or_update() {
    for draft in [Draft::D20, Draft::D21, Draft::D22] {
        let mut peer = Peer::client(draft);
        let id = peer
            .command(|s| s.subscribe(track("x"), filled(None)))
            .unwrap();
        peer.send(own(0), &subscribe_ok(3));
        peer.data(
            uni(1),
            stream(draft, GroupOrder::Ascending, id.0, &[object(2, 0)]),
        );
        peer.finish(uni(1));
        let order = GroupOrder::Descending;
        let update = peer.command(|s| s.update(id, filled(Some(order)))).unwrap();
        assert_eq!(update, RequestId(2));
        peer.data(
            uni(2),
            stream(draft, order, update.0, &[object(2, 1), object(1, 0)]),
        );
        assert_eq!(
            peer.fetched(),
            [(id, 2, 0), (id, 2, 1), (id, 1, 0)],
            "{draft}"
        );
        assert_eq!(peer.fetch_ends(), [(id, StreamEnd::Finished)]);
        peer.data(uni(3), stream(draft, order, update.0, &[]));
        assert_eq!(
            peer.was_stopped(uni(3)),
            Some(StreamCode::CANCELLED),
            "filled once"
        );
        let done = PublishDone {
            code: mainstem_core::moqt::error::PublishDoneCode::TRACK_ENDED,
            stream_count: Some(2),
            reason: String::new(),
        };
        peer.send(own(0), &Message::from(done));
        assert_eq!(peer.session.requests_len(), 1, "fills count as streams");
        peer.finish(uni(2));
        assert_eq!(peer.session.requests_len(), 0);
        assert!(matches!(
            peer.events.last(),
            Some(Event::PublishDone { .. })
        ));
    }
}

#[test]
fn fills_of_the_peer_are_opened_in_the_name_of_what_asked() {
    for draft in [Draft::D20, Draft::D22] {
        let mut peer = Peer::server(draft);
        let message = Subscribe {
            request_id: RequestId(0),
            track: track("x"),
            parameters: filled(None),
        };
        peer.send(bidi(0), &Message::from(message));
        peer.command(|s| {
            s.accept_subscribe(RequestId(0), Parameters::default(), Properties::default())
        })
        .unwrap();
        let update = RequestUpdate {
            request_id: RequestId(2),
            parameters: filled(Some(GroupOrder::Descending)),
        };
        peer.send(bidi(0), &Message::from(update));
        assert!(matches!(
            peer.events.last(),
            Some(Event::Update {
                update: RequestId(2),
                ..
            })
        ));
        let second = peer.command(|s| s.open_fetch(RequestId(2), 1)).unwrap();
        peer.command(|s| s.send_fetch_object(second, &object(3, 0), false, false))
            .unwrap();
        peer.command(|s| s.send_fetch_object(second, &object(2, 0), false, false))
            .unwrap();
        let first = peer.command(|s| s.open_fetch(RequestId(0), 1)).unwrap();
        peer.command(|s| s.finish_stream(first)).unwrap();
        let again = peer.command(|s| s.open_fetch(RequestId(0), 1));
        assert_eq!(again, Err(CommandError::WrongRequest(RequestId(0))));
        assert_eq!(
            peer.sent_on(first, GroupOrder::Ascending),
            [FetchEvent::Header(RequestId(0))]
        );
        assert_eq!(peer.sent_on(second, GroupOrder::Descending).len(), 3);
        peer.stop(second);
        assert!(matches!(
            peer.events.last(),
            Some(Event::Stopped {
                request: RequestId(0),
                ..
            })
        ));
        assert!(
            peer.session.request(RequestId(0)).is_some(),
            "the subscription goes on"
        );
    }
}

#[test]
fn fills_that_never_come_are_bounded() {
    let limits = Limits {
        fills_max: 2,
        ..Limits::default()
    };
    let mut peer = Peer::ready_with(Draft::D22, Side::Client, limits);
    let id = peer
        .command(|s| s.subscribe(track("x"), filled(None)))
        .unwrap();
    peer.send(own(0), &subscribe_ok(3));
    for _ in 0..2 {
        peer.command(|s| s.update(id, filled(None))).unwrap();
    }
    peer.data(uni(1), stream(Draft::D22, GroupOrder::Ascending, 0, &[]));
    assert!(
        peer.was_stopped(uni(1)).is_some(),
        "the oldest is forgotten"
    );
    peer.data(uni(2), stream(Draft::D22, GroupOrder::Ascending, 4, &[]));
    assert!(peer.was_stopped(uni(2)).is_none());
}
