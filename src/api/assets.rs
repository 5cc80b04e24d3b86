//! The files of the pages, embedded in the binary.

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::{io::Write as _, sync::LazyLock};

/// One file of `src/web`.
pub struct Asset {
    /// Served at `/assets/<name>`; the page itself is [`INDEX`], and is served at `/`.
    pub name: &'static str,
    pub source: &'static [u8],
}

pub const INDEX: &str = "index.html";
pub const DOCS: &str = "docs.html";
/// The service worker, which may control the whole page, not only paths beside its own.
pub const WORKER: &str = "worker.js";

macro_rules! assets {
    ($($name:literal)*) => { &[$(Asset { name: $name, source: include_bytes!(concat!("../web/", $name)) },)*] };
}

/// Every file of the home page. A test compares this and [`DESCRIPTIONS`] with `src/web`.
const ASSETS: &[Asset] = assets! {
    "index.html"
    "style.css"
    "icon.svg"
    "icon-unread.svg"
    "icon-192.png"
    "icon-512.png"
    "manifest.webmanifest"
    "alerts.js"
    "api.js"
    "app.js"
    "changes.js"
    "channel.js"
    "chitchat.js"
    "completion.js"
    "composer.js"
    "dialogs.js"
    "dom.js"
    "drafts.js"
    "emoji.js"
    "forms.js"
    "heard.js"
    "item.js"
    "kept.js"
    "keyboard.js"
    "links.js"
    "markup.js"
    "mentions.js"
    "message.js"
    "reads.js"
    "room.js"
    "search.js"
    "sentences.js"
    "session.js"
    "sidebar.js"
    "stretch.js"
    "talk.js"
    "timeline.js"
    "tools.js"
    "words.js"
    "worker.js"
};

/// The published client of the channel protocol, which the page uses.
static CLIENT: Asset = Asset { name: "client.js", source: include_bytes!("../../clients/js/propromo-chat.js") };

/// Every file that the home page consists of.
fn page() -> impl Iterator<Item = &'static Asset> {
    ASSETS.iter().chain([&CLIENT])
}

/// Descriptions of the protocols: for people a page that is generated from the rest, for programs the rest. Served
/// unchanged.
pub const DESCRIPTIONS: &[Asset] = &[
    Asset { name: DOCS, source: include_bytes!("../web/docs.html") },
    Asset { name: "docs.css", source: include_bytes!("../web/docs.css") },
    Asset { name: "openapi.yaml", source: include_bytes!("../../docs/openapi.yaml") },
    Asset { name: "asyncapi.yaml", source: include_bytes!("../../docs/asyncapi.yaml") },
];

/// An asset, with everything that is computed only once.
pub struct Prepared {
    pub asset: &'static Asset,
    pub content_type: &'static str,
    pub plain: Variant,
    /// `None` if compression does not make it smaller.
    pub gzip: Option<Variant>,
}

/// One encoding of an asset. Each has an entity tag of its own (RFC 9110 §8.8.3.3).
pub struct Variant {
    /// With its quotation marks.
    pub etag: String,
    pub bytes: Vec<u8>,
}

pub fn find(name: &str) -> Option<&'static Prepared> {
    static PREPARED: LazyLock<Vec<Prepared>> = LazyLock::new(|| {
        let page = page().map(|asset| prepare(asset, lean(asset)));
        page.chain(DESCRIPTIONS.iter().map(|asset| prepare(asset, asset.source.to_vec()))).collect()
    });
    PREPARED.iter().find(|prepared| prepared.asset.name == name)
}

fn prepare(asset: &'static Asset, bytes: Vec<u8>) -> Prepared {
    let hash = base16ct::lower::encode_string(&Sha256::digest(&bytes)[..16]);
    let gzip = gzip(&bytes).filter(|packed| packed.len() < bytes.len());
    Prepared {
        asset,
        content_type: content_type(asset.name),
        gzip: gzip.map(|bytes| Variant { etag: format!("\"{hash}-gzip\""), bytes }),
        plain: Variant { etag: format!("\"{hash}\""), bytes },
    }
}

