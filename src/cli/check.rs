//! `check`: reads the settings, tries the stores, and reports problems and remedies in plain words.

use super::{
    ask, erase,
    failure::{Failure, say},
    owners,
};
use crate::{
    config::{
        ceilings,
        certificate::Identity,
        error::SettingError,
        secret_file::readable_by_others,
        settings::{self, ADMIN_LISTEN, ALL, JWT_PRIVATE_KEY, LISTEN, MAX_CONNECTIONS, Setting},
        signing::SECRET_FILE,
        sources::Settings,
        value::{self, Database, Listen, Storage},
    },
    redact,
    store::{
        accounts::Accounts,
        journal,
        postgres::Postgres,
        redis::{address::Deployment, check},
        sqlite::{accounts::SqliteAccounts, error::StoreOpenError},
    },
};
use clap::Command;
use jiff::Timestamp;
use rustix::{
    fs::{Access, access},
    io::Errno,
    process::geteuid,
};
use std::{
    fs::{self, OpenOptions},
    io,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::Path,
};

pub const NAME: &str = "check";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Read the settings, try the stores, report what is wrong, and exit")
        .after_help("Exit codes: 0 all is well, 1 something can't be used, 2 a setting is wrong. Settings: see --help.")
        .after_long_help(settings::help())
}

pub fn run(settings: &Settings) -> Result<(), Failure> {
    let width = ALL.iter().map(|setting| setting.name.len()).max().unwrap_or_default();
    for setting in ALL {
        let value = match (settings.text(setting), settings.printed(setting)) {
            (None, _) if setting.is_secret() => "not set".into(),
            (None, _) => "none".into(),
            (Some(_), None) => "set".into(),
            (Some(_), Some(text)) => text.escape_debug().to_string(),
        };
        match settings.origin(setting) {
            Some(origin) => say(format_args!("{:<width$}  {value}  ({})", setting.name, origin.place()))?,
            None => say(format_args!("{:<width$}  {value}", setting.name))?,
        }
    }
    say("")?;
    let problems = settings.problems();
    for problem in &problems {
        say(format_args!("wrong: {problem}"))?;
    }
    if !problems.is_empty() {
        return Err(Failure::Usage(counted(problems.len(), "setting is wrong", "settings are wrong")));
    }
    let mut findings = Findings::default();
    keys(settings, &mut findings)?;
    let encrypted = certificate(settings, &mut findings);
    stores(settings, &mut findings)?;
    for one in settings.listen()? {
        match one {
            Listen::Tcp(address) => listen(&LISTEN, address, &mut findings),
            Listen::Unix(path) => unix_socket(&path, &mut findings),
        }
    }
    if let Some(address) = settings.optional(&ADMIN_LISTEN, value::address)? {
        listen(&ADMIN_LISTEN, address, &mut findings);
        if address.ip().is_unspecified() {
            findings.notes.push(format!(
                "ADMIN_LISTEN is {address}: whoever reaches this machine can read the metrics, without a password; a firewall, or \
                 an address of your own network, keeps them to yourself"
            ));
        }
    }
    let doubts = settings.doubts()?.into_iter();
    let connections = settings.get(&MAX_CONNECTIONS, |text| MAX_CONNECTIONS.form.number(text))?;
    let connections = usize::try_from(connections).unwrap_or(usize::MAX);
    let need = ceilings::Need::of_connections(encrypted);
    let too_few_files = ceilings::too_few_files(need);
    // `too_few_files` reports the same, and more.
    let ceilings = if too_few_files.is_some() { Vec::new() } else { ceilings::too_low(connections, need) };
    findings.wrong.extend(too_few_files);
    for line in findings.fine {
        say(format_args!("ok: {line}"))?;
    }
    for line in findings.notes.into_iter().chain(doubts).chain(ceilings) {
        say(format_args!("note: {line}"))?;
    }
    for line in &findings.wrong {
        say(format_args!("wrong: {line}"))?;
    }
    match findings.wrong.len() {
        0 => say("all is well"),
        n if findings.by_setting => Err(Failure::Usage(counted(n, "thing is wrong", "things are wrong"))),
        n => Err(Failure::Failed(counted(n, "thing can't be used", "things can't be used"))),
    }
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}; see above", if n == 1 { one } else { many })
}

