//! What this end does not send, whatever its owner asks for.

use super::rules::{asked, history, update};
use super::*;
use mainstem_core::moqt::message::RequestOk;

#[test]
fn filters_are_not_sent_to_who_allows_none() {
    use mainstem_core::moqt::filter::{RangeFilter, RangeSet, RangeSubject};
    covers!("MOQT19-10.3.1.6-1");
    for draft in [Draft::D20, Draft::D22] {
        let mut peer = Peer::client(draft);
        let set = RangeSet {
            set: 0,
            property: None,
            ranges: vec![(1, None)],
        };
        let filter = RangeFilter::new(RangeSubject::Object, &set).unwrap();
        let parameters = Parameters {
            range_filters: vec![filter],
            ..Parameters::default()
        };
        let asked = peer.command(|s| s.subscribe(track("x"), parameters));
        assert!(asked.is_err(), "{draft}");
        assert_eq!(history(&peer, own(0)), Vec::<String>::new());
    }
}

#[test]
fn a_client_sends_nobody_elsewhere() {
    covers!("MOQT19-10.4-1");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::client(draft);
        let now = peer.now;
        let _ = peer.command(|s| s.goaway(now, "moqt://elsewhere.test", Duration::from_secs(1)));
        let control = StreamId::new(Origin::Local, Direction::Unidirectional, 0);
        for message in peer.written(control, StreamRole::Control) {
            if let Message::Goaway(goaway) = message {
                assert_eq!(goaway.new_session_uri, "");
            }
        }
    }
}

#[test]
fn a_refused_update_resets_its_fetch() {
    covers!("MOQT19-10.9.1-2");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        peer.send(bidi(0), &super::updates::fetch(0));
        let stream = peer.command(|s| s.open_fetch(RequestId(0), 1)).unwrap();
        peer.send(bidi(0), &update(2));
        let error = RequestError::new(RequestCode::NOT_SUPPORTED, "no");
        peer.command(|s| s.reject_update(RequestId(0), error))
            .unwrap();
        assert!(peer.was_reset(stream), "{draft}");
    }
}

#[test]
fn a_subscribe_that_crosses_our_offer_is_refused_in_18() {
    covers!("MOQT18-5.1-2");
    let mut peer = Peer::server(Draft::D18);
    peer.command(|s| s.publish(track("x"), Parameters::default(), Properties::default()))
        .unwrap();
    peer.send(bidi(0), &subscribe(0, "x"));
    assert_eq!(
        peer.refused(bidi(0)),
        Some(RequestCode::DUPLICATE_SUBSCRIPTION)
    );
}

#[test]
fn a_namespace_is_not_redirected_to_a_track() {
    covers!("MOQT19-10.6.1-3");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        peer.send(bidi(0), &asked("announce", 0));
        let mut error = RequestError::new(RequestCode::REDIRECT, "there");
        error.redirect = Some(mainstem_core::moqt::message::Redirect {
            connect_uri: String::new(),
            namespace: namespace("c"),
            name: "x".into(),
        });
        let _ = peer.command(|s| s.reject(RequestId(0), error));
        for message in peer.written(bidi(0), StreamRole::Request) {
            if let Message::RequestError(error) = message {
                assert!(error.redirect.is_none_or(|r| r.name.0.is_empty()));
            }
        }
    }
}

#[test]
fn a_fetch_that_ends_before_it_begins_is_not_sent() {
    use mainstem_core::moqt::filter::Filter;
    use mainstem_core::moqt::message::{Fetch, FetchTarget};
    covers!("MOQT19-10.12.3-2");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::client(draft);
        let at = mainstem_core::moqt::Location::new;
        for (end_group, end_object) in [(4, None), (5, Some(1))] {
            let ask = Fetch {
                request_id: RequestId(0),
                target: FetchTarget::Track(track("x")),
                parameters: Parameters {
                    filter: Some(Filter::AbsoluteRange {
                        start: at(5, 2),
                        end_group,
                        end_object,
                    }),
                    ..Parameters::default()
                },
            };
            assert!(peer.command(|s| s.fetch(ask)).is_err(), "{draft}");
        }
    }
}

