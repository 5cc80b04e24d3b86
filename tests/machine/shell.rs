//! What a shell and `man` know of the commands, and what a command line that is not right is told.

use std::{fs, process::Command};
use support::{Server, repository};

fn completions(shell: &str) -> String {
    let output = Server::with().run(&["completions", shell]);
    assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What bash offers where the last of these words is being typed.
fn offered(words: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let script = dir.path().join("completions");
    fs::write(&script, completions("bash")).expect("a file");
    let complete = r#"
        set -e
        source "$1"; shift
        function=$(complete -p propromo-chat | sed 's/.* -F \([^ ]*\) .*/\1/')
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        "$function" propromo-chat "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output =
        Command::new("bash").args(["-c", complete, "bash"]).arg(script).args(words).output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_settings() {
    assert_eq!(offered(&["propromo-chat", "ta"]), ["talk"]);
    assert_eq!(offered(&["propromo-chat", "monitor", "rem"]), ["remove"]);
    assert_eq!(offered(&["propromo-chat", "serve", "--message-ra"]), ["--message-rate"]);
    assert_eq!(offered(&["propromo-chat", "account", "list", "--data"]), ["--data-dir", "--database-url"]);
}

#[test]
fn every_shell_has_every_command_and_the_package_asks_for_each_script() {
    for (shell, file) in [("bash", "propromo-chat.bash"), ("zsh", "_propromo-chat"), ("fish", "propromo-chat.fish")] {
        let script = completions(shell);
        for command in ["serve", "talk", "migrate", "completions"] {
            assert!(script.contains(command), "{shell} knows no {command}");
        }
        let packed = fs::read_to_string(repository().join("deploy/completions").join(file)).expect("a script");
        assert!(packed.contains(&format!("propromo-chat completions {shell}")), "{file}");
    }
    let output = Server::with().run(&["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let man = dir.path().join("share/man1");
    let output = Server::with().run(&["man", man.to_str().expect("text")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = |name: &str| fs::read_to_string(man.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let help = String::from_utf8(Server::with().run(&["--help"]).stdout).expect("text");
    let (_, rest) = help.split_once("Commands:\n").expect("a list of commands");
    let commands = rest.lines().map_while(|line| line.strip_prefix("  ")?.split_whitespace().next());
    for command in commands.filter(|name| *name != "help") {
        let title = format!(".TH propromo-chat-{command} 1");
        assert!(page(&format!("propromo-chat-{command}.1")).contains(&title), "{command}");
    }
    assert!(page("propromo-chat.1").contains("talk"));
    assert!(page("propromo-chat-serve.1").contains("MESSAGE_RATE"));
    assert!(page("propromo-chat-account-add.1").contains("EMAIL"));
}

#[test]
fn help_explains_a_command() {
    for command in [["talk"].as_slice(), &["account", "add"]] {
        let helped = Server::with().run(&[&["help"], command].concat());
        let asked = Server::with().run(&[command, &["--help"]].concat());
        assert!(helped.status.success() && !helped.stdout.is_empty());
        assert_eq!(String::from_utf8_lossy(&helped.stdout), String::from_utf8_lossy(&asked.stdout));
    }
}

#[test]
fn a_slip_is_answered_by_what_was_meant() {
    for (line, meant) in [
        (["srve"].as_slice(), "serve"),
        (&["serve", "--mesage-rate", "1"], "--message-rate"),
        (&["account", "ad", "ann@example.org"], "add"),
        (&["tlak", "localhost"], "talk"),
    ] {
        let output = Server::with().run(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("similar") && said.contains(meant), "{said}");
    }
}

#[test]
fn who_begins_is_told_what_follows() {
    let server = Server::with().without_demo().start();
    server.logs(&["there are no accounts yet in "]);
    let setup = server.setup();
    let said = |line: &[&str], input: &str| {
        let output = setup.run_with_input(line, input);
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let add = |email| said(&["account", "add", email, "--password-stdin"], "correct horse battery\n");
    let first = add("ann@example.org");
    assert!(first.contains("`propromo-chat monitor add HASH`") && first.contains("no monitor yet"), "{first}");
    let removed = said(&["monitor", "remove", "nosuch", "--keep-messages"], "");
    assert!(removed.contains("there is no monitor nosuch") && !removed.contains("monitor add"), "{removed}");
    said(&["monitor", "add", "garden"], "");
    let second = add("bob@example.org");
    assert!(second.contains("`propromo-chat monitor join 'garden' bob@example.org`"), "{second}");
}
