//! One file of the journal: a head, and records one after the other.
//!
//! ```text
//! "PPCJ" | version u32 | marker u32 | CRC-32C of these u32 | records
//! ```

use super::record::{self, NoRecord, Record};

/// What stands before the first record.
pub(super) const HEAD: usize = 16;

const MAGIC: &[u8; 4] = b"PPCJ";

/// Of the head, and of how records follow each other.
pub(super) const VERSION: u32 = 1;

/// The head of a new segment.
pub(super) fn head(marker: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(MAGIC);
    head[4..8].copy_from_slice(&VERSION.to_le_bytes());
    head[8..12].copy_from_slice(&marker.to_le_bytes());
    let checksum = crc32c::crc32c(&head[..12]);
    head[12..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// What a segment holds.
#[derive(Default)]
pub(super) struct Content {
    pub records: Vec<Record>,
    /// Where bytes can't be read, and how many; what follows them can be.
    pub gaps: Vec<(usize, usize)>,
    /// Bytes at the end that are no record: what was being written when it ended.
    pub torn: usize,
}

/// A segment that a newer program wrote, by the version in its head (0: by one of its records).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Newer(pub u32);

/// Reads all that can be read. A damaged record costs no other: the next one is looked for.
pub(super) fn read(bytes: &[u8]) -> Result<Content, Newer> {
    let mut content = Content::default();
    let Some((start, rest)) = bytes.split_at_checked(HEAD) else {
        content.torn = bytes.len();
        return Ok(content);
    };
    let number = |at: usize| start[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
    let is_whole = start[..4] == *MAGIC && number(12) == crc32c::crc32c(&start[..12]);
    if is_whole && number(4) != VERSION {
        return Err(Newer(number(4)));
    }
    let marker = if is_whole {
        number(8)
    } else {
        content.gaps.push((0, HEAD));
        // Each record has it too.
        rest.first_chunk().map_or(0, |marker| u32::from_le_bytes(*marker))
    };
    let mut at = HEAD;
    while at < bytes.len() {
        match record::read(&bytes[at..], marker) {
            Ok((record, length)) => {
                content.records.extend(record);
                at += length;
            }
            Err(NoRecord::Newer) => return Err(Newer(0)),
            Err(NoRecord::Damaged) => match next(bytes, at + 1, marker) {
                Some(next) => {
                    content.gaps.push((at, next - at));
                    at = next;
                }
                None => {
                    content.torn = bytes.len() - at;
                    break;
                }
            },
        }
    }
    Ok(content)
}

/// Where the next record begins.
fn next(bytes: &[u8], from: usize, marker: u32) -> Option<usize> {
    let marked = marker.to_le_bytes();
    (from..bytes.len().saturating_sub(record::HEAD)).find(|at| {
        bytes[*at..*at + 4] == marked && !matches!(record::read(&bytes[*at..], marker), Err(NoRecord::Damaged))
    })
}
