//! The headers of an asset. A page's policy names the one relay that it may speak to, so that a script which
//! gets into it has nowhere to send anything.
//!
//! Sources: W3C Content Security Policy 3, Permissions Policy, RFC 9110 section 13 (conditional requests).

use crate::{Asset, Page};

/// Who may show the player page inside a page of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Embedding {
    /// Everybody: the link is what permits watching, not the place.
    #[default]
    Anywhere,
    /// These origins, such as `https://example.org`.
    Origins(Vec<String>),
    /// Nobody.
    Nowhere,
}

/// Where a page is served, as far as its policy has to know.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The relay's origin, `https://host:port`; without it pages may connect to any https origin.
    pub relay: Option<String>,
    /// Who may frame the player.
    pub embedding: Embedding,
}

impl Asset {
    /// The headers to send with it, names in lower case; `is_gzip` says which of its forms is sent.
    pub fn headers(&self, place: &Place, is_gzip: bool) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", self.content_type().to_owned()),
            ("etag", self.etag(is_gzip)),
            // Asked for again each time, and sent only when it changed: scripts and module must fit together.
            ("cache-control", "no-cache".to_owned()),
            ("vary", "accept-encoding".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
            ("referrer-policy", "no-referrer".to_owned()),
        ];
        if is_gzip {
            headers.push(("content-encoding", "gzip".to_owned()));
        }
        if let Some(page) = self.page() {
            headers.push(("content-security-policy", policy(page, place)));
            headers.push(("permissions-policy", permissions(page).to_owned()));
        } else {
            // Pages of others may use the SDK from here.
            headers.push(("access-control-allow-origin", "*".to_owned()));
            headers.push(("cross-origin-resource-policy", "cross-origin".to_owned()));
        }
        headers
    }
}

fn policy(page: Page, place: &Place) -> String {
    let relay = place.relay.as_deref().filter(|relay| is_origin(relay));
    let frames = match (page, &place.embedding) {
        (Page::Publish, _) | (Page::Watch, Embedding::Nowhere) => "'none'".to_owned(),
        (Page::Watch, Embedding::Anywhere) => "*".to_owned(),
        (Page::Watch, Embedding::Origins(origins)) => {
            let mut sources = vec!["'self'"];
            sources.extend(
                origins
                    .iter()
                    .map(String::as_str)
                    .filter(|origin| is_origin(origin)),
            );
            sources.join(" ")
        }
    };
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; \
         img-src 'self' data:; media-src 'self' blob:; connect-src 'self' {}; base-uri 'none'; form-action 'none'; \
         frame-ancestors {frames}",
        relay.unwrap_or("https:")
    )
}

const fn permissions(page: Page) -> &'static str {
    match page {
        Page::Watch => "camera=(), microphone=(), geolocation=(), display-capture=()",
        Page::Publish => "camera=(self), microphone=(self), display-capture=(self), geolocation=()",
    }
}

/// Whether the text can stand in a policy as an origin and as nothing else.
fn is_origin(text: &str) -> bool {
    let is_known = text.starts_with("https://") || text.starts_with("http://");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/[]*".contains(&byte);
    is_known && text.len() <= 300 && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset;

    fn header(path: &str, place: &Place, name: &str) -> Option<String> {
        let headers = asset(path).unwrap().headers(place, false);
        let found = headers.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    #[test]
    fn a_page_may_speak_to_its_relay_and_to_no_other() {
        let place = Place {
            relay: Some("https://127.0.0.1:4443".to_owned()),
            ..Place::default()
        };
        let policy = header("/watch/a", &place, "content-security-policy").unwrap();
        assert!(
            policy.contains("connect-src 'self' https://127.0.0.1:4443;"),
            "{policy}"
        );
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"),
            "{policy}"
        );
    }

    #[test]
    fn what_is_no_origin_does_not_get_into_a_policy() {
        let place = Place {
            relay: Some("https://x; script-src *".to_owned()),
            embedding: Embedding::Origins(vec!["https://a.test".to_owned(), "*; x".to_owned()]),
        };
        let policy = header("/watch/a", &place, "content-security-policy").unwrap();
        assert!(policy.contains("connect-src 'self' https:;"), "{policy}");
        assert!(
            policy.ends_with("frame-ancestors 'self' https://a.test"),
            "{policy}"
        );
    }

    #[test]
    fn the_player_may_be_framed_and_the_publisher_may_not() {
        let place = Place::default();
        let frames = |path: &str| header(path, &place, "content-security-policy").unwrap();
        assert!(frames("/watch/a").ends_with("frame-ancestors *"));
        assert!(frames("/publish/a").ends_with("frame-ancestors 'none'"));
        assert!(
            header("/publish/a", &place, "permissions-policy")
                .unwrap()
                .contains("camera=(self)")
        );
    }

    #[test]
    fn scripts_may_be_used_by_pages_of_others() {
        let place = Place::default();
        let of = |name: &str| header("/sdk/mainstem.wasm", &place, name);
        assert_eq!(of("content-type").as_deref(), Some("application/wasm"));
        assert_eq!(of("access-control-allow-origin").as_deref(), Some("*"));
        assert_eq!(of("content-security-policy"), None);
    }
}
