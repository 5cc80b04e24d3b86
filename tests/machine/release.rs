//! What a release is made of: workflows, scripts, the image's recipe, manifests for Kubernetes. Each is read by the tool that
//! reads it in earnest.

use serde_json::Value;
use std::{
    collections::HashSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use support::{Server, repository, yaml::Node};

/// A program of the tests' Python environment, which `scripts/test` makes.
fn program(name: &str) -> Command {
    let path = repository().join("tests/clients/.venv/bin").join(name);
    assert!(path.exists(), "{name} is missing: run scripts/test");
    let mut command = Command::new(path);
    command.current_dir(repository());
    command
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("the program can be started");
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{command:?}\n{out}{err}");
    output
}

fn workflows() -> Vec<PathBuf> {
    let folder = fs::read_dir(repository().join(".github/workflows")).expect("workflows");
    folder.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn the_workflows_are_what_github_reads() {
    let workflows = workflows();
    assert_eq!(workflows.len(), 2);
    succeeds(program("check-jsonschema").args(["--builtin-schema", "vendor.github-workflows"]).args(&workflows));
    // Expressions, needs, inputs of actions, and what stands in a shell.
    succeeds(program("actionlint").args(&workflows));
    // Actions by their digest, no more rights than needed, nothing of a stranger's in a shell.
    succeeds(program("zizmor").args(["--offline", "--min-severity", "medium", ".github"]));
}

#[test]
fn every_other_description_in_yaml_fits_its_schema() {
    for (schema, path) in [
        ("dependabot", ".github/dependabot.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/idea.yml"),
        ("compose-spec", "compose.yml"),
        ("compose-spec", "redis.yml"),
    ] {
        succeeds(program("check-jsonschema").args(["--builtin-schema", &format!("vendor.{schema}"), path]));
    }
}

#[test]
fn a_workflow_runs_nothing_but_scripts_of_the_repository() {
    let mut count = 0;
    for path in workflows() {
        let text = fs::read_to_string(&path).expect("a workflow");
        for line in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("run: ")) {
            let script = repository().join(line.split(' ').next().expect("a program"));
            let mode = fs::metadata(&script).unwrap_or_else(|error| panic!("{line}: {error}")).permissions().mode();
            assert!(mode & 0o111 == 0o111, "{line}");
            count += 1;
        }
    }
    assert_eq!(count, 4);
}

/// All shell scripts that the repository has.
fn shell_scripts() -> Vec<PathBuf> {
    let folders = ["scripts", ".ci", "systemd", "systemd/debian", "tests/keys"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(repository().join(folder)).expect("a folder"));
    let paths = files.map(|entry| entry.expect("an entry").path()).chain([repository().join("keys.sh")]);
    let is_shell = |path: &PathBuf| {
        let first = fs::read(path).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        first.is_some_and(|text| text.lines().next().is_some_and(|line| line.starts_with("#!") && line.ends_with("sh")))
    };
    paths.filter(|path| path.is_file()).filter(is_shell).collect()
}

#[test]
fn shellcheck_finds_nothing_in_any_script() {
    let scripts = shell_scripts();
    assert!(scripts.len() >= 15, "{scripts:?}");
    succeeds(Command::new("shellcheck").args(scripts));
}

#[test]
fn hadolint_finds_nothing_in_the_dockerfile() {
    succeeds(program("hadolint").arg("Dockerfile"));
}

fn manifest(name: &str) -> PathBuf {
    repository().join("deploy/kubernetes").join(name)
}

#[test]
fn kubernetes_takes_every_manifest() {
    let list = Node::read("deploy/kubernetes/kustomization.yaml");
    let listed: Vec<_> = list.at("resources").list().iter().map(Node::text).collect();
    let there = fs::read_dir(manifest("")).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    let there: HashSet<_> = there.filter_map(|name| name.into_string().ok()).collect();
    let expected: HashSet<_> = listed.iter().copied().chain(["kustomization.yaml"]).map(str::to_owned).collect();
    assert_eq!(there, expected);
    // As `kubectl apply -k` renders them.
    let rendered = succeeds(Command::new("kubectl").arg("kustomize").arg(manifest(""))).stdout;
    let kinds = String::from_utf8_lossy(&rendered).lines().filter(|line| line.starts_with("kind: ")).count();
    assert_eq!(kinds, listed.len());
    let dir = tempfile::tempdir().expect("a directory for the test");
    let path = dir.path().join("rendered.yaml");
    fs::write(&path, rendered).expect("a file");
    succeeds(program("kubernetes-validate").arg("--strict").arg(path));
}

#[test]
fn what_kubernetes_sets_are_settings_and_its_ports_are_theirs() {
    let settings = Node::read("deploy/kubernetes/settings.yaml");
    let deployment = fs::read_to_string(manifest("deployment.yaml")).expect("the deployment");
    let help = Server::with().run(&["serve", "--help"]);
    let help = String::from_utf8(help.stdout).expect("text");
    for (name, value) in settings.at("data").fields() {
        // A secret has no flag of its own, but one for its file.
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        let known = help.contains(&flag) || help.contains(flag.trim_end_matches("-file"));
        assert!(known, "{name} is no setting");
        if let Some((_, port)) = value.text().rsplit_once(':').filter(|_| name.ends_with("LISTEN")) {
            assert!(deployment.contains(&format!("containerPort: {port}\n")), "{name}={value:?}");
        }
    }
}

#[test]
fn the_bill_of_materials_is_whole() {
    let target = "x86_64-unknown-linux-gnu";
    let output = succeeds(Command::new(repository().join("scripts/sbom")).arg(target));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&document["bomFormat"], &document["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let components = document["components"].as_array().expect("components");
    let known: HashSet<_> = components.iter().map(|component| &component["bom-ref"]).collect();
    assert!(known.len() > 100, "{}", known.len());
    assert!(components.iter().all(|component| component["licenses"].is_array()), "each says under which licence it is");
    let dependencies = document["dependencies"].as_array().expect("dependencies");
    for needed in dependencies.iter().flat_map(|entry| entry["dependsOn"].as_array().expect("a list")) {
        assert!(known.contains(needed), "{needed} is named and not described");
    }
    let names: HashSet<_> = components.iter().filter_map(|component| component["name"].as_str()).collect();
    assert!(names.contains("tungstenite") && !names.contains("proptest"), "what is linked, and nothing else");

    let output = succeeds(Command::new(repository().join("scripts/notices")).arg(target));
    let notices = String::from_utf8(output.stdout).expect("text");
    for name in names {
        assert!(notices.contains(&format!("\n- {name} ")), "{name} has no notice");
    }
}

/// The files that the sources of the server have in them, outside of its tests.
fn included() -> Vec<PathBuf> {
    let mut folders = vec![repository().join("src")];
    let mut included = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).expect("a source");
            let calls = text.split("include_str!(\"").skip(1).chain(text.split("include_bytes!(\"").skip(1));
            let names = calls.filter_map(|rest| rest.split('"').next());
            included
                .extend(names.filter(|_| path.extension().is_some_and(|e| e == "rs")).map(|name| folder.join(name)));
        }
    }
    included.iter().map(|path| path.canonicalize().unwrap_or_else(|error| panic!("{path:?}: {error}"))).collect()
}

