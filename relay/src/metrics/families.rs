//! All metrics: name, kind, words, labels, and where the samples come from.

mod host;

use super::{Family, Figures, Sample};
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode, SessionCode, StreamCode};
use mainstem_core::moqt::message::{MessageKind, RequestKind};
use mainstem_core::moqt::relay::Metrics;
use mainstem_core::moqt::session::tally::{Ended, OTHER, Outcome};
use mainstem_core::moqt::track::delays::BOUNDS_MS;
use mainstem_core::transport::Origin;

/// In the order of the page.
pub(super) fn all() -> impl Iterator<Item = &'static Family> {
    SESSIONS
        .iter()
        .chain(&MOVES)
        .chain(&TRACKS)
        .chain(&MESH)
        .chain(&PAST)
        .chain(&OBJECTS)
        .chain(&host::QUIC)
        .chain(&host::PROCESS)
}

const fn family(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    samples: fn(&Figures) -> Vec<Sample>,
) -> Family {
    Family {
        name,
        kind,
        help,
        labels,
        samples,
    }
}

static SESSIONS: [Family; 11] = [
    family(
        "mainstem_relay_sessions",
        "gauge",
        "MoQT sessions open",
        &["draft", "carrier"],
        |f| {
            let open = f.tally.open.iter();
            open.map(|((draft, wt), count)| labelled(session_labels(*draft, *wt), *count))
                .collect()
        },
    ),
    family(
        "mainstem_relay_sessions_opened_total",
        "counter",
        "MoQT sessions opened",
        &["draft", "carrier"],
        |f| {
            let opened = f.tally.opened.iter();
            opened
                .map(|((draft, wt), count)| labelled(session_labels(*draft, *wt), *count))
                .collect()
        },
    ),
    family(
        "mainstem_relay_sessions_closed_total",
        "counter",
        "MoQT sessions ended, by who ended them and the session's code",
        &["by", "code"],
        |f| {
            let ended = f.tally.ended.iter();
            ended
                .map(|(ended, count)| {
                    let (by, code) = match ended {
                        Ended::Closed(by, code) => {
                            (origin(*by), named(*code, SessionCode(*code).name()))
                        }
                        Ended::Lost => ("transport", "none".to_owned()),
                    };
                    labelled(vec![("by", by.to_owned()), ("code", code)], *count)
                })
                .collect()
        },
    ),
    family(
        "mainstem_relay_sessions_denied_total",
        "counter",
        "Sessions ended for want of permission",
        &[],
        |f| one(f.relay.sessions_denied),
    ),
    family(
        "mainstem_relay_requests_total",
        "counter",
        "Requests by who asked, kind and what became of them: asked, granted, or the code of the refusal",
        &["by", "kind", "outcome"],
        |f| {
            let requests = f.tally.requests.iter();
            requests
                .map(|((by, kind, outcome), count)| {
                    let outcome = match outcome {
                        Outcome::Asked => "asked".to_owned(),
                        Outcome::Granted => "granted".to_owned(),
                        Outcome::Refused(code) => named(*code, RequestCode(*code).name()),
                    };
                    let labels = vec![
                        ("by", origin(*by).to_owned()),
                        ("kind", request_kind(*kind).to_owned()),
                        ("outcome", outcome),
                    ];
                    labelled(labels, *count)
                })
                .collect()
        },
    ),
    family(
        "mainstem_relay_control_messages_total",
        "counter",
        "Control messages by who sent them and kind",
        &["by", "kind"],
        |f| {
            let messages = f.tally.messages.iter();
            messages
                .map(|((by, kind), count)| {
                    let kind = kind.name().to_lowercase();
                    labelled(vec![("by", origin(*by).to_owned()), ("kind", kind)], *count)
                })
                .collect()
        },
    ),
    family(
        "mainstem_relay_publish_done_total",
        "counter",
        "Subscriptions ended by PUBLISH_DONE, by who sent it and its code",
        &["by", "code"],
        |f| by_code(&f.tally.publish_done, |code| PublishDoneCode(code).name()),
    ),
    family(
        "mainstem_relay_stream_resets_total",
        "counter",
        "Streams reset, by who reset them and the stream's code",
        &["by", "code"],
        |f| by_code(&f.tally.resets, |code| StreamCode(code).name()),
    ),
    family(
        "mainstem_relay_stream_stops_total",
        "counter",
        "Streams that their receiver stopped, by who stopped them and the stream's code",
        &["by", "code"],
        |f| by_code(&f.tally.stops, |code| StreamCode(code).name()),
    ),
    family(
        "mainstem_relay_stream_bytes_total",
        "counter",
        "Bytes of all streams, framing and control messages included",
        &["direction"],
        |f| {
            let (bytes_in, bytes_out) = (f.tally.stream_bytes_in, f.tally.stream_bytes_out);
            split("direction", [("in", bytes_in), ("out", bytes_out)])
        },
    ),
    family(
        "mainstem_relay_datagrams_total",
        "counter",
        "MoQT datagrams",
        &["direction"],
        |f| {
            let (datagrams_in, datagrams_out) = (f.tally.datagrams_in, f.tally.datagrams_out);
            split("direction", [("in", datagrams_in), ("out", datagrams_out)])
        },
    ),
];

