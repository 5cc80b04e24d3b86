//! The page `/docs`, which is made from `docs/openapi.yaml` and `docs/asyncapi.yaml`. `scripts/docs` makes it anew.

use std::{env, fs, path::Path};
use support::{Server, yaml::Node};

const PAGE: &str = "src/web/docs.html";

#[test]
fn the_page_shows_the_descriptions_as_they_are() {
    let page = Page { openapi: Node::read("docs/openapi.yaml"), asyncapi: Node::read("docs/asyncapi.yaml") }.html();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if env::var_os("WRITE_DOCS_PAGE").is_some() {
        return fs::write(path, page).expect("the page can be written");
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(kept == page, "{PAGE} is out of date; run scripts/docs");
}

#[test]
fn the_page_is_served_and_loads_nothing_from_elsewhere() {
    let server = Server::start();
    let page = server.get("/docs");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("content-security-policy"), server.get("/").header("content-security-policy"));
    let html = page.text();
    assert!(!html.contains(" style=") && !html.contains("<style") && !html.contains("<script"));
    for attribute in ["href=\"", "src=\""] {
        for target in html.split(attribute).skip(1).map(|rest| rest.split('"').next().expect("an end")) {
            match target.strip_prefix('#') {
                Some(id) => assert!(html.contains(&format!("id=\"{id}\"")), "nothing is called {id}"),
                None => assert_eq!(server.get(target).status, 200, "{target}"),
            }
        }
    }
}

#[test]
fn the_descriptions_are_served_as_they_are() {
    let server = Server::start();
    for name in ["openapi.yaml", "asyncapi.yaml"] {
        let answer = server.get(&format!("/docs/{name}"));
        assert_eq!(answer.header("content-type"), Some("application/yaml"));
        let file = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).expect("a description");
        assert!(answer.body == file, "{name} is another one");
    }
}

/// What the page is made from.
struct Page {
    openapi: Node,
    asyncapi: Node,
}

impl Page {
    fn html(&self) -> String {
        let info = self.openapi.at("info");
        let (version, intro) = (text(info, "version"), text(info, "description"));
        let mut nav = String::new();
        for tag in self.openapi.at("tags").list() {
            let name = tag.text_at("name");
            nav += &format!("<li><a href=\"#{name}\">{name}</a></li>\n");
        }
        for (name, channel) in self.asyncapi.at("channels").fields() {
            nav += &format!("<li><a href=\"#channel-{name}\">{}</a></li>\n", text(channel, "title"));
        }
        nav += "<li><a href=\"#data\">data</a></li>\n";
        let tags: String = self.openapi.at("tags").list().iter().map(|tag| self.tag(tag)).collect();
        let about = text(self.asyncapi.at("info"), "description");
        let channels: String =
            self.asyncapi.at("channels").fields().iter().map(|(name, at)| self.channel(name, at)).collect();
        let schemas = self.openapi.at("components").at("schemas").fields().iter();
        let schemas: String = schemas
            .filter(|(_, schema)| schema.get("properties").is_some())
            .map(|(name, schema)| format!("<h3 id=\"data-{name}\">{name}</h3>\n{}", fields(schema)))
            .collect();
        format!(
            "<!doctype html>\n\
             <!-- Made from docs/openapi.yaml and docs/asyncapi.yaml by scripts/docs: change those. -->\n\
             <html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>propromo-chat: what it speaks</title>\n\
             <link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">\n\
             <link rel=\"stylesheet\" href=\"/assets/docs.css\">\n</head>\n<body>\n\
             <header>\n<h1>What propromo-chat speaks</h1>\n<p>Version {version}. {intro}</p>\n\
             <p>For programs: <a href=\"/docs/openapi.yaml\">openapi.yaml</a>, <a href=\"/docs/asyncapi.yaml\">asyncapi.yaml</a>. \
             To talk: <a href=\"/\">the home page</a>.</p>\n\
             <nav aria-label=\"Sections\">\n<ul>\n{nav}</ul>\n</nav>\n</header>\n<main>\n\
             {tags}<section id=\"websockets\">\n<h2>WebSockets</h2>\n<p>{about}</p>\n</section>\n{channels}\
             <section id=\"data\">\n<h2>Data</h2>\n{schemas}</section>\n</main>\n</body>\n</html>\n"
        )
    }

