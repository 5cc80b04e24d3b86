//! The forms of `CHAT_STORAGE_URL` that name a Redis deployment.
//!
//! | form | what |
//! |---|---|
//! | `redis://[user[:password]@]host[:6379][/db]` | one server |
//! | `rediss://…[?ca=/path/of/ca.pem]` | the same over TLS; `ca`: the authority that signed its certificate, unless it is a public one; `cert` and `key`: this client's own certificate and key |
//! | `redis+unix:///path/of/socket[?db=N&user=…&pass=…]` | one server on this machine |
//! | `redis+cluster://[user[:password]@]host[:6379],host…` | a cluster; the program finds the other servers from any of these |
//! | `redis+sentinel://[user[:password]@]host[:26379],host…/name[/db]` | the master that these sentinels call `name` |
//!
//! `rediss+cluster` and `rediss+sentinel` are the same over TLS. For sentinels that have their own password:
//! `?sentinel_user=…&sentinel_pass=…`. User and password are percent-encoded (RFC 3986 §2.1).

use crate::redact::without_password;
use percent_encoding::percent_decode_str;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
};
use std::{fmt, path::PathBuf, time::Duration};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// How long a server may leave unconfirmed what is sent to it. Then the connection ends. Without this, the system would
/// send it again for a quarter of an hour, ever more rarely, and not notice when a fault is over.
const UNHEARD: Duration = Duration::from_secs(3);

/// A Redis deployment as its URL describes it.
#[derive(Clone)]
pub struct Deployment {
    pub(super) layout: Layout,
    /// User, password and database number for the servers.
    login: RedisConnectionInfo,
    sentinel_login: RedisConnectionInfo,
    tls: Option<Tls>,
    /// The URL without its password, for logs.
    shown: String,
}

#[derive(Clone)]
pub(super) enum Layout {
    One(Host),
    Cluster(Vec<Host>),
    Sentinel { sentinels: Vec<Host>, master: String },
}

/// An address that nothing has connected to yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Host {
    Tcp(String, u16),
    Unix(PathBuf),
}

#[derive(Clone, Default)]
struct Tls {
    /// PEM text of the trusted authorities; `None`: the ones that this machine trusts.
    authorities: Option<Vec<u8>>,
    /// This client's certificate chain and key, as PEM text.
    own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    fn read([ca, cert, key]: [Option<&str>; 3]) -> Result<Tls, String> {
        let own = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((pem_file("cert", cert)?, pem_file("key", key)?)),
            _ => return Err("rediss:// with both cert and key, or neither".into()),
        };
        Ok(Tls { authorities: ca.map(ca_file).transpose()?, own })
    }
}

