//! `backup`: makes a copy of the embedded store while the server runs. A server can be started on the copy.

use super::{
    failure::{Failure, say},
    progress::Progress,
};
use crate::{
    config::{
        settings::JWT_PRIVATE_KEY,
        signing::SECRET_FILE,
        sources::Settings,
        value::{Database, Storage},
    },
    store::sqlite::{backup, log},
};
use clap::{Arg, ArgMatches, Command, value_parser};
use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

pub const NAME: &str = "backup";

const LOG: &str = "log.db";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Copy the embedded store to a new directory; the server may be running")
        .after_help(
            "To restore: stop the server, move its DATA_DIR away, and put a copy of the backup in its place.\n\
             The copy holds password hashes, messages and, if it was generated, the key of all tokens: keep it as safe as DATA_DIR.",
        )
        .arg(
            Arg::new("directory")
                .value_name("DIRECTORY")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Where to put the copy; must not exist yet"),
        )
}

pub fn run(matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    let Some(target) = matches.get_one::<PathBuf>("directory") else {
        return Err(Failure::Usage("a directory for the copy is needed".into()));
    };
    if target.exists() {
        return Err(Failure::Failed(format!("{} exists; a backup goes to a new directory", target.display())));
    }
    let data_dir = settings.data_dir()?;
    let mut databases = Vec::new();
    match settings.database()? {
        Database::Sqlite(path) => databases.push((path, "chat.db")),
        Database::Postgres(_) => say("accounts and rooms are in PostgreSQL: back that up by itself (pg_dump)")?,
    }
    match settings.storage()? {
        Storage::Embedded => {
            databases.extend([LOG, "ledger.db", "webhooks.db"].map(|name| (data_dir.join(name), name)))
        }
        Storage::Redis(_) => say("messages and spent tokens are in Redis: back that up by itself")?,
    }
    let secret = data_dir.join(SECRET_FILE);
    let secret = Some(secret).filter(|secret| settings.text(&JWT_PRIVATE_KEY).is_none() && secret.exists());
    databases.retain(|(path, _)| path.exists());
    if databases.is_empty() && secret.is_none() {
        return Err(Failure::Failed(format!(
            "there is nothing to back up in {}; is DATA_DIR right?",
            data_dir.display()
        )));
    }
    let copied = copied(target, &databases, secret.as_deref())?;
    say(format_args!("{} holds {}", target.display(), copied.join(", ")))
}

/// Makes the copy beside the target first, so the target exists only once it is complete.
fn copied(target: &Path, databases: &[(PathBuf, &str)], secret: Option<&Path>) -> Result<Vec<String>, Failure> {
    let failed = |what: &str, error: io::Error| Failure::Failed(format!("{what} {}: {error}", target.display()));
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unfinished =
        tempfile::Builder::new().prefix(".backup-").permissions(Permissions::from_mode(0o700)).tempdir_in(parent);
    let unfinished = unfinished.map_err(|error| {
        Failure::Failed(format!(
            "there can be no new directory beside {}: {error}; give a path in a directory that exists and that you may write to",
            target.display()
        ))
    })?;
    let mut copied = Vec::new();
    let mut progress = Progress::new();
    for (at, (from, name)) in databases.iter().enumerate() {
        let size = fs::metadata(from).map_or(0, |file| file.len() >> 20);
        progress.begin(format_args!("copying {name}, {size} MiB ({} of {})", at + 1, databases.len()));
        let to = unfinished.path().join(name);
        if *name == LOG {
            log::copy::copy(from, &to)?
        } else {
            backup::copy(from, &to)?
        }
        copied.push((*name).to_owned());
    }
    if let Some(secret) = secret {
        let kept = || {
            let text = fs::read(secret)?;
            // Readable by nobody else from the first moment on.
            let mut file = tempfile::NamedTempFile::new_in(unfinished.path())?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(unfinished.path().join(SECRET_FILE)).map_err(|error| error.error)
        };
        kept().map_err(|error| failed(&format!("{} can't be copied to", secret.display()), error))?;
        copied.push(SECRET_FILE.to_owned());
    }
    let moved = fs::rename(unfinished.path(), target).and_then(|()| fs::File::open(parent)?.sync_all());
    moved.map_err(|error| failed("the finished copy can't be renamed to", error))?;
    // It has a new name, so there is nothing to remove.
    let _ = unfinished.keep();
    Ok(copied)
}
