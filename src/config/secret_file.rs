//! Secrets in files: `NAME_FILE=path`, and systemd credentials.

use super::{error::SettingError, provenance::Origin};
use std::{fmt, fs, io::Read, os::unix::fs::PermissionsExt, path::Path};

/// Most bytes of a file: far more than any key. So a `NAME_FILE` that names a device or a disk image can't fill the
/// memory.
const MAX_SECRET_FILE: u64 = 1024 * 1024;

/// The content of `path` without its last line end.
pub fn read(path: &Path, origin: &Origin) -> Result<String, SettingError> {
    let fail = |why: &dyn fmt::Display| SettingError(format!("{origin} names {}: {why}", path.display()));
    let file = fs::File::open(path).map_err(|e| fail(&e))?;
    let mut text = String::new();
    file.take(MAX_SECRET_FILE + 1).read_to_string(&mut text).map_err(|e| fail(&e))?;
    if text.len() as u64 > MAX_SECRET_FILE {
        return Err(fail(&"this file is too large to be a secret"));
    }
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.trim().is_empty() {
        return Err(fail(&"this file is empty"));
    }
    Ok(text.to_owned())
}

/// Whether users outside the file's group may read it.
pub fn readable_by_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}