/// What was checked, and the results.
#[derive(Default)]
struct Findings {
    fine: Vec<String>,
    notes: Vec<String>,
    wrong: Vec<String>,
    /// Whether a setting itself is wrong: then a start would end with 2, and systemd would not try again.
    by_setting: bool,
}

impl Findings {
    fn wrong_setting(&mut self, error: &SettingError) {
        self.wrong.push(error.to_string());
        self.by_setting = true;
    }
}

fn keys(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let secret = settings.data_dir()?.join(SECRET_FILE);
    if settings.text(&JWT_PRIVATE_KEY).is_none() && !secret.exists() {
        findings
            .notes
            .push(format!("no JWT_PRIVATE_KEY is given; the first start makes a secret, {}", secret.display()));
        return Ok(());
    }
    if settings.text(&JWT_PRIVATE_KEY).is_none() && readable_by_others(&secret) {
        findings.notes.push(format!("every user of this machine can read {}; chmod 600 it", secret.display()));
    }
    match settings.keyring(false, &mut ask::passphrase) {
        Ok(keys) => findings.fine.push(format!("tokens are signed with {}", keys.algorithm())),
        Err(e) => findings.wrong_setting(&e),
    }
    Ok(())
}

/// Checks the certificate. Returns whether the server speaks TLS.
fn certificate(settings: &Settings, findings: &mut Findings) -> bool {
    match Identity::from_settings(settings) {
        Ok(None) => return false,
        Ok(Some(identity)) => {
            findings.fine.push(format!("TLS is spoken, with a certificate {}", identity.summary()));
            findings.notes.extend(identity.doubts());
        }
        Err(e) => findings.wrong_setting(&e),
    }
    true
}

fn stores(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    match settings.database()? {
        // Checked without opening: a server may be using this file.
        Database::Sqlite(path) => embedded_accounts(&path, findings),
        Database::Postgres(url) => far_accounts(&url, findings),
    }
    match settings.storage()? {
        Storage::Embedded => {
            directory(&settings.data_dir()?, findings);
            if geteuid().is_root() {
                owners(&settings.data_dir()?, findings);
            }
        }
        Storage::Redis(url) => redis(&url, findings),
    }
    erasures(settings, findings)
}

/// Tasks of commands (to erase messages or to set them aside) that have not been done.
fn erasures(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    // Only in a file that exists: in PostgreSQL the first start makes the table.
    let is_there = matches!(settings.database()?, Database::Sqlite(path) if path.exists());
    // If it can't be read, that has been reported.
    let waiting = || erase::tasks(settings).ok()??.waiting().ok();
    let Some(waiting) = is_there.then(waiting).flatten() else { return Ok(()) };
    if let Some(first) = waiting.first() {
        let since =
            Timestamp::from_second(first.since).map_or_else(|_| first.since.to_string(), |time| time.to_string());
        findings.notes.push(format!(
            "unfinished tasks of commands, to erase messages or to set them aside: {}, the first since {since}; a running \
             server does them within seconds, once nobody is in the room any more",
            waiting.len()
        ));
    }
    Ok(())
}

fn redis(url: &str, findings: &mut Findings) {
    let deployment = match Deployment::parse(url) {
        Ok(deployment) => deployment,
        Err(expected) => return findings.wrong.push(format!("CHAT_STORAGE_URL should be {expected}")),
    };
    match check::check(&deployment) {
        Ok(doubts) => {
            findings.fine.push(format!("{deployment} answers, and takes messages and tokens"));
            findings.notes.extend(doubts);
        }
        Err(fault) => findings.wrong.push(fault.to_string()),
    }
}

