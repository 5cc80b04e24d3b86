//! `login`: asks a server for a connection token, over HTTP.

use super::{
    account, ask,
    failure::{Failure, say},
    remote::{Address, Remote},
};
use clap::{Arg, ArgMatches, Command};
use serde_json::json;
use std::io::{self, Write};

pub const NAME: &str = "login";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Log in at a server and print the connection token, which opens one WebSocket")
        .after_help(
            "Example:\n  propromo-chat login http://localhost:1993 alice@propromo.example\n  \
             echo alice-password | propromo-chat login localhost:1993 alice@propromo.example --password-stdin",
        )
        .args(whereto())
        .arg(ask::password_stdin())
}

/// The arguments `URL` and `EMAIL`.
pub fn whereto() -> [Arg; 2] {
    [
        Arg::new("url").value_name("URL").required(true).help("The server, such as https://chat.example.org"),
        Arg::new("email").value_name("EMAIL").required(true).value_parser(account::email).help("Your account"),
    ]
}

pub fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let remote = remote(matches)?;
    let email = matches.get_one::<String>("email").map_or("", String::as_str);
    let password = ask::password(matches.get_flag("password-stdin"))?;
    let answer = remote.post("/login", None, &json!({ "email": email, "password": &*password }));
    say(answer.and_then(|answer| answer.token("token").map(str::to_owned)).map_err(Failure::Failed)?)
}

/// The server in the argument `URL`. Warns if others could read the password on its way there.
pub fn remote(matches: &ArgMatches) -> Result<Remote, Failure> {
    let url = matches.get_one::<String>("url").map_or("", String::as_str);
    let address = Address::parse(url).map_err(Failure::Usage)?;
    if address.is_open_to_eavesdroppers() {
        let _ = writeln!(io::stderr(), "propromo-chat: careful, the password travels unencrypted over http://");
    }
    Ok(Remote::new(address))
}
