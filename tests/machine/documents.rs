//! README and `docs/`: their commands exist, their links lead somewhere. `walkthroughs.rs` and `tutorial.rs` run the blocks marked `sh`; those
//! marked `sh by hand` need root, a compiler or the network: `deployment.rs` runs what can be run of them, and here their form is
//! looked at.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};
use support::{Server, documents::blocks, repository};

/// Every document for readers, by its path.
fn documents() -> Vec<(PathBuf, String)> {
    let in_docs = fs::read_dir(repository().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let of_top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "SECURITY.md"]
        .map(|name| repository().join(name));
    let documents = in_docs.chain(of_top).filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.map(|path| (path.clone(), fs::read_to_string(path).expect("a document"))).collect()
}

/// All shell blocks, run by a test or not, with their documents.
fn shell_blocks() -> Vec<(PathBuf, String)> {
    let of = |(path, text): (PathBuf, String)| {
        let blocks = blocks(&text).into_iter().filter(|(kind, _)| *kind == "sh" || kind.starts_with("sh "));
        blocks.map(|(_, block)| (path.clone(), block)).collect::<Vec<_>>()
    };
    documents().into_iter().flat_map(of).collect()
}

#[test]
fn every_block_says_what_it_is() {
    for (path, text) in documents() {
        for (kind, block) in blocks(&text) {
            let known = ["sh", "sh start", "sh by hand", "text", "json", "yaml", "js", "php", "html", "python", ""];
            assert!(known.contains(&kind), "{}: a block of the kind {kind:?}", path.display());
            // Without a kind there are drawings only.
            assert!(!kind.is_empty() || block.contains('─'), "{}: what is this?\n{block}", path.display());
        }
    }
}

#[test]
fn every_shell_block_can_be_read_by_a_shell() {
    let blocks = shell_blocks();
    assert!(blocks.len() > 30, "{}", blocks.len());
    for (path, block) in blocks {
        let read = Command::new("bash").args(["-n", "-c", &block]).output().expect("bash");
        assert!(read.status.success(), "{}: {}\n{block}", path.display(), String::from_utf8_lossy(&read.stderr));
    }
}

/// The arguments of each call of the server in a block.
fn calls(block: &str) -> Vec<Vec<String>> {
    let lines = block.replace("\\\n", " ");
    let calls = lines.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        // Its name may also be that of a user or a unit, which stand before it or at the end.
        let program = words.iter().rposition(|word| *word == "propromo-chat")?;
        let arguments: Vec<String> = words[program + 1..].iter().map(|word| (*word).to_owned()).collect();
        let first = arguments.first()?;
        (first == "--data-dir" || first.bytes().all(|b| b.is_ascii_lowercase())).then_some(arguments)
    });
    calls.collect()
}