fn far_accounts(url: &str, findings: &mut Findings) {
    let shown = redact::without_password(url);
    let tried = Postgres::check(url).map_err(Failure::from).and_then(|accounts| Ok(accounts.probe()?));
    match tried {
        Ok(()) => findings.fine.push(format!("{shown} answers, and its accounts can be read")),
        Err(Failure::Failed(sentence)) => findings.wrong.push(sentence),
        Err(_) => {}
    }
}

fn directory(data_dir: &Path, findings: &mut Findings) {
    // A missing directory will be made at the start, in the nearest directory that exists.
    let existing =
        data_dir.ancestors().find(|dir| dir.exists() && !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !existing.is_dir() {
        findings.wrong.push(format!("DATA_DIR needs {} to be a directory, but it is a file", existing.display()));
    } else if let Err(e) = access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        findings.wrong.push(format!(
            "DATA_DIR is {}, but this user can't write in {}: {e}; choose another or `chown` it",
            data_dir.display(),
            existing.display()
        ));
    } else if existing == data_dir {
        let mut unwritable: Vec<_> = FILES.iter().filter_map(|name| unwritable(&data_dir.join(name))).collect();
        let journal = data_dir.join("journal");
        unwritable.extend(unusable_directory(&journal));
        if unwritable.is_empty() {
            findings.fine.push(format!("{} and its files can be written", data_dir.display()));
            journalled(&journal, findings);
        }
        findings.wrong.extend(unwritable);
    } else {
        findings.notes.push(format!("{} does not exist yet; the first start makes it", data_dir.display()));
    }
}

/// The files that the embedded store writes in `DATA_DIR`. After a start as root they often belong to another user.
const FILES: [&str; 13] = [
    "lock",
    "chat.db",
    "chat.db-wal",
    "chat.db-shm",
    "log.db",
    "log.db-wal",
    "log.db-shm",
    "ledger.db",
    "ledger.db-wal",
    "ledger.db-shm",
    "webhooks.db",
    "webhooks.db-wal",
    "webhooks.db-shm",
];

/// Why an existing file can't be written to, if so.
fn unwritable(path: &Path) -> Option<String> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => None,
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => Some(format!(
            "this user can't write to {}: {e}; `chown` it to the user that the server runs as",
            path.display()
        )),
    }
}

/// Why files can't be made in an existing directory, if so.
fn unusable_directory(path: &Path) -> Option<String> {
    match access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) | Err(Errno::NOENT) => None,
        Err(e) => Some(format!(
            "this user can't make files in {}: {e}; `chown -R` it to the user that the server runs as",
            path.display()
        )),
    }
}

/// Finds files in the data directory that do not belong to the directory's owner.
fn owners(directory: &Path, findings: &mut Findings) {
    let inside = FILES.iter().chain([&SECRET_FILE, &"journal", &"search.db"]).map(|name| directory.join(name));
    findings.wrong.extend(owners::strangers(directory, inside));
    if owners::is_roots(directory) {
        findings.notes.push(format!(
            "you are root, who may do anything, and {} belongs to root: if the server runs as another user, run this as that user",
            directory.display()
        ));
    }
}

/// Reports what is in the journal of messages. It is empty after an orderly shutdown.
fn journalled(directory: &Path, findings: &mut Findings) {
    match journal::read(directory) {
        Ok(replay) if !replay.damaged.is_empty() => findings.notes.push(format!(
            "the journal {} is damaged in {} places: what was there is lost, everything else is not; check the disk",
            directory.display(),
            replay.damaged.len()
        )),
        Ok(replay) if !replay.records.is_empty() => {
            let count = replay.records.len();
            findings.fine.push(format!("the journal {} can be read: {count} entries", directory.display()));
        }
        Ok(_) => {}
        Err(error) => findings.wrong.push(StoreOpenError::from(error).to_string()),
    }
}

