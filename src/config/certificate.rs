//! The server's identity for TLS: the certificate and the key of `TLS_CERT` and `TLS_KEY`.

use super::{
    error::SettingError,
    secret_file::readable_by_others,
    settings::{TLS_CERT, TLS_KEY},
    sources::Settings,
};
use crate::auth::pem::is_pem;
use parking_lot::RwLock;
use rustls::{
    Error, InconsistentKeys,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    fmt,
    fs::File,
    io::Read,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};
use zeroize::Zeroizing;

/// Most bytes of a file: far more than any chain of certificates.
const MAX_FILE: u64 = 1024 * 1024;
/// A certificate that ends sooner should have been renewed by now: most are renewed after two thirds of 90 days.
const RENEW: Duration = Duration::from_hours(14 * 24);

/// The present certificate and key. [`Identity::reload`] replaces them.
pub struct Identity {
    certificate: Pem,
    key: Pem,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Identity {
    /// The identity of the settings, if they name one. Fails if it can't be used.
    pub fn from_settings(settings: &Settings) -> Result<Option<Identity>, SettingError> {
        let (certificate, key) = (Pem::of(settings, true), Pem::of(settings, false));
        let missing = |given: Pem, other| {
            let sentence = format!("{} is given without {other}; TLS needs both", given.setting);
            Err(SettingError(sentence))
        };
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(given), None) => missing(given, TLS_KEY.name),
            (None, Some(given)) => missing(given, TLS_CERT.name),
            (Some(certificate), Some(key)) => {
                let current = RwLock::new(Arc::new(load(&certificate, &key)?));
                Ok(Some(Identity { certificate, key, current }))
            }
        }
    }

    /// Reads the files again. Changes nothing if they can't be used.
    pub fn reload(&self) -> Result<(), SettingError> {
        let new = load(&self.certificate, &self.key)?;
        *self.current.write() = Arc::new(new);
        Ok(())
    }

    /// The present certificate in words: its names, and when it ends.
    pub fn summary(&self) -> String {
        let current = self.current.read().clone();
        match shown(&current) {
            Some(shown) => format!("for {}, until {}", shown.names.join(", "), day(shown.until)),
            None => "which can't be described".to_owned(),
        }
    }

    /// When the present certificate ends.
    pub fn until(&self) -> Option<SystemTime> {
        shown(&self.current.read().clone()).map(|shown| shown.until)
    }

    /// One sentence for each reason why clients may refuse the present certificate, or why others may use its key.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let current = self.current.read().clone();
        if let Some(shown) = shown(&current) {
            doubts.extend(
                in_time(shown.from, shown.until, SystemTime::now()).map(|what| format!("{} {what}", self.certificate)),
            );
        }
        if let Source::File(path) = &self.key.source
            && readable_by_others(path)
        {
            doubts.push(format!("every user of this machine can read {}; chmod 600 it", self.key));
        }
        doubts
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().clone())
    }
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, {})", self.certificate, self.key)
    }
}

/// PEM text, and the name to use for it in errors.
struct Pem {
    setting: String,
    source: Source,
}

enum Source {
    /// In the setting itself. An environment can't change, so neither can this.
    Text(Zeroizing<String>),
    File(PathBuf),
}

impl Pem {
    fn of(settings: &Settings, certificate: bool) -> Option<Pem> {
        let setting = if certificate { &TLS_CERT } else { &TLS_KEY };
        let text = settings.text(setting)?;
        let source = if is_pem(text) {
            // An environment file puts PEM on one line.
            Source::Text(Zeroizing::new(text.replace("\\n", "\n")))
        } else {
            Source::File(text.into())
        };
        Some(Pem { setting: settings.name_of(setting), source })
    }

    fn read(&self) -> Result<Zeroizing<Vec<u8>>, SettingError> {
        match &self.source {
            Source::Text(text) => Ok(Zeroizing::new(text.as_bytes().to_vec())),
            Source::File(path) => {
                let fail = |why: &dyn fmt::Display| SettingError(format!("{self} can't be read: {why}"));
                let mut pem = Zeroizing::new(Vec::new());
                let file = File::open(path).map_err(|error| fail(&error))?;
                file.take(MAX_FILE + 1).read_to_end(&mut pem).map_err(|error| fail(&error))?;
                if pem.len() as u64 > MAX_FILE {
                    return Err(fail(&"it is too large to be PEM"));
                }
                Ok(pem)
            }
        }
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Text(_) => f.write_str(&self.setting),
            Source::File(path) => write!(f, "{} ({})", self.setting, path.display()),
        }
    }
}

