//! What browsers load from Mainstem's programs: the player page, the page to go live from, the SDK and its
//! WebAssembly module. All of it is in the program; nothing is read from disk.
//!
//! | path | what |
//! |---|---|
//! | `/watch/<id>` | the player page; it may be framed by others |
//! | `/publish/<id>` | the page to go live from; it may not |
//! | `/sdk/sdk.js`, `/sdk/session.worker.js`, `/sdk/mainstem.wasm` | the SDK, for pages here and elsewhere |
//! | `/sdk/watch.js`, `/sdk/publish.js`, `/sdk/page.css`, `/sdk/icon.svg` | what the pages are made of |
//!
//! Input: the path of a request. Output: an [`Asset`], and the headers that belong to it ([`Asset::headers`]).
//! There is no HTTP here: programs mount it on the server that they have. Whatever `<id>` is, the page is
//! the same; it asks for what it may show by itself.
//!
//! The files in `assets/` are generated from `sdk/typescript` and `sdk/pages`, and committed, so that a build
//! needs no other toolchain. A suite builds them anew and refuses a difference.

#![forbid(unsafe_code)]

mod headers;

pub use headers::{Embedding, Place};

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Longest `<id>` in a page's path, in bytes.
const ID_MAX: usize = 128;

/// A file for browsers.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    name: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
    /// Its content as gzip makes it, for clients that take it.
    pub gzip: &'static [u8],
    tag: &'static str,
}

/// A page that people open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The player.
    Watch,
    /// The page to go live from.
    Publish,
}

/// What stands at a path; `None` when nothing does.
pub fn asset(path: &str) -> Option<&'static Asset> {
    let (folder, name) = path.strip_prefix('/')?.split_once('/')?;
    match folder {
        "sdk" => find(name).filter(|asset| asset.page().is_none()),
        "watch" if is_id(name) => find("watch.html"),
        "publish" if is_id(name) => find("publish.html"),
        _ => None,
    }
}

impl Asset {
    /// Its MIME type.
    pub fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            // Compiled while it arrives only under this name.
            Some((_, "wasm")) => "application/wasm",
            _ => "application/octet-stream",
        }
    }

    /// Its strong entity tag, quotes included; the gzipped form has another.
    pub fn etag(&self, is_gzip: bool) -> String {
        let form = if is_gzip { "-gzip" } else { "" };
        format!("\"{}{form}\"", self.tag)
    }

    /// Whether a client that shows these tags (`if-none-match`) has it already, in that form.
    pub fn is_known(&self, if_none_match: &str, is_gzip: bool) -> bool {
        let etag = self.etag(is_gzip);
        let mut tags = if_none_match.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    }

    /// Which page it is, if it is one.
    pub fn page(&self) -> Option<Page> {
        match self.name {
            "watch.html" => Some(Page::Watch),
            "publish.html" => Some(Page::Publish),
            _ => None,
        }
    }
}

fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !text.is_empty() && text.len() <= ID_MAX && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_and_what_it_loads_are_there() {
        for page in ["/watch/lv_1", "/publish/lv_1"] {
            let html = std::str::from_utf8(asset(page).unwrap().bytes).unwrap();
            let loaded = html.split('"').filter(|text| text.starts_with("/sdk/"));
            let loaded: Vec<_> = loaded.collect();
            assert!(loaded.len() >= 4, "{page} loads {loaded:?}");
            for path in loaded {
                assert!(
                    asset(path).is_some(),
                    "{page} loads {path}, which is not there"
                );
            }
        }
    }

    #[test]
    fn nothing_stands_at_other_paths() {
        for path in [
            "",
            "/",
            "/watch",
            "/watch/",
            "/watch/a/b",
            "/watch/a%2fb",
            "/sdk/",
            "/sdk/watch.html",
            "/sdk/none.js",
            "/other/x",
        ] {
            assert!(asset(path).is_none(), "{path}");
        }
        assert!(asset(&format!("/watch/{}", "a".repeat(ID_MAX + 1))).is_none());
    }

    #[test]
    fn tags_tell_content_and_form_apart() {
        let (page, script) = (asset("/watch/a").unwrap(), asset("/sdk/sdk.js").unwrap());
        assert_ne!(page.etag(false), script.etag(false));
        assert_ne!(page.etag(false), page.etag(true));
        assert!(page.is_known(&format!("\"x\", W/{}", page.etag(true)), true));
        assert!(page.is_known("*", false) && !page.is_known("\"x\"", false));
    }

    /// What a viewer's browser takes over the line before it can play.
    #[test]
    fn a_page_stays_within_its_weight() {
        const PAGE_KB_MAX: usize = 100;
        const MODULE_KB_MAX: usize = 250;
        let weight = |path: &str| asset(path).unwrap().gzip.len();
        let page: usize = [
            "/watch/a",
            "/sdk/watch.js",
            "/sdk/page.css",
            "/sdk/sdk.js",
            "/sdk/session.worker.js",
        ]
        .map(weight)
        .iter()
        .sum();
        assert!(
            page <= PAGE_KB_MAX * 1024,
            "the player page is {page} bytes"
        );
        let module = weight("/sdk/mainstem.wasm");
        assert!(
            module <= MODULE_KB_MAX * 1024,
            "the module is {module} bytes"
        );
    }
}
