//! An event on GitHub as one short line: who, what, where, and a link.
//!
//! The payloads are described on GitHub's page "Webhook events and payloads". Only the fields that a line needs are
//! read.

use crate::flat_json;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::Value;
use std::fmt;

/// Most characters of a title or a quotation.
const MAX_QUOTE: usize = 140;

/// The parts of payloads that lines use.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Payload {
    action: Option<String>,
    sender: Option<User>,
    repository: Option<Repository>,
    organization: Option<User>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    compare: Option<String>,
    created: Option<bool>,
    deleted: Option<bool>,
    forced: Option<bool>,
    commits: Option<Count>,
    head_commit: Option<Commit>,
    pull_request: Option<Numbered>,
    issue: Option<Numbered>,
    comment: Option<Text>,
    review: Option<Text>,
    release: Option<Release>,
    workflow_run: Option<Run>,
    milestone: Option<Titled>,
    projects_v2_item: Option<Item>,
    changes: Option<Changes>,
}

#[derive(Deserialize)]
struct User {
    login: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: Option<String>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct Commit {
    message: Option<String>,
}

#[derive(Deserialize)]
struct Numbered {
    number: Option<u64>,
    title: Option<String>,
    html_url: Option<String>,
    merged: Option<bool>,
    draft: Option<bool>,
    state_reason: Option<String>,
    /// Set if the issue is a pull request.
    pull_request: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Text {
    body: Option<String>,
    html_url: Option<String>,
    state: Option<String>,
}

#[derive(Deserialize)]
struct Release {
    name: Option<String>,
    tag_name: Option<String>,
    html_url: Option<String>,
    prerelease: Option<bool>,
}

#[derive(Deserialize)]
struct Run {
    name: Option<String>,
    run_number: Option<u64>,
    head_branch: Option<String>,
    conclusion: Option<String>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct Titled {
    title: Option<String>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    content_type: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Changes {
    field_value: Option<Field>,
}

#[derive(Deserialize)]
struct Field {
    field_name: Option<String>,
    project_number: Option<u64>,
    /// A text, a number, or an option of a list.
    #[serde(default, deserialize_with = "flat_json::with_fields")]
    to: Option<Value>,
}

/// The length of a list; its entries are not kept.
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }

        deserializer.deserialize_seq(Entries)
    }
}

impl Payload {
    /// The line for this event; `None` for events that are unknown or of no interest.
    pub fn line(&self, event: &str) -> Option<String> {
        match event {
            "push" => self.push(),
            "pull_request" => self.pull_request(),
            "issues" => self.issue(),
            "issue_comment" => self.comment(self.issue.as_ref()?),
            "pull_request_review_comment" => self.comment(self.pull_request.as_ref()?),
            "pull_request_review" => self.review(),
            "release" => self.release(),
            "workflow_run" => self.run(),
            "milestone" => self.milestone(),
            "projects_v2_item" => self.project_item(),
            _ => None,
        }
    }

    fn who(&self) -> String {
        self.sender.as_ref().and_then(|sender| sender.login.as_deref()).map_or_else(|| "Somebody".into(), one_line)
    }

    fn place(&self) -> String {
        let name = self.repository.as_ref().and_then(|repository| repository.full_name.as_deref());
        name.map_or_else(|| "a repository".into(), one_line)
    }

    fn action(&self) -> &str {
        self.action.as_deref().unwrap_or_default()
    }

    fn push(&self) -> Option<String> {
        let reference = self.reference.as_deref()?;
        let (kind, name) = match reference.strip_prefix("refs/tags/") {
            Some(tag) => ("tag", tag),
            None => ("branch", reference.strip_prefix("refs/heads/").unwrap_or(reference)),
        };
        let (who, place, name) = (self.who(), self.place(), one_line(name));
        let home = self.repository.as_ref().and_then(|repository| repository.html_url.as_deref());
        if self.deleted == Some(true) {
            return Some(linked(format!("{who} deleted the {kind} {name} of {place}"), home));
        }
        let count = self.commits.as_ref().map_or(0, |commits| commits.0);
        let link = self.compare.as_deref().or(home);
        if kind == "tag" || count == 0 {
            let did = if self.created == Some(true) { "made" } else { "moved" };
            return Some(linked(format!("{who} {did} the {kind} {name} of {place}"), link));
        }
        let pushed = if self.forced == Some(true) { "force-pushed" } else { "pushed" };
        let commits = if count == 1 { "1 commit".to_owned() } else { format!("{count} commits") };
        let last = self.head_commit.as_ref().and_then(|commit| commit.message.as_deref()).map(first_line);
        let last = last.filter(|last| !last.is_empty()).map_or_else(String::new, |last| format!(": {last}"));
        Some(linked(format!("{who} {pushed} {commits} to {place}:{name}{last}"), link))
    }

