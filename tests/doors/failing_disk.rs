//! A file system that the kernel makes read-only while the server runs, as ext4 is made at an error of its disk.

use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use support::{ALICE, BOB, Client, Server};

/// A file system in a file, mounted at a directory until this is dropped.
struct Disk {
    image: PathBuf,
    directory: PathBuf,
}

impl Disk {
    /// `None` where nobody lets us mount one.
    fn at(directory: &Path) -> Option<Disk> {
        let disk = Disk { image: directory.with_extension("image"), directory: directory.to_owned() };
        fs::create_dir(directory).expect("the directory");
        let image = fs::File::create(&disk.image).expect("the image");
        image.set_len(64 << 20).expect("the image can be so large");
        (runs("mkfs.ext4", &["-q"], &[&disk.image]) && disk.mount()).then_some(disk)
    }

    fn mount(&self) -> bool {
        runs("mount", &["-o", "loop"], &[&self.image, &self.directory])
    }

    /// What the kernel does when writing fails where it must not.
    fn fails(&self) {
        assert!(runs("mount", &["-o", "remount,abort"], &[&self.directory]), "it can be made read-only");
    }

    fn is_repaired(&self) {
        assert!(runs("umount", &[], &[&self.directory]) && self.mount(), "it can be mounted again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: if the test fails, the server is still there.
        runs("umount", &["--lazy"], &[&self.directory]);
    }
}

fn runs(program: &str, options: &[&str], paths: &[&Path]) -> bool {
    // These programs are not in everybody's path.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).env("PATH", path).args(options).args(paths).output();
    let worked = output.as_ref().is_ok_and(|output| output.status.success());
    if !worked {
        eprintln!("{program} {options:?} {paths:?}: {output:?}");
    }
    worked
}

#[test]
fn a_disk_that_turns_read_only_refuses_what_comes_and_what_was_shown_is_there_when_it_is_repaired() {
    let setup = Server::with().env("DURABILITY", "power");
    let Some(disk) = Disk::at(&setup.data_dir()) else {
        return eprintln!("this machine lets nobody mount anything, so this was not tested");
    };
    let mut server = setup.start();
    let mut alice = server.channel(ALICE, "lobby");
    let mut shown: Vec<Value> = (0..20).map(|n| alice.post(&format!("before {n}"))["id"].clone()).collect();
    disk.fails();
    // The kernel may have taken what it could not write: the first is not known, and all others are refused.
    alice.ask(json!({"type": "message", "text": "the first", "ref": "r"}));
    let first = alice.wait_for("error")["code"].clone();
    assert!(first == "unknown" || first == "unavailable", "{first}");
    for _ in 0..3 {
        alice.ask(json!({"type": "message", "text": "refused", "ref": "s"}));
        assert_eq!(alice.wait_for("error")["code"], "unavailable");
    }
    alice.ask(json!({"type": "edit", "id": shown[0], "text": "refused"}));
    assert_eq!(alice.wait_for("error")["code"], "unavailable");
    assert_eq!(server.get("/readyz").status, 503);
    assert_eq!(history(&mut alice), shown, "what was shown can still be read");
    server.kill9();
    disk.is_repaired();
    let mut server = server.restart();
    let mut bob = server.channel(BOB, "lobby");
    let mut kept = history(&mut bob);
    if first == "unknown" && kept.len() > shown.len() {
        kept.pop();
    }
    assert_eq!(kept, shown);
    shown.push(bob.post("after")["id"].clone());
    assert_eq!(history(&mut bob).last(), shown.last());
    server.kill9();
    // Before the directory in which it is mounted goes.
    drop(disk);
}

/// The ids of the room's history.
#[track_caller]
fn history(client: &mut Client) -> Vec<Value> {
    client.ask(json!({"type": "history"}));
    let page = client.wait_for("history")["messages"].as_array().expect("a list").clone();
    page.iter().map(|message| message["id"].clone()).collect()
}