    fn tag(&self, tag: &Node) -> String {
        let name = tag.text_at("name");
        let mut html = format!("<section id=\"{name}\">\n<h2>{name}</h2>\n<p>{}</p>\n", text(tag, "description"));
        for (path, item) in self.openapi.at("paths").fields() {
            for (method, operation) in
                item.fields().iter().filter(|(_, operation)| operation.get("responses").is_some())
            {
                if operation.at("tags").list().iter().any(|tag| tag.text() == name) {
                    html += &self.operation(path, item, method, operation);
                }
            }
        }
        html + "</section>\n"
    }

    fn operation(&self, path: &str, item: &Node, method: &str, operation: &Node) -> String {
        let id = operation.text_at("operationId");
        let method = method.to_uppercase();
        let mut html = format!("<article>\n<h3 id=\"{id}\"><code>{method} {}</code></h3>\n", escaped(path));
        html += &paragraphs(operation);
        let security = operation.at("security").list().iter().filter_map(|needed| needed.fields().first());
        let security: Vec<_> =
            security.map(|(name, _)| self.openapi.at("components").at("securitySchemes").at(name)).collect();
        if !security.is_empty() {
            let needed = security.iter().map(|scheme| {
                let name = || scheme.text_at("name");
                let place = match scheme.get("in").map(Node::text) {
                    Some("query") => format!("?{}=", name()),
                    Some("cookie") => format!("Cookie: {}", name()),
                    Some(_) => name().to_owned(),
                    None => "Authorization: Bearer".to_owned(),
                };
                format!("<code>{place}</code>: {}", text(scheme, "description"))
            });
            let optional = operation.at("security").list().iter().any(|needed| needed.fields().is_empty());
            let word = if optional { "May be shown" } else { "Needed" };
            html += &format!("<p>{word}: {}.</p>\n", needed.collect::<Vec<_>>().join("; or "));
        }
        let parameters = [item, operation].into_iter().filter_map(|node| node.get("parameters")).flat_map(Node::list);
        for parameter in parameters {
            let about = match parameter.get("description") {
                Some(about) => format!(": {}", inline(about.text())),
                None => String::new(),
            };
            html += &format!(
                "<p>In the {}: <code>{}</code>{about}</p>\n",
                parameter.text_at("in"),
                parameter.text_at("name")
            );
        }
        if let Some(body) = operation.get("requestBody") {
            let content = body.resolved(&self.openapi).at("content");
            let types: Vec<_> = content.fields().iter().map(|(media, _)| format!("<code>{media}</code>")).collect();
            html += &format!("<p>Body ({}):</p>\n", types.join(", "));
            html += &self.described(&content.fields()[0].1);
        }
        html += "<table>\n<thead><tr><th scope=\"col\">Answer</th><th scope=\"col\">when</th><th scope=\"col\">body</th></tr></thead>\n<tbody>\n";
        for (status, response) in operation.at("responses").fields() {
            // What stands beside a reference is said instead of what it refers to (OpenAPI 3.1, "Reference Object").
            let when = response.get("description").map(Node::text);
            let response = response.resolved(&self.openapi);
            let when = inline(when.unwrap_or(response.text_at("description")));
            let status = if status == "default" { "any other" } else { status };
            let content = response.get("content").map_or(&[][..], Node::fields);
            let body =
                content.first().map_or(String::new(), |(media, content)| match reference(content.at("schema")) {
                    Some(name) => name,
                    None => format!("<code>{media}</code>"),
                });
            html += &format!("<tr><td>{status}</td><td>{when}</td><td>{body}</td></tr>\n");
        }
        html + "</tbody>\n</table>\n</article>\n"
    }

    /// The fields of a body, and an example.
    fn described(&self, content: &Node) -> String {
        let schema = content.at("schema").resolved(&self.openapi);
        let mut html = String::new();
        if schema.get("description").is_some() {
            html += &format!("<p>{}</p>\n", text(schema, "description"));
        }
        if schema.get("properties").is_some() {
            html += &fields(schema);
        }
        if let Some(example) = content.get("example").or(schema.get("example")) {
            html += &format!("<pre><code>{}</code></pre>\n", escaped(&example.json()));
        }
        html
    }

