//! `check` tries the stores and says soon, in plain words, what is wrong and what to do.

use std::{
    fs,
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};
use support::{
    Server, free_address,
    postgres::{self, OWNER, PASSWORD},
    redis::Redis,
    server::Setup,
    tls::Certified,
};

/// Longer than any answer takes, and as long as a start waits for its stores.
const SOON: Duration = Duration::from_secs(30);

/// What `check` says, and its exit code.
#[track_caller]
fn check(setup: &Setup) -> (Option<i32>, String) {
    let start = Instant::now();
    let output = setup.run(&["check"]);
    let told = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    assert!(start.elapsed() < SOON, "it took {:?}:\n{told}", start.elapsed());
    (output.status.code(), told)
}

fn with_redis(url: &str) -> Setup {
    Server::with().env("CHAT_STORAGE_URL", url)
}

#[track_caller]
fn is_wrong(setup: &Setup, words: &[&str]) {
    let (code, told) = check(setup);
    assert_eq!(code, Some(1), "{told}");
    let line =
        told.lines().find(|line| line.starts_with("wrong: ")).unwrap_or_else(|| panic!("nothing is wrong:\n{told}"));
    for word in words {
        assert!(line.contains(word), "no \"{word}\" in: {line}");
    }
}

#[test]
fn a_redis_that_can_be_used_is_well() {
    let redis = Redis::start();
    let (code, told) = check(&with_redis(&redis.url()));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("answers, and takes messages and tokens") && !told.contains("note: Redis"), "{told}");
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let redis = Redis::start();
    redis.configure("requirepass", "right");
    let url = format!("redis://:wrong-secret@127.0.0.1:{}", redis.port);
    is_wrong(&with_redis(&url), &["refuses the login", "are user and password in CHAT_STORAGE_URL right"]);
    assert!(!check(&with_redis(&url)).1.contains("wrong-secret"));
    is_wrong(&with_redis(&redis.url()), &["NOAUTH", "it wants a login"]);
}

#[test]
fn a_host_where_nobody_listens_or_that_does_not_exist_is_told() {
    let free = free_address();
    is_wrong(&with_redis(&format!("redis://{free}")), &["is Redis running, and are host and port right"]);
    is_wrong(&with_redis("redis://no-such-host.invalid"), &["is the host's name right"]);
}

#[test]
fn a_server_that_says_nothing_is_given_up_soon() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", silent.local_addr().expect("its number"));
    is_wrong(&with_redis(&url), &["does not answer within 2 s"]);
}

#[test]
fn a_database_that_there_is_not_is_told() {
    let redis = Redis::start();
    is_wrong(&with_redis(&format!("{}/99", redis.url())), &["is there such a database number"]);
}

#[test]
fn a_replica_is_told_from_its_master() {
    let redis = Redis::start();
    redis.follow("127.0.0.1", "1");
    is_wrong(&with_redis(&redis.url()), &["READONLY", "name its master"]);
}

#[test]
fn a_user_without_the_rights_is_told() {
    let redis = Redis::start();
    let mut acl = redis::cmd("ACL");
    acl.arg(&["SETUSER", "chat", "on", ">pass", "~propromo:*", "resetchannels", "+@all", "-@admin", "-@dangerous"]);
    redis.ask::<()>(acl).expect("a user can be made");
    let url = format!("redis://chat:pass@127.0.0.1:{}", redis.port);
    is_wrong(&with_redis(&url), &["NOPERM", "docs/DEPLOYMENT.md"]);
}

#[test]
fn a_user_who_lacks_a_command_or_a_key_of_scripts_is_told() {
    for (n, rights) in
        ["~* &* +@all -@stream", "~* &* +@all -hset", "~* &* +@all -xrange", "~other:* &* +@all", "~* +@all"]
            .into_iter()
            .enumerate()
    {
        let redis = Redis::start();
        let mut acl = redis::cmd("ACL");
        let user = format!("chat{n}");
        acl.arg(&["SETUSER", &user, "on", ">pass", "resetchannels"]);
        for right in rights.split(' ') {
            acl.arg(right);
        }
        redis.ask::<()>(acl).expect("a user can be made");
        let url = format!("redis://{user}:pass@127.0.0.1:{}", redis.port);
        is_wrong(&with_redis(&url), &["docs/DEPLOYMENT.md"]);
        let mut keys = redis::cmd("KEYS");
        keys.arg("*:ref:*");
        assert!(redis.ask::<Vec<String>>(keys).expect("the keys").is_empty(), "{rights}");
    }
}