impl Deployment {
    /// Reads a URL and the files that it names. The error is a sentence about what is wrong.
    pub fn parse(url: &str) -> Result<Deployment, String> {
        let (scheme, rest) = url.split_once("://").ok_or("a redis:// or rediss:// URL")?;
        let scheme = scheme.to_ascii_lowercase();
        let (base, kind) = scheme.split_once(['+', '-']).unwrap_or((&scheme, ""));
        let (rest, all) = rest.split_once('?').unwrap_or((rest, ""));
        let query: Vec<(String, String)> = form_urlencoded::parse(all.as_bytes()).into_owned().collect();
        let parameter = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        for (name, _) in &query {
            let known =
                ["ca", "cert", "key", "db", "user", "pass", "sentinel_user", "sentinel_pass"].contains(&name.as_str());
            if !known && all.contains('@') {
                // The host follows the last `@`: everything before it is a password, or part of one.
                return Err(
                    "a Redis URL whose user and password are percent-encoded: ? is %3F, / is %2F, @ is %40".into()
                );
            }
            if !known {
                return Err(format!("a Redis URL with parameters it knows; {} is none of them", name.escape_debug()));
            }
        }
        let files = ["ca", "cert", "key"].map(parameter);
        let tls = match base {
            "redis" if files.iter().all(Option::is_none) => None,
            "redis" => return Err("rediss://, if it names a CA file or a certificate".into()),
            "rediss" => Some(Tls::read(files)?),
            _ => return Err("a redis:// or rediss:// URL".into()),
        };
        let (user_info, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        let mut login = login(user_info, parameter("user"), parameter("pass"))?;
        let (layout, db) = match kind {
            "" => match &hosts_of(hosts, PORT)?[..] {
                [host] => (Layout::One(host.clone()), path),
                _ => return Err("redis+cluster:// or redis+sentinel://, if it names several hosts".into()),
            },
            "unix" if tls.is_none() && hosts.is_empty() && !path.is_empty() => {
                (Layout::One(Host::Unix(PathBuf::from(format!("/{}", decoded(path)?)))), "")
            }
            "cluster" if path.is_empty() => (Layout::Cluster(hosts_of(hosts, PORT)?), ""),
            "sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err("redis+sentinel://HOST,HOST/NAME, with the name of the master".into());
                }
                let layout = Layout::Sentinel { sentinels: hosts_of(hosts, SENTINEL_PORT)?, master: decoded(master)? };
                (layout, db)
            }
            _ => return Err("redis://, rediss://, redis+unix:///PATH, redis+cluster:// or redis+sentinel://".into()),
        };
        let db = if db.is_empty() { parameter("db").unwrap_or("0") } else { db };
        let db = db.parse::<u16>().map_err(|_| "a Redis URL that ends with the number of a database".to_owned())?;
        if db != 0 && matches!(layout, Layout::Cluster(_)) {
            return Err("a cluster without a database number: it has one database only".into());
        }
        login = login.set_db(db.into());
        let sentinel_login = self::login(None, parameter("sentinel_user"), parameter("sentinel_pass"))?;
        Ok(Deployment { layout, login, sentinel_login, tls, shown: without_password(url) })
    }

    pub(super) fn uses_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn db(&self) -> i64 {
        self.login.db()
    }

    /// A client that connects to one of the deployment's servers.
    pub(super) fn client(&self, host: &Host) -> redis::RedisResult<Client> {
        self.client_with(host, &self.login)
    }

    pub(super) fn sentinel_client(&self, host: &Host) -> redis::RedisResult<Client> {
        self.client_with(host, &self.sentinel_login)
    }

    fn client_with(&self, host: &Host, login: &RedisConnectionInfo) -> redis::RedisResult<Client> {
        let info = |address: ConnectionAddr| -> redis::RedisResult<ConnectionInfo> {
            let info = address.into_connection_info()?;
            let tcp = info.tcp_settings().clone().set_nodelay(true).set_user_timeout(UNHEARD);
            Ok(info.set_tcp_settings(tcp).set_redis_settings(login.clone()))
        };
        match (host, &self.tls) {
            (Host::Unix(path), _) => Client::open(info(ConnectionAddr::Unix(path.clone()))?),
            (Host::Tcp(host, port), None) => Client::open(info(ConnectionAddr::Tcp(host.clone(), *port))?),
            (Host::Tcp(host, port), Some(tls)) => {
                let (host, port) = (host.clone(), *port);
                let info = info(ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None })?;
                if tls.authorities.is_none() && tls.own.is_none() {
                    return Client::open(info);
                }
                let own = tls.own.clone();
                let client_tls = own.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
                Client::build_with_tls(info, TlsCertificates { client_tls, root_cert: tls.authorities.clone() })
            }
        }
    }
}

/// The URL without its password.
impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp(host, port) => write!(f, "{host}:{port}"),
            Host::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn ca_file(path: &str) -> Result<Vec<u8>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("a URL whose CA file can be read ({path}: {error})"))?;
    if !pem.windows(27).any(|line| line == b"-----BEGIN CERTIFICATE-----") {
        return Err(format!("a URL whose CA file holds a certificate in PEM form; {path} holds none"));
    }
    Ok(pem)
}

fn pem_file(what: &str, path: &str) -> Result<Vec<u8>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("a URL whose {what} file can be read ({path}: {error})"))?;
    if !pem.windows(11).any(|line| line == b"-----BEGIN ") {
        return Err(format!("a URL whose {what} file is in PEM form; {path} is not"));
    }
    Ok(pem)
}

fn login(user_info: Option<&str>, user: Option<&str>, pass: Option<&str>) -> Result<RedisConnectionInfo, String> {
    let (mut name, mut password) = (user.map(str::to_owned), pass.map(str::to_owned));
    if let Some(user_info) = user_info {
        let (user, pass) = user_info.split_once(':').unwrap_or((user_info, ""));
        name = Some(decoded(user)?);
        password = Some(decoded(pass)?);
    }
    let mut login = RedisConnectionInfo::default();
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        login = login.set_username(name);
    }
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        login = login.set_password(password);
    }
    Ok(login)
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "a Redis URL in UTF-8".to_owned())
}