    fn channel(&self, name: &str, channel: &Node) -> String {
        let address = escaped(channel.text_at("address"));
        let mut html = format!(
            "<section id=\"channel-{name}\">\n<h2>{}</h2>\n<p><code>ws {address}</code></p>\n<p>{}</p>\n",
            text(channel, "title"),
            text(channel, "description")
        );
        let query = channel.get("bindings").map(|bindings| bindings.at("ws").at("query").at("properties"));
        for (name, parameter) in query.map_or(&[][..], Node::fields) {
            html += &format!("<p>In the query: <code>{name}</code>: {}</p>\n", text(parameter, "description"));
        }
        for (action, heading) in [("send", "The client says"), ("receive", "The client hears")] {
            let operations = self.asyncapi.at("operations").fields().iter().map(|(_, operation)| operation);
            let reference = format!("#/channels/{name}");
            let of_this = |operation: &&Node| {
                operation.text_at("action") == action && operation.at("channel").text_at("$ref") == reference
            };
            for operation in operations.filter(of_this) {
                html += &format!("<h3>{heading}</h3>\n");
                for message in operation.at("messages").list() {
                    html += &self.message(message);
                }
            }
        }
        html + "</section>\n"
    }

    fn message(&self, message: &Node) -> String {
        let name = message.text_at("$ref").rsplit('/').next().expect("a name").to_owned();
        let message = message.resolved(&self.asyncapi);
        let payload = message.at("payload");
        let mut html =
            format!("<article>\n<h4 id=\"message-{name}\">{name}</h4>\n<p>{}</p>\n", text(message, "summary"));
        if payload.get("properties").is_some() {
            html += &fields(payload);
        } else {
            html += &format!("<p>Text: {}</p>\n", kind(payload));
        }
        for example in message.get("examples").map_or(&[][..], Node::list) {
            html += &format!("<pre><code>{}</code></pre>\n", escaped(&example.at("payload").json()));
        }
        html + "</article>\n"
    }
}

fn paragraphs(node: &Node) -> String {
    let parts = ["summary", "description"].into_iter().filter(|name| node.get(name).is_some());
    parts.map(|name| format!("<p>{}</p>\n", text(node, name))).collect()
}

/// A table of an object's fields.
fn fields(schema: &Node) -> String {
    let required = schema.get("required").map_or(&[][..], Node::list);
    let mut html = String::from(
        "<table>\n<thead><tr><th scope=\"col\">Field</th><th scope=\"col\">what</th><th scope=\"col\">meaning</th></tr></thead>\n<tbody>\n",
    );
    for (name, field) in schema.at("properties").fields() {
        let optional = if required.iter().any(|one| one.text() == name) { "" } else { " (optional)" };
        let what = reference(field).unwrap_or_else(|| kind(field));
        html += &format!(
            "<tr><td><code>{name}</code>{optional}</td><td>{what}</td><td>{}</td></tr>\n",
            text(field, "description")
        );
    }
    html + "</tbody>\n</table>\n"
}

/// A link to what a schema refers to.
fn reference(schema: &Node) -> Option<String> {
    let (schema, of) = match schema.get("items") {
        Some(items) => (items, "list of "),
        None => (schema, ""),
    };
    let path = schema.get("$ref")?.text();
    let name = path.trim_end_matches("/payload").rsplit('/').next()?;
    let place = match name {
        "UnixTime" => return Some("Unix seconds".to_owned()),
        "Visibility" => return Some("<code>public</code>, <code>private</code> or <code>hidden</code>".to_owned()),
        _ if path.contains("/messages/") => "message",
        _ => "data",
    };
    Some(format!("{of}<a href=\"#{place}-{name}\">{name}</a>"))
}

fn kind(schema: &Node) -> String {
    let code = |node: &Node| format!("<code>{}</code>", escaped(&node.json()));
    if let Some(only) = schema.get("const") {
        return code(only);
    }
    if let Some(some) = schema.get("enum") {
        return some.list().iter().map(code).collect::<Vec<_>>().join(", ");
    }
    let Some(types) = schema.get("type") else { return "anything".to_owned() };
    let mut kind = match types.list() {
        [] => types.text().to_owned(),
        several => several.iter().map(Node::text).collect::<Vec<_>>().join(" or "),
    };
    if let Some(items) = schema.get("items") {
        kind += &format!(" of {}", items.text_at("type"));
    }
    if let Some(format) = schema.get("format") {
        kind += &format!(", {}", format.text());
    }
    for (word, says) in [("minimum", "from"), ("maximum", "to"), ("minLength", "at least"), ("maxLength", "at most")] {
        if let Some(Node::Number(bound)) = schema.get(word) {
            kind += &format!(", {says} {bound}");
        }
    }
    kind
}

fn text(node: &Node, name: &str) -> String {
    inline(node.text_at(name))
}

/// Escaped, with what stands in backticks as code.
fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) }).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