static MOVES: [Family; 3] = [
    family(
        "mainstem_relay_denials_total",
        "counter",
        "Refusals for want of permission, by what was refused (session, request, update) and why",
        &["of", "cause"],
        |f| {
            let denials = f.denials.iter();
            denials
                .map(|((of, cause), count)| {
                    let labels = vec![("of", (*of).to_owned()), ("cause", (*cause).to_owned())];
                    labelled(labels, *count)
                })
                .collect()
        },
    ),
    family(
        "mainstem_relay_goaways_total",
        "counter",
        "GOAWAY messages by who sent them, those for one request included",
        &["by"],
        |f| {
            let sent = |by| {
                let goaways = f.tally.messages.get(&(by, MessageKind::Goaway));
                goaways.copied().unwrap_or(0)
            };
            let (us, peer) = (sent(Origin::Local), sent(Origin::Peer));
            split("by", [("us", us), ("peer", peer)])
        },
    ),
    family(
        "mainstem_relay_sessions_moved_total",
        "counter",
        "Sessions that an end closed because the other one's GOAWAY asked it to leave",
        &["by"],
        |f| {
            let moved = |by| f.tally.moved.get(&by).copied().unwrap_or(0);
            let (us, peer) = (moved(Origin::Local), moved(Origin::Peer));
            split("by", [("us", us), ("peer", peer)])
        },
    ),
];

static PAST: [Family; 5] = [
    family(
        "mainstem_relay_fetches",
        "gauge",
        "Fetches and fills that are being answered",
        &[],
        |f| one(f.relay.fetches as u64),
    ),
    family(
        "mainstem_relay_fetches_total",
        "counter",
        "Fetches and fills that were accepted and are over, by what the cache had of them: all (hit), some (partial), not the first place (miss)",
        &["cache"],
        |f| {
            let Metrics {
                fetches_hit,
                fetches_partial,
                fetches_missed,
                ..
            } = f.relay;
            split(
                "cache",
                [
                    ("hit", fetches_hit),
                    ("partial", fetches_partial),
                    ("miss", fetches_missed),
                ],
            )
        },
    ),
    family(
        "mainstem_relay_fetches_upstream_total",
        "counter",
        "Fetches sent to publishers",
        &[],
        |f| one(f.relay.fetches_upstream),
    ),
    family(
        "mainstem_relay_past_objects_sent_total",
        "counter",
        "Objects of the past handed to viewers' streams, counted among all objects sent as well",
        &[],
        |f| one(f.relay.objects_past),
    ),
    family(
        "mainstem_relay_past_sent_bytes_total",
        "counter",
        "Payload bytes of those",
        &[],
        |f| one(f.relay.bytes_past),
    ),
];