/// The asset without what browsers do not need: indentation and comments. Line breaks stay, so that a line has the same
/// number in a browser's console as in the source.
///
/// It looks at each line by itself, so no string or template of the page may span lines; a test checks that.
fn lean(asset: &Asset) -> Vec<u8> {
    let Ok(source) = str::from_utf8(asset.source) else { return asset.source.to_vec() };
    let script = asset.name.ends_with(".js");
    let commented = script || asset.name.ends_with(".css");
    let mut in_comment = false;
    let line = |line: &'static str| {
        let line = line.trim();
        if commented && (in_comment || line.starts_with("/*")) {
            in_comment = !line.ends_with("*/");
            return "";
        }
        match line.find("// ") {
            Some(0) if script => "",
            // If a quotation mark follows, it may be inside a string.
            Some(at) if script && line[..at].ends_with(' ') && !line[at..].contains(['\'', '"', '`']) => {
                line[..at].trim_end()
            }
            _ => line,
        }
    };
    source.lines().map(line).collect::<Vec<_>>().join("\n").into_bytes()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("yaml") => "application/yaml",
        Some("ico") => "image/x-icon",
        _ => "application/octet-stream",
    }
}

/// `None` only if writing to memory fails, which can't happen.
fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::{collections::BTreeSet, fs, io::Read};

    #[test]
    fn every_file_of_the_page_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web");
        let files: BTreeSet<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let all = ASSETS.iter().chain(DESCRIPTIONS).map(|asset| asset.name.to_owned());
        let embedded: BTreeSet<_> = all.filter(|name| !name.ends_with(".yaml")).collect();
        assert_eq!(embedded, files);
    }

    #[test]
    fn every_file_of_the_page_has_a_content_type() {
        for asset in page() {
            assert_ne!(content_type(asset.name), "application/octet-stream", "{}", asset.name);
        }
    }

    #[test]
    fn the_page_is_there() {
        assert!(find(INDEX).is_some());
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        for asset in page() {
            let Some(packed) = &find(asset.name).unwrap().gzip else { continue };
            let mut unpacked = Vec::new();
            GzDecoder::new(&packed.bytes[..]).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == find(asset.name).unwrap().plain.bytes, "{}", asset.name);
        }
    }

    #[test]
    fn the_two_encodings_have_different_tags() {
        let prepared = find(INDEX).unwrap();
        assert_ne!(prepared.plain.etag, prepared.gzip.as_ref().unwrap().etag);
    }

    #[test]
    fn the_whole_page_is_less_than_120_kib_compressed() {
        let sizes = page().map(|asset| {
            let Prepared { plain, gzip, .. } = find(asset.name).unwrap();
            gzip.as_ref().unwrap_or(plain).bytes.len()
        });
        let size: usize = sizes.sum();
        assert!(size < 120 * 1024, "{size} bytes");
    }

    #[test]
    fn what_is_left_out_is_comments_and_indentation() {
        let lean =
            |name, source: &'static str| String::from_utf8(lean(&Asset { name, source: source.as_bytes() })).unwrap();
        assert_eq!(lean("a.js", "/** a\n * b\n */\n  x(); // why\n// c\n"), "\n\n\nx();\n");
        for kept in ["x('https://a // b');", "x(`// `, 1); // it's", "a = 4 / 2;", "x(); /* y */ z();"] {
            assert_eq!(lean("a.js", kept), kept);
        }
        assert_eq!(lean("a.css", "/* a */\n  b { c: d; } // e"), "\nb { c: d; } // e");
        assert_eq!(lean("a.html", "  <p>/* a */</p> // b"), "<p>/* a */</p> // b");
    }

    /// Otherwise removing indentation could change a string.
    #[test]
    fn no_string_of_the_page_spans_lines() {
        for asset in page().filter(|asset| asset.name.ends_with(".js")) {
            for line in find(asset.name).unwrap().plain.text().lines() {
                assert!(line.matches('`').count() % 2 == 0, "{}: {line}", asset.name);
                assert!(!line.ends_with('\\'), "{}: {line}", asset.name);
            }
        }
    }

    /// Otherwise a phone that is offline would show half a page.
    #[test]
    fn the_service_worker_keeps_every_file() {
        let worker = find(WORKER).unwrap().plain.text();
        let others = page().filter(|asset| ![INDEX, WORKER].contains(&asset.name));
        for Asset { name, .. } in others.filter(|asset| !asset.name.ends_with(".png")) {
            assert!(worker.contains(&format!("'{name}'")), "{name}");
        }
    }

    impl Variant {
        fn text(&self) -> &str {
            std::str::from_utf8(&self.bytes).unwrap()
        }
    }
}