#[test]
fn the_user_of_the_documents_may_do_all() {
    let redis = Redis::start();
    let documents = include_str!("../../docs/DEPLOYMENT.md");
    let line = documents.lines().find_map(|line| line.strip_prefix("ACL ")).expect("the ACL line");
    let mut acl = redis::cmd("ACL");
    for word in line.replace("PASSWORD", "pass").split(' ') {
        acl.arg(word);
    }
    redis.ask::<()>(acl).expect("a user can be made");
    let (code, told) = check(&with_redis(&format!("redis://chat:pass@127.0.0.1:{}", redis.port)));
    assert_eq!(code, Some(0), "{told}");
    let mut keys = redis::cmd("KEYS");
    keys.arg("*");
    let left = redis.ask::<Vec<String>>(keys).expect("the keys");
    assert!(left.iter().all(|key| key.ends_with(":probe")), "{left:?}");
}

#[test]
fn a_password_of_redis_is_never_shown() {
    let redis = Redis::start();
    redis.configure("requirepass", "s3cret");
    let at = format!("127.0.0.1:{}", redis.port);
    for url in [
        format!("redis://s3cret@{at}"),
        format!("redis://:s3cret@{at}"),
        format!("redis://:wrong?s3cret@{at}"),
        format!("redis://{at}?pass=s3cret"),
        format!("redis://{at}?pass=s3cret@x"),
        format!("redis://{at}?s3cret@x"),
        format!("redis://s3cret@{at}/x"),
        format!("redis://:s3cret@{at}?color=red"),
        "redis:s3cret@host".to_owned(),
    ] {
        let setup = with_redis(&url);
        let (_, told) = check(&setup);
        assert!(!told.contains("s3cret"), "{url}:\n{told}");
        let told = setup.run(&["migrate"]);
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(!told.contains("s3cret"), "{url}:\n{told}");
    }
}

