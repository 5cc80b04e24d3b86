//! The command line and the settings, as scripts use them.

use std::{fs, os::unix::fs::PermissionsExt, process::Output};
use support::{ALICE, BOB, Claims, Client, DEMO, SECRET, Server, claims_of, now, server::Setup, sign_hs256};

#[track_caller]
fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The command stops with one line that names what is wrong, and exit code 2.
#[track_caller]
fn assert_stops(setup: &Setup, arguments: &[&str], named: &str) {
    let output = setup.run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(named), "{said}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_setting_that_cannot_be_read_stops_the_start_with_one_line() {
    for (name, value) in [
        ("LISTEN", "nowhere"),
        ("MESSAGE_RATE", "lots"),
        ("LOGIN_RATE", "-1"),
        ("HISTORY_ON_JOIN", "1e3"),
        ("MAX_CONNECTIONS", "0"),
        ("MAX_MESSAGE", "16k"),
        ("TOKEN_TTL", "0"),
        ("PING_INTERVAL", "soon"),
        ("ORIGIN_REQUIRED", "perhaps"),
        ("ORIGIN_ALLOWLIST", "https://chat.example/path"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("DURABILITY", "eternal"),
        ("LOG_FORMAT", "xml"),
    ] {
        assert_stops(&Server::with().env(name, value), &["serve", "--demo"], name);
    }
}

#[test]
fn a_flag_that_cannot_be_read_stops_the_start_too() {
    let output = Server::with().run(&["serve", "--demo", "--message-rate", "lots"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--message-rate"));
    assert_eq!(Server::with().run(&["serve", "--no-such-flag"]).status.code(), Some(2));
}

#[test]
fn a_variable_that_is_none_of_ours_is_ignored() {
    Server::with().env("MESSAGE_RATES", "lots").start().join(ALICE, DEMO).say_and_hear("hello");
}

#[test]
fn the_address_is_announced_in_one_line_on_standard_output() {
    let server = Server::start();
    let expected = format!("listening on http://{}", server.address);
    assert_eq!(server.output().lines().filter(|line| line.starts_with("listening on ")).count(), 1);
    assert!(server.output().lines().any(|line| line == expected), "{}", server.output());
}

#[test]
fn an_address_in_use_stops_the_start() {
    let server = Server::start();
    let output = Server::with().env("LISTEN", server.address.to_string()).run(&["serve", "--demo"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&server.address.to_string()));
}

/// How many messages of three a newcomer hears, which tells the setting that is in use.
fn messages_replayed(setup: Setup) -> usize {
    let server = setup.start();
    let mut alice = server.join(ALICE, DEMO);
    for text in ["one", "two", "three"] {
        alice.say_and_hear(text);
    }
    let mut bob = server.join(BOB, DEMO);
    bob.say("the end");
    (0..).take_while(|_| bob.hear_message().text != "the end").count()
}

#[test]
fn a_flag_wins_over_the_environment_which_wins_over_the_file_which_wins_over_the_default() {
    let none = Server::with;
    let file = || none().file(".env", "HISTORY_ON_JOIN=1\n");
    let environment = || file().env("HISTORY_ON_JOIN", "2");
    assert_eq!(messages_replayed(none()), 3);
    assert_eq!(messages_replayed(file()), 1);
    assert_eq!(messages_replayed(environment()), 2);
    assert_eq!(messages_replayed(environment().flag("--history-on-join", "0")), 0);
}

#[test]
fn port_is_a_short_way_to_say_listen() {
    let server = Server::with().without("LISTEN").env("PORT", "0").start();
    assert!(server.address.ip().is_loopback());
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_secret_may_come_from_a_file() {
    let setup = Server::with().without("JWT_PRIVATE_KEY").file("secret", &format!("{SECRET}\n"));
    let server = setup.env("JWT_PRIVATE_KEY_FILE", "secret").start();
    let token = server.token(ALICE);
    let forged = support::forge(&token, |_| {});
    server.enter(&forged, DEMO).say_and_hear("the secret is the file's, without its line feed");
}

#[test]
fn a_secret_may_come_from_a_credential_of_systemd() {
    let setup = Server::with().without("JWT_PRIVATE_KEY").file("JWT_PRIVATE_KEY", SECRET);
    let directory = setup.path("");
    let server = setup.env("CREDENTIALS_DIRECTORY", directory).start();
    server.enter(&support::forge(&server.token(ALICE), |_| {}), DEMO).say_and_hear("hello");
}

#[test]
fn a_secret_is_no_flag_since_all_users_can_see_those() {
    for flag in ["--jwt-private-key", "--jwt-passphrase", "--stream-jwt-secret", "--stream-publish-key"] {
        let output = Server::with().without("JWT_PRIVATE_KEY").run(&["serve", "--demo", flag, SECRET]);
        assert_eq!(output.status.code(), Some(2), "{flag}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains(SECRET), "{flag} is repeated");
    }
}

#[test]
fn a_secret_file_that_is_not_there_stops_the_start() {
    let setup = Server::with().without("JWT_PRIVATE_KEY").env("JWT_PRIVATE_KEY_FILE", "nowhere");
    assert_stops(&setup, &["serve", "--demo"], "nowhere");
}

#[test]
fn a_secret_that_cannot_be_used_is_not_repeated() {
    let broken = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0IGJ1dCBubyBrZXk=\n-----END PRIVATE KEY-----\n";
    let output = Server::with().env("JWT_PRIVATE_KEY", broken).run(&["serve", "--demo"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("c2VjcmV0"), "{said}");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::start();
    let output = server.setup().run(&["serve", "--demo"]);
    assert!(!output.status.success());
    assert!(!String::from_utf8_lossy(&output.stderr).is_empty());
    server.join(ALICE, DEMO).say_and_hear("undisturbed");
}

#[test]
fn an_account_can_be_added_and_used_while_the_server_runs() {
    let server = Server::with().without_demo().monitor("one").monitor("two").start();
    assert_eq!(server.log_in_as("ann@propromo.example", "ann-password").status, 401);
    server.setup().clone().account("ann@propromo.example", "ann-password", &["one", "two"]);
    let answer = server.log_in_as("ann@propromo.example", "ann-password");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let chats = answer.json()["chats"].clone();
    let hashes: Vec<_> = chats.as_array().expect("a list").iter().map(|chat| chat["monitor_hash"].clone()).collect();
    assert_eq!(hashes, ["one", "two"]);
    server.enter(answer.json()["token"].as_str().expect("a token"), "two").say_and_hear("hello");
}

#[test]
fn accounts_can_be_listed_changed_and_removed() {
    let setup = Server::with().without_demo().monitor(DEMO);
    let setup = setup.account("ann@propromo.example", "first-password", &[DEMO]);
    let setup = setup.account("ben@propromo.example", "ben-password", &[]);
    let listed = stdout(&setup.run(&["account", "list"]));
    assert!(listed.contains("ann@propromo.example") && listed.contains("ben@propromo.example"), "{listed}");
    assert!(!listed.contains("$2"), "a hash is in the list: {listed}");
    let server = setup.clone().start();
    let login = |password: &str| server.log_in_as("ann@propromo.example", password).status;
    stdout(
        &setup.run_with_input(&["account", "passwd", "ann@propromo.example", "--password-stdin"], "second-password\n"),
    );
    assert_eq!((login("first-password"), login("second-password")), (401, 200));
    stdout(&setup.run(&["account", "remove", "ann@propromo.example", "--keep-messages"]));
    assert_eq!(login("second-password"), 401);
    assert!(!stdout(&setup.run(&["account", "list"])).contains("ann@propromo.example"));
}

#[test]
fn an_account_is_not_added_twice_nor_changed_if_it_is_not_there() {
    let setup = Server::with().without_demo().monitor(DEMO);
    let setup = setup.account("ann@propromo.example", "ann-password", &[DEMO]);
    for arguments in [
        ["account", "add", "Ann@Propromo.Example", "--password-stdin"],
        ["account", "passwd", "nobody@propromo.example", "--password-stdin"],
    ] {
        let output = setup.run_with_input(&arguments, "another-password\n");
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    assert!(!setup.run(&["account", "remove", "nobody@propromo.example"]).status.success());
    let server = setup.start();
    assert_eq!(server.log_in_as("ann@propromo.example", "ann-password").status, 200);
}

#[test]
fn monitors_can_be_added_listed_and_removed() {
    let setup = Server::with().without_demo();
    stdout(&setup.run(&["monitor", "add", "new-monitor"]));
    assert!(stdout(&setup.run(&["monitor", "list"])).contains("new-monitor"));
    stdout(&setup.run(&["monitor", "remove", "new-monitor", "--erase-messages"]));
    assert!(!stdout(&setup.run(&["monitor", "list"])).contains("new-monitor"));
}

#[test]
fn a_token_made_on_the_command_line_opens_its_room_once() {
    let server = Server::start();
    let arguments = ["token", "--email", ALICE.email, "--room", DEMO, "--ttl", "77"];
    let printed = stdout(&server.setup().run(&arguments));
    assert_eq!(printed.lines().count(), 1, "{printed}");
    let token = printed.trim_end();
    let claims = claims_of(token);
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 77);
    server.enter(token, DEMO).say_and_hear("hello");
    assert_eq!(server.refused(&format!("/chat/demo?auth={token}"), &[]).reason(), "token_used");
}

#[test]
fn a_token_of_the_other_kind_is_made_on_request() {
    let server = Server::start();
    let access = stdout(&server.setup().run(&["token", "--email", ALICE.email, "--kind", "access"]));
    assert_eq!(claims_of(access.trim_end())["aud"], claims_of(&server.access_token(ALICE))["aud"]);
    assert!(!server.setup().run(&["token", "--email", "nobody@propromo.example"]).status.success());
}

#[test]
fn check_tells_whether_the_server_could_start() {
    assert!(Server::with().run(&["check"]).status.success());
    let output = Server::with().env("MESSAGE_RATE", "lots").run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("MESSAGE_RATE"));
    let setup = Server::with().file("a file", "");
    let inside_a_file = setup.path("a file/data");
    let output = setup.env("DATA_DIR", inside_a_file).run(&["check"]);
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains("a file/data"));
}

/// What `check` prints, and its exit code.
fn checked(setup: &Setup) -> (String, Option<i32>) {
    let output = setup.run(&["check"]);
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).expect("text"), output.status.code())
}

#[test]
fn check_suggests_what_a_misspelt_setting_was_meant_to_be() {
    let setup = Server::with().env("MESAGE_RATE", "5").file(".env", "TRUSTED_PROXY=10.0.0.0/8\nHISTORY_MX=5\n");
    let (said, code) = checked(&setup);
    assert_eq!(code, Some(0), "{said}");
    for sentence in [
        "MESAGE_RATE in the environment is no setting and changes nothing; did you mean MESSAGE_RATE?",
        "HISTORY_MX in .env is no setting and changes nothing; did you mean HISTORY_MAX?",
    ] {
        assert!(said.contains(&format!("note: {sentence}")), "{said}");
    }
    // Three slips are another word.
    assert!(!said.contains("TRUSTED_PROXY in"), "{said}");
    setup.start().logs(&["did you mean MESSAGE_RATE?"]);
}

#[test]
fn check_names_every_setting_that_is_wrong_and_what_it_should_be() {
    let (said, code) = checked(&Server::with().env("MAX_BODY", "64k").env("ORIGIN_REQUIRED", "perhaps"));
    assert_eq!(code, Some(2), "{said}");
    for sentence in [
        "wrong: MAX_BODY in the environment is \"64k\"; it should be a size from 1B to 64MiB: a number of bytes",
        "wrong: ORIGIN_REQUIRED in the environment is \"perhaps\"; it should be true or false",
        "2 settings are wrong",
    ] {
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn the_server_listens_on_several_addresses_and_a_socket() {
    let setup = Server::with().file("leftover", "");
    let socket = setup.path("chat.sock");
    // Left behind, as by a server that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let listen = format!("127.0.0.1:0,unix:{}", socket.display());
    let server = setup.without("LISTEN").flag("--listen", &listen).flag("--listen", "127.0.0.2:0").start();
    let mut lines: Vec<String> = Vec::new();
    support::eventually("each of the three is told", || {
        let output = server.output();
        lines = output.lines().filter_map(|line| line.strip_prefix("listening on ")).map(str::to_owned).collect();
        lines.len() == 3
    });
    assert!(lines[0].starts_with("http://127.0.0.1:") && lines[2].starts_with("http://127.0.0.2:"), "{lines:?}");
    assert_eq!(lines[1], format!("unix:{}", socket.display()));
    let second = lines[2].trim_start_matches("http://").parse().expect("an address");
    for address in [server.address, second] {
        assert_eq!(
            support::Connection::open(address).send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").response().status,
            200
        );
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).expect("the socket").permissions());
    assert_eq!(mode & 0o777, 0o660);
    // A second server is told what is wrong.
    let output = Server::with().env("LISTEN", format!("unix:{}", socket.display())).run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another program listens there"), "{output:?}");
}

#[test]
fn times_and_sizes_have_units_and_check_shows_the_best() {
    let setup = Server::with().env("TOKEN_TTL", "5400").env("MAX_BODY", "1KiB").env("PONG_TIMEOUT", "30500ms");
    let (said, code) = checked(&setup);
    assert_eq!(code, Some(0), "{said}");
    let shown =
        |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    assert_eq!(shown("TOKEN_TTL "), "1h30m  (environment)");
    assert_eq!(shown("MAX_BODY "), "1KiB  (environment)");
    assert_eq!(shown("ROOM_IDLE "), "7d  (default)");
    let (said, code) = checked(&setup.env("PONG_TIMEOUT", "30s"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("PONG_TIMEOUT in the environment is 30s; it should be more than PING_INTERVAL"), "{said}");
    let (said, code) = checked(&Server::with().env("TOKEN_TTL", "500ms"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("TOKEN_TTL in the environment is \"500ms\"; it should be a time from 1s to 3650d"), "{said}");
    let output = Server::with().run(&["token", "--email", "alice@propromo.example", "--ttl", "soon"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("it should be a time from 1s to 3650d"));
}

#[test]
fn check_says_what_is_wrong_with_a_key_and_what_to_do() {
    let cases = [
        (
            "-----BEGIN PRIVATE KEY-----\nrubbish\n-----END PRIVATE KEY-----",
            "JWT_PRIVATE_KEY in the environment can't be used: ",
        ),
        ("short", "JWT_PRIVATE_KEY in the environment can't be used: "),
    ];
    for (key, sentence) in cases {
        let (said, code) = checked(&Server::with().env("JWT_PRIVATE_KEY", key));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&format!("wrong: {sentence}")) && !said.contains("rubbish"), "{said}");
    }
    let public = "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----";
    let (said, code) = checked(&Server::with().without("JWT_PRIVATE_KEY").env("JWT_PUBLIC_KEY", public));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("give both (`propromo-chat keys` makes them)"), "{said}");
}

#[test]
fn check_says_what_is_wrong_with_an_address_and_what_to_do() {
    // An address for documentation (RFC 5737), which no machine has.
    for name in ["LISTEN", "ADMIN_LISTEN"] {
        let (said, code) = checked(&Server::with().env(name, "192.0.2.1:1993"));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("is {name} an address of this machine?")), "{said}");
    }
    let server = Server::start();
    let (said, code) = checked(&server.setup().clone().env("LISTEN", server.address.to_string()));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("perhaps this server is running"), "{said}");
    let (said, _) = checked(&Server::with().env("ADMIN_LISTEN", "0.0.0.0:0"));
    assert!(said.contains("note: ADMIN_LISTEN is 0.0.0.0:0: whoever reaches this machine"), "{said}");
}