static TRACKS: [Family; 9] = [
    family(
        "mainstem_relay_uploads_malformed_total",
        "counter",
        "Publishers' requests that were ended because of what they sent",
        &[],
        |f| one(f.relay.requests_malformed),
    ),
    family("mainstem_relay_tracks", "gauge", "Tracks known", &[], |f| {
        one(f.relay.tracks as u64)
    }),
    family(
        "mainstem_relay_namespaces",
        "gauge",
        "Namespaces announced",
        &[],
        |f| one(f.relay.namespaces as u64),
    ),
    family(
        "mainstem_relay_upstream_subscriptions",
        "gauge",
        "Subscriptions to publishers, one per track",
        &[],
        |f| one(f.relay.upstream_subscriptions as u64),
    ),
    family(
        "mainstem_relay_downstream_subscriptions",
        "gauge",
        "Subscriptions of viewers",
        &[],
        |f| one(f.relay.downstream_subscriptions as u64),
    ),
    family(
        "mainstem_relay_cache_bytes",
        "gauge",
        "Bytes of retained groups",
        &[],
        |f| one(f.relay.cache_bytes as u64),
    ),
    family(
        "mainstem_relay_cache_groups_evictable",
        "gauge",
        "Retained groups that may be evicted: all but the newest of each track",
        &[],
        |f| one(f.relay.groups_evictable as u64),
    ),
    family(
        "mainstem_relay_cache_groups_evicted_total",
        "counter",
        "Groups that left the cache",
        &[],
        |f| one(f.relay.groups_evicted),
    ),
    family(
        "mainstem_relay_objects_over_limit_total",
        "counter",
        "Objects that passed a bound of the cache: neither kept nor forwarded",
        &[],
        |f| one(f.relay.objects_over_limit),
    ),
];

static MESH: [Family; 7] = [
    family(
        "mainstem_relay_mesh_links",
        "gauge",
        "Sessions with other relays, by what they are",
        &["kind"],
        |f| {
            let mesh = &f.relay.mesh;
            [("member", mesh.members), ("plain", mesh.plain)]
                .map(|(kind, count)| labelled(vec![("kind", kind.to_owned())], count as u64))
                .into()
        },
    ),
    family(
        "mainstem_relay_mesh_upstreams",
        "gauge",
        "Upstreams that there shall be, connected or not",
        &[],
        |f| one(f.relay.mesh.upstreams as u64),
    ),
    family(
        "mainstem_relay_mesh_routes",
        "gauge",
        "Namespaces that members of the mesh announce here",
        &[],
        |f| one(f.relay.mesh.routes as u64),
    ),
    family(
        "mainstem_relay_mesh_announcements",
        "gauge",
        "Namespaces announced to other relays, once for each",
        &[],
        |f| one(f.relay.mesh.announcements as u64),
    ),
    family(
        "mainstem_relay_mesh_announcements_waiting",
        "gauge",
        "Announcements to other relays that wait for room",
        &[],
        |f| one(f.relay.mesh.announcements_waiting as u64),
    ),
    family(
        "mainstem_relay_mesh_announcements_refused_total",
        "counter",
        "Announcements that other relays refused",
        &[],
        |f| one(f.relay.mesh.announcements_refused),
    ),
    family(
        "mainstem_relay_mesh_routes_refused_total",
        "counter",
        "Announcements of members that were refused here",
        &[],
        |f| one(f.relay.mesh.routes_refused),
    ),
];

