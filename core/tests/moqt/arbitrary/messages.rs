//! Strategies for messages: one for each kind, and one for any of them.

use super::*;

/// Characters that a URI may have.
fn uri_text() -> impl Strategy<Value = String> {
    (uri_part(b"aZ09-._~:@!$&'()*+,;="), any::<bool>()).prop_map(|(text, encoded)| {
        let more = if encoded { "%2F" } else { "" };
        format!("{text}{more}")
    })
}

fn uri_part(characters: &'static [u8]) -> impl Strategy<Value = String> {
    vec(prop::sample::select(characters), 1..40).prop_map(|text| String::from_utf8(text).unwrap())
}

fn authority() -> impl Strategy<Value = String> {
    let port = of(any::<u16>());
    (uri_part(b"aZ09-._~!$&'()*+,;="), port).prop_map(|(host, port)| match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn setup(draft: Draft) -> impl Strategy<Value = Setup> {
    let since_19 = draft != Draft::D18;
    (
        of((uri_text(), of(uri_text()))),
        of(authority()),
        vec(token(), 0..3),
        (of(integer()), of(integer()), of(integer())),
        of(text(20)),
        vec(setup_option(), 0..3),
    )
        .prop_map(
            move |(path, authority, tokens, limits, implementation, options)| {
                let mut options = options;
                options.sort_by_key(SetupOption::key);
                let path = path.map(|(path, query)| match query {
                    Some(query) => format!("/{path}?{query}"),
                    None => format!("/{path}"),
                });
                Setup {
                    path,
                    authority,
                    authorization_tokens: tokens,
                    max_auth_token_cache_size: limits.0,
                    max_filter_ranges: limits.1.filter(|_| since_19),
                    max_request_updates: limits.2.filter(|_| since_19),
                    implementation,
                    options,
                }
            },
        )
}

/// An option that no draft defines.
fn setup_option() -> impl Strategy<Value = SetupOption> {
    (9_u64..1 << 40, integer(), bytes(20)).prop_map(|(key, integer, value)| {
        if key.is_multiple_of(2) {
            SetupOption::Integer {
                key,
                value: integer,
            }
        } else {
            SetupOption::Bytes { key, value }
        }
    })
}

fn goaway(draft: Draft, role: StreamRole) -> impl Strategy<Value = Goaway> {
    let has_id = draft == Draft::D18 && role == StreamRole::Control;
    (text(40), integer(), request_id()).prop_map(move |(uri, timeout_ms, id)| Goaway {
        new_session_uri: uri,
        timeout_ms,
        request_id: has_id.then_some(id),
    })
}

fn request_error() -> impl Strategy<Value = RequestError> {
    let redirect = (text(30), track()).prop_map(|(connect_uri, track)| Redirect {
        connect_uri,
        namespace: track.namespace,
        name: track.name,
    });
    (integer(), of(0..u64::MAX), text(60), of(redirect)).prop_map(
        |(code, retry_after_ms, reason, redirect)| {
            let code = match (code, &redirect) {
                (_, Some(_)) => RequestCode::REDIRECT,
                (0x34, None) => RequestCode::INTERNAL_ERROR,
                (code, None) => RequestCode(code),
            };
            RequestError {
                code,
                retry_after_ms,
                reason,
                redirect,
            }
        },
    )
}

fn fetch(draft: Draft) -> BoxedStrategy<Fetch> {
    let inline = (request_id(), track(), parameters(draft, MessageKind::Fetch)).prop_map(
        |(request_id, track, parameters)| Fetch {
            request_id,
            target: FetchTarget::Track(track),
            parameters,
        },
    );
    if draft.profile().fetch_form == FetchForm::Inline {
        return inline.boxed();
    }
    let range = (location(), 0..1000_u64, of(0..1000_u64));
    let range = range.prop_map(|(start, groups, objects)| {
        let start = Location::new(start.group >> 8, start.object >> 8);
        Filter::AbsoluteRange {
            start,
            end_group: start.group + groups,
            end_object: objects.map(|objects| start.object + objects),
        }
    });
    let open = location().prop_map(|start| {
        let start = Location::new(start.group >> 3, start.object);
        Filter::Absolute { start }.canonical()
    });
    let standalone =
        (inline, prop_oneof![range, open, Just(Filter::None)]).prop_map(|(mut fetch, filter)| {
            fetch.parameters.filter = Some(filter);
            fetch
        });
    let parameters = parameters(draft, MessageKind::Fetch);
    let joining = (
        request_id(),
        request_id(),
        integer(),
        any::<bool>(),
        parameters,
    )
        .prop_map(|(request_id, joining, group, relative, parameters)| Fetch {
            request_id,
            target: if relative {
                let groups = group;
                FetchTarget::RelativeJoin { joining, groups }
            } else {
                FetchTarget::AbsoluteJoin { joining, group }
            },
            parameters,
        });
    prop_oneof![standalone, joining].boxed()
}

fn fetch_ok(draft: Draft) -> impl Strategy<Value = FetchOk> {
    let typed = draft == Draft::D18;
    (
        any::<bool>(),
        integer(),
        of(0..u64::MAX),
        track_properties(),
    )
        .prop_map(
            move |(end_of_track, end_group, object, properties)| FetchOk {
                end_of_track,
                end_group,
                end_object: object.or(if typed { None } else { Some(7) }),
                parameters: Parameters::default(),
                properties,
            },
        )
}

fn publish_done(draft: Draft) -> impl Strategy<Value = PublishDone> {
    let unknown = draft.profile().stream_count_unknown;
    (integer(), of(integer()), text(60)).prop_map(move |(code, count, reason)| PublishDone {
        code: PublishDoneCode(code),
        stream_count: count.filter(|count| *count != unknown),
        reason,
    })
}

/// Boxes a strategy of one message type.
fn boxed<M>(strategy: impl Strategy<Value = M> + 'static) -> BoxedStrategy<Message>
where
    M: Into<Message> + std::fmt::Debug + 'static,
{
    strategy.prop_map(Into::into).boxed()
}

/// A message of this kind.
pub(crate) fn message(draft: Draft, kind: MessageKind, role: StreamRole) -> BoxedStrategy<Message> {
    use MessageKind as M;
    match kind {
        M::Setup => boxed(setup(draft)),
        M::Goaway => boxed(goaway(draft, role)),
        M::RequestError => boxed(request_error()),
        M::PublishDone => boxed(publish_done(draft)),
        M::Fetch => boxed(fetch(draft)),
        M::FetchOk => boxed(fetch_ok(draft)),
        M::Namespace => boxed(namespace().prop_map(|suffix| Namespace { suffix })),
        M::NamespaceDone => boxed(namespace().prop_map(|suffix| NamespaceDone { suffix })),
        M::PublishSkipped => boxed(track().prop_map(|track| PublishSkipped {
            suffix: track.namespace,
            name: track.name,
        })),
        M::RequestOk
        | M::RequestUpdate
        | M::PublishStateNotify
        | M::SubscribeOk
        | M::Publish
        | M::Subscribe
        | M::TrackStatus
        | M::PublishNamespace
        | M::SubscribeNamespace
        | M::SubscribeTracks => with_parameters(draft, kind),
    }
}

fn with_parameters(draft: Draft, kind: MessageKind) -> BoxedStrategy<Message> {
    let parts = (request_id(), track(), alias(), track_properties());
    (parts, parameters(draft, kind))
        .prop_map(
            move |((request_id, track, track_alias, properties), parameters)| {
                build(kind, request_id, track, track_alias, properties, parameters)
            },
        )
        .boxed()
}

fn build(
    kind: MessageKind,
    request_id: RequestId,
    track: FullTrackName,
    track_alias: TrackAlias,
    properties: Properties,
    parameters: Parameters,
) -> Message {
    use MessageKind as M;
    let FullTrackName { namespace, .. } = track.clone();
    match kind {
        M::RequestOk => Message::from(RequestOk {
            parameters,
            properties,
        }),
        M::RequestUpdate => Message::from(RequestUpdate {
            request_id,
            parameters,
        }),
        M::PublishStateNotify => Message::from(PublishStateNotify { parameters }),
        M::Subscribe => Message::from(Subscribe {
            request_id,
            track,
            parameters,
        }),
        M::TrackStatus => Message::from(TrackStatus {
            request_id,
            track,
            parameters,
        }),
        M::SubscribeOk => Message::from(SubscribeOk {
            track_alias,
            parameters,
            properties,
        }),
        M::PublishNamespace => Message::from(PublishNamespace {
            request_id,
            namespace,
            parameters,
        }),
        M::Publish => Message::from(Publish {
            request_id,
            track,
            track_alias,
            parameters,
            properties,
        }),
        M::SubscribeNamespace => {
            let prefix = namespace;
            Message::from(SubscribeNamespace {
                request_id,
                prefix,
                parameters,
            })
        }
        _ => {
            let prefix = namespace;
            Message::from(SubscribeTracks {
                request_id,
                prefix,
                parameters,
            })
        }
    }
}

/// A message of any kind, with the draft and the stream that it may be sent on.
pub(crate) fn any_message() -> impl Strategy<Value = (Draft, StreamRole, Message)> {
    let places = draft().prop_flat_map(|draft| {
        let places = MessageKind::ALL
            .into_iter()
            .filter(|kind| kind.exists_in(draft))
            .flat_map(|kind| {
                [StreamRole::Control, StreamRole::Request]
                    .into_iter()
                    .filter(move |role| kind.is_allowed_on(*role))
                    .map(move |role| (kind, role))
            });
        let places: Vec<_> = places.collect();
        (Just(draft), prop::sample::select(places))
    });
    places.prop_flat_map(|(draft, (kind, role))| {
        (Just(draft), Just(role), message(draft, kind, role))
    })
}
