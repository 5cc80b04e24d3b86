//! Overwrites what SQLite leaves in the slack of a file's pages.
//!
//! Slack is the space between the pointers to a page's cells and the cells themselves; SQLite never reads it
//! (<https://sqlite.org/fileformat2.html>, section 1.6). When SQLite moves rows between pages, it may pack a page anew and leave in
//! its slack what stood there before, whatever `secure_delete` says. If such a row is deleted later, SQLite overwrites
//! the row, and not the copy. It has no command for that, so this writes zeros into the file. That is safe because:
//!
//! 1. Only slack is written. No reader notices, and whatever ends the process, the file stays good.
//! 2. Apart from its WAL, a file changes in checkpoints alone. The thread that calls this makes all of its file's
//!    checkpoints, so no page becomes another between the look at it and the write.
//! 3. A page in the WAL replaces the one in the file at the next checkpoint, slack included; [`Slack::changed`] names
//!    these pages. So does one that the writing connection has cached, once it writes it: see [`forget_pages`].
//! 4. The handle stays open as long as any connection to the file is: closing any handle of a file ends all of the
//!    process's locks on it (POSIX), SQLite's too.

use rusqlite::Connection;
use std::{
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Far more levels than a tree of the largest file has.
const MAX_DEPTH: usize = 20;

/// The header of the file, in front of its first page's own.
const FILE_HEADER: usize = 100;

const WAL_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// One file's pages, used by the thread that makes its checkpoints.
pub(super) struct Slack {
    file: Arc<File>,
    wal: PathBuf,
    page: Vec<u8>,
    /// Bytes of a page that SQLite uses; others may have the rest.
    usable: usize,
    /// Whether something was overwritten since it was last synced.
    is_unsynced: bool,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SlackError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("its pages can't be read or overwritten: {0}")]
    File(#[from] io::Error),
    #[error("page {0} is not as SQLite's file format wants it; run `PRAGMA integrity_check` on a copy of the file")]
    Odd(u32),
}

impl Slack {
    /// The pages of a file that has tables.
    pub fn open(path: &Path) -> io::Result<Slack> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut header = [0; FILE_HEADER];
        file.read_exact_at(&mut header, 0)?;
        // A page of 65,536 bytes doesn't fit into two, and is written as 1.
        let size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size => usize::from(size),
        };
        let usable = size.saturating_sub(usize::from(header[20]));
        if size < 512 || usable < 480 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        Ok(Slack { file: Arc::new(file), wal: wal.into(), page: vec![0; size], usable, is_unsynced: false })
    }

    /// What must be kept until all connections to the file are closed.
    pub fn handle(&self) -> Arc<File> {
        self.file.clone()
    }

    /// The numbers of all pages that have cells, in order.
    ///
    /// Reads the pages that lead to others, about one in a hundred.
    pub fn pages(&mut self, connection: &Connection) -> Result<Vec<u32>, SlackError> {
        let mut roots: Vec<u32> = connection
            .prepare_cached("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0")?
            .query_map((), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        // The schema's own tree.
        roots.push(1);
        let most = self.file.metadata()?.len() / self.page.len() as u64;
        let mut pages = Vec::new();
        for root in roots {
            self.tree(root, most, &mut pages)?;
        }
        pages.sort_unstable();
        Ok(pages)
    }

    /// Overwrites the slack of this page, which must be one of [`Slack::pages`]. Returns whether it held anything.
    pub fn overwrite(&mut self, page: u32) -> Result<bool, SlackError> {
        let slack = self.read(page)?.slack;
        let is_clear = self.page[slack.clone()].iter().all(|byte| *byte == 0);
        if !is_clear {
            let at = self.offset(page) + slack.start as u64;
            self.page[slack.clone()].fill(0);
            self.file.write_all_at(&self.page[slack], at)?;
            self.is_unsynced = true;
        }
        Ok(!is_clear)
    }

    /// Copies the WAL into the file, and overwrites the slack of the pages that it had. Returns those pages, in order;
    /// `None`: the WAL is in use. The caller keeps writers out.
    pub fn checkpoint(&mut self, connection: &Connection) -> Result<Option<Vec<u32>>, SlackError> {
        let changed = self.changed()?;
        if !empty_wal(connection)? {
            return Ok(None);
        }
        let pages = self.pages(connection)?;
        for page in changed.iter().filter(|page| pages.binary_search(page).is_ok()) {
            self.overwrite(*page)?;
        }
        Ok(Some(changed))
    }

    /// The pages that the WAL has, in order. There may be more than the next checkpoint will copy, never fewer: the
    /// caller keeps writers out.
    pub fn changed(&self) -> io::Result<Vec<u32>> {
        let wal = match File::open(&self.wal) {
            Ok(wal) => wal,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let frame = FRAME_HEADER + self.page.len() as u64;
        let frames = wal.metadata()?.len().saturating_sub(WAL_HEADER) / frame;
        let number = |at: u64| {
            let mut number = [0; 4];
            wal.read_exact_at(&mut number, WAL_HEADER + at * frame)?;
            Ok(u32::from_be_bytes(number))
        };
        let mut pages = (0..frames).map(number).collect::<io::Result<Vec<u32>>>()?;
        pages.sort_unstable();
        pages.dedup();
        Ok(pages)
    }

    /// Makes what was overwritten survive a power failure.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.is_unsynced {
            self.file.sync_data()?;
            self.is_unsynced = false;
        }
        Ok(())
    }

    /// Leaves a text in the slack of each page that has space for it, as SQLite may. Returns in how many.
    #[cfg(test)]
    pub fn leave(&mut self, connection: &Connection, text: &str) -> usize {
        let mut left = 0;
        for page in self.pages(connection).unwrap() {
            let slack = self.read(page).unwrap().slack;
            if slack.len() > text.len() {
                self.file.write_all_at(text.as_bytes(), self.offset(page) + slack.start as u64 + 1).unwrap();
                left += 1;
            }
        }
        left
    }

    /// Adds the pages of one tree.
    fn tree(&mut self, root: u32, most: u64, pages: &mut Vec<u32>) -> Result<(), SlackError> {
        let mut level = vec![root];
        for _ in 0..MAX_DEPTH {
            // All leaves are on one level, so none but the first must be read.
            let is_leaves = level.first().map_or(Ok(true), |first| self.read(*first).map(|page| page.is_leaf))?;
            let mut next = Vec::new();
            if !is_leaves {
                for page in &level {
                    self.children(*page, &mut next)?;
                }
            }
            if (pages.len() + level.len() + next.len()) as u64 > most {
                return Err(SlackError::Odd(root));
            }
            pages.append(&mut level);
            if is_leaves {
                return Ok(());
            }
            level = next;
        }
        Err(SlackError::Odd(root))
    }

    fn children(&mut self, page: u32, into: &mut Vec<u32>) -> Result<(), SlackError> {
        let Header { is_leaf, pointers, .. } = self.read(page)?;
        if is_leaf {
            return Err(SlackError::Odd(page));
        }
        let number =
            |at: usize| self.page.get(at..at + 4).map(|four| u32::from_be_bytes(four.try_into().unwrap_or_default()));
        let cells = pointers.clone().step_by(2).map(|at| number(be16(&self.page, at)));
        // The last child stands in the header, in front of the pointers.
        for child in cells.chain([number(pointers.start - 4)]) {
            into.push(child.filter(|child| *child > 0).ok_or(SlackError::Odd(page))?);
        }
        Ok(())
    }

    /// Reads a page, and what its header says.
    fn read(&mut self, page: u32) -> Result<Header, SlackError> {
        let at = self.offset(page);
        self.file.read_exact_at(&mut self.page, at)?;
        let header = if page == 1 { FILE_HEADER } else { 0 };
        let is_leaf = match self.page[header] {
            0x0a | 0x0d => true,
            0x02 | 0x05 => false,
            _ => return Err(SlackError::Odd(page)),
        };
        let first = header + if is_leaf { 8 } else { 12 };
        let pointers = first..first + 2 * be16(&self.page, header + 3);
        let content = match be16(&self.page, header + 5) {
            0 => 65_536,
            content => content,
        };
        if pointers.end > content || content > self.usable {
            return Err(SlackError::Odd(page));
        }
        Ok(Header { is_leaf, slack: pointers.end..content, pointers })
    }

    fn offset(&self, page: u32) -> u64 {
        u64::from(page).saturating_sub(1) * self.page.len() as u64
    }
}