#[test]
fn check_says_what_is_wrong_with_the_data_directory_and_what_to_do() {
    let setup = Server::with().file("data", "a file in the way");
    let (said, code) = checked(&setup);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("to be a directory, but it is a file"), "{said}");
    let broken = Server::with();
    std::fs::create_dir(broken.data_dir()).expect("a directory");
    std::fs::write(broken.data_dir().join("chat.db"), "no database".repeat(500)).expect("a file");
    let (said, code) = checked(&broken);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("chat.db") && said.contains("not a database"), "{said}");
}

#[test]
fn check_says_nothing_secret() {
    let output = Server::with().env("STREAM_PUBLISH_KEY", "publish-key-of-the-test").run(&["check"]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains(SECRET) && !said.contains("publish-key-of-the-test"), "{said}");
}

#[test]
fn the_demo_prints_its_accounts_and_only_the_demo_has_them() {
    let server = Server::start();
    let printed = server.output() + &server.log();
    assert!(printed.contains(ALICE.email) && printed.contains(ALICE.password), "{printed}");
    let plain = Server::with().without_demo().start();
    assert_eq!(plain.login(ALICE).status, 401);
}

#[test]
fn help_names_every_setting_that_scripts_rely_on() {
    let help = stdout(&Server::with().run(&["serve", "--help"]));
    for name in [
        "LISTEN",
        "ADMIN_LISTEN",
        "DATA_DIR",
        "DATABASE_URL",
        "JWT_PRIVATE_KEY",
        "JWT_PUBLIC_KEY",
        "TOKEN_TTL",
        "ACCESS_TTL",
        "HISTORY_ON_JOIN",
        "HISTORY_MAX",
        "MESSAGE_RATE",
        "LOGIN_RATE",
        "MAX_CONNECTIONS",
        "MAX_MESSAGE",
        "MAX_BODY",
        "MAX_HEAD",
        "PING_INTERVAL",
        "PONG_TIMEOUT",
        "HEAD_DEADLINE",
        "SEND_QUEUE",
        "SEND_STALL",
        "ORIGIN_ALLOWLIST",
        "ORIGIN_REQUIRED",
        "TRUSTED_PROXIES",
        "DURABILITY",
        "LOG_LEVEL",
        "LOG_FORMAT",
    ] {
        let flag = format!("--{}", name.to_ascii_lowercase().replace('_', "-"));
        assert!(help.contains(&flag), "{name} is not in the help");
    }
    assert!(!stdout(&Server::with().run(&["--version"])).is_empty());
}

