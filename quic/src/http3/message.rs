//! Requests and responses: the field sections that WebTransport needs, and nothing more.
//!
//! A request is either a WebTransport CONNECT (extended CONNECT with `:protocol webtransport`, or
//! `webtransport-h3` as later drafts say) or something else, which is answered with a status.
//!
//! Sources: RFC 9114 section 4, RFC 9220, draft-ietf-webtrans-http3 section 3.

use super::protocols;
use super::qpack::{self, Field};
use mainstem_core::transport::Target;

/// Field names in which peers have been seen to offer protocols, and the name of the answer.
const OFFERS: [(&str, &str); 2] = [
    ("wt-available-protocols", "wt-protocol"),
    ("sec-webtransport-protocol", "sec-webtransport-protocol"),
];

/// A well-formed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A client wants a WebTransport session.
    Session(SessionRequest),
    /// Any other CONNECT.
    OtherConnect,
    /// GET, POST and so on.
    Other,
}

/// A client wants a WebTransport session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRequest {
    pub(crate) target: Target,
    /// Offered application protocols in the client's order.
    pub(crate) offered: Vec<String>,
    /// Which entry of `OFFERS` the client used.
    style: usize,
    /// The client speaks draft 02 and wants it echoed.
    draft_02: bool,
}

/// A message that HTTP/3 forbids, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Understands a request's field section.
pub(crate) fn parse_request(fields: &[Field]) -> Result<Request, Malformed> {
    let section = Section::check(fields)?;
    let method = section.pseudo(":method")?.ok_or(Malformed("no :method"))?;
    section.only_pseudo(&[":method", ":scheme", ":authority", ":path", ":protocol"])?;
    if method != "CONNECT" {
        return Ok(Request::Other);
    }
    let protocol = section.pseudo(":protocol")?;
    if !matches!(protocol, Some("webtransport" | "webtransport-h3")) {
        return Ok(Request::OtherConnect);
    }
    let authority = section.pseudo(":authority")?.unwrap_or_default();
    let path = section.pseudo(":path")?.unwrap_or_default();
    if section.pseudo(":scheme")? != Some("https") {
        return Err(Malformed("a session needs :scheme https"));
    }
    if authority.is_empty() || !path.starts_with('/') {
        return Err(Malformed("a session needs :authority and :path"));
    }
    let mut offered = Vec::new();
    let mut style = 0;
    for (index, (name, _)) in OFFERS.iter().enumerate() {
        let mut found = Vec::new();
        for value in section.regular(name) {
            found.extend(protocols::parse_list(value).unwrap_or_default());
        }
        if offered.is_empty() && !found.is_empty() {
            found.truncate(protocols::OFFERS_MAX);
            offered = found;
            style = index;
        }
    }
    Ok(Request::Session(SessionRequest {
        target: Target {
            authority: authority.to_owned(),
            path: path.to_owned(),
        },
        offered,
        style,
        draft_02: section
            .regular("sec-webtransport-http3-draft02")
            .next()
            .is_some(),
    }))
}

/// The field section that accepts a session with `protocol`; `None` when it cannot be written.
pub(crate) fn encode_accept(request: &SessionRequest, protocol: &str) -> Option<Vec<u8>> {
    let chosen = protocols::write_string(protocol)?;
    let mut fields = vec![(":status", "200")];
    if request.draft_02 {
        fields.push(("sec-webtransport-http3-draft", "draft02"));
    }
    let (_, answer) = OFFERS.get(request.style)?;
    fields.push((answer, &chosen));
    Some(encode(&fields))
}

/// The field section of an answer without a body.
pub(crate) fn encode_status(status: &str) -> Vec<u8> {
    encode(&[(":status", status), ("content-length", "0")])
}

/// The field section that asks for a session; `None` when something in it cannot be written.
pub(crate) fn encode_connect(target: &Target, offered: &[String]) -> Option<Vec<u8>> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain(&target.authority) || !plain(&target.path) {
        return None;
    }
    let offers = protocols::write_list(offered.iter().map(String::as_str))?;
    Some(encode(&[
        (":method", "CONNECT"),
        (":protocol", "webtransport"),
        (":scheme", "https"),
        (":authority", &target.authority),
        (":path", &target.path),
        ("sec-webtransport-http3-draft02", "1"),
        ("wt-available-protocols", &offers),
    ]))
}

/// A response's status, and the protocol it chose if it is a success.
pub(crate) fn parse_response(fields: &[Field]) -> Result<(u16, Option<String>), Malformed> {
    let section = Section::check(fields)?;
    section.only_pseudo(&[":status"])?;
    let status = section
        .pseudo(":status")?
        .filter(|status| status.len() == 3)
        .and_then(|status| status.parse().ok())
        .ok_or(Malformed("no three-digit :status"))?;
    let chosen = OFFERS
        .iter()
        .flat_map(|(_, answer)| section.regular(answer))
        .find_map(|value| protocols::parse_list(value)?.into_iter().next());
    Ok((status, chosen))
}

fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    qpack::encode(fields, &mut out);
    out
}

/// A field section that keeps the general rules.
struct Section<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Section<'a> {
    /// Pseudo-fields first, names lower case, values without line breaks, all of it text.
    fn check(fields: &'a [Field]) -> Result<Self, Malformed> {
        let mut out = Vec::with_capacity(fields.len());
        let mut regular = false;
        for field in fields {
            let name = std::str::from_utf8(&field.name)
                .map_err(|_| Malformed("a field name is not text"))?;
            let is_pseudo = name.starts_with(':');
            let token = name.strip_prefix(':').unwrap_or(name);
            let is_token = |b: u8| {
                matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
                    || matches!(b, b'0'..=b'9' | b'^'..=b'z' | b'|' | b'~')
            };
            if token.is_empty() || !token.bytes().all(is_token) {
                return Err(Malformed("a field name is not a lower-case token"));
            }
            if is_pseudo && regular {
                return Err(Malformed("a pseudo-field follows a field"));
            }
            regular |= !is_pseudo;
            if field.value.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
                return Err(Malformed("a field value holds a line break or zero"));
            }
            match std::str::from_utf8(&field.value) {
                Ok(value) => out.push((name, value)),
                Err(_) if is_pseudo => return Err(Malformed("a pseudo-field is not text")),
                // Other encodings are legal in fields that nobody here reads.
                Err(_) => {}
            }
        }
        Ok(Self(out))
    }

    fn pseudo(&self, name: &str) -> Result<Option<&'a str>, Malformed> {
        let mut values = self.regular(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(Malformed("a pseudo-field occurs twice"));
        }
        Ok(value)
    }

    fn only_pseudo(&self, known: &[&str]) -> Result<(), Malformed> {
        let unknown = |name: &str| name.starts_with(':') && !known.contains(&name);
        if self.0.iter().any(|(name, _)| unknown(name)) {
            return Err(Malformed("an unknown pseudo-field"));
        }
        Ok(())
    }

    fn regular(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(other, _)| *other == name)
            .map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&str, &str)]) -> Result<Request, Malformed> {
        parse_request(&qpack::decode(&encode(fields), 4096).unwrap())
    }

    /// What Chromium 156 sends.
    const CHROMIUM: [(&str, &str); 8] = [
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":authority", "127.0.0.1:4433"),
        (":path", "/live"),
        (":protocol", "webtransport"),
        ("sec-webtransport-http3-draft02", "1"),
        ("origin", "http://127.0.0.1:4433"),
        ("wt-available-protocols", r#""moqt-16", "moqt-22""#),
    ];

    #[test]
    fn a_browsers_request_is_a_session() {
        let Ok(Request::Session(session)) = request(&CHROMIUM) else {
            panic!("expected a session");
        };
        assert_eq!(session.target.path, "/live");
        assert_eq!(session.offered, ["moqt-16", "moqt-22"]);
        let accept = encode_accept(&session, "moqt-22").unwrap();
        let fields = qpack::decode(&accept, 4096).unwrap();
        assert_eq!(parse_response(&fields), Ok((200, Some("moqt-22".into()))));
        assert!(
            fields
                .iter()
                .any(|f| f.name == b"sec-webtransport-http3-draft")
        );
    }

    #[test]
    fn our_own_request_is_a_session() {
        let target = Target {
            authority: "h:1".into(),
            path: "/p?q".into(),
        };
        let offered = vec!["moqt-22".to_owned(), "moqt-20".to_owned()];
        let section = encode_connect(&target, &offered).unwrap();
        let Ok(Request::Session(session)) = parse_request(&qpack::decode(&section, 4096).unwrap())
        else {
            panic!("expected a session");
        };
        assert_eq!((session.target, session.offered), (target, offered));
    }

    #[test]
    fn other_requests_are_told_apart() {
        assert_eq!(request(&[(":method", "GET")]), Ok(Request::Other));
        assert_eq!(
            request(&[(":method", "CONNECT")]),
            Ok(Request::OtherConnect)
        );
        let mut plain = CHROMIUM.to_vec();
        plain[4].1 = "websocket";
        assert_eq!(request(&plain), Ok(Request::OtherConnect));
    }

    #[test]
    fn malformed_messages_are_refused() {
        assert!(request(&[]).is_err());
        assert!(request(&[(":method", "GET"), (":method", "GET")]).is_err());
        assert!(request(&[("x", "1"), (":method", "GET")]).is_err());
        assert!(request(&[(":method", "GET"), ("X", "1")]).is_err());
        assert!(request(&[(":method", "GET"), ("x", "a\r\nb: c")]).is_err());
        assert!(request(&[(":method", "GET"), (":status", "200")]).is_err());
        for missing in [1, 2, 3] {
            let mut fields = CHROMIUM.to_vec();
            fields.remove(missing);
            assert!(request(&fields).is_err());
        }
    }
}