fn hosts_of(text: &str, default_port: u16) -> Result<Vec<Host>, String> {
    text.split(',').map(|host| host_of(host.trim(), default_port)).collect()
}

fn host_of(text: &str, default_port: u16) -> Result<Host, String> {
    let wrong = || "a Redis URL whose hosts look like redis.example.org:6379 or [::1]:6379".to_owned();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || !host.chars().all(known) {
        return Err(wrong());
    }
    let port = if port.is_empty() { default_port } else { port.parse().map_err(|_| wrong())? };
    Ok(Host::Tcp(host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp(host: &str, port: u16) -> Host {
        Host::Tcp(host.into(), port)
    }

    #[test]
    fn one_server_has_a_user_a_password_and_a_database() {
        let deployment = Deployment::parse("redis://chat:p%40ss@cache.internal:6380/3").unwrap();
        let Layout::One(host) = &deployment.layout else { panic!("several") };
        assert_eq!(host, &tcp("cache.internal", 6380));
        let login = &deployment.login;
        assert_eq!((login.username(), login.password(), login.db()), (Some("chat"), Some("p@ss"), 3));
    }

    #[test]
    fn a_password_may_stand_alone() {
        let deployment = Deployment::parse("redis://:secret@h").unwrap();
        assert_eq!((deployment.login.username(), deployment.login.password()), (None, Some("secret")));
    }

    #[test]
    fn a_cluster_is_known_by_any_of_its_servers() {
        for scheme in ["redis+cluster", "redis-cluster", "rediss+cluster"] {
            let deployment = Deployment::parse(&format!("{scheme}://a,b:7001,[::1]:7002")).unwrap();
            let Layout::Cluster(hosts) = deployment.layout else { panic!("no cluster") };
            assert_eq!(hosts, [tcp("a", 6379), tcp("b", 7001), tcp("::1", 7002)]);
        }
    }

    #[test]
    fn sentinels_are_asked_for_a_name() {
        let deployment = Deployment::parse("redis+sentinel://:pw@s1,s2:5000/mymaster/2?sentinel_pass=other").unwrap();
        let Layout::Sentinel { sentinels, master } = &deployment.layout else { panic!("no sentinels") };
        assert_eq!((&sentinels[..], master.as_str()), (&[tcp("s1", 26379), tcp("s2", 5000)][..], "mymaster"));
        assert_eq!(deployment.db(), 2);
        assert_eq!((deployment.login.password(), deployment.sentinel_login.password()), (Some("pw"), Some("other")));
    }

    #[test]
    fn a_socket_is_a_server_too() {
        let deployment = Deployment::parse("redis+unix:///run/redis/redis.sock?db=1&user=u&pass=p").unwrap();
        let Layout::One(host) = &deployment.layout else { panic!("several") };
        assert_eq!(host, &Host::Unix("/run/redis/redis.sock".into()));
        assert_eq!((deployment.db(), deployment.login.password()), (1, Some("p")));
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for url in [
            "redis:h",
            "http://h",
            "redis://",
            "redis://a,b",
            "redis://h/x",
            "redis://h?tls=on",
            "redis://h?ca=/etc/ca.pem",
            "redis://h:port",
            "redis+cluster://a/1",
            "redis+sentinel://a",
            "redis+unix://",
            "rediss://h?ca=/there/is/no/such/file",
            "redis://h?cert=/etc/cert.pem&key=/etc/key.pem",
            "rediss://h?cert=/there/is/no/such/file",
        ] {
            assert!(Deployment::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = Deployment::parse("redis+cluster://u:secret@a,b").unwrap().to_string();
        assert_eq!(shown, "redis+cluster://u:***@a,b");
    }

    #[test]
    fn no_part_of_a_password_is_in_what_is_wrong() {
        for url in ["redis://:pa?s3cret@h", "redis://u:p/x?s3cret&a=b@h:port"] {
            let wrong = Deployment::parse(url).err().unwrap();
            assert!(!wrong.contains("s3cret") && wrong.contains("percent-encoded"), "{wrong}");
        }
        assert_eq!(Deployment::parse("redis://s3cret@h").unwrap().to_string(), "redis://***@h");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(redis|rediss)?[+]?(cluster|sentinel|unix)?(://)?\\PC*") {
            let _ = Deployment::parse(&text);
        }
    }
}
