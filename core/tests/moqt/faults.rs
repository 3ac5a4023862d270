//! Bytes that must end a session, and the code that they end it with.

use crate::wire::{framed, hex, read};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::error::SessionCode;
use mainstem_core::moqt::message::StreamRole;

/// Bytes of a request stream that must close the session with this code.
const CLOSES: &[(&str, &[Draft], u64, &str, SessionCode)] = {
    const ALL: &[Draft] = &Draft::CANONICAL;
    const OLD: &[Draft] = &[Draft::D18];
    const NEW: &[Draft] = &[Draft::D20, Draft::D21, Draft::D22];
    const COUNTED: &[Draft] = &[Draft::D20, Draft::D21];
    const TAGGED: &[Draft] = &[Draft::D22];
    const PV: SessionCode = SessionCode::PROTOCOL_VIOLATION;
    const KV: SessionCode = SessionCode::KEY_VALUE_FORMATTING_ERROR;
    &[
        ("unknown type", ALL, 0x3f, "", PV),
        ("setup on a request stream", ALL, 0x2F00, "", PV),
        ("state notify before 20", OLD, 0x22, "00", PV),
        ("publish ok of its own after 18", NEW, 0x1E, "00", PV),
        ("field missing", ALL, 0x03, "00 01 01 61", PV),
        ("field left over", ALL, 0x0E, "01 01 61 00", PV),
        ("empty namespace field", ALL, 0x03, "00 01 00 01 62 00", PV),
        ("33 namespace fields", ALL, 0x06, "00 21", PV),
        ("name beyond the end", ALL, 0x03, "00 01 01 61 7f 62 00", PV),
        (
            "unknown parameter",
            ALL,
            0x03,
            "00 01 01 61 01 62 01 3f 00",
            PV,
        ),
        (
            "repeated parameter",
            ALL,
            0x03,
            "00 01 01 61 01 62 02 10 01 00 01",
            PV,
        ),
        (
            "parameter type past 2^64",
            ALL,
            0x03,
            "00 01 01 61 01 62 02 10 01 ffffffffffffffffff 00",
            PV,
        ),
        ("forward of 2", ALL, 0x03, "00 01 01 61 01 62 01 10 02", PV),
        (
            "group order of 0",
            ALL,
            0x03,
            "00 01 01 61 01 62 01 22 00",
            PV,
        ),
        (
            "group order of 3",
            ALL,
            0x03,
            "00 01 01 61 01 62 01 22 03",
            PV,
        ),
        (
            "include properties of 2",
            NEW,
            0x03,
            "00 01 01 61 01 62 01 35 02",
            PV,
        ),
        (
            "more parameters announced than there are",
            ALL,
            0x03,
            "00 01 01 61 01 62 7f",
            PV,
        ),
        (
            "token of an unknown alias type",
            ALL,
            0x03,
            "00 01 01 61 01 62 01 03 01 04",
            KV,
        ),
        (
            "token without an alias",
            ALL,
            0x03,
            "00 01 01 61 01 62 01 03 01 02",
            KV,
        ),
        (
            "token with more than an alias",
            ALL,
            0x03,
            "00 01 01 61 01 62 01 03 03 02 01 01",
            KV,
        ),
        ("empty token", ALL, 0x03, "00 01 01 61 01 62 01 03 00", KV),
        (
            "filter of type 5",
            OLD,
            0x03,
            "00 01 01 61 01 62 01 21 01 05",
            PV,
        ),
        (
            "filter of type 0",
            OLD,
            0x03,
            "00 01 01 61 01 62 01 21 01 00",
            PV,
        ),
        ("empty filter", OLD, 0x03, "00 01 01 61 01 62 01 21 00", PV),
        (
            "filter with a field too many",
            OLD,
            0x03,
            "00 01 01 61 01 62 01 21 02 01 00",
            PV,
        ),
        (
            "filter end past 2^64",
            OLD,
            0x03,
            "00 01 01 61 01 62 01 21 0c 04 01 00 ffffffffffffffffff",
            PV,
        ),
        (
            "five filter fields",
            COUNTED,
            0x03,
            "00 01 01 61 01 62 01 21 05 01 01 01 01 01",
            PV,
        ),
        (
            "filter end past 2^64",
            COUNTED,
            0x03,
            "00 01 01 61 01 62 01 21 0b 01 00 ffffffffffffffffff",
            PV,
        ),
        (
            "filter of type 6",
            TAGGED,
            0x03,
            "00 01 01 61 01 62 01 21 06",
            PV,
        ),
        (
            "filter end past 2^64",
            TAGGED,
            0x03,
            "00 01 01 61 01 62 01 21 03 01 00 ffffffffffffffffff",
            PV,
        ),
        (
            "forward inside fill",
            NEW,
            0x03,
            "00 01 01 61 01 62 01 23 03 01 10 01",
            PV,
        ),
        (
            "fill inside fill",
            NEW,
            0x03,
            "00 01 01 61 01 62 01 23 04 01 23 01 00",
            PV,
        ),
        (
            "fill without a count",
            NEW,
            0x03,
            "00 01 01 61 01 62 01 23 00",
            PV,
        ),
        (
            "fill with a byte left over",
            NEW,
            0x03,
            "00 01 01 61 01 62 01 23 02 00 00",
            PV,
        ),
        ("reason of 1025 bytes", ALL, 0x05, "00 00 84 01", PV),
        (
            "publish done reason of 1025 bytes",
            ALL,
            0x0B,
            "00 00 84 01",
            PV,
        ),
        ("redirect without a redirect", ALL, 0x05, "34 00 00", PV),
        ("goaway uri of 8193 bytes", ALL, 0x10, "a0 01", PV),
        ("track group order of 3", ALL, 0x04, "00 00 22 03", PV),
        ("dynamic groups of 2", ALL, 0x04, "00 00 30 02", PV),
        (
            "dynamic groups of 2 among immutables",
            ALL,
            0x04,
            "00 00 0b 02 30 02",
            PV,
        ),
        (
            "property value beyond the end",
            ALL,
            0x04,
            "00 00 41 05 61",
            PV,
        ),
        (
            "property of 65536 bytes",
            ALL,
            0x04,
            "00 00 41 c1 00 00",
            PV,
        ),
        (
            "property type past 2^64",
            ALL,
            0x04,
            "00 00 40 00 ffffffffffffffffff 00",
            PV,
        ),
        ("fetch of type 4", OLD, 0x16, "00 04 00 00 00", PV),
        ("end of track of 2", ALL, 0x18, "02 00 00 00", PV),
    ]
};