    fn pull_request(&self) -> Option<String> {
        let pull_request = self.pull_request.as_ref()?;
        let did = match self.action() {
            "opened" if pull_request.draft == Some(true) => "drafted",
            "opened" => "opened",
            "closed" if pull_request.merged == Some(true) => "merged",
            "closed" => "closed",
            "reopened" => "reopened",
            "ready_for_review" => "asks for reviews of",
            _ => return None,
        };
        Some(self.about(did, "pull request", pull_request))
    }

    fn issue(&self) -> Option<String> {
        let issue = self.issue.as_ref()?;
        let did = match (self.action(), issue.state_reason.as_deref()) {
            ("opened", _) => "opened",
            ("closed", Some("not_planned")) => "closed as not planned",
            ("closed", _) => "closed",
            ("reopened", _) => "reopened",
            _ => return None,
        };
        Some(self.about(did, "issue", issue))
    }

    fn about(&self, did: &str, kind: &str, what: &Numbered) -> String {
        let (who, place, number) = (self.who(), self.place(), what.number.unwrap_or_default());
        let title = quoted(what.title.as_deref());
        linked(format!("{who} {did} {kind} {place}#{number}{title}"), what.html_url.as_deref())
    }

    fn comment(&self, on: &Numbered) -> Option<String> {
        let comment = self.comment.as_ref().filter(|_| self.action() == "created")?;
        let is_issue = self.pull_request.is_none() && on.pull_request.is_none();
        let kind = if is_issue { "issue" } else { "pull request" };
        let (who, place, number) = (self.who(), self.place(), on.number.unwrap_or_default());
        let said = quoted(comment.body.as_deref());
        Some(linked(format!("{who} commented on {kind} {place}#{number}{said}"), comment.html_url.as_deref()))
    }

    fn review(&self) -> Option<String> {
        let (review, on) = (self.review.as_ref()?, self.pull_request.as_ref()?);
        let did = match (self.action(), review.state.as_deref().unwrap_or_default().to_ascii_lowercase().as_str()) {
            ("submitted", "approved") => "approved",
            ("submitted", "changes_requested") => "wants changes of",
            ("submitted", _) => "reviewed",
            ("dismissed", _) => "dismissed a review of",
            _ => return None,
        };
        let (who, place, number) = (self.who(), self.place(), on.number.unwrap_or_default());
        let said = quoted(review.body.as_deref().filter(|body| !body.is_empty()).or(on.title.as_deref()));
        Some(linked(format!("{who} {did} pull request {place}#{number}{said}"), review.html_url.as_deref()))
    }

    fn release(&self) -> Option<String> {
        let release = self.release.as_ref().filter(|_| self.action() == "published")?;
        let name = release.name.as_deref().filter(|name| !name.is_empty()).or(release.tag_name.as_deref())?;
        let kind = if release.prerelease == Some(true) { "pre-release" } else { "release" };
        let (who, place, name) = (self.who(), self.place(), short(name));
        Some(linked(format!("{who} published the {kind} {name} of {place}"), release.html_url.as_deref()))
    }

    fn run(&self) -> Option<String> {
        let run = self.workflow_run.as_ref().filter(|_| self.action() == "completed")?;
        let ended = match run.conclusion.as_deref()? {
            "success" => "succeeded",
            "failure" => "failed",
            "cancelled" => "was cancelled",
            "timed_out" => "timed out",
            "action_required" => "waits for somebody",
            _ => return None,
        };
        let (name, number) = (short(run.name.as_deref().unwrap_or("A workflow")), run.run_number.unwrap_or_default());
        let branch = run.head_branch.as_deref().map_or_else(String::new, |branch| format!(":{}", one_line(branch)));
        let (place, who) = (self.place(), self.who());
        Some(linked(format!("{name} #{number} {ended} on {place}{branch} ({who})"), run.html_url.as_deref()))
    }

    fn milestone(&self) -> Option<String> {
        let milestone = self.milestone.as_ref()?;
        let did = match self.action() {
            "created" => "made",
            "closed" => "closed",
            "opened" => "reopened",
            "deleted" => "deleted",
            _ => return None,
        };
        let (who, place, title) = (self.who(), self.place(), short(milestone.title.as_deref().unwrap_or_default()));
        Some(linked(format!("{who} {did} the milestone {title} of {place}"), milestone.html_url.as_deref()))
    }

