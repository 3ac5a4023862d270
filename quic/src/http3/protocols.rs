//! `WT-Available-Protocols` and `WT-Protocol`: which application protocol a session speaks.
//!
//! Both are structured fields: a list of strings, and a string. Reading is liberal (bare tokens,
//! parameters and several lines are taken), writing is strict.
//!
//! Sources: draft-ietf-webtrans-http3 section 3.3, RFC 9651 sections 3.1 and 3.3.3.

/// Entries of a list that are looked at.
pub(crate) const OFFERS_MAX: usize = 32;

/// The entries of a structured list of strings or tokens, without parameters; `None` when a
/// string is not closed.
pub(crate) fn parse_list(value: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut rest = value.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() && out.len() < OFFERS_MAX {
        let (item, after) = if let Some(quoted) = rest.strip_prefix('"') {
            parse_string(quoted)?
        } else {
            let end = rest.find([',', ';', ' ', '\t']).unwrap_or(rest.len());
            let (item, after) = rest.split_at(end);
            (item.to_owned(), after)
        };
        if !item.is_empty() {
            out.push(item);
        }
        // Parameters do not matter here; a comma inside a quoted parameter is not expected.
        let comma = after.find(',').unwrap_or(after.len());
        rest = after
            .get(comma..)
            .unwrap_or_default()
            .trim_start_matches([' ', '\t', ',']);
    }
    Some(out)
}

/// A structured list of strings; `None` when an entry is not printable ASCII.
pub(crate) fn write_list<'a>(protocols: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut out = String::new();
    for protocol in protocols {
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(&write_string(protocol)?);
    }
    Some(out)
}

/// A structured string; `None` when it is not printable ASCII.
pub(crate) fn write_string(text: &str) -> Option<String> {
    let mut out = String::from("\"");
    for c in text.chars() {
        if !(' '..='~').contains(&c) {
            return None;
        }
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    Some(out)
}

/// The first of `preferred` that is in `offered`.
pub(crate) fn choose<'a>(preferred: &'a [String], offered: &[String]) -> Option<&'a str> {
    preferred
        .iter()
        .find(|protocol| offered.contains(protocol))
        .map(String::as_str)
}

/// After the opening quote: the string's text and what follows the closing quote.
fn parse_string(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, text.get(at + 1..).unwrap_or_default())),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_of_browsers_and_of_liberal_peers_are_read() {
        let list = |value| parse_list(value).unwrap();
        assert_eq!(
            list(r#""moq-lite-04", "moqt-16""#),
            ["moq-lite-04", "moqt-16"]
        );
        assert_eq!(list(r#" "a";q=1 ,"b\"c""#), ["a", "b\"c"]);
        assert_eq!(list("moqt-22, moqt-20"), ["moqt-22", "moqt-20"]);
        assert_eq!(list(r#""", ,"#), [""; 0]);
        assert_eq!(parse_list(r#""open"#), None);
    }

    #[test]
    fn the_order_of_preference_decides() {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let ours = list(&["moqt-22", "moqt-20", "moqt-18"]);
        assert_eq!(
            choose(&ours, &list(&["moqt-18", "moqt-20"])),
            Some("moqt-20")
        );
        assert_eq!(choose(&ours, &list(&["moqt-16"])), None);
        assert_eq!(choose(&ours, &[]), None);
    }

    proptest! {
        #[test]
        fn lists_survive_the_wire(names in proptest::collection::vec("[ -~]{1,20}", 0..6)) {
            let text = write_list(names.iter().map(String::as_str)).unwrap();
            prop_assert_eq!(parse_list(&text), Some(names));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            let _ = parse_list(&text);
        }
    }
}
