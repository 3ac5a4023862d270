//! An SDK publisher that cuts real files in the ways that SDKs do, and viewers that put what they
//! receive back into samples.

use crate::house::{House, INPUT, Peer, Watcher, session_config, token, track_name};
use crate::net::Node;
use bytes::Bytes;
use mainstem_core::catalog::Catalog;
use mainstem_core::cmaf::{self, Init, Reader};
use mainstem_core::moqt::error::PublishDoneCode;
use mainstem_core::moqt::name::{RequestId, TrackAlias};
use mainstem_core::moqt::object::{Object, SubgroupHeader, SubgroupId};
use mainstem_core::moqt::subscriber;
use mainstem_core::transport::StreamId;
use mainstem_core::viewer::{self, Selection, Viewer};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) fn media(name: &str) -> Bytes {
    let path = format!("{}/tests/media/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap().into()
}

/// A file's boxes of the first level, one by one.
pub(crate) fn boxes(file: &Bytes) -> Vec<Bytes> {
    let (mut rest, mut boxes) = (file.clone(), Vec::new());
    while !rest.is_empty() {
        let size = u32::from_be_bytes(rest[..4].try_into().unwrap());
        boxes.push(rest.split_to(usize::try_from(size).unwrap()));
    }
    boxes
}

pub(crate) fn kind_of(piece: &Bytes) -> &[u8] {
    &piece[4..8]
}

/// A file as chunks: `ftyp moov`, then everything of each `moof mdat`.
pub(crate) fn segments(file: &Bytes) -> Vec<Bytes> {
    let mut segments: Vec<Vec<u8>> = vec![Vec::new()];
    let mut is_whole = false;
    for piece in boxes(file) {
        if is_whole {
            segments.push(Vec::new());
        }
        segments.last_mut().unwrap().extend_from_slice(&piece);
        is_whole = matches!(kind_of(&piece), b"moov" | b"mdat");
    }
    segments.into_iter().map(Bytes::from).collect()
}

/// How a publisher cuts what it writes into groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    OneGroup,
    GroupPerWrite,
    /// As SDKs describe it: the first write is of priority 0, the later ones of priority 1.
    ByPriority,
}

pub(crate) const CUTS: [Cut; 3] = [Cut::OneGroup, Cut::GroupPerWrite, Cut::ByPriority];

/// An SDK publisher of `publish/lv_1` `broadcast`.
pub(crate) struct Upload {
    pub(crate) peer: Peer,
    pub(crate) request: RequestId,
    pub(crate) cut: Cut,
    pub(crate) writes: u64,
    pub(crate) stream: Option<StreamId>,
}

impl Upload {
    pub(crate) fn new(house: &mut House, draft: &str, cut: Cut) -> Self {
        let peer = house.publisher(draft);
        let request = peer.publish(&track_name("publish/lv_1", "broadcast"));
        house.net.settle();
        assert!(peer.is_accepted(request));
        Self::of(peer, request, cut)
    }

    pub(crate) fn of(peer: Peer, request: RequestId, cut: Cut) -> Self {
        Self {
            peer,
            request,
            cut,
            writes: 0,
            stream: None,
        }
    }

    pub(crate) fn write(&mut self, house: &mut House, bytes: &Bytes) {
        self.write_only(bytes);
        house.net.settle();
    }

    pub(crate) fn write_only(&mut self, bytes: &Bytes) {
        let write = self.writes;
        self.writes += 1;
        let (place, is_new, fin) = match self.cut {
            Cut::OneGroup => ((0, 0, write), write == 0, false),
            Cut::GroupPerWrite => ((write, 0, 0), true, true),
            Cut::ByPriority => ((0, write.min(1), write), write < 2, write == 0),
        };
        if is_new {
            let priority = u8::try_from(place.1).unwrap();
            self.stream = Some(open(&self.peer, self.request, place.0, place.1, priority));
        }
        self.send(self.stream.unwrap(), place, bytes, fin);
    }

    pub(crate) fn send(&self, stream: StreamId, place: (u64, u64, u64), bytes: &Bytes, fin: bool) {
        let object = Object {
            group: place.0,
            subgroup: Some(place.1),
            object: place.2,
            payload: bytes.clone().into(),
            ..Object::default()
        };
        self.peer
            .act(|session| session.send_object(stream, &object, fin, false))
            .unwrap();
    }

    pub(crate) fn end(&self, house: &mut House) {
        self.peer
            .act(|session| {
                if self.cut != Cut::GroupPerWrite {
                    session.finish_stream(self.stream.unwrap()).unwrap();
                }
                session.publish_done(self.request, PublishDoneCode::TRACK_ENDED, "finished")
            })
            .unwrap();
        house.net.settle();
    }
}

