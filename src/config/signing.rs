//! The keys that sign tokens: those of the settings, or a secret that is made once and kept in `DATA_DIR`.

use super::{
    error::SettingError,
    mistaken::Mistake,
    secret_file::readable_by_others,
    settings::{JWT_OLD_KEYS, JWT_PASSPHRASE, JWT_PRIVATE_KEY, JWT_PUBLIC_KEY},
    sources::Settings,
};
use crate::auth::keys::{Keyring, error::KeyError};
use std::{
    fs::{self, DirBuilder},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

/// Asks the person who starts the server for the passphrase of its key.
pub type PassphraseSource<'a> = dyn FnMut() -> Result<String, KeyError> + 'a;

/// The file of the generated secret in `DATA_DIR`.
pub const SECRET_FILE: &str = "jwt_secret";

/// The keys in use. Outside a demo the demo keys, which everybody knows, are refused.
pub fn keyring(
    settings: &Settings,
    data_dir: &Path,
    demo: bool,
    ask: &mut PassphraseSource<'_>,
) -> Result<Keyring, SettingError> {
    let Some(private) = settings.text(&JWT_PRIVATE_KEY) else {
        let path = data_dir.join(SECRET_FILE);
        let fail = |e: &dyn std::fmt::Display| {
            SettingError(format!(
                "no JWT_PRIVATE_KEY is given, and the generated one in {} can't be used: {e}",
                path.display()
            ))
        };
        let secret = kept_secret(&path).map_err(|e| fail(&e))?;
        let keys = Keyring::from_settings(&secret, None, ask).map_err(|e| fail(&e))?;
        return with_old_keys(keys, settings, demo);
    };
    if let Some(error) = [&JWT_PRIVATE_KEY, &JWT_PUBLIC_KEY].into_iter().find_map(|key| settings.mistaken(key)) {
        return Err(error);
    }
    let public = settings.text(&JWT_PUBLIC_KEY).map(unfolded);
    let mut passphrase = || match settings.text(&JWT_PASSPHRASE) {
        Some(passphrase) => Ok(passphrase.to_owned()),
        None => ask(),
    };
    let name = settings.name_of(&JWT_PRIVATE_KEY);
    let keys = Keyring::from_settings(&unfolded(private), public.as_deref(), &mut passphrase)
        .map_err(|e| SettingError(format!("{name} can't be used: {e}")))?;
    refuse_demo_keys(&keys, demo, &name)?;
    with_old_keys(keys, settings, demo)
}

/// Adds the earlier keys, until their last tokens have expired.
fn with_old_keys(keys: Keyring, settings: &Settings, demo: bool) -> Result<Keyring, SettingError> {
    let Some(old) = settings.text(&JWT_OLD_KEYS).map(unfolded) else { return Ok(keys) };
    let name = settings.name_of(&JWT_OLD_KEYS);
    if let Some(mistake) = separate(&old).into_iter().find_map(Mistake::in_secret) {
        return Err(SettingError(format!("{name} {}", mistake.sentence(JWT_OLD_KEYS.name))));
    }
    let keys = keys.with_old_keys(&separate(&old)).map_err(|e| SettingError(format!("{name} can't be used: {e}")))?;
    refuse_demo_keys(&keys, demo, &name)?;
    Ok(keys)
}

/// Splits keys that follow each other: PEM texts with all their lines, secrets separated by white space.
fn separate(text: &str) -> Vec<&str> {
    const END: &str = "-----END ";
    if !text.contains("-----BEGIN") {
        return text.split_whitespace().collect();
    }
    let mut keys = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        // A key ends with the dashes of its last line. If there is no such line, the keyring refuses the text.
        let end = rest.find(END).and_then(|end| {
            let label = end + END.len();
            Some(label + rest[label..].find("-----")? + 5)
        });
        let (key, behind) = rest.split_at(end.unwrap_or(rest.len()));
        keys.push(key);
        rest = behind.trim();
    }
    keys
}

fn refuse_demo_keys(keys: &Keyring, demo: bool, name: &str) -> Result<(), SettingError> {
    if keys.is_demo() && !demo {
        return Err(SettingError(format!(
            "{name} is the demo key, which everybody can download; make your own with `propromo-chat keys`, or start with --demo"
        )));
    }
    Ok(())
}