#[test]
fn what_must_close_the_session_closes_it_with_its_code() {
    covers!(
        "MOQT19-1.4.3-2",
        "MOQT19-1.4.3-3",
        "MOQT19-1.4.4-1",
        "MOQT19-2.4.1-2",
        "MOQT19-2.4.1-3",
        "MOQT19-5.1.2-1",
        "MOQT19-5.1.2-2",
        "MOQT19-10-2",
        "MOQT19-10-3",
        "MOQT19-10.2-2",
        "MOQT19-10.2-4",
        "MOQT19-10.2-6",
        "MOQT19-10.2.2-4",
        "MOQT19-10.2.8-1",
        "MOQT19-10.2.17-1",
        "MOQT19-10.4-10",
        "MOQT19-10.12-1",
        "MOQT19-12.5-1",
        "MOQT19-12.6-1",
        "MOQT19-12.7-4",
        "MOQT20-5.1.2-1",
        "MOQT20-5.1.2-2",
        "MOQT20-10.2.15-2",
        "MOQT20-10.2.21-2",
        "MOQT22-9.20.9-2",
        "MOQT22-9.20.9-3"
    );
    for (what, drafts, code, body, expected) in CLOSES {
        for draft in *drafts {
            let bytes = framed(*code, &hex(body));
            match read(*draft, StreamRole::Request, &bytes) {
                Err(fault) => assert_eq!(fault.code, *expected, "{what} at {draft}: {fault}"),
                Ok(message) => panic!("{what} at {draft} is read as {message:?}"),
            }
        }
    }
}

#[test]
fn setup_options_that_must_close_do_and_unknown_ones_do_not() {
    covers!(
        "MOQT19-1.4.3-4",
        "MOQT19-10.3-1",
        "MOQT19-10.3-3",
        "MOQT19-10.3.1.1-6",
        "MOQT19-10.3.1.2-6",
        "MOQT19-15.4-1"
    );
    let cases = [
        (
            "path with a space",
            "01 02 2f 20",
            Some(SessionCode::MALFORMED_PATH),
        ),
        (
            "path without a slash",
            "01 01 61",
            Some(SessionCode::MALFORMED_PATH),
        ),
        (
            "path with a fragment",
            "01 03 2f 23 61",
            Some(SessionCode::MALFORMED_PATH),
        ),
        (
            "path that is not text",
            "01 02 2f ff",
            Some(SessionCode::MALFORMED_PATH),
        ),
        (
            "authority with a path",
            "05 03 61 2f 62",
            Some(SessionCode::MALFORMED_AUTHORITY),
        ),
        (
            "authority with a space",
            "05 03 61 20 62",
            Some(SessionCode::MALFORMED_AUTHORITY),
        ),
        (
            "no authority",
            "05 00",
            Some(SessionCode::MALFORMED_AUTHORITY),
        ),
        (
            "path twice",
            "01 01 2f 00 01 2f",
            Some(SessionCode::PROTOCOL_VIOLATION),
        ),
        (
            "cache size twice",
            "04 00 00 00",
            Some(SessionCode::PROTOCOL_VIOLATION),
        ),
        (
            "token unreadable",
            "03 01 07",
            Some(SessionCode::KEY_VALUE_FORMATTING_ERROR),
        ),
        (
            "value beyond the end",
            "01 05 2f",
            Some(SessionCode::PROTOCOL_VIOLATION),
        ),
        ("unknown integer twice", "40 01 00 02", None),
        ("unknown bytes twice", "41 01 61 00 01 62", None),
        ("two tokens", "03 03 03 00 61 00 03 03 00 62", None),
        ("a query and nothing else", "01 02 3f 61", None),
        ("empty path", "01 00", None),
    ];
    for draft in Draft::CANONICAL {
        for (what, body, expected) in &cases {
            let result = read(draft, StreamRole::Control, &framed(0x2F00, &hex(body)));
            let code = result.as_ref().err().map(|fault| fault.code);
            assert_eq!(code, *expected, "{what} at {draft}: {result:?}");
        }
    }
}