fn embedded_accounts(path: &Path, findings: &mut Findings) {
    if !path.exists() {
        findings.notes.push("there are no accounts yet; make one with `propromo-chat account add EMAIL`".into());
        return;
    }
    let count = || -> Result<usize, Failure> {
        let store = SqliteAccounts::open(path)?;
        store.probe()?;
        Ok(store.accounts()?.len())
    };
    match count() {
        Ok(0) => {
            findings.notes.push("there are no accounts yet; make one with `propromo-chat account add EMAIL`".into())
        }
        Ok(n) => findings.fine.push(format!("{} holds {n} account{}", path.display(), if n == 1 { "" } else { "s" })),
        Err(Failure::Failed(sentence)) => findings.wrong.push(sentence),
        Err(_) => {}
    }
}

fn listen(setting: &Setting, address: SocketAddr, findings: &mut Findings) {
    let name = setting.name;
    match TcpListener::bind(address) {
        Ok(_) => findings.fine.push(format!("{address} is free")),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            findings.notes.push(format!("something listens on {address} already; perhaps this server is running"));
        }
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => findings.wrong.push(format!(
            "this user may not listen on {address}: {e}; choose a {name} port above 1023, or give CAP_NET_BIND_SERVICE"
        )),
        Err(e) => {
            findings.wrong.push(format!("{address} can't be listened on: {e}; is {name} an address of this machine?"))
        }
    }
}

/// Checks whether the socket of a proxy can be made, without making it.
fn unix_socket(path: &Path, findings: &mut Findings) {
    let shown = path.display();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            findings.wrong.push(format!("LISTEN needs {shown} to be a socket or nothing, but something else is there"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            findings.notes.push(format!("something listens on unix:{shown} already; perhaps this server is running"));
        }
        _ => match access(directory, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => findings.fine.push(format!("unix:{shown} can be made")),
            Err(e) => findings.wrong.push(format!("LISTEN needs a socket in {}: {e}", directory.display())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_that_is_a_file_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut findings = Findings::default();
        directory(&file.path().join("data"), &mut findings);
        assert!(findings.wrong[0].contains("but it is a file"));
    }

    #[test]
    fn a_file_that_can_not_be_written_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut findings = Findings::default();
        directory(dir.path(), &mut findings);
        assert!(findings.wrong.is_empty(), "{:?}", findings.wrong);
        // A directory in place of a file, since root may write to any file.
        std::fs::create_dir(dir.path().join("log.db")).unwrap();
        directory(dir.path(), &mut findings);
        assert!(findings.wrong[0].contains("log.db") && findings.wrong[0].contains("chown"), "{:?}", findings.wrong);
    }

    #[test]
    fn what_is_wrong_with_a_journal_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal");
        std::fs::create_dir(&journal).unwrap();
        let segment = journal.join(format!("{:016x}.journal", 1));
        let looked = |bytes: &[u8]| {
            std::fs::write(&segment, bytes).unwrap();
            let mut findings = Findings::default();
            directory(dir.path(), &mut findings);
            findings
        };
        let damaged = looked(&[7; 300]);
        assert!(damaged.notes[0].contains("is damaged"), "{:?}", damaged.notes);
        let mut newer = [b"PPCJ".as_slice(), &99u32.to_le_bytes(), &[0; 4]].concat();
        newer.extend(crc32c::crc32c(&newer).to_le_bytes());
        let newer = looked(&newer);
        assert!(newer.wrong[0].contains("newer propromo-chat"), "{:?}", newer.wrong);
    }

    #[test]
    fn a_data_directory_that_is_yet_to_be_made_is_no_fault() {
        let parent = tempfile::tempdir().unwrap();
        let mut findings = Findings::default();
        directory(&parent.path().join("a/b"), &mut findings);
        assert!(findings.wrong.is_empty() && findings.notes.len() == 1);
    }

    #[test]
    fn an_address_in_use_is_no_fault() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut findings = Findings::default();
        listen(&LISTEN, taken.local_addr().unwrap(), &mut findings);
        assert!(findings.wrong.is_empty() && findings.notes[0].contains("perhaps this server is running"));
    }
}