#[test]
fn every_command_and_flag_of_the_server_that_is_named_exists() {
    let setup = Server::with();
    let help = |arguments: &[&str]| {
        let output = setup.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let settings = help(&["serve", "--help"]);
    let mut seen = BTreeSet::new();
    for (path, block) in shell_blocks() {
        for call in calls(&block) {
            let place = format!("{}: propromo-chat {}", path.display(), call.join(" "));
            let mut words = call.iter().map(String::as_str).peekable();
            while words.next_if(|word| *word == "--data-dir").is_some() {
                words.next();
            }
            let command = words.next().unwrap_or_else(|| panic!("no command: {place}"));
            let of_command = match command {
                "account" | "monitor" => {
                    let action = words.next().expect("what to do");
                    help(&[command, action, "--help"])
                }
                "keys" => fs::read_to_string(repository().join("keys.sh")).expect("keys.sh"),
                _ => help(&[command, "--help"]),
            };
            for flag in words.filter(|word| word.starts_with("--")) {
                assert!(of_command.contains(flag) || settings.contains(flag), "no {flag}: {place}");
            }
            seen.insert(command.to_owned());
        }
    }
    for command in ["account", "backup", "check", "keys", "migrate", "monitor", "serve"] {
        assert!(seen.contains(command), "{command} is explained nowhere, or not found by this test");
    }
}

#[test]
fn every_command_has_its_line() {
    let output = Server::with().run(&["--help"]);
    let help = String::from_utf8(output.stdout).expect("text");
    let (_, rest) = help.split_once("Commands:\n").expect("a list of commands");
    let commands: Vec<_> = rest.lines().map_while(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    assert!(commands.len() >= 9, "{commands:?}");
    let document = fs::read_to_string(repository().join("docs/COMMANDS.md")).expect("the commands");
    for command in commands {
        assert!(document.contains(&format!("| `{command}")), "docs/COMMANDS.md says nothing about {command}");
    }
}

#[test]
fn the_readme_is_read_in_a_few_minutes() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("the README");
    assert!(readme.split_whitespace().count() <= 900, "settings and details belong in docs/");
}

#[test]
fn every_script_that_is_named_is_there_and_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let mut count = 0;
    for (path, text) in documents() {
        for word in text.split(|c: char| c.is_whitespace() || "`()|,;:\"".contains(c)) {
            let word = word.trim_end_matches('.').trim_start_matches("./");
            let is_script =
                word.strip_prefix("scripts/").is_some_and(|name| !name.contains(['/', '.']) && !name.is_empty());
            if is_script || word == "keys.sh" || word == ".ci/run" {
                let file = repository().join(word);
                let mode = fs::metadata(&file).map(|meta| meta.permissions().mode()).unwrap_or_default();
                assert!(mode & 0o111 == 0o111, "{} names {word}, which can't be run", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 5, "{count}");
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let mut count = 0;
    for (path, text) in documents() {
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let pictures = ["src=\"", "srcset=\""].into_iter().flat_map(|name| text.split(name).skip(1));
        for target in links.chain(pictures.filter_map(|rest| rest.split('"').next())) {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let file = path.parent().expect("a folder").join(target.split('#').next().expect("a first part"));
            assert!(file.exists(), "{} leads to {target}, which is not there", path.display());
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}

/// All but the compiler, in whose place stands one that has built already.
#[test]
fn the_demo_starts_with_one_command() {
    use std::{
        io::{BufRead, BufReader},
        os::unix::fs::{PermissionsExt, symlink},
        process::Stdio,
    };
    let dir = tempfile::tempdir().expect("a directory for the test");
    let (programs, target) = (dir.path().join("bin"), dir.path().join("target"));
    fs::create_dir_all(target.join("demo")).expect("a directory");
    symlink(env!("CARGO_BIN_EXE_propromo-chat"), target.join("demo/propromo-chat")).expect("a link");
    fs::create_dir(&programs).expect("a directory");
    let cargo = programs.join("cargo");
    fs::write(&cargo, "#!/bin/sh\ncase \"$*\" in --version) echo 'cargo 9.9.9' ;; 'build --locked --profile demo --bin propromo-chat') ;; *) exit 1 ;; esac\n").expect("a script");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let mut demo = Command::new(repository().join("scripts/demo"))
        .args(["--listen", "127.0.0.1:0"])
        .current_dir(dir.path())
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", &target)
        .env("DATA_DIR", dir.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the script can be started");
    let mut printed = Vec::new();
    for line in BufReader::new(demo.stdout.take().expect("a pipe")).lines().map_while(Result::ok) {
        printed.push(line);
        if printed.last().is_some_and(|line| line.starts_with("listening on ")) {
            break;
        }
    }
    let address = printed.last().and_then(|line| line.strip_prefix("listening on http://")?.parse().ok());
    let answer =
        address.map(|address| support::Connection::open(address).send(support::http::get("/", &[])).response());
    // `exec` leaves one process, the server.
    demo.kill().expect("the demo can be killed");
    demo.wait().expect("the demo can be waited for");
    assert_eq!(answer.map(|answer| answer.status), Some(200), "{printed:?}");
    assert!(printed.iter().any(|line| line.contains("alice-password")), "{printed:?}");
}
