//! The pages' files, embedded in the binary.

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::{fmt::Write, io::Write as _, sync::LazyLock};

/// One file of `src/web`.
pub struct Asset {
    /// `/assets/<name>`; the page itself is [`INDEX`] and is served at `/`.
    pub name: &'static str,
    pub bytes: &'static [u8],
}

pub const INDEX: &str = "index.html";
pub const DOCS: &str = "docs.html";

macro_rules! assets {
    ($($name:literal)*) => { &[$(Asset { name: $name, bytes: include_bytes!(concat!("../web/", $name)) },)*] };
}

/// Every file of the pages; a test holds the table to what is in `src/web`.
const ASSETS: &[Asset] = assets! {
    "index.html"
    "style.css"
    "icon.svg"
    "api.js"
    "app.js"
    "channel.js"
    "chitchat.js"
    "connection.js"
    "docs.css"
    "docs.html"
    "dom.js"
    "forms.js"
    "markup.js"
    "room.js"
    "session.js"
    "sidebar.js"
    "talk.js"
    "timeline.js"
};

/// What the server speaks, for programs; the page [`DOCS`] is made from these.
pub const DESCRIPTIONS: &[Asset] = &[
    Asset { name: "openapi.yaml", bytes: include_bytes!("../../docs/openapi.yaml") },
    Asset { name: "asyncapi.yaml", bytes: include_bytes!("../../docs/asyncapi.yaml") },
];

/// An asset with what is worked out only once.
pub struct Prepared {
    pub asset: &'static Asset,
    pub content_type: &'static str,
    pub plain: Variant<&'static [u8]>,
    /// `None` if compressing doesn't make it smaller.
    pub gzip: Option<Variant<Vec<u8>>>,
}

/// One encoding of an asset. Each has an entity tag of its own (RFC 9110 §8.8.3.3).
pub struct Variant<B> {
    /// With its quotes.
    pub etag: String,
    pub bytes: B,
}

pub fn find(name: &str) -> Option<&'static Prepared> {
    static PREPARED: LazyLock<Vec<Prepared>> =
        LazyLock::new(|| ASSETS.iter().chain(DESCRIPTIONS).map(prepare).collect());
    PREPARED.iter().find(|prepared| prepared.asset.name == name)
}

fn prepare(asset: &'static Asset) -> Prepared {
    let hash = Sha256::digest(asset.bytes).iter().take(16).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let gzip = gzip(asset.bytes).filter(|bytes| bytes.len() < asset.bytes.len());
    Prepared {
        asset,
        content_type: content_type(asset.name),
        plain: Variant { etag: format!("\"{hash}\""), bytes: asset.bytes },
        gzip: gzip.map(|bytes| Variant { etag: format!("\"{hash}-gzip\""), bytes }),
    }
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

/// `None` only if memory could not be written to, which can't happen.
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
        let embedded: BTreeSet<_> = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
        assert_eq!(embedded, files);
    }

    #[test]
    fn every_file_of_the_page_has_a_content_type() {
        for asset in ASSETS {
            assert_ne!(content_type(asset.name), "application/octet-stream", "{}", asset.name);
        }
    }

    #[test]
    fn the_page_is_there() {
        assert!(find(INDEX).is_some());
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        for asset in ASSETS {
            let Some(packed) = &find(asset.name).unwrap().gzip else { continue };
            let mut unpacked = Vec::new();
            GzDecoder::new(&packed.bytes[..]).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == asset.bytes, "{}", asset.name);
        }
    }

    #[test]
    fn the_two_encodings_have_different_tags() {
        let long = Box::leak(Box::new(Asset { name: "a.css", bytes: &[b'a'; 1_000] }));
        let prepared = prepare(long);
        assert_ne!(prepared.plain.etag, prepared.gzip.unwrap().etag);
    }
}
