//! `SECURITY.md` promises nothing that no test shows.

use std::{fs, path::Path};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The cells of every row of the tables behind a heading.
fn rows<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let part = document.split_once(heading).unwrap_or_else(|| panic!("no {heading}")).1;
    let part = part.split("\n## ").next().expect("its own lines");
    let rows = part.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>())
        .filter(|cells| !matches!(cells[0], "threat" | "from"))
        .collect()
}

/// Tests that a cell names; each is there.
fn shown(tests: &str) -> usize {
    let named = tests.split('`').skip(1).step_by(2);
    let is_there = |named: &str| {
        let (file, test) = named.split_once("::").unwrap_or_else(|| panic!("{named:?} names no test"));
        let text = read(file);
        text.contains(&format!("fn {test}()"))
            // The functions of `fuzz.rs` come from one list.
            || file == "tests/doors/fuzz.rs" && text.split("targets! {").nth(1).is_some_and(|list| list.contains(test))
    };
    named.inspect(|named| assert!(is_there(named), "{named} is not there")).count()
}

#[test]
fn every_threat_has_what_stops_it_and_a_test_that_is_there() {
    let document = read("SECURITY.md");
    let rows = rows(&document, "## Threats");
    assert!(rows.len() > 50, "only {} rows were found", rows.len());
    for cells in rows {
        let [threat, remedy, tests] = cells[..] else { panic!("no row of three cells: {cells:?}") };
        assert!(!threat.is_empty() && !remedy.is_empty(), "{cells:?}");
        assert!(shown(tests) > 0, "no test for: {threat}");
    }
}

#[test]
fn what_is_promised_against_whom_has_tests() {
    let document = read("SECURITY.md");
    let rows = rows(&document, "## What is promised");
    assert_eq!(rows.len(), 3, "{rows:?}");
    for cells in rows {
        let [from, most, others, tests] = cells[..] else { panic!("no row of four cells: {cells:?}") };
        assert!(!most.is_empty() && !others.is_empty() && shown(tests) > 2, "{from}");
    }
}

#[test]
fn every_test_of_an_attack_says_how_it_was_seen_to_fail() {
    let attacks =
        ["slow", "frames", "login", "injection", "memory", "places", "events"].map(|of| format!("attacks_{of}"));
    let bounds = ["history", "logins", "rooms", "store", "tickets"].map(|of| format!("bounds_{of}"));
    for file in attacks.iter().chain(&bounds) {
        let text = read(&format!("tests/doors/{file}.rs"));
        let lines: Vec<&str> = text.lines().collect();
        for at in (0..lines.len()).filter(|at| lines[*at] == "#[test]") {
            let mut said = lines[..at].iter().rev().take_while(|line| line.starts_with("//"));
            assert!(said.any(|line| line.starts_with("// Seen to fail")), "{file}.rs: {}", lines[at + 1]);
        }
    }
}
