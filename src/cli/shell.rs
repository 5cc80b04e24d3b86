//! `completions` and `man`: completion scripts for shells and manual pages, made from the table of commands.

use super::failure::{Failure, say};
use crate::config::settings::{self, CHAT_STORAGE_URL, DATA_DIR, DATABASE_URL};
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub const COMPLETIONS: &str = "completions";
pub const MAN: &str = "man";

const PROGRAM: &str = "propromo-chat";

pub fn commands() -> [Command; 2] {
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell));
    let directory = Arg::new("directory").value_name("DIRECTORY").required(true).value_parser(value_parser!(PathBuf));
    [
        Command::new(COMPLETIONS)
            .about("Print a script with which a shell completes commands and flags")
            .after_help(
                "Examples that last:\n  \
                 echo 'eval \"$(propromo-chat completions bash)\"' >>~/.bashrc\n  \
                 propromo-chat completions zsh >~/.zfunc/_propromo-chat    (a directory of your fpath)\n  \
                 propromo-chat completions fish >~/.config/fish/completions/propromo-chat.fish\n\n\
                 The Debian package has all three.",
            )
            .arg(shell.help("Which shell")),
        Command::new(MAN)
            .about("Write the manual pages, one for each command")
            .after_help("Example:\n  propromo-chat man ~/.local/share/man/man1\n\nThe Debian package has them.")
            .arg(directory.help("Where to put them; made if it does not exist")),
    ]
}

/// Prints the script for a shell. `table` has all commands.
pub fn complete(matches: &ArgMatches, table: Command) -> Result<(), Failure> {
    let Some(shell) = matches.get_one::<Shell>("shell") else { return Ok(()) };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut equipped(table), PROGRAM, &mut script);
    // In half of the script for bash, clap_complete 4.6 treats the hyphen in the program's name as a step to a
    // subcommand.
    say(String::from_utf8_lossy(&script).replace("propromo__subcmd__chat", "propromo__chat").trim_end())
}

/// The table, with the settings that are useful on a command line: all for commands that start or check the server, and
/// for the rest only those of the stores. With all settings everywhere, a shell would take long to read the script.
fn equipped(table: Command) -> Command {
    const WHERE: [&str; 3] = [DATA_DIR.name, DATABASE_URL.name, CHAT_STORAGE_URL.name];
    table.mut_subcommands(|command| {
        let all = ["serve", "check"].contains(&command.get_name());
        let of_stores = ["account", "monitor", "moderator", "token", "backup", "migrate", "import"];
        let some = of_stores.contains(&command.get_name());
        let wanted = move |arg: &Arg| all || (some && WHERE.contains(&arg.get_id().as_str()));
        command.args(settings::arguments().filter(wanted).map(|arg| arg.hide(false)))
    })
}

/// Writes a page for the program, and one for each of its commands.
pub fn man(matches: &ArgMatches, table: Command) -> Result<(), Failure> {
    let Some(directory) = matches.get_one::<PathBuf>("directory") else { return Ok(()) };
    let mut table = table.disable_help_subcommand(true);
    table.build();
    let written = fs::create_dir_all(directory).and_then(|()| write(&table, PROGRAM, directory));
    let pages = written.map_err(|e| Failure::Failed(format!("{} can't be written: {e}", directory.display())))?;
    say(format_args!("{} holds {pages} pages", directory.display()))
}

/// Writes the page of a command and those of its subcommands. Returns how many pages that is.
fn write(command: &Command, name: &str, directory: &Path) -> io::Result<usize> {
    let mut page = Vec::new();
    // The name is the page's title and file name, and must not have spaces.
    Man::new(command.clone().name(name.to_owned())).render(&mut page)?;
    fs::write(directory.join(format!("{name}.1")), page)?;
    let below = command.get_subcommands().map(|below| write(below, &format!("{name}-{}", below.get_name()), directory));
    Ok(below.sum::<io::Result<usize>>()? + 1)
}