#[test]
fn logs_can_be_json() {
    let server = Server::with().env("LOG_FORMAT", "json").start();
    server.refused("/chat/demo?auth=rubbish", &[]);
    server.logs(&["token_malformed"]);
    for line in server.log().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert!(Client::try_open(server.address, "/chat/demo", &[]).is_err());
}

/// What a `.env` like Laravel's holds.
const LARAVEL: &str = "APP_NAME=Propromo\nAPP_KEY=base64:3q2+7w==\nAPP_URL=http://localhost\n\nMAIL_FROM_NAME=\"${APP_NAME}\"\n\
                       VITE_KEY=\"${PUSHER_APP_KEY}\"\nMAIL_PASSWORD='\nnot a line\n";

#[test]
fn an_unquoted_value_in_the_file_is_the_value() {
    let file = format!("{LARAVEL}STREAM_PUBLISH_KEY=ab$XyZ0123456789abcdef\nSTREAM_JWT_SECRET=Ann's own \\n secret\n");
    let server = Server::with().file(".env", &file).start();
    let publish = |key: &str| server.post(&format!("/stream?key={key}"), "text/plain", "x").status;
    assert_eq!((publish("ab$XyZ0123456789abcdef"), publish("ab")), (202, 401));
    server.logs(&["line 8 of .env can't be read and is left out"]);
    let claims: Claims = [("exp".to_owned(), (now() + 60).into())].into_iter().collect();
    let header = serde_json::json!({"alg": "HS256", "typ": "JWT"});
    let token = sign_hs256(b"Ann's own \\n secret", &header, &claims);
    Client::open(server.address, &format!("/stream?t={token}"));
}

