//! The command line: one file for each command, how failures become exit codes, and shared parts.

pub mod account;
pub mod accounts;
mod allocator;
pub mod ask;
pub mod backup;
pub mod check;
pub mod config;
pub mod erase;
mod export;
pub mod failure;
mod far_log;
pub mod health;
pub mod import;
pub mod keys;
pub mod login;
pub mod migrate;
pub mod moderator;
pub mod monitor;
mod owners;
mod progress;
mod remote;
pub mod serve;
mod shell;
pub mod talk;
pub mod token;

use crate::{
    cli::failure::Failure,
    config::{
        layers::Sources,
        settings::{self, LOG_FORMAT, LOG_LEVEL},
        sources::Settings,
        value::{self},
    },
    logging,
};
use clap::{ArgMatches, Command};
use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

/// Runs the command in `arguments`, which begin with the program's name.
///
/// Exit codes: 0: done; 1: failed; 2: the command line or a setting is wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let [_, command, rest @ ..] = arguments.as_slice()
        && command == keys::NAME
    {
        // Everything behind `keys` is for the script, even what looks like one of our flags.
        return finish(keys::run(rest));
    }
    match command().try_get_matches_from(&arguments) {
        Ok(matches) => {
            if matches.subcommand_name() == Some(serve::NAME) {
                allocator::settle(&arguments);
            }
            finish(dispatch(&matches))
        }
        Err(e) => {
            // If this fails, nobody can be told.
            let _ = e.print();
            ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2))
        }
    }
}

/// The command line with every setting.
fn command() -> Command {
    commands().args(settings::arguments())
}

/// The one table of commands, without the settings, which most of them accept.
fn commands() -> Command {
    Command::new("propromo-chat")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A chat server for teams that follow software projects together")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        // Otherwise `--origin-required serve` would take `serve` as true or false.
        .subcommand_precedence_over_arg(true)
        .subcommand(serve::command())
        .subcommand(check::command())
        .subcommand(config::command())
        .subcommand(health::command())
        .subcommand(account::command())
        .subcommand(monitor::command())
        .subcommand(moderator::command())
        .subcommand(token::command())
        .subcommand(login::command())
        .subcommand(talk::command())
        .subcommand(backup::command())
        .subcommand(migrate::command())
        .subcommand(import::command())
        .subcommand(keys::command())
        .subcommands(shell::commands())
}

const EXAMPLES: &str = "\
Examples:
  propromo-chat serve --demo                         try it, with accounts that exist already
  propromo-chat account add ann@example.org          make an account; asks for the password
  propromo-chat serve --listen 0.0.0.0:1993          serve every address
  propromo-chat talk http://localhost:1993 ann@example.org lobby

Every setting is a flag (a secret: the path of its file), an environment variable, or a line in ./.env or in a settings
file (`propromo-chat config init` writes one): see `propromo-chat help serve`.
Exit codes: 0 done, 1 failed, 2 the command line or a setting is wrong.";

fn dispatch(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((name, of_command)) = matches.subcommand() else {
        return Err(Failure::Usage("no command is given; try --help".into()));
    };
    if name == keys::NAME {
        let arguments = of_command.get_many::<OsString>(keys::ARGUMENTS).unwrap_or_default();
        return keys::run(&arguments.cloned().collect::<Vec<_>>());
    }
    if name == shell::COMPLETIONS {
        return shell::complete(of_command, commands());
    }
    if name == shell::MAN {
        return shell::man(of_command, commands());
    }
    if name == login::NAME {
        return login::run(of_command);
    }
    if name == config::NAME {
        return config::run(of_command);
    }
    if name == talk::NAME {
        return talk::run(of_command);
    }
    let settings = Settings::resolve(&Sources::gather(settings::given(matches))?)?;
    if name == check::NAME {
        return check::run(&settings);
    }
    if name == health::NAME {
        return health::run(of_command, &settings);
    }
    settings.get(&LOG_LEVEL, logging::check_level)?;
    let format = settings.get(&LOG_FORMAT, |text| value::word(text, logging::FORMATS))?;
    logging::start(settings.text(&LOG_LEVEL).unwrap_or_default(), format);
    match name {
        serve::NAME => serve::run(of_command, &settings, settings::given(matches)),
        account::NAME => account::run(of_command, &settings),
        monitor::NAME => monitor::run(of_command, &settings),
        moderator::NAME => moderator::run(of_command, &settings),
        token::NAME => token::run(of_command, &settings),
        backup::NAME => backup::run(of_command, &settings),
        migrate::NAME => migrate::run(of_command, &settings),
        import::NAME => import::run(of_command, &settings),
        _ => Err(Failure::Usage(format!("{name} is no command; try --help"))),
    }
}

