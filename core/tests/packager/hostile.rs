//! Frames that no encoder sends: nothing panics, and what comes out is in order.

use super::*;
use proptest::prelude::*;

fn codec() -> impl Strategy<Value = Codec> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    prop_oneof![
        Just(h264()),
        Just(aac()),
        bytes().prop_map(|config| Codec::Aac { config }),
        bytes().prop_map(|config| Codec::H264 {
            config,
            in_band: false
        }),
        bytes().prop_map(|config| Codec::Opus { config }),
        bytes().prop_map(|config| Codec::Flac { config }),
        bytes().prop_map(|config| Codec::Vp9 { config }),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    let kind = prop_oneof![Just(Kind::Video), Just(Kind::Audio), Just(Kind::Other)];
    (kind, 0u8..3).prop_map(|(kind, number)| Source { kind, number })
}

fn input() -> impl Strategy<Value = Input> {
    let scale = || {
        prop_oneof![
            Just(1u32),
            Just(1000),
            Just(90_000),
            any::<u32>().prop_map(|n| n.max(1))
        ]
    };
    let scale = move || scale().prop_map(|n| NonZeroU32::new(n).unwrap());
    let ticks = prop_oneof![0i64..10_000, any::<i64>()];
    let data = prop::collection::vec(any::<u8>(), 0..20);
    let frame = (
        source(),
        (ticks, scale()),
        any::<i32>(),
        prop::option::of(any::<u32>()),
        any::<bool>(),
        data,
        any::<u64>(),
    );
    let frame = frame.prop_map(
        |(source, (ticks, scale), offset, duration, key, data, arrived)| {
            Input::Frame(Frame {
                source,
                decode_time: MediaTime::new(ticks, scale),
                composition_offset: offset,
                duration,
                key,
                data: Bytes::from(data).into(),
                arrived: NtpTime(arrived),
            })
        },
    );
    let config =
        (source(), codec(), scale()).prop_map(|(source, codec, timescale)| Input::Config {
            source,
            codec,
            timescale,
        });
    prop_oneof![8 => frame, 2 => config, 1 => source().prop_map(Input::End)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nonsense_gives_chunks_in_order_or_nothing(
        inputs in prop::collection::vec(input(), 0..60),
        exact in any::<bool>(),
    ) {
        let durations = if exact {
            mainstem_core::packager::Durations::Exact
        } else {
            mainstem_core::packager::Durations::Predicted
        };
        let settings = Config { durations, ..Config::default() };
        let (outputs, packager) = run(settings, inputs.clone());
        let counters = packager.counters();
        prop_assert!(counters.chunks <= counters.frames);
        let mut last = std::collections::BTreeMap::new();
        for output in &outputs {
            if let Output::Chunk(chunk) = output {
                let time = chunk.decode_time;
                if let Some(before) = last.insert(chunk.track_id, time)
                    && MediaTime::timescale(before) == time.timescale()
                {
                    prop_assert!(before.ticks() < time.ticks(), "{before:?} then {time:?}");
                }
            }
        }
        prop_assert_eq!(outputs, run(settings, inputs).0);
    }
}