static OBJECTS: [Family; 6] = [
    family(
        "mainstem_relay_objects_received_total",
        "counter",
        "Objects from publishers, duplicates left out",
        &[],
        |f| one(f.relay.objects_received),
    ),
    family(
        "mainstem_relay_received_bytes_total",
        "counter",
        "Payload bytes from publishers",
        &[],
        |f| one(f.relay.bytes_received),
    ),
    family(
        "mainstem_relay_objects_sent_total",
        "counter",
        "Objects handed to viewers' streams",
        &[],
        |f| one(f.relay.objects_sent),
    ),
    family(
        "mainstem_relay_sent_bytes_total",
        "counter",
        "Payload bytes handed to viewers' streams",
        &[],
        |f| one(f.relay.bytes_sent),
    ),
    family(
        "mainstem_relay_groups_dropped_total",
        "counter",
        "Groups or subgroups that viewers lost, once for each: too far behind (late), gone from the cache (evicted), past a delivery time-out (expired), stopped by the viewer, of a malformed track, or past a bound of the cache (over_limit)",
        &["cause"],
        |f| {
            let relay = &f.relay;
            split(
                "cause",
                [
                    ("late", relay.groups_dropped),
                    ("evicted", relay.groups_cut),
                    ("expired", relay.groups_expired),
                    ("stopped", relay.groups_stopped),
                    ("malformed", relay.groups_malformed),
                    ("over_limit", relay.groups_over_limit),
                ],
            )
        },
    ),
    family(
        "mainstem_relay_forward_delay_seconds",
        "histogram",
        "From an object's arrival to the moment that the transport of a viewer took it",
        &[],
        |f| {
            let delays = &f.relay.delays;
            let bounds = BOUNDS_MS.iter().map(|ms| seconds(*ms)).collect::<Vec<_>>();
            let mut samples = buckets("_bucket", &bounds, &delays.counts);
            #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
            let sum = delays.sum_us as f64 / 1e6;
            samples.push(Sample {
                suffix: "_sum",
                labels: Vec::new(),
                value: sum,
            });
            samples.push(Sample {
                suffix: "_count",
                ..plain(delays.total())
            });
            samples
        },
    ),
];

#[expect(
    clippy::cast_precision_loss,
    reason = "the text format knows floating point only"
)]
fn plain(count: u64) -> Sample {
    Sample {
        suffix: "",
        labels: Vec::new(),
        value: count as f64,
    }
}

fn one(count: u64) -> Vec<Sample> {
    vec![plain(count)]
}

fn known(value: Option<f64>) -> Vec<Sample> {
    let sample = value.map(|value| Sample { value, ..plain(0) });
    sample.into_iter().collect()
}

fn labelled(labels: Vec<(&'static str, String)>, count: u64) -> Sample {
    Sample {
        labels,
        ..plain(count)
    }
}

fn split<const N: usize>(label: &'static str, counts: [(&str, u64); N]) -> Vec<Sample> {
    let samples = counts.into_iter();
    samples
        .map(|(value, count)| labelled(vec![(label, value.to_owned())], count))
        .collect()
}

fn by_code<'a>(
    counts: impl IntoIterator<Item = (&'a (Origin, u64), &'a u64)>,
    name: fn(u64) -> Option<&'static str>,
) -> Vec<Sample> {
    let samples = counts.into_iter();
    samples
        .map(|((by, code), count)| {
            let code = named(*code, name(*code));
            labelled(vec![("by", origin(*by).to_owned()), ("code", code)], *count)
        })
        .collect()
}

/// Cumulative buckets, as Prometheus has them.
fn buckets(suffix: &'static str, bounds: &[f64], counts: &[u64]) -> Vec<Sample> {
    let mut total = 0;
    let bounds = bounds.iter().map(f64::to_string);
    bounds
        .chain(["+Inf".to_owned()])
        .zip(counts)
        .map(|(bound, count)| {
            total += count;
            Sample {
                suffix,
                ..labelled(vec![("le", bound)], total)
            }
        })
        .collect()
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

fn session_labels(
    draft: mainstem_core::moqt::draft::Draft,
    is_web_transport: bool,
) -> Vec<(&'static str, String)> {
    let carrier = if is_web_transport {
        "webtransport"
    } else {
        "quic"
    };
    vec![
        ("draft", draft.number().to_string()),
        ("carrier", carrier.to_owned()),
    ]
}

fn origin(by: Origin) -> &'static str {
    match by {
        Origin::Local => "us",
        Origin::Peer => "peer",
    }
}

fn named(code: u64, name: Option<&'static str>) -> String {
    match name {
        Some(name) => name.to_owned(),
        None if code == OTHER => "other".to_owned(),
        None => format!("{code:#x}"),
    }
}

fn request_kind(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Subscribe => "subscribe",
        RequestKind::Publish => "publish",
        RequestKind::Fetch => "fetch",
        RequestKind::TrackStatus => "track_status",
        RequestKind::PublishNamespace => "publish_namespace",
        RequestKind::SubscribeNamespace => "subscribe_namespace",
        RequestKind::SubscribeTracks => "subscribe_tracks",
        RequestKind::Update => "request_update",
    }
}