fn finish(outcome: Result<(), Failure>) -> ExitCode {
    let (code, sentence) = match outcome {
        Ok(()) | Err(Failure::OutputClosed) => return ExitCode::SUCCESS,
        Err(Failure::Exit(code)) => return ExitCode::from(code),
        Err(Failure::Failed(sentence)) => (1, sentence),
        Err(Failure::Usage(sentence)) => (2, sentence),
    };
    // Sentences from a store or a remote server may have several lines; scripts and journals need one.
    let sentence = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    // Not `eprintln!`, which panics if standard error is closed.
    let _ = writeln!(io::stderr(), "propromo-chat: {sentence}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::{failure::failed, *};
    use crate::store::error::StoreError;

    fn parse(line: &str) -> Result<ArgMatches, clap::Error> {
        command().try_get_matches_from(std::iter::once("propromo-chat").chain(line.split_whitespace()))
    }

    fn flag(line: &str, variable: &str) -> Option<String> {
        settings::given(&parse(line).unwrap()).remove(variable)
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_setting_may_stand_before_or_behind_the_command() {
        assert_eq!(flag("serve --message-rate 5/s", "MESSAGE_RATE").as_deref(), Some("5/s"));
        assert_eq!(flag("--message-rate=5 serve", "MESSAGE_RATE").as_deref(), Some("5"));
        assert_eq!(flag("account list --data-dir /srv", "DATA_DIR").as_deref(), Some("/srv"));
        assert_eq!(flag("serve", "MESSAGE_RATE"), None);
    }

    #[test]
    fn a_switch_needs_no_value() {
        assert_eq!(flag("serve --origin-required --demo", "ORIGIN_REQUIRED").as_deref(), Some("true"));
        assert_eq!(flag("--origin-required serve", "ORIGIN_REQUIRED").as_deref(), Some("true"));
        assert_eq!(flag("serve --first-message-auth false", "FIRST_MESSAGE_AUTH").as_deref(), Some("false"));
    }

    #[test]
    fn an_alias_is_a_flag_too() {
        assert_eq!(flag("serve --port 8080", "PORT").as_deref(), Some("8080"));
    }

    #[test]
    fn a_list_may_be_given_in_parts() {
        let line = "serve --listen 127.0.0.1:1 --listen [::1]:1,unix:x";
        assert_eq!(flag(line, "LISTEN").as_deref(), Some("127.0.0.1:1,[::1]:1,unix:x"));
    }

    #[test]
    fn an_unknown_flag_is_a_usage_error() {
        for line in ["serve --lisen :80", "serve --jwt-private-key x", "account add a@b --password x", "dance", ""] {
            assert_eq!(parse(line).err().map(|e| e.exit_code()), Some(2), "{line}");
        }
    }

    #[test]
    fn a_failure_names_its_causes() {
        let source = io::Error::other("disk full").into();
        let error = StoreError { store: "account store", what: "open its file", source };
        assert!(matches!(failed(error), Failure::Failed(s) if s == "the account store can't open its file: disk full"));
    }
}