/// PEM text with its line breaks: an environment file puts it on one line, with `\n` for line ends.
fn unfolded(text: &str) -> String {
    if text.contains("-----BEGIN") && !text.contains('\n') { text.replace("\\n", "\n") } else { text.to_owned() }
}

/// Reads the secret at `path`. Makes it first if there is none.
fn kept_secret(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => create_secret(path)?,
        other => drop(other?),
    }
    if readable_by_others(path) {
        tracing::warn!("every user of this machine can read {}, the key of all tokens; chmod 600 it", path.display());
    }
    // Read again even if it was just made: another process may have been faster.
    let secret = fs::read_to_string(path)?.trim().to_owned();
    if secret.is_empty() {
        return Err(io::Error::other("the file is empty; remove it to have a new one made"));
    }
    Ok(secret)
}

/// Writes a new secret completely or not at all, and never over another one.
fn create_secret(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Made with mode 0600, and linked into place only after its content is on the disk.
    let mut file = tempfile::Builder::new().prefix(".jwt_secret").tempfile_in(directory)?;
    writeln!(file, "{}", Keyring::generate_secret())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e.error),
        Ok(_) => fs::File::open(directory)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::Sources;
    use super::*;
    use std::{os::unix::fs::PermissionsExt, thread};

    fn keys(environment: &[(&str, &str)], data_dir: &Path, demo: bool) -> Result<Keyring, SettingError> {
        let environment = environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let settings = Settings::resolve(&Sources { environment, ..Sources::default() }).unwrap();
        keyring(&settings, data_dir, demo, &mut || Err(KeyError("asked".into())))
    }

    #[test]
    fn a_generated_secret_is_kept_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data").join(SECRET_FILE);
        let first = kept_secret(&path).unwrap();
        assert_eq!(kept_secret(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn processes_that_start_together_agree_on_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SECRET_FILE);
        let secrets: Vec<_> = thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| kept_secret(&path).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }

    #[test]
    fn an_empty_secret_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(SECRET_FILE), "\n").unwrap();
        assert!(keys(&[], directory.path(), false).err().unwrap().to_string().contains("is empty"));
    }

    #[test]
    fn a_key_that_cannot_be_read_is_named_and_not_shown() {
        let broken = "-----BEGIN PRIVATE KEY-----\\nc2VjcmV0\\n-----END PRIVATE KEY-----";
        let error = keys(&[("JWT_PRIVATE_KEY", broken)], Path::new("/nowhere"), false).err().unwrap().to_string();
        assert!(error.starts_with("JWT_PRIVATE_KEY in the environment can't be used: "), "{error}");
        assert!(!error.contains("c2VjcmV0"), "{error}");
    }

    #[test]
    fn the_demo_keys_serve_a_demo_only() {
        let secret = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/dummy/keys/demo.secret")).unwrap();
        let environment = [("JWT_PRIVATE_KEY", secret.trim())];
        assert!(keys(&environment, Path::new("/nowhere"), true).is_ok());
        let error = keys(&environment, Path::new("/nowhere"), false).err().unwrap().to_string();
        assert!(error.contains("is the demo key") && !error.contains(secret.trim()), "{error}");
    }

    #[test]
    fn several_earlier_keys_are_told_apart() {
        let pem = |name: &str| format!("-----BEGIN {name}-----\nAA\n-----END {name}-----");
        let both = format!("\n{}\n{}\n", pem("PUBLIC KEY"), pem("RSA PUBLIC KEY"));
        assert_eq!(separate(&both), [pem("PUBLIC KEY"), pem("RSA PUBLIC KEY")]);
        assert_eq!(separate("one\ntwo "), ["one", "two"]);
        assert_eq!(separate("-----BEGIN X-----"), ["-----BEGIN X-----"]);
    }

    #[test]
    fn a_pem_key_on_one_line_gets_its_lines_back() {
        assert_eq!(unfolded("-----BEGIN X-----\\nAA\\n-----END X-----"), "-----BEGIN X-----\nAA\n-----END X-----");
        assert_eq!(unfolded("no\\npem"), "no\\npem");
    }
}
