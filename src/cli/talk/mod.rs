//! `talk`: chats in a room, on a terminal or in a pipe.

mod command;
mod connect;
mod conversation;
mod doing;
mod frame;
mod harmless;
mod hearing;
mod inbox;
mod keyboard;
mod line;
mod looking;
mod names;
mod outbox;
mod phase;
mod questions;
mod rooms;
mod screen;
mod seen;
mod session;
mod shown;

use super::{ask, failure::Failure, login};
use crate::config::value;
use clap::{Arg, ArgAction, ArgMatches, Command};
use conversation::{TalkOptions, TerminalChat};
use inbox::{Inbox, inboxes};
use jiff::tz::TimeZone;
use keyboard::{Restored, Signs};
use rooms::{Meant, meant};
use rustyline::ExternalPrinter;
use screen::{Output, Screen};
use session::{Denied, Session};
use std::{
    env,
    io::{self, IsTerminal},
    sync::Arc,
    thread,
    time::Duration,
};

pub const NAME: &str = "talk";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Log in at a server and chat in a room")
        .after_help(
            "Examples:\n  \
             propromo-chat talk http://localhost:1993 alice@propromo.example demo\n  \
             make 2>&1 | propromo-chat talk localhost:1993 alice@propromo.example demo\n  \
             (echo alice-password; make 2>&1) | propromo-chat talk localhost:1993 alice@propromo.example demo --password-stdin\n  \
             propromo-chat talk localhost:1993 alice@propromo.example demo --password-stdin --follow <password-file | grep -i deploy\n\n\
             The password is asked on the terminal, even if standard input is a pipe. At a terminal, /help shows what you\n\
             can do. In a pipe each input line is a message, even one such as /quit, and each message of the room is\n\
             printed, with further lines of the same message indented. When the input ends and everything is confirmed,\n\
             talk ends: exit code 0, or 1 if something could not be delivered. A lost connection is made again by itself;\n\
             nothing is lost or sent twice. A room that does not exist yet begins with its first message; if its name is\n\
             nearly that of one of your rooms, you are asked first, and a pipe needs --new.\n\
             Colours: only at a terminal, and not if NO_COLOR is set.",
        )
        .args(login::whereto())
        .arg(
            Arg::new("room")
                .value_name("ROOM")
                .required(true)
                .value_parser(room)
                .help("The room: a monitor's hash or title, or the name of any channel, such as lobby"),
        )
        .arg(
            Arg::new("password-stdin")
                .long("password-stdin")
                .action(ArgAction::SetTrue)
                .help("Read the password from the first line of standard input instead of asking for it"),
        )
        .arg(
            Arg::new("follow")
                .long("follow")
                .action(ArgAction::SetTrue)
                .help("Go on printing messages after the end of standard input"),
        )
        .arg(
            Arg::new("new")
                .long("new")
                .action(ArgAction::SetTrue)
                .help("Enter a room even if nothing was ever said in it and its name is nearly that of another room"),
        )
        .arg(
            Arg::new("patience")
                .long("patience")
                .value_name("TIME")
                .default_value("1m")
                .value_parser(patience)
                .help("How long to wait for a server that confirms nothing, once the input has ended"),
        )
}

pub fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let remote = login::remote(matches)?;
    let email = matches.get_one::<String>("email").map_or("", String::as_str);
    let password = match matches.get_flag("password-stdin") {
        true => ask::password_line()?,
        false => ask::password(false)?,
    };
    let people = io::stdin().is_terminal() && io::stdout().is_terminal();
    let session = Session::log_in(remote, email, password, !people).map_err(|denied| match denied {
        Denied::ForNow { why, .. } | Denied::ForGood(why) => Failure::Failed(why),
        Denied::Expired => Failure::Failed("the server does not accept its own login".into()),
    })?;
    // An old server has no list of rooms; then the name is used as it is.
    let rooms = rooms::rooms(&session).unwrap_or_default();
    let typed = matches.get_one::<String>("room").cloned().unwrap_or_default();
    let (room, title, nearly) = match meant(&typed, &rooms) {
        Meant::Room(room) => (room.name.clone(), room.title.clone(), None),
        Meant::Nearly(room) if !matches.get_flag("new") => (typed.clone(), typed, Some(room.clone())),
        Meant::Nearly(_) | Meant::Another => (typed.clone(), typed, None),
    };
    let options = TalkOptions {
        room,
        nearly,
        follow: matches.get_flag("follow"),
        patience: matches.get_one("patience").copied().unwrap_or_default(),
    };
    let (inbox, entering, inputs) =
        inboxes().map_err(|e| Failure::Failed(format!("the keyboard can't be listened to: {e}")))?;
    let signs = Arc::new(Signs::new(short(&title), rooms.iter().map(|room| room.title.clone()).collect()));
    let colours = colours();
    let _restored = Restored::at_the_end();
    let output = listen(inbox, &signs, colours)?;
    let screen = Screen::new(output, colours, email.to_owned(), TimeZone::system());
    TerminalChat::new(session, options, screen, signs, entering, inputs, rooms).run()
}

/// Starts reading input, with an editor on a terminal.
fn listen(inbox: Inbox, signs: &Arc<Signs>, colours: bool) -> Result<Output, Failure> {
    let editor = match io::stdin().is_terminal() && io::stdout().is_terminal() {
        // Fails on a terminal that can only print; such a terminal is used like a pipe.
        true => keyboard::terminal(inbox.clone(), signs.clone(), colours)
            .and_then(|mut editor| Ok((editor.create_external_printer()?, editor)))
            .ok(),
        false => None,
    };
    let reader = thread::Builder::new().name("keyboard".into());
    let (started, output) = match editor {
        Some((printer, editor)) => {
            let signs = signs.clone();
            let read = move || keyboard::read_terminal(editor, &inbox, &signs);
            let printer: Box<dyn ExternalPrinter + Send> = Box::new(printer);
            (reader.spawn(read), Output::Terminal(printer))
        }
        None => (reader.spawn(move || keyboard::read_pipe(&inbox)), Output::Plain),
    };
    started.map_err(|e| Failure::Failed(format!("the keyboard can't be listened to: {e}")))?;
    Ok(output)
}

/// <https://no-color.org>: any value but an empty one.
fn colours() -> bool {
    let none = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !none && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A room's name for the prompt, shortened: a monitor's hash would fill the line.
fn short(room: &str) -> String {
    const MOST: usize = 20;
    let name = harmless::line(room);
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

fn room(name: &str) -> Result<String, String> {
    let sound = (1..=256).contains(&name.len()) && !name.contains(char::is_control);
    sound.then(|| name.to_owned()).ok_or_else(|| "a room's name has 1 to 256 bytes and no control characters".into())
}

fn patience(text: &str) -> Result<Duration, String> {
    value::wait(text, 1000..=86_400_000).map_err(|expected| format!("it should be {expected}"))
}