#[test]
fn the_oldest_redis_is_well_and_an_older_one_is_told() {
    let (code, told) = check(&with_redis(&Redis::oldest().url()));
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn a_cluster_without_sharded_channels_is_noted() {
    let (code, told) = check(&with_redis(&support::redis::Cluster::oldest().url()));
    assert_eq!(code, Some(0), "{told}");
    let is_noted = |line: &str| line.starts_with("note: ") && line.contains("no sharded channels");
    assert!(told.lines().any(is_noted), "{told}");
}

#[test]
fn a_redis_that_forgets_is_noted() {
    let redis = Redis::start();
    redis.configure("appendonly", "no");
    redis.configure("maxmemory", "100mb");
    redis.configure("maxmemory-policy", "allkeys-lru");
    let (code, told) = check(&with_redis(&redis.url()));
    assert_eq!(code, Some(0), "{told}");
    for doubt in ["no append-only file", "maxmemory-policy noeviction"] {
        assert!(told.lines().any(|line| line.starts_with("note: ") && line.contains(doubt)), "{doubt}:\n{told}");
    }
}

#[test]
fn the_wrong_kind_of_redis_is_told() {
    let one = Redis::start();
    is_wrong(&with_redis(&format!("redis+cluster://127.0.0.1:{}", one.port)), &["it is no cluster; use redis://"]);
    is_wrong(&with_redis(&format!("redis+sentinel://127.0.0.1:{}/chat", one.port)), &["it is no sentinel"]);
    let cluster = support::redis::Cluster::start();
    is_wrong(&with_redis(&cluster.servers[0].url()), &["use redis+cluster://"]);
}

#[test]
fn tls_where_there_is_none_and_none_where_there_is_are_told() {
    let plain = Redis::start();
    is_wrong(&with_redis(&format!("rediss://127.0.0.1:{}", plain.port)), &["does not speak TLS there; use redis://"]);

    let made = tempfile::tempdir().expect("a directory");
    let output = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem".split(' '))
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .current_dir(made.path())
        .output()
        .expect("openssl can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (cert, key) = (made.path().join("cert.pem"), made.path().join("key.pem"));
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let port = free_address().port();
    let _secure = Redis::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    is_wrong(&with_redis(&format!("redis://127.0.0.1:{port}")), &["it speaks TLS there; use rediss://"]);
    is_wrong(&with_redis(&format!("rediss://localhost:{port}")), &["its certificate is not believed", "?ca="]);
}

#[test]
fn postgresql_in_the_place_of_redis_is_told() {
    let cluster = postgres::Cluster::shared();
    is_wrong(&with_redis(&format!("redis://127.0.0.1:{}", cluster.port())), &["it is PostgreSQL", "DATABASE_URL"]);
}

#[test]
fn a_redis_that_asks_for_a_certificate_is_shown_one() {
    let made = tempfile::tempdir().expect("a directory");
    let own = Certified::make(made.path(), "redis");
    let (cert, key) = (own.certificate.display().to_string(), own.key.display().to_string());
    let port = free_address().port();
    let tls = ["--tls-port", &port.to_string(), "--tls-cert-file", &cert, "--tls-key-file", &key];
    let asking = ["--tls-ca-cert-file", &cert, "--tls-auth-clients", "yes"];
    let _secure = Redis::with(&[&tls[..], &asking[..]].concat());
    let url = format!("rediss://localhost:{port}?ca={cert}");
    let (code, told) = check(&with_redis(&format!("{url}&cert={cert}&key={key}")));
    assert!(code == Some(0) && told.contains("takes messages and tokens"), "{told}");
    is_wrong(&with_redis(&url), &["asks for a certificate", "cert=", "key="]);
    let (code, told) = check(&with_redis(&format!("{url}&cert={cert}")));
    assert!(code == Some(2) && told.contains("both cert and key"), "{told}");
}

#[test]
fn with_postgresql_away_it_answers_soon() {
    let free = free_address();
    let redis = Redis::start();
    let setup = with_redis(&redis.url()).env("DATABASE_URL", format!("postgres://{OWNER}:{PASSWORD}@{free}/chat"));
    is_wrong(&setup, &["can't use the database", "refused"]);
}

#[test]
fn a_wrong_password_of_postgresql_is_told_and_not_shown() {
    let cluster = postgres::Cluster::shared();
    let url = cluster.database().url_of(OWNER, "wrong-secret");
    let setup = Server::with().env("DATABASE_URL", url);
    is_wrong(&setup, &["password authentication failed"]);
    assert!(!check(&setup).1.contains("wrong-secret"));
}

#[test]
fn a_database_without_propromos_tables_is_told() {
    let cluster = postgres::Cluster::shared();
    let database = cluster.database();
    database.sql("DROP TABLE monitor_user; DROP TABLE monitors; DROP TABLE users");
    is_wrong(&Server::with().env("DATABASE_URL", database.url()), &["users", "is this Propromo's database"]);
}

#[test]
fn a_role_that_may_not_make_the_schema_is_told_how_it_may() {
    let cluster = postgres::Cluster::shared();
    let database = cluster.database();
    let url = database.url_of(&database.reader(), PASSWORD);
    is_wrong(&Server::with().env("DATABASE_URL", url), &["CREATE SCHEMA chat AUTHORIZATION"]);
}

#[test]
fn a_file_of_the_embedded_store_that_can_not_be_written_is_told() {
    let setup = Server::with();
    // A directory in its place, since root may write to any file.
    fs::create_dir_all(setup.data_dir().join("ledger.db")).expect("the test's directory is writable");
    is_wrong(&setup, &["ledger.db", "chown"]);
}
