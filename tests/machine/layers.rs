//! The house in layers: nothing imports from above its own layer, and no files import each other in a circle.
//!
//! What counts is every path of the crate's own, in `use` and in the middle of code, outside of tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use support::repository;
use syn::{
    Attribute, Item, ItemMod, ItemUse, Macro, UseTree,
    visit::{self, Visit},
};

/// From top to bottom. What stands in one line may import each other's files, but not in a circle.
const LAYERS: &[&[&str]] = &[
    &["main", "cli", "facade", "fuzzing"],
    &["server"],
    &["api", "webhooks"],
    &["door"],
    &["chat"],
    &["room"],
    &["gateway", "limits", "metrics", "recheck"],
    &["socket", "http"],
    &["config", "auth"],
    &["store"],
    &[
        "entry",
        "event",
        "flat_json",
        "likeness",
        "logging",
        "message",
        "redact",
        "refusal",
        "request_id",
        "start_error",
        "vital",
    ],
];

/// Files that are truly mutual: a queue tells the flusher what it could not send, and the flusher sends it.
const MUTUAL: &[&str] = &["socket::flusher", "socket::outbound"];

#[test]
fn nothing_imports_from_above_its_layer() {
    let climbs = climbs(&imports(&source()));
    assert!(climbs.is_empty(), "imports that climb:\n{}", climbs.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let circles = circles(&imports(&source()));
    let mutual: BTreeSet<_> = MUTUAL.iter().map(|file| file.to_string()).collect();
    let others: Vec<_> = circles.into_iter().filter(|circle| *circle != mutual).collect();
    assert!(others.is_empty(), "circles of files: {others:#?}");
}

#[test]
fn every_room_has_its_layer() {
    let rooms: BTreeSet<_> = source().keys().filter_map(|module| room(module).map(str::to_owned)).collect();
    let known: BTreeSet<_> = LAYERS.iter().copied().flatten().map(|room| room.to_string()).collect();
    assert_eq!(rooms, known);
}

#[test]
fn a_climbing_import_and_a_circle_are_found_wherever_they_stand() {
    let files = |below: &str| -> Files {
        let above = [("door", "pub mod seat;"), ("door::join", "pub fn take() {}")];
        let below = [("store", "pub mod log;"), ("store::log", below)];
        [above, below].concat().into_iter().map(|(module, code)| (module.to_owned(), code.to_owned())).collect()
    };
    for climbing in [
        "use crate::door::join::take;",
        "use crate::{door::join::{self, take as t}};",
        "fn f() { crate::door::join::take() }",
        "fn f() { super::super::door::join::take() }",
        "fn f() { println!(\"{:?}\", crate::door::join::take()) }",
        "mod inner { use super::super::super::door::join::take; }",
    ] {
        assert_eq!(climbs(&imports(&files(climbing))), ["store::log imports door::join"], "{climbing}");
    }
    for harmless in ["#[cfg(test)] mod tests { use crate::door::join::take; }", "#[cfg(test)] use crate::door::join;"] {
        assert!(climbs(&imports(&files(harmless))).is_empty(), "{harmless}");
    }
    let round: Files =
        [("a", "use crate::b::B;"), ("b", "use crate::c;"), ("c", "use super::a::A;"), ("d", "use crate::a;")]
            .map(|(module, code)| (module.to_owned(), code.to_owned()))
            .into();
    assert_eq!(circles(&imports(&round)), [BTreeSet::from(["a", "b", "c"].map(str::to_owned))]);
}

/// The code of each module that has a file.
type Files = BTreeMap<String, String>;

/// Which modules' files each file imports from.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn climbs(imports: &Imports) -> Vec<String> {
    let layer = |module: &str| LAYERS.iter().position(|rooms| room(module).is_some_and(|room| rooms.contains(&room)));
    let pairs = imports.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    pairs
        .filter(|(from, to)| layer(from).zip(layer(to)).is_some_and(|(from, to)| to < from))
        .map(|(from, to)| format!("{from} imports {to}"))
        .collect()
}

/// Files that can reach each other.
fn circles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<_, _> = imports.keys().map(|file| (file, reached(imports, file))).collect();
    let circle = |file: &String| -> BTreeSet<String> {
        reached[file]
            .iter()
            .filter(|other| reached.get(other).is_some_and(|back| back.contains(file)))
            .cloned()
            .collect()
    };
    let circles: BTreeSet<_> = imports.keys().map(circle).filter(|circle| !circle.is_empty()).collect();
    circles.into_iter().collect()
}

