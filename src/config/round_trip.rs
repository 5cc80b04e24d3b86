//! Tests every setting from every layer, with valid values, values at the bounds, and wrong values.

use super::{
    dotenv,
    layers::Sources,
    quantity::{SIZE, Scale, TIME},
    settings::{self, ALL, CONFIG, Form, Setting},
    settings_file,
    sources::Settings,
    value::Per,
};
use crate::auth::pem::is_pem;
use std::{fs, ops::RangeInclusive, path::Path};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Flag,
    Environment,
    /// `NAME_FILE` in the environment.
    OwnFile,
    Credential,
    DotEnv,
    File,
}

const WAYS: [Way; 6] = [Way::Flag, Way::Environment, Way::OwnFile, Way::Credential, Way::DotEnv, Way::File];

impl Way {
    fn leads_to(self, setting: &Setting) -> bool {
        match self {
            Way::Flag => !setting.is_secret(),
            Way::OwnFile | Way::Credential => setting.may_be_a_file(),
            Way::File => setting.name != CONFIG.name,
            Way::Environment | Way::DotEnv => true,
        }
    }

    /// The name of a variable in errors, if it was set this way.
    fn names(self, variable: &str, directory: &Path) -> String {
        match self {
            Way::Flag => format!("--{}", settings::flag(variable)),
            Way::Environment => format!("{variable} in the environment"),
            Way::OwnFile => format!("{variable}_FILE in the environment"),
            Way::Credential => format!("the systemd credential {variable}"),
            Way::DotEnv => format!("{variable} in .env"),
            Way::File => format!("{} in line 1 of {}/config.toml", settings::key(variable), directory.display()),
        }
    }

    fn set(self, variable: &str, text: &str, directory: &Path) -> Settings {
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let mut sources = Sources::default();
        match self {
            Way::Flag => {
                let line = ["x".to_owned(), format!("--{}={text}", settings::flag(variable))];
                let matches = clap::Command::new("x").args(settings::arguments()).get_matches_from(line);
                sources.flags = settings::given(&matches);
            }
            Way::Environment => drop(sources.environment.insert(variable.into(), text.into())),
            Way::OwnFile => {
                let path = write("own", &format!("{text}\n"));
                sources.environment.insert(format!("{variable}_FILE").into(), path.into());
            }
            Way::Credential => {
                write(&format!("credentials/{variable}"), &format!("{text}\n"));
                sources.environment.insert("CREDENTIALS_DIRECTORY".into(), directory.join("credentials").into());
            }
            Way::DotEnv => {
                let path = write(".env", &format!("{variable}='{text}'\n"));
                sources.dotenv = dotenv::read(&path, |_| None).unwrap();
            }
            Way::File => {
                let path = write("config.toml", &format!("{} = '{text}'\n", settings::key(variable)));
                let named = Settings::resolve(&sources).unwrap().origin(&CONFIG).unwrap().clone();
                sources.file = settings_file::read(&path, &named).unwrap();
            }
        }
        Settings::resolve(&sources).unwrap()
    }
}

/// Valid texts, including those at the bounds, and wrong texts.
struct Samples {
    right: Vec<String>,
    wrong: Vec<String>,
}

/// Add samples for a new form here. A new setting has those of its form.
fn samples(form: &Form) -> Samples {
    let of = |right: &[&str], wrong: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Samples { right: owned(right), wrong: owned(wrong) }
    };
    match form {
        Form::Address => of(&["127.0.0.1:1993", "[::1]:0", ":65535", "1"], &["127.0.0.1", ":65536", "a b:1"]),
        Form::Listen => of(
            &["127.0.0.1:1993,[::1]:1993", "unix:/run/x y.sock", "8080"],
            &["127.0.0.1", "unix:", "[::1]:1,[::1]:1", ","],
        ),
        Form::Mode => of(&["660", "0000", "777"], &["888", "1777", "66", "rw"]),
        Form::Directory | Form::File => of(&["./x", "/var/lib/x y"], &[]),
        Form::Database => of(&["sqlite:x.db", "postgres://h/chat"], &["mysql://h/chat", "chat.db"]),
        Form::Storage => of(&["redis://h", "redis+cluster://a,b"], &["http://h", "h:6379"]),
        Form::Endpoint => of(&["https://h.example/x"], &["ftp://h.example", "h.example"]),
        Form::Secret => of(&["a secret of thirty-two bytes, or more"], &[]),
        Form::Pem => of(&["/etc/x.pem"], &[]),
        Form::Seconds(range) => amounts(&TIME, 1000, range, &["s", ""], &["soon", "1M", "30m1h", "1.5h"]),
        Form::Wait(range) => amounts(&TIME, 1, range, &["ms"], &["soon", "1M", "30m1h", "1.5h"]),
        Form::Bytes(range) => amounts(&SIZE, 1, range, &["B", ""], &["64k", "1.5MiB", "much"]),
        Form::Count(range) => amounts(&SIZE, 1, range, &[""], &["1KiB", "1e3", "many"]),
        Form::Window => of(&["0", "-1", "15m", "3650d"], &["-2", "3651d", "soon"]),
        Form::Rate(Per::Second) => of(&["0", "20", "1000000/s"], &["1000001", "20/min", "often"]),
        Form::Rate(Per::Minute) => of(&["0", "20", "1000000/min"], &["1000001", "20/s", "often"]),
        Form::Switch => of(&["true", "off", "1"], &["perhaps", "2"]),
        Form::Origins => of(&["localhost", "a.example,*.b.example"], &["a b", "https://"]),
        Form::Networks => of(&["::1", "10.0.0.0/8,192.0.2.1"], &["10.0.0.0/33", "here"]),
        Form::Doors => of(&["rooms", "propromo, streams"], &["windows", ","]),
        Form::Word(words) => of(words, &["another"]),
        Form::Words(words) => {
            let all = words.join(",");
            of(&[words[0], &all], &["another"])
        }
        Form::LogFilter => of(&["debug", "info,propromo_chat::door=trace"], &["loud"]),
    }
}