/// Where things stand in a page.
struct Header {
    is_leaf: bool,
    /// Two bytes for each cell.
    pointers: Range<usize>,
    slack: Range<usize>,
}

fn be16(page: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([page[at], page[at + 1]]))
}

/// Copies the WAL into the file, and empties it. Returns `false` if a reader has been using it for long, such as a backup. The
/// caller keeps writers out.
pub(super) fn empty_wal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0).map(|is_busy: bool| !is_busy))
}

/// Makes a connection forget its copies of pages, which may have slack that the file no longer has.
pub(super) fn forget_pages(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA shrink_memory")
}

/// Whether copies of deleted rows may be in the file. This is kept in the file, so it outlives the process.
pub(super) fn is_due(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT due FROM sweep")?.query_row((), |row| row.get(0))
}

/// Notes that copies may be there, in the transaction that deletes, or that there are none.
pub(super) fn set_due(transaction: &Connection, due: bool) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE sweep SET due = ?1 WHERE due <> ?1")?.execute([due]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// A file whose trees have several levels, with everything in the file.
    fn filled() -> (TempDir, PathBuf, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let file = Connection::open(&path).unwrap();
        file.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = 1;
             CREATE TABLE said (key INTEGER PRIMARY KEY, text TEXT); CREATE INDEX by_text ON said (text);
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 30000)
             INSERT INTO said SELECT n, 'number ' || n || substr(hex(zeroblob(2000)), 1, iif(n % 1000, 40, 9000)) FROM n;
             DELETE FROM said WHERE key % 3 = 1; PRAGMA wal_checkpoint(TRUNCATE)",
        )
        .unwrap();
        (dir, path, file)
    }

    fn asked<T: rusqlite::types::FromSql>(file: &Connection, sql: &str) -> T {
        file.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    fn holds(path: &Path, text: &str) -> bool {
        fs::read(path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }

    // Seen to fail where `overwrite` takes all slack for clear.
    #[test]
    fn what_is_left_in_the_slack_of_any_page_is_overwritten_and_nothing_else() {
        let (_dir, path, file) = filled();
        let all = "SELECT group_concat(key || text) FROM said";
        let before: String = asked(&file, all);
        let mut slack = Slack::open(&path).unwrap();
        assert!(slack.leave(&file, "heliotrope") > 100);
        assert!(holds(&path, "heliotrope"));
        for page in slack.pages(&file).unwrap() {
            slack.overwrite(page).unwrap();
        }
        assert!(!holds(&path, "heliotrope"));
        forget_pages(&file).unwrap();
        assert_eq!(asked::<String>(&file, "PRAGMA integrity_check"), "ok");
        assert_eq!(asked::<String>(&file, all), before);
    }

    #[test]
    fn every_page_of_every_tree_is_named_once() {
        let (_dir, path, file) = filled();
        let pages = Slack::open(&path).unwrap().pages(&file).unwrap();
        // SQLite's own count of them, without pages that only continue a long row.
        let cells = "SELECT group_concat(pageno) FROM
                     (SELECT pageno FROM dbstat WHERE pagetype <> 'overflow' ORDER BY pageno)";
        let named: Vec<String> = pages.iter().map(u32::to_string).collect();
        assert_eq!(named.join(","), asked::<String>(&file, cells));
    }

    // Seen to fail where `overwrite` takes all slack for clear.
    #[test]
    fn a_connection_that_has_forgotten_its_pages_brings_nothing_back() {
        let (_dir, path, file) = filled();
        let mut slack = Slack::open(&path).unwrap();
        slack.leave(&file, "heliotrope");
        let change = "UPDATE said SET text = upper(text) WHERE key % 40 = 0";
        // Its cache has the slack now.
        file.execute_batch(&format!("{change}; PRAGMA wal_checkpoint(TRUNCATE)")).unwrap();
        for page in slack.pages(&file).unwrap() {
            slack.overwrite(page).unwrap();
        }
        forget_pages(&file).unwrap();
        file.execute_batch(&change.replace("upper", "lower")).unwrap();
        let (changed, before) = (slack.changed().unwrap(), fs::read(&path).unwrap());
        file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        let after = fs::read(&path).unwrap();
        let pages = (1..).zip(before.chunks(slack.page.len()).zip(after.chunks(slack.page.len())));
        let differ: Vec<u32> = pages.filter(|(_, (before, after))| before != after).map(|(page, _)| page).collect();
        assert!(differ.len() > 100 && differ.iter().all(|page| changed.contains(page)), "{changed:?}");
        assert!(!holds(&path, "heliotrope"));
        assert!(slack.changed().unwrap().is_empty());
    }

    #[test]
    fn a_page_that_is_not_as_it_should_be_is_reported_and_left_alone() {
        let (_dir, path, file) = filled();
        let root: u32 = asked(&file, "SELECT rootpage FROM sqlite_schema WHERE name = 'said'");
        let mut slack = Slack::open(&path).unwrap();
        // No kind of page, more cells than fit, content behind its end.
        for (at, bytes) in [(0, &[0x77][..]), (3, &[0xff, 0xff]), (5, &[0xff, 0xff])] {
            let mut page = vec![0; slack.page.len()];
            slack.file.read_exact_at(&mut page, slack.offset(root)).unwrap();
            let mut odd = page.clone();
            odd[at..at + bytes.len()].copy_from_slice(bytes);
            slack.file.write_all_at(&odd, slack.offset(root)).unwrap();
            assert!(matches!(slack.pages(&file), Err(SlackError::Odd(page)) if page == root));
            assert!(matches!(slack.overwrite(root), Err(SlackError::Odd(page)) if page == root));
            let mut now = vec![0; slack.page.len()];
            slack.file.read_exact_at(&mut now, slack.offset(root)).unwrap();
            assert!(now == odd);
            slack.file.write_all_at(&page, slack.offset(root)).unwrap();
        }
        assert!(slack.pages(&file).is_ok());
        assert_eq!(asked::<String>(&file, "PRAGMA integrity_check"), "ok");
    }
}
