//! The player page, the page to go live from, and the SDK: what `mainstem_web` embeds, over HTTP.
//!
//! No credential comes here: pages take theirs from the fragment of the address. A `?tok=` in the address of a
//! signed link reaches the server, and no log.

use super::{Shared, not_kept};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use mainstem_web::{Asset, Place};

pub(super) async fn serve(State(app): Shared, uri: Uri, headers: HeaderMap) -> Response {
    let Some(asset) = mainstem_web::asset(uri.path()) else {
        return not_kept(super::nowhere().await);
    };
    let place = Place {
        relay: app.relay().map(|relay| relay.url),
        embedding: app.embedding.clone(),
    };
    answer(asset, &place, &headers)
}

fn answer(asset: &'static Asset, place: &Place, asked: &HeaderMap) -> Response {
    let text = |name| asked.get(name).and_then(|value| value.to_str().ok());
    let is_gzip = text(header::ACCEPT_ENCODING).is_some_and(takes_gzip);
    let is_known = text(header::IF_NONE_MATCH).is_some_and(|tags| asset.is_known(tags, is_gzip));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(if is_gzip { asset.gzip } else { asset.bytes }).into_response()
    };
    for (name, value) in asset.headers(place, is_gzip) {
        if let Ok(value) = HeaderValue::try_from(value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Whether `accept-encoding` names gzip and does not refuse it (RFC 9110, section 12.5.3).
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_refused = |part: &str| {
            part.strip_prefix("q=")
                .is_some_and(|q| q.parse() == Ok(0.0))
        };
        is_gzip && !parts.any(is_refused)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for taken in ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP;q=0.5"] {
            assert!(takes_gzip(taken), "{taken}");
        }
        for not_taken in ["", "br", "identity", "gzip;q=0", "xgzip"] {
            assert!(!takes_gzip(not_taken), "{not_taken}");
        }
    }
}
