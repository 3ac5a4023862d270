//! Publishers that announce their namespace and are asked for `broadcast`, regular or not.

use crate::house::{House, Peer, track_name};
use crate::sdk::{DRAFTS, broadcast, metrics};
use crate::upload::{
    CatalogViewer, Cut, Upload, boxes, check_broadcast, groups, media, open, samples_of, segments,
};
use mainstem_core::moqt::error::RequestCode;
use mainstem_core::moqt::message::RequestError;
use mainstem_core::moqt::name::RequestId;
use std::time::Duration;

#[test]
fn regular_broadcast_of_an_announced_namespace_passes_untouched() {
    let file = media("h264_aac_signed.mp4");
    let segments = segments(&file);
    for namespace in ["publish/lv_1", "stream/org_1/lv_1"] {
        let mut house = House::new();
        let peer = house.publisher("moqt-22");
        peer.announce(namespace);
        house.net.settle();
        let sdk = house.good_viewer("moqt-18", &broadcast());
        let (request, asked) = peer.asked().remove(0);
        assert_eq!(
            asked,
            track_name(namespace, "broadcast"),
            "by the name that it announced"
        );
        peer.act(|s| s.accept_subscribe(request, <_>::default(), <_>::default()))
            .unwrap();
        house.net.settle();
        let upload = Upload::of(peer, request, Cut::OneGroup);
        for group in [40, 41] {
            let stream = open(&upload.peer, request, group, 0, 9);
            upload.send(stream, (group, 0, 0), &segments[0], false);
            upload.send(stream, (group, 0, 1), &segments[1], true);
            house.net.settle();
        }
        let seen = groups(&sdk);
        assert_eq!(seen[&40], segments[..2]);
        assert_eq!(seen[&41], segments[..2]);
        assert_eq!(metrics(&house).tracks, 1, "nothing is made of it");
    }
}

#[test]
fn irregular_broadcast_of_an_announced_namespace_is_made_regular() {
    let file = media("h264_aac_signed.mp4");
    let (init, expected) = samples_of(&file);
    let mut house = House::new();
    let peer = house.publisher("moqt-18");
    peer.announce("publish/lv_1");
    house.net.settle();
    let sdk = house.good_viewer("moqt-22", &broadcast());
    let (request, _) = peer.asked().remove(0);
    peer.act(|s| s.accept_subscribe(request, <_>::default(), <_>::default()))
        .unwrap();
    house.net.settle();
    let mut upload = Upload::of(peer, request, Cut::OneGroup);
    let pieces = boxes(&file);
    upload.write(&mut house, &pieces[0]);
    let by_catalog = CatalogViewer::new(&mut house, "moqt-22");
    for piece in &pieces[1..] {
        upload.write(&mut house, piece);
    }
    assert_eq!(check_broadcast(&sdk, &init), expected);
    assert_eq!(by_catalog.samples(), expected);
    assert_eq!(
        upload.peer.asked().len(),
        1,
        "one upstream subscription feeds all"
    );
    // It lasts as long as anybody watches anything that is made of it.
    house.net.cut(sdk.id, sdk.session);
    house.net.advance(Duration::from_secs(5));
    assert_eq!(metrics(&house).upstream_subscriptions, 1);
    by_catalog.0.borrow_mut().app.close("done");
    house.net.settle();
    house.net.advance(Duration::from_secs(5));
    let metrics = metrics(&house);
    assert_eq!((metrics.upstream_subscriptions, metrics.tracks), (0, 0));
}

/// A publisher that announced its namespace and answers what it is asked: `broadcast` only.
fn serve_broadcast(house: &mut House, peer: &Peer) -> Option<RequestId> {
    let mut served = None;
    loop {
        let asked = peer
            .asked()
            .into_iter()
            .filter(|(request, _)| peer.is_pending(*request));
        let asked: Vec<_> = asked.collect();
        if asked.is_empty() {
            return served;
        }
        for (request, name) in asked {
            if name.name.0 == "broadcast" {
                peer.act(|s| s.accept_subscribe(request, <_>::default(), <_>::default()))
                    .unwrap();
                served = Some(request);
            } else {
                let error = RequestError::new(RequestCode::DOES_NOT_EXIST, "no such track");
                peer.act(|s| s.reject(request, error)).unwrap();
            }
        }
        house.net.settle();
    }
}