fn reached(imports: &Imports, file: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![file];
    while let Some(file) = next.pop() {
        for other in imports.get(file).into_iter().flatten() {
            if reached.insert(other.clone()) {
                next.push(other);
            }
        }
    }
    reached
}

/// The part of the house that a module stands in; none for the root, which declares all of them.
fn room(module: &str) -> Option<&str> {
    module.split("::").next().filter(|room| !room.is_empty())
}

fn source() -> Files {
    let mut files = Files::new();
    collect(&repository().join("src"), "", &mut files);
    files
}

fn collect(folder: &Path, module: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let child = if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
        if path.is_dir() {
            collect(&path, &child, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = if matches!(name, "mod" | "lib") { module.to_owned() } else { child };
            files.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}

fn imports(files: &Files) -> Imports {
    let parsed: BTreeMap<_, _> = files.iter().map(|(module, code)| (module, syn::parse_file(code).unwrap())).collect();
    let is_test = |module: &str| {
        let Some((parent, name)) = module.rsplit_once("::") else { return false };
        let parent = parsed.get(&parent.to_owned());
        parent.is_some_and(|parent| {
            let declared = parent.items.iter().find_map(|item| match item {
                Item::Mod(declared) if declared.ident == name => Some(declared),
                _ => None,
            });
            declared.is_some_and(|declared| for_tests(&declared.attrs))
        })
    };
    let under_test = |module: &str| {
        let parts: Vec<&str> = module.split("::").collect();
        (1..=parts.len()).any(|length| is_test(&parts[..length].join("::")))
    };
    let mut imports = Imports::new();
    for (module, file) in &parsed {
        // The root only declares; tests may look at whatever they test.
        if module.is_empty() || under_test(module) {
            continue;
        }
        let scope = module.split("::").map(str::to_owned).collect();
        let mut reader = Reader { files, scope, found: BTreeSet::new() };
        reader.visit_file(file);
        reader.found.remove(*module);
        imports.insert((*module).clone(), reader.found);
    }
    imports
}

fn for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|what| what == "test")
    })
}

/// Reads the crate's own paths off a file.
struct Reader<'a> {
    files: &'a Files,
    /// The module that is being read.
    scope: Vec<String>,
    found: BTreeSet<String>,
}

impl Reader<'_> {
    /// Notes the file in which a path's item is, if the path is the crate's own.
    fn note(&mut self, path: &[String]) {
        let Some(first) = path.first() else { return };
        let mut module = match first.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.scope.clone(),
            child if self.files.contains_key(&[&self.scope[..], &[child.to_owned()]].concat().join("::")) => {
                [&self.scope[..], &[child.to_owned()]].concat()
            }
            _ => return,
        };
        let mut rest = path;
        while let [first, others @ ..] = rest
            && matches!(first.as_str(), "crate" | "self" | "super")
        {
            if first == "super" {
                module.pop();
            }
            rest = others;
        }
        if !matches!(first.as_str(), "crate" | "self" | "super") {
            rest = &rest[1..];
        }
        // As far as there are files.
        for part in rest {
            module.push(part.clone());
            if !self.files.contains_key(&module.join("::")) {
                module.pop();
                break;
            }
        }
        while !module.is_empty() && !self.files.contains_key(&module.join("::")) {
            module.pop();
        }
        if !module.is_empty() {
            self.found.insert(module.join("::"));
        }
    }

    fn note_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.note_tree(&with(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(before, tree)),
            UseTree::Name(name) => self.note(&with(&name.ident)),
            UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            UseTree::Glob(_) => self.note(before),
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.content.is_some() {
            self.scope.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.scope.pop();
        }
    }

    /// How far something may be seen is no import.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.note_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1 {
            self.note(&parts);
        }
        visit::visit_path(self, path);
    }

    /// What stands in a macro is no more than tokens here; only paths that begin at the root or above are told apart.
    fn visit_macro(&mut self, item: &'ast Macro) {
        let text = item.tokens.to_string();
        let words: Vec<&str> = text.split_whitespace().collect();
        for (place, word) in words.iter().enumerate() {
            let word = word.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
            if matches!(word, "crate" | "super") && words.get(place + 1) == Some(&"::") {
                let path = words[place + 1..].chunks(2).take_while(|pair| pair[0] == "::");
                let path = path.filter_map(|pair| pair.get(1).map(|name| name.to_string()));
                let path: Vec<String> = [word.to_owned()].into_iter().chain(path).collect();
                self.note(&path);
            }
        }
        visit::visit_macro(self, item);
    }
}