#[test]
fn a_new_group_is_not_asked_of_a_track_that_begins_none_on_demand() {
    use mainstem_core::moqt::property::PropertiesBuilder;
    covers!("MOQT19-10.2.18-1");
    let wanted = || Parameters {
        new_group_request: Some(5),
        ..Parameters::default()
    };
    for draft in Draft::CANONICAL {
        for is_dynamic in [false, true] {
            let properties = PropertiesBuilder::new().dynamic_groups(is_dynamic).build();
            let mut peer = Peer::client(draft);
            let none = Parameters::default();
            let request = peer.command(|s| s.subscribe(track("x"), none)).unwrap();
            let answer = Message::from(SubscribeOk {
                track_alias: TrackAlias(1),
                parameters: Parameters::default(),
                properties: properties.clone(),
            });
            peer.send(own(0), &answer);
            let asked = peer.command(|s| s.update(request, wanted()));
            assert_eq!(asked.is_ok(), is_dynamic, "{draft}");
            let sent = history(&peer, own(0)).len();
            assert_eq!(sent, 1 + usize::from(is_dynamic), "{draft}");

            let mut peer = Peer::server(draft);
            let offer = Message::from(Publish {
                request_id: RequestId(0),
                track: track("x"),
                track_alias: TrackAlias(1),
                parameters: Parameters::default(),
                properties,
            });
            peer.send(bidi(0), &offer);
            peer.command(|s| s.accept(RequestId(0), <_>::default()))
                .unwrap();
            let asked = peer.command(|s| s.update(RequestId(0), wanted()));
            assert_eq!(asked.is_ok(), is_dynamic, "{draft}");
        }
    }
}

#[test]
fn an_update_does_not_move_a_prefix_over_another_of_its_kind() {
    covers!("MOQT19-10.9.2-1");
    let moved = |prefix: &str| Parameters {
        namespace_prefix: Some(namespace(prefix)),
        ..Parameters::default()
    };
    for draft in Draft::CANONICAL {
        let mut peer = Peer::client(draft);
        for (index, prefix) in ["a", "b"].into_iter().enumerate() {
            for is_of_tracks in [true, false] {
                let none = Parameters::default();
                let prefix = namespace(prefix);
                peer.command(|s| {
                    if is_of_tracks {
                        s.subscribe_tracks(prefix, none)
                    } else {
                        s.subscribe_namespace(prefix, none)
                    }
                })
                .unwrap();
                let stream = own(2 * index as u64 + u64::from(!is_of_tracks));
                peer.send(stream, &Message::from(<RequestOk as Default>::default()));
            }
        }
        let ids: Vec<RequestId> = (0..4).map(|index| RequestId(2 * index)).collect();
        for id in &ids[..2] {
            for overlapping in ["b", "b/c"] {
                let asked = peer.command(|s| s.update(*id, moved(overlapping)));
                assert!(asked.is_err(), "{draft} {id:?}");
            }
        }
        assert_eq!(history(&peer, own(0)).len(), 1, "{draft}");
        // Its own, a new one, and one of the other kind alone are no overlap.
        peer.command(|s| s.update(ids[0], moved("a/c"))).unwrap();
        peer.command(|s| s.update(ids[0], moved("d"))).unwrap();
        peer.command(|s| s.update(ids[3], moved("d"))).unwrap();
        assert_eq!(peer.code(), None);
    }
}

#[test]
fn a_subscribe_that_an_accepted_publish_crosses_is_ended_first_in_18() {
    covers!("MOQT18-5.1-3");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        let none = Parameters::default();
        let ours = peer.command(|s| s.subscribe(track("x"), none)).unwrap();
        peer.send(bidi(0), &publish(0, "x", 1));
        assert!(!peer.was_reset(own(0)));
        peer.command(|s| s.accept(RequestId(0), <_>::default()))
            .unwrap();
        let is_single = draft == Draft::D18;
        assert_eq!(peer.was_reset(own(0)), is_single, "{draft}");
        let cancelled = if is_single { vec![ours] } else { vec![] };
        assert_eq!(peer.cancelled(), cancelled);
        if is_single {
            let at = |found: &dyn Fn(&Output) -> bool| peer.outputs.iter().position(found);
            let ended = at(&|it| matches!(it, Output::Reset { stream, .. } if *stream == own(0)));
            let agreed = at(&|it| matches!(it, Output::Write { stream, .. } if *stream == bidi(0)));
            assert!(ended < agreed, "before PUBLISH_OK");
        }
    }
}