#[test]
fn catalog_is_made_for_a_publisher_that_only_announced() {
    let file = media("h264_aac_signed.mp4");
    let (init, expected) = samples_of(&file);
    for draft in DRAFTS {
        let mut house = House::new();
        let peer = house.publisher(draft);
        peer.announce("publish/lv_1");
        house.net.settle();
        let by_catalog = CatalogViewer::new(&mut house, draft);
        let request = serve_broadcast(&mut house, &peer).unwrap();
        let mut upload = Upload::of(peer, request, Cut::OneGroup);
        for piece in boxes(&file) {
            upload.write(&mut house, &piece);
        }
        assert_eq!(by_catalog.samples(), expected);
        let sdk = house.good_viewer("moqt-22", &broadcast());
        assert_eq!(check_broadcast(&sdk, &init)[&1], expected[&1][25..]);
        assert_eq!(metrics(&house).upstream_subscriptions, 1);
        // With the last viewer it ends.
        by_catalog.0.borrow_mut().app.close("done");
        house.net.cut(sdk.id, sdk.session);
        house.net.advance(Duration::from_secs(6));
        let metrics = metrics(&house);
        assert_eq!((metrics.upstream_subscriptions, metrics.tracks), (0, 0));
    }
}

#[test]
fn catalog_is_made_beside_a_regular_broadcast_that_passes_untouched() {
    let file = media("h264_aac_signed.mp4");
    let segments = segments(&file);
    let (_, expected) = samples_of(&file);
    for is_early in [false, true] {
        let mut house = House::new();
        let peer = house.publisher("moqt-22");
        peer.announce("publish/lv_1");
        house.net.settle();
        let sdk = is_early.then(|| house.good_viewer("moqt-18", &broadcast()));
        let mut request = serve_broadcast(&mut house, &peer);
        let mut viewers = Vec::new();
        if !is_early {
            viewers.push(CatalogViewer::new(&mut house, "moqt-22"));
            request = serve_broadcast(&mut house, &peer);
        }
        let upload = Upload::of(peer, request.unwrap(), Cut::OneGroup);
        for (group, segment) in [(40, 1), (41, 2)] {
            let stream = open(&upload.peer, upload.request, group, 0, 9);
            upload.send(stream, (group, 0, 0), &segments[0], false);
            upload.send(stream, (group, 0, 1), &segments[segment], true);
            house.net.settle();
        }
        if is_early {
            viewers.push(CatalogViewer::new(&mut house, "moqt-18"));
            serve_broadcast(&mut house, &upload.peer);
        }
        let seen = viewers[0].samples();
        let from = if is_early { 25 } else { 0 };
        assert_eq!(seen[&1], expected[&1][from..], "early {is_early}");
        if let Some(sdk) = sdk {
            assert_eq!(
                groups(&sdk)[&41],
                [segments[0].clone(), segments[2].clone()]
            );
        }
        assert_eq!(metrics(&house).upstream_subscriptions, 1);
    }
}

#[test]
fn catalog_that_cannot_be_made_is_refused() {
    for is_silent in [false, true] {
        let mut house = House::new();
        let peer = house.publisher("moqt-22");
        peer.announce("publish/lv_1");
        house.net.settle();
        let viewer = house.good_viewer("moqt-22", &track_name("playback/lv_1", "catalog"));
        if is_silent {
            serve_broadcast(&mut house, &peer).unwrap();
            house.net.advance(Duration::from_secs(8));
        } else {
            for _ in 0..2 {
                let (request, _) = peer.asked().pop().unwrap();
                let error = RequestError::new(RequestCode::DOES_NOT_EXIST, "no such track");
                peer.act(|s| s.reject(request, error)).unwrap();
                house.net.settle();
            }
        }
        assert!(viewer.refusal().is_some(), "silent {is_silent}");
        let metrics = metrics(&house);
        assert_eq!((metrics.tracks, metrics.downstream_subscriptions), (0, 0));
        assert_eq!(metrics.upstream_subscriptions, 0);
    }
}
