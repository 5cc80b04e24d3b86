//! `config`: the settings file.

use super::failure::{Failure, say};
use crate::config::{
    settings::{self, CONFIG},
    settings_file,
};
use clap::{Arg, ArgMatches, Command, value_parser};
use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

pub const NAME: &str = "config";

pub fn command() -> Command {
    Command::new(NAME)
        .about("The settings file: write one, with every setting as a comment")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("init")
                .about("Write a settings file without effect: every setting, its meaning and its default, as comments")
                .after_help(format!(
                    "An existing file is never overwritten. Without FILE it is {}, which every start reads; to use\n\
                     another file, name it with --{} or {}. Its owner can read it, and the group of its directory.",
                    CONFIG.default,
                    settings::flag(CONFIG.name),
                    CONFIG.name
                ))
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .default_value(CONFIG.default)
                        .value_parser(value_parser!(PathBuf))
                        .help("Where to write it; - is standard output"),
                ),
        )
}

pub fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let file = matches.subcommand().and_then(|(_, of_init)| of_init.get_one::<PathBuf>("file"));
    let Some(file) = file else { return Err(Failure::Usage("no FILE is given; try config init --help".into())) };
    if file.as_os_str() == "-" {
        return say(settings_file::template().trim_end());
    }
    write(file).map_err(|e| {
        let shown = file.display();
        Failure::Failed(match e.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{shown} exists already, and nothing is written over; name another FILE")
            }
            io::ErrorKind::NotFound => format!("there is no directory for {shown}; make it, or name another FILE"),
            io::ErrorKind::PermissionDenied => format!("this user may not write {shown}: {e}; name another FILE"),
            _ => format!("{shown} can't be written: {e}"),
        })
    })?;
    say(format_args!("wrote {}", file.display()))
}

/// Writes the file completely or not at all.
fn write(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
    // So that root can write it for a service: the group of the directory may read it. Without the right to change the
    // group, the writer is also the reader.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(of_directory) = directory.metadata() {
        let _ = fchown(&file, None, Some(of_directory.gid()));
    }
    file.write_all(settings_file::template().as_bytes()).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })
}