    /// The payload has neither the title nor the address of the item, so the link leads to the project.
    fn project_item(&self) -> Option<String> {
        let item = self.projects_v2_item.as_ref()?;
        let kind = match item.content_type.as_deref() {
            Some("Issue") => "an issue",
            Some("PullRequest") => "a pull request",
            _ => "a draft",
        };
        let field = self.changes.as_ref().and_then(|changes| changes.field_value.as_ref());
        let who = self.who();
        let did = match self.action() {
            "created" => format!("added {kind} to"),
            "deleted" => format!("removed {kind} from"),
            "archived" => format!("archived {kind} in"),
            "restored" => format!("restored {kind} in"),
            "converted" => "made an issue of a draft in".to_owned(),
            "edited" => {
                let field = field?;
                let name = short(field.field_name.as_deref()?);
                match field.to.as_ref().and_then(chosen) {
                    Some(to) => format!("set {name} of {kind} to {} in", short(&to)),
                    None => format!("changed {name} of {kind} in"),
                }
            }
            _ => return None,
        };
        let login = self.organization.as_ref().and_then(|organization| organization.login.as_deref());
        let Some(login) = login.map(one_line) else { return Some(format!("{who} {did} a project")) };
        let number = field.and_then(|field| field.project_number);
        let (project, path) = match number {
            Some(number) => (format!("project {number}"), format!("/{number}")),
            None => ("a project".to_owned(), String::new()),
        };
        let link = format!("https://github.com/orgs/{login}/projects{path}");
        Some(linked(format!("{who} {did} {project} of {login}"), Some(&link)))
    }
}

/// The value that a field was set to.
fn chosen(to: &Value) -> Option<String> {
    match to {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(object) => {
            ["name", "title"].iter().find_map(|name| object.get(*name)?.as_str()).map(str::to_owned)
        }
        _ => None,
    }
}

fn linked(line: String, link: Option<&str>) -> String {
    match link {
        Some(link) if link.starts_with("https://") && link.len() <= 500 => format!("{line} {}", one_line(link)),
        _ => line,
    }
}

fn quoted(text: Option<&str>) -> String {
    let text = first_line(text.unwrap_or_default());
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn first_line(text: &str) -> String {
    short(text.trim_start().lines().next().unwrap_or_default())
}

fn short(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(MAX_QUOTE) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text,
    }
}

fn one_line(text: &str) -> String {
    text.trim().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn line(event: &str, mut payload: serde_json::Value) -> Option<String> {
        let with = payload.as_object_mut().unwrap();
        with.entry("sender").or_insert(json!({"login": "octocat", "id": 1}));
        let place = json!({"full_name": "octo/app", "html_url": "https://github.com/octo/app", "id": 7});
        with.entry("repository").or_insert(place);
        serde_json::from_value::<Payload>(payload).unwrap().line(event)
    }

    fn says(event: &str, payload: serde_json::Value, expected: &str) {
        assert_eq!(line(event, payload).as_deref(), Some(expected));
    }

    #[test]
    fn a_push_says_how_much_and_what_came_last() {
        let commit = json!({"id": "a", "message": "Mend the door\n\nIt squeaked."});
        let compare = "https://github.com/octo/app/compare/a...b";
        let mut push = json!({"ref": "refs/heads/main", "compare": compare, "created": false, "deleted": false,
            "forced": false, "commits": [commit, commit], "head_commit": commit});
        says("push", push.clone(), &format!("octocat pushed 2 commits to octo/app:main: Mend the door {compare}"));
        push["forced"] = true.into();
        push["commits"] = json!([commit]);
        says("push", push, &format!("octocat force-pushed 1 commit to octo/app:main: Mend the door {compare}"));
        let tag =
            json!({"ref": "refs/tags/v1", "created": true, "commits": [], "head_commit": null, "compare": compare});
        says("push", tag, &format!("octocat made the tag v1 of octo/app {compare}"));
        let gone = json!({"ref": "refs/heads/old/one", "deleted": true, "commits": [], "head_commit": null});
        says("push", gone, "octocat deleted the branch old/one of octo/app https://github.com/octo/app");
    }

    #[test]
    fn pull_requests_and_issues_say_what_became_of_them() {
        let link = "https://github.com/octo/app/pull/2";
        let pull = |action: &str, merged: bool| json!({"action": action, "pull_request": {"number": 2, "title": "Oil", "html_url": link, "merged": merged}});
        says("pull_request", pull("opened", false), &format!("octocat opened pull request octo/app#2: Oil {link}"));
        says("pull_request", pull("closed", true), &format!("octocat merged pull request octo/app#2: Oil {link}"));
        says("pull_request", pull("closed", false), &format!("octocat closed pull request octo/app#2: Oil {link}"));
        assert_eq!(line("pull_request", pull("labeled", false)), None);
        let issue = |action: &str, reason: Option<&str>| json!({"action": action, "issue": {"number": 3, "title": "Squeak", "html_url": link, "state_reason": reason}});
        says("issues", issue("opened", None), &format!("octocat opened issue octo/app#3: Squeak {link}"));
        let planned = format!("octocat closed as not planned issue octo/app#3: Squeak {link}");
        says("issues", issue("closed", Some("not_planned")), &planned);
        assert_eq!(line("issues", issue("pinned", None)), None);
    }

    #[test]
    fn comments_and_reviews_are_quoted() {
        let (link, body) = ("https://github.com/octo/app/issues/3#c", "Me too.\r\n\r\n> quoted");
        let mut comment =
            json!({"action": "created", "issue": {"number": 3}, "comment": {"body": body, "html_url": link}});
        says("issue_comment", comment.clone(), &format!("octocat commented on issue octo/app#3: Me too. {link}"));
        comment["issue"]["pull_request"] = json!({"url": "x"});
        says(
            "issue_comment",
            comment.clone(),
            &format!("octocat commented on pull request octo/app#3: Me too. {link}"),
        );
        comment["action"] = "edited".into();
        assert_eq!(line("issue_comment", comment), None);
        let on =
            json!({"action": "created", "pull_request": {"number": 2}, "comment": {"body": body, "html_url": link}});
        let said = format!("octocat commented on pull request octo/app#2: Me too. {link}");
        says("pull_request_review_comment", on, &said);
        let review = |state: &str| {
            json!({"action": "submitted", "pull_request": {"number": 2, "title": "Oil"},
                "review": {"state": state, "body": null, "html_url": link}})
        };
        says(
            "pull_request_review",
            review("approved"),
            &format!("octocat approved pull request octo/app#2: Oil {link}"),
        );
        let wants = format!("octocat wants changes of pull request octo/app#2: Oil {link}");
        says("pull_request_review", review("changes_requested"), &wants);
    }

    #[test]
    fn releases_runs_milestones_and_items_have_their_lines() {
        let link = "https://github.com/octo/app/x";
        let release = json!({"action": "published", "release": {"name": "", "tag_name": "v1", "html_url": link, "prerelease": false}});
        says("release", release, &format!("octocat published the release v1 of octo/app {link}"));
        let run = |conclusion: &str| {
            json!({"action": "completed", "workflow_run":
                {"name": "CI", "run_number": 12, "head_branch": "main", "conclusion": conclusion, "html_url": link}})
        };
        says("workflow_run", run("failure"), &format!("CI #12 failed on octo/app:main (octocat) {link}"));
        assert_eq!(line("workflow_run", run("skipped")), None);
        let milestone = json!({"action": "closed", "milestone": {"title": "1.0", "html_url": link}});
        says("milestone", milestone, &format!("octocat closed the milestone 1.0 of octo/app {link}"));
        let item = |action: &str, changes: serde_json::Value| {
            json!({"action": action, "projects_v2_item": {"content_type": "Issue"}, "organization": {"login": "octo"},
                "changes": changes})
        };
        let projects = "https://github.com/orgs/octo/projects";
        says(
            "projects_v2_item",
            item("created", json!(null)),
            &format!("octocat added an issue to a project of octo {projects}"),
        );
        let moved = json!({"field_value": {"field_name": "Status", "project_number": 4, "to": {"name": "Done"}}});
        let said = format!("octocat set Status of an issue to Done in project 4 of octo {projects}/4");
        says("projects_v2_item", item("edited", moved), &said);
    }

    #[test]
    fn a_line_is_one_line_and_short_and_links_nowhere_else() {
        let title = format!("{}\n{}", "a\u{1b}[31m", "b".repeat(500));
        let issue =
            json!({"action": "opened", "issue": {"number": 1, "title": title, "html_url": "javascript:alert(1)"}});
        let said = line("issues", issue).unwrap();
        assert!(
            !said.contains(char::is_control) && said.chars().count() < 300 && !said.contains("javascript"),
            "{said}"
        );
    }

    proptest! {
        #[test]
        fn whatever_an_event_brings_a_line_is_one_line(event in "push|issues|release|projects_v2_item", text in ".*") {
            let thing = json!({"title": text, "name": text, "number": 1, "html_url": text, "tag_name": text});
            let payload = json!({"action": "opened", "issue": thing, "release": thing, "ref": text, "sender": {"login": text}});
            let said = line(&event, payload).unwrap_or_default();
            prop_assert!(!said.contains(char::is_control));
        }
    }
}