#[test]
fn a_line_of_the_file_that_would_change_a_secret_silently_stops_the_start() {
    for (line, why) in [
        ("STREAM_PUBLISH_KEY=\"ab$XyZ0123\"", "a variable in it is not set"),
        ("STREAM_PUBLISH_KEY='ab0123", "never closed"),
        ("STREAM_PUBLISH_KEY ab0123", "a line should be NAME=value"),
        ("JWT_PRIVATE_KEY=-----BEGIN PRIVATE KEY-----\nab0123\n-----END PRIVATE KEY-----", "NAME_FILE"),
    ] {
        let setup = Server::with().without("JWT_PRIVATE_KEY").file(".env", &format!("A=1\n\n{line}\n"));
        assert_stops(&setup, &["serve", "--demo"], "line 3 of .env");
        let output = setup.run(&["check"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(why) && !told.contains("b0123"), "{told}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn in_a_directory_of_somebody_else_a_command_works() {
    let setup = Server::with().without_demo();
    let locked = setup.path("root");
    fs::create_dir(&locked).expect("a directory");
    let command = setup.command(&["account", "list"]);
    let mut shell = std::process::Command::new("sh");
    // From within, since who may not enter a directory can't start there.
    let script = if rustix::process::geteuid().is_root() {
        fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o777)).expect("permissions");
        "cd \"$1\" && chmod 700 . && shift && exec setpriv --reuid=65534 --clear-groups \"$@\""
    } else {
        "cd \"$1\" && chmod 0 . && shift && exec \"$@\""
    };
    shell.args(["-c", script, "sh"]).arg(&locked).arg(command.get_program()).args(command.get_args());
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let output = shell.env_clear().envs(variables).output().expect("sh can be started");
    let _ = fs::set_permissions(&locked, fs::Permissions::from_mode(0o700));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn where_a_new_store_was_made_is_said_once() {
    let setup = Server::with().without_demo();
    let told = |arguments: &[&str]| String::from_utf8_lossy(&setup.run(arguments).stderr).into_owned();
    let path = setup.data_dir().join("chat.db").display().to_string();
    assert!(told(&["monitor", "add", "one"]).contains(&format!("a new store was made, {path}")));
    assert_eq!(told(&["monitor", "add", "two"]), "");
}

#[test]
fn advice_fits_what_went_wrong() {
    let setup = Server::with().without_demo().monitor("one").account("ann@example.org", "ann-password", &[]);
    let told = |arguments: &[&str]| {
        let output = setup.run_with_input(arguments, "another-password\n");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let twice = told(&["account", "add", "ann@example.org", "--password-stdin", "--monitor", "one"]);
    assert!(twice.contains("propromo-chat monitor join HASH ann@example.org") && twice.contains("passwd"), "{twice}");
    let gone = told(&["monitor", "remove", "nosuch"]);
    assert!(gone.contains("monitor list") && !gone.contains("add"), "{gone}");
    let missing = told(&["monitor", "join", "nosuch", "ann@example.org"]);
    assert!(missing.contains("propromo-chat monitor add 'nosuch'"), "{missing}");
}

#[test]
fn what_is_no_secret_is_refused_with_what_was_probably_meant() {
    let pem = include_str!("../keys/test-only-ed25519.pem");
    let base64 = {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        STANDARD.encode(pem)
    };
    let body: String =
        pem.lines().filter(|line| !line.starts_with("-----BEGIN")).map(|line| format!("{line}\n")).collect();
    for name in ["JWT_PRIVATE_KEY", "STREAM_JWT_SECRET", "STREAM_PUBLISH_KEY", "JWT_OLD_KEYS"] {
        for (text, advice) in [
            ("/run/secrets/jwt_private_key_of_this_server.pem", format!("give the path as {name}_FILE")),
            ("${JWT_PRIVATE_KEY_OF_THE_SERVER}", "a placeholder".to_owned()),
            ("https://vault.example.org/v1/secret/data/jwt", "a URL".to_owned()),
            (&base64, "`base64 -d`".to_owned()),
            (&*body.replace('\n', ""), "from -----BEGIN to -----END".to_owned()),
        ] {
            let setup = Server::with().env(name, text);
            assert_stops(&setup, &["serve"], name);
            let serve = setup.run(&["serve"]);
            let told = String::from_utf8_lossy(&serve.stderr).into_owned();
            assert!(told.contains(&advice) && !told.contains(&text[8..]), "{told}");
            assert_ne!(setup.run(&["check"]).status.code(), Some(0), "check is no more content: {name}={text}");
        }
    }
}

#[test]
fn a_login_of_an_account_of_two_thousand_monitors_is_read() {
    let server = Server::start();
    let store = rusqlite::Connection::open(server.data_dir().join("chat.db")).expect("the store");
    store
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
             INSERT INTO monitors (monitor_hash, title, short_description, public)
             SELECT 'hash-of-monitor-' || n, 'Monitor ' || n, replace(hex(zeroblob(900)), '00', 'x'), 0 FROM n;
             INSERT INTO monitor_user (user_id, monitor_id)
             SELECT users.id, monitors.id FROM users, monitors WHERE email = 'alice@propromo.example'
             AND monitor_hash LIKE 'hash-of-%'",
        )
        .expect("monitors can be added");
    let answer = server.login(ALICE);
    assert!(answer.text().len() > 1 << 20, "{}", answer.text().len());
    let url = format!("http://{}", server.address);
    let setup = server.setup().clone().without_demo();
    let output = setup.run_with_input(&["login", &url, ALICE.email, "--password-stdin"], "alice-password\n");
    server.enter(stdout(&output).trim(), "hash-of-monitor-1234").say_and_hear("hello");
}

#[test]
fn a_port_alone_is_loopback_unless_all_addresses_are_asked_for() {
    let listens = |all: Option<&str>| {
        let setup = Server::with().without("LISTEN").env("PORT", "0");
        all.map_or(setup.clone(), |all| setup.env("LISTEN_ALL", all)).start().address.ip().to_string()
    };
    assert_eq!((listens(None), listens(Some("false"))), ("127.0.0.1".into(), "127.0.0.1".into()));
    assert_eq!(listens(Some("true")), "0.0.0.0");
}