/// The least and the most of a range, and the values just outside. `each` is the size of one unit of the range.
fn amounts(scale: &Scale, each: u64, range: &RangeInclusive<u64>, units: &[&str], never: &[&str]) -> Samples {
    let with = |number: u64| units.iter().map(move |unit| format!("{number}{unit}"));
    let mut right: Vec<_> = [*range.start(), *range.end()].into_iter().flat_map(with).collect();
    if !units.contains(&"") || units.len() > 1 {
        right.extend([*range.start(), *range.end()].map(|number| scale.format(number * each)));
    }
    let outside = range.start().checked_sub(1).into_iter().chain([range.end() + 1]);
    let mut wrong: Vec<_> = outside.flat_map(with).collect();
    wrong.extend(never.iter().map(|text| (*text).to_owned()));
    Samples { right, wrong }
}

fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("credentials")).unwrap();
    directory
}

#[test]
fn every_setting_may_come_from_every_place_and_is_judged_alike() {
    let mut tried = 0;
    for setting in ALL {
        let Samples { right, wrong } = samples(&setting.form);
        let checked = !matches!(setting.form, Form::Directory | Form::File | Form::Secret | Form::Pem);
        assert!(!right.is_empty() && (!checked || !wrong.is_empty()), "{}", setting.name);
        for (variable, way) in setting.names().flat_map(|name| WAYS.map(|way| (name, way))) {
            if !way.leads_to(setting) {
                continue;
            }
            // A new directory for each: what one test leaves there must not affect the next.
            let directory = directory();
            let judged = |text: &str| {
                let settings = way.set(variable, text, directory.path());
                let read = settings.get(setting, |text| setting.form.check(text)).map_err(|e| e.to_string());
                (settings, read)
            };
            for text in &right {
                let (settings, read) = judged(text);
                let shown = settings.text(setting).unwrap_or_default().to_owned();
                // The text of a certificate is read where it is used.
                if !matches!((&setting.form, way), (Form::Pem, Way::OwnFile | Way::Credential)) {
                    assert_eq!(shown, *text, "{variable} by {way:?}");
                }
                assert!(!is_pem(&shown));
                assert_eq!(read, Ok(()), "{variable} by {way:?}: {text}");
                assert!(
                    settings.name_of(setting).contains(&way.names(variable, directory.path())),
                    "{variable} by {way:?}"
                );
                tried += 1;
            }
            for text in &wrong {
                let (_, read) = judged(text);
                let error = read.expect_err(&format!("{variable} by {way:?} takes {text}"));
                let names = way.names(variable, directory.path());
                assert!(error.contains(&names) && error.contains("; it should be "), "{variable} by {way:?}: {error}");
                // The text for a URL may hold a password.
                if !matches!(setting.form, Form::Database | Form::Storage | Form::Endpoint) {
                    assert!(error.contains(&format!("\"{text}\"")), "{variable} by {way:?}: {error}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "only {tried} tries");
}

#[test]
fn a_secret_is_in_no_error_wherever_it_stands() {
    for setting in ALL.iter().filter(|setting| setting.is_secret()) {
        for way in WAYS.into_iter().filter(|way| way.leads_to(setting)) {
            let directory = directory();
            let settings = way.set(setting.name, "hunter2-hunter2", directory.path());
            assert!(
                !settings.unreadable(setting, "a key").to_string().contains("hunter2"),
                "{} by {way:?}",
                setting.name
            );
            assert!(!settings.summary().contains("hunter2"), "{}", setting.name);
            assert_eq!(settings.printed(setting), None, "{}", setting.name);
        }
    }
}
