//! The owners of the files in a data directory.
//!
//! Root may write to everything, so a check by root says nothing about a server that runs as another user. Everything
//! in the directory must belong to the directory's owner.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Reports files that do not belong to the directory's owner. A start or a copy as root leaves such files.
pub fn strangers(directory: &Path, inside: impl Iterator<Item = PathBuf>) -> Option<String> {
    let inside: Vec<_> = inside.filter_map(|path| Some((owner(&path)?, path))).collect();
    told(owner(directory)?, directory, &inside)
}

pub fn is_roots(directory: &Path) -> bool {
    owner(directory) == Some(0)
}

fn owner(path: &Path) -> Option<u32> {
    fs::symlink_metadata(path).ok().map(|metadata| metadata.uid())
}

fn told(owner: u32, directory: &Path, inside: &[(u32, PathBuf)]) -> Option<String> {
    let others: Vec<_> = inside.iter().filter(|(uid, _)| *uid != owner).collect();
    let (uid, first) = others.first()?;
    let more = if others.len() > 1 { format!(" (and {} more)", others.len() - 1) } else { String::new() };
    let (first, directory) = (first.display(), directory.display());
    Some(format!(
        "{first}{more} belongs to user {uid}, but {directory} to user {owner}, which the server runs as: it can't use files of \
         another user; `chown -R {owner} {directory}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_user_than_the_data_directory_is_found() {
        let inside =
            |uids: &[u32]| -> Vec<_> { uids.iter().map(|uid| (*uid, PathBuf::from(format!("/d/{uid}")))).collect() };
        assert_eq!(told(7, Path::new("/d"), &inside(&[7, 7])), None);
        assert_eq!(told(7, Path::new("/d"), &[]), None);
        let found = told(7, Path::new("/d"), &inside(&[7, 0, 8])).unwrap();
        assert!(found.contains("/d/0 (and 1 more)") && found.contains("`chown -R 7 /d`"), "{found}");
    }
}