pub(crate) fn open(
    peer: &Peer,
    request: RequestId,
    group: u64,
    subgroup: u64,
    priority: u8,
) -> StreamId {
    let header = SubgroupHeader {
        track_alias: TrackAlias(0),
        group,
        subgroup: match subgroup {
            0 => SubgroupId::Zero,
            other => SubgroupId::Explicit(other),
        },
        priority: Some(priority),
        has_properties: false,
        end_of_group: false,
        first_object: true,
    };
    peer.act(|session| session.open_subgroup(request, header, 0))
        .unwrap()
}

/// Samples of each track: decode time and bytes.
pub(crate) type Samples = BTreeMap<u32, Vec<(u64, Bytes)>>;

pub(crate) fn take_samples(
    reader: &mut Reader,
    bytes: Bytes,
    samples: &mut Samples,
) -> Option<Arc<Init>> {
    reader.push(bytes).unwrap();
    let mut found = None;
    while let Some(event) = reader.poll().unwrap() {
        match event {
            cmaf::Event::Init(init) => found = Some(init),
            cmaf::Event::Fragment(fragment) => {
                for track in &fragment.tracks {
                    let mut time = track.base_decode_time;
                    for sample in &track.samples {
                        let bytes = fragment.sample_payload(sample).to_bytes();
                        samples
                            .entry(track.track_id)
                            .or_default()
                            .push((time, bytes));
                        time += u64::from(sample.duration);
                    }
                }
            }
        }
    }
    found
}

pub(crate) fn samples_of(file: &Bytes) -> (Arc<Init>, Samples) {
    let mut samples = Samples::new();
    let mut reader = Reader::new(cmaf::Limits::default());
    let init = take_samples(&mut reader, file.clone(), &mut samples);
    (init.unwrap(), samples)
}

/// What an SDK viewer has received, by group.
pub(crate) fn groups(watcher: &Watcher) -> BTreeMap<u64, Vec<Bytes>> {
    let mut groups: BTreeMap<u64, Vec<Bytes>> = BTreeMap::new();
    for event in &watcher.node.borrow().events {
        if let subscriber::Event::Object { object, .. } = event {
            let group = groups.entry(object.group).or_default();
            assert_eq!(
                object.object,
                group.len() as u64,
                "objects are numbered from 0"
            );
            group.push(object.payload.to_bytes());
        }
    }
    groups
}

/// Checks that every group is a file of its own, and gathers the samples of all.
pub(crate) fn check_broadcast(watcher: &Watcher, init: &Init) -> Samples {
    let mut samples = Samples::new();
    for (group, objects) in groups(watcher) {
        assert_eq!(
            objects[0], init.raw,
            "group {group} begins with the init segment"
        );
        let mut reader = Reader::new(cmaf::Limits::default());
        for (index, object) in objects.into_iter().enumerate() {
            take_samples(&mut reader, object, &mut samples);
            assert!(
                reader.is_at_boundary(),
                "object {index} of group {group} is whole"
            );
        }
    }
    samples
}

/// A viewer by catalog.
pub(crate) struct CatalogViewer(pub(crate) Rc<RefCell<Node<Viewer>>>);

impl CatalogViewer {
    pub(crate) fn new(house: &mut House, draft: &str) -> Self {
        let namespace = track_name("playback/lv_1", "x").namespace;
        let viewer = Viewer::new(session_config(), namespace, Selection::All);
        let (id, node) = house.net.add(viewer);
        let path = format!("/playback/{INPUT}?tok={}", token("k1", INPUT, 3600));
        house.net.connect(id, house.relay_id, draft, &path);
        Self(node)
    }

    pub(crate) fn catalogs(&self) -> Vec<Catalog> {
        let node = self.0.borrow();
        let catalogs = node.events.iter().filter_map(|event| match event {
            viewer::Event::Catalog(catalog) => Some(catalog.clone()),
            _ => None,
        });
        catalogs.collect()
    }

    /// The samples of all tracks by the ids of the upload, read by the catalog's init segments.
    pub(crate) fn samples(&self) -> Samples {
        let limits = cmaf::Limits::default();
        let mut readers: BTreeMap<String, Reader> = BTreeMap::new();
        let mut samples = Samples::new();
        for event in &self.0.borrow().events {
            match event {
                viewer::Event::Catalog(catalog) => {
                    for track in &catalog.tracks {
                        let init = Init::parse(track.init.clone().unwrap(), &limits).unwrap();
                        assert_eq!(init.tracks.len(), 1);
                        let reader = Reader::with_init(Arc::new(init), limits);
                        readers.insert(track.name.clone(), reader);
                    }
                }
                viewer::Event::Chunk(chunk) => {
                    let reader = readers.get_mut(&chunk.track).unwrap();
                    take_samples(reader, chunk.payload.to_bytes(), &mut samples);
                }
                _ => {}
            }
        }
        samples
    }

    pub(crate) fn has(&self, wanted: impl Fn(&viewer::Event) -> bool) -> bool {
        self.0.borrow().events.iter().any(wanted)
    }
}