#[test]
fn the_published_crate_has_all_that_it_is_built_of_and_no_stray_file() {
    let mut cargo = Command::new("cargo");
    cargo.args(["package", "--list", "--allow-dirty", "--offline", "--package", "propromo-chat"]);
    let output = succeeds(cargo.current_dir(repository()));
    let listed: HashSet<_> = String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect();
    let root = repository().canonicalize().expect("a path");
    let needed = included();
    assert!(needed.len() > 30, "{}", needed.len());
    for path in needed {
        let name = path.strip_prefix(&root).expect("a file of the repository").display().to_string();
        // What tests alone read.
        if !name.starts_with("tests/") && !name.starts_with("dummy/keys/") {
            assert!(listed.contains(&name), "the crate lacks {name}");
        }
    }
    let output = succeeds(Command::new("git").args(["ls-files"]).current_dir(repository()));
    let kept = String::from_utf8(output.stdout).expect("text");
    let mut known: HashSet<_> = kept.lines().collect();
    known.extend(["Cargo.toml.orig", ".cargo_vcs_info.json"]);
    let stray: Vec<_> = listed.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(stray.is_empty(), "{stray:?}");
    let allowed = ["src/", "benches/", "docs/", "dummy/", "clients/js/"];
    let others = listed.iter().filter(|name| name.contains('/') && !allowed.iter().any(|dir| name.starts_with(dir)));
    assert_eq!(others.count(), 0, "{listed:?}");
}

#[test]
fn debian_reads_the_changelog_of_the_package() {
    let output = succeeds(Command::new(repository().join("scripts/debian-changelog")).current_dir(repository()));
    let changelog = String::from_utf8(output.stdout).expect("text");
    let kept = fs::read_to_string(repository().join("CHANGELOG.md")).expect("the changelog");
    let released = kept.lines().filter_map(|line| line.strip_prefix("## [")?.split_once("] - "));
    let written: Vec<_> =
        released.map(|(version, _)| format!("propromo-chat ({version}-1) unstable; urgency=medium")).collect();
    let heads: Vec<_> = changelog.lines().filter(|line| line.starts_with("propromo-chat (")).collect();
    assert_eq!(heads, written);
    let version = concat!("(", env!("CARGO_PKG_VERSION"), "-1)");
    assert!(heads[0].contains(version), "the newest is not {version}: {heads:?}");
    // As `dpkg-parsechangelog` wants it: two spaces before a change, one before the line with the date.
    for line in changelog.lines().filter(|line| !line.is_empty() && !line.starts_with("propromo-chat (")) {
        let is_date = line.starts_with(" -- ") && line.contains(">  ") && line.ends_with(" +0000");
        assert!(is_date || line.starts_with("  "), "{line:?}");
    }
}