fn load(certificate: &Pem, key: &Pem) -> Result<CertifiedKey, SettingError> {
    let chain = CertificateDer::pem_slice_iter(&certificate.read()?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| SettingError(format!("{certificate} is no PEM: {error}")))?;
    if chain.is_empty() {
        return Err(SettingError(format!(
            "{certificate} holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`); give the chain, the server's own first"
        )));
    }
    let pem = key.read()?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let advice = if pem.windows(9).any(|nine| nine == b"ENCRYPTED") {
            "is encrypted, and nobody can be asked for its passphrase at a restart; decrypt it with `openssl pkey -in KEY -out PLAIN`"
        } else {
            "holds no private key in PEM (`-----BEGIN PRIVATE KEY-----`)"
        };
        SettingError(format!("{key} {advice}"))
    })?;
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => SettingError(format!(
            "{key} is not the key of {certificate}, whose first certificate must be the server's own"
        )),
        error => SettingError(format!("{certificate} and {key} can't be used: {error}")),
    })
}

/// The facts about a certificate that people ask for.
struct Shown {
    names: Vec<String>,
    from: SystemTime,
    until: SystemTime,
}

/// `None` for a certificate that rustls can read and x509-cert can't.
fn shown(certified: &CertifiedKey) -> Option<Shown> {
    let certificate = Certificate::from_der(certified.end_entity_cert().ok()?).ok()?;
    let certificate = certificate.tbs_certificate();
    let alternatives = certificate.get_extension::<SubjectAltName>().ok().flatten();
    let names = alternatives.iter().flat_map(|(_, names)| &names.0).filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(address) => ip(address.as_bytes()),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    if names.is_empty() {
        names.push("no host".to_owned());
    }
    let validity = certificate.validity();
    Some(Shown { names, from: validity.not_before.to_system_time(), until: validity.not_after.to_system_time() })
}

fn ip(bytes: &[u8]) -> Option<String> {
    let v4 = || Some(<[u8; 4]>::try_from(bytes).ok()?.into());
    let v6 = || Some(<[u8; 16]>::try_from(bytes).ok()?.into());
    v4().or_else(v6).map(|address: std::net::IpAddr| address.to_string())
}

/// What is wrong with a certificate's period, as the end of a sentence that begins with its name.
fn in_time(from: SystemTime, until: SystemTime, now: SystemTime) -> Option<String> {
    if now < from {
        Some(format!("is valid from {} only; clients refuse it until then (is the clock right?)", day(from)))
    } else if now > until {
        Some(format!("has expired on {}; clients refuse it: renew it, then send SIGHUP", day(until)))
    } else if now + RENEW > until {
        Some(format!("expires on {}; renew it, then send SIGHUP", day(until)))
    } else {
        None
    }
}

fn day(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map_or_else(|_| "a day past all calendars".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_doubted_before_its_time_near_its_end_and_after_it() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 20_000);
        let day = Duration::from_hours(24);
        let doubt = |from, until| in_time(from, until, now).unwrap_or_default();
        assert_eq!(doubt(now - day, now + 15 * day), "");
        assert!(doubt(now - day, now + 13 * day).starts_with("expires on 2024-10-17;"));
        assert!(doubt(now - 2 * day, now - day).starts_with("has expired on 2024-10-03;"));
        assert!(doubt(now + day, now + 90 * day).starts_with("is valid from 2024-10-05 only;"));
    }

    #[test]
    fn an_address_is_written_as_people_write_it() {
        assert_eq!(ip(&[127, 0, 0, 1]).as_deref(), Some("127.0.0.1"));
        assert_eq!(ip(&[0; 16]).as_deref(), Some("::"));
        assert_eq!(ip(&[1, 2, 3]), None);
    }
}