/// Programs that stand before those of the machine.
struct StandIns(tempfile::TempDir);

impl StandIns {
    fn new(programs: &[(&str, &str)]) -> StandIns {
        let dir = tempfile::tempdir().expect("a directory for the test");
        for (name, script) in programs {
            let path = dir.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
        }
        StandIns(dir)
    }

    fn run(&self, script: &str, arguments: &[&str], path: &str) -> Output {
        let mut command = Command::new(repository().join("scripts").join(script));
        command.args(arguments).env("PATH", format!("{}:{path}", self.0.path().display()));
        command.output().expect("the script starts")
    }

    /// Runs the demo's script, and gives what it says when it refuses.
    fn refusal(&self, path: &str) -> String {
        let output = self.run("demo", &[], path);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    }
}

#[test]
fn the_demo_says_at_once_what_is_missing() {
    let path = "/usr/bin:/bin";
    let said = StandIns::new(&[("uname", "echo Darwin")]).refusal(path);
    assert!(said.contains("runs on Linux") && said.contains("docker run"), "{said}");

    // A folder with the few programs that the script needs, and no compiler.
    let links = tempfile::tempdir().expect("a directory");
    for name in ["bash", "cut", "dirname", "env", "head", "sed", "sort", "uname"] {
        let program = ["/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
        std::os::unix::fs::symlink(program.expect("a program of every machine"), links.path().join(name))
            .expect("a link");
    }
    let bare = links.path().display().to_string();
    let said = StandIns::new(&[]).refusal(&bare);
    assert!(said.contains("cargo is missing") && said.contains("rustup"), "{said}");

    let said = StandIns::new(&[("cargo", "echo 'cargo 1.70.0 (abc 2023-01-01)'")]).refusal(&bare);
    assert!(said.contains("cargo 1.70.0 is too old; the server needs 1.") && said.contains("rustup update"), "{said}");
}

#[test]
fn a_part_of_the_tests_needs_less_than_all_and_says_what_before_it_installs() {
    let path = std::env::var("PATH").expect("a PATH");
    let needs = |parts: &[&str]| {
        let output = StandIns::new(&[]).run("test", &[&["--needs"], parts].concat(), &path);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (all, unit, doors) = (needs(&[]), needs(&["unit"]), needs(&["doors"]));
    assert!(unit.contains("postgresql") && !unit.contains("npm") && !unit.contains("chromium"), "{unit}");
    assert!(doors.contains("prometheus") && !doors.contains("default-jdk-headless"), "{doors}");
    for word in unit.split_whitespace().chain(doors.split_whitespace()) {
        assert!(all.contains(word), "all of it lacks {word}:\n{all}");
    }
    // A machine that has nothing, and on which nothing is installed in earnest.
    let installs = StandIns::new(&[
        ("cargo", "echo cargo \"$@\""),
        ("dpkg-query", "exit 1"),
        ("apt-get", "echo apt-get \"$@\" >&2"),
        ("sudo", "\"$@\""),
    ]);
    let output = installs.run("test", &["unit", "doors", "history"], &path);
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(out, "cargo test --lib --test doors history\n", "{err}");
    let told = err.find("scripts/test unit doors installs, if it is missing:").expect("told first");
    assert!(err.find("\ninstalling ").is_some_and(|done| told < done) && err.contains("postgresql"), "{err}");
    assert_eq!(installs.run("test", &["--needs", "dance"], &path).status.code(), Some(2));
}

#[test]
fn a_release_is_not_made_of_what_the_changelog_does_not_name() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("a file");
    let refusal = || {
        let output = Command::new(dir.path().join("scripts/release")).output().expect("the script starts");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    fs::create_dir(dir.path().join("scripts")).expect("a directory");
    fs::copy(repository().join("scripts/release"), dir.path().join("scripts/release")).expect("the script");
    write("Cargo.toml", "[package]\nversion = \"7.7.7\"\n");
    write("CHANGELOG.md", "## [7.7.6] - 2026-01-01\n");
    assert!(refusal().contains("CHANGELOG.md has no section [7.7.7]"));

    write("CHANGELOG.md", "## [Unreleased]\n\n- One.\n- Two.\n\n## [7.7.7] - 2026-01-01\n\n- Three.\n");
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=x", "-c", "user.email=x@example.org"]).args(arguments);
        succeeds(git.current_dir(dir.path()));
    };
    git(&["init", "--quiet"]);
    assert!(refusal().contains("changes that are not committed"));
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "All"]);
    git(&["tag", "v7.7.8"]);
    assert!(refusal().contains("the commit's tag is v7.7.8, but Cargo.toml says 7.7.7"));
    git(&["tag", "-d", "v7.7.8"]);
    git(&["tag", "v7.7.7"]);
    let said = refusal();
    assert!(said.contains("CHANGELOG.md has 2 lines under Unreleased"), "{said}");
}
