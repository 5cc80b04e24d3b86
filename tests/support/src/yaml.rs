//! YAML that keeps the order of its fields, and JSON Schema (2020-12) as far as `docs/*.yaml` use it.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::{fmt, fs};

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads a file of the repository.
    #[track_caller]
    pub fn read(path: &str) -> Node {
        let text = fs::read_to_string(crate::repository().join(path)).expect("the file can be read");
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path} is no YAML: {error}"))
    }

    /// A field, if this has one of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.fields().iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// A field that must be there.
    #[track_caller]
    pub fn at(&self, name: &str) -> &Node {
        self.get(name).unwrap_or_else(|| panic!("nothing is called {name} in {self:?}"))
    }

    /// The text of a field; empty if there is none.
    pub fn text_at(&self, name: &str) -> &str {
        self.get(name).map_or("", Node::text)
    }

    pub fn text(&self) -> &str {
        match self {
            Node::Text(text) => text,
            _ => "",
        }
    }

    pub fn list(&self) -> &[Node] {
        match self {
            Node::List(list) => list,
            _ => &[],
        }
    }

    pub fn fields(&self) -> &[(String, Node)] {
        match self {
            Node::Map(fields) => fields,
            _ => &[],
        }
    }

    /// What `#/a/b` of `document` is, if this is a reference to it; else this.
    #[track_caller]
    pub fn resolved<'a>(&'a self, document: &'a Node) -> &'a Node {
        match self.get("$ref") {
            Some(reference) => {
                let path = reference.text().strip_prefix("#/").expect("a reference within the document");
                path.split('/').fold(document, |node, name| node.at(name)).resolved(document)
            }
            None => self,
        }
    }

    pub fn value(&self) -> Value {
        match self {
            Node::Null => Value::Null,
            Node::Bool(yes) => (*yes).into(),
            Node::Number(number) => (*number).into(),
            Node::Text(text) => text.as_str().into(),
            Node::List(list) => list.iter().map(Node::value).collect(),
            Node::Map(fields) => fields.iter().map(|(name, value)| (name.clone(), value.value())).collect(),
        }
    }

    /// As JSON, with the fields in their order.
    pub fn json(&self) -> String {
        let joined = |parts: Vec<String>| parts.join(",");
        match self {
            Node::List(list) => format!("[{}]", joined(list.iter().map(Node::json).collect())),
            Node::Map(fields) => {
                let field = |(name, value): &(String, Node)| format!("{}:{}", Value::from(name.as_str()), value.json());
                format!("{{{}}}", joined(fields.iter().map(field).collect()))
            }
            other => other.value().to_string(),
        }
    }
}

/// What is wrong with `value` by `schema`; nothing, if it fits. Knows no more words than `docs/*.yaml` use.
pub fn misfit(document: &Node, schema: &Node, value: &Value) -> Option<String> {
    const WORDS: &[&str] = &[
        "type",
        "const",
        "enum",
        "required",
        "properties",
        "additionalProperties",
        "items",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "description",
        "default",
        "example",
    ];
    let schema = schema.resolved(document);
    let unknown = schema.fields().iter().find(|(word, _)| !WORDS.contains(&word.as_str()));
    assert!(unknown.is_none(), "this test does not know {unknown:?}");
    let wrong = |what: &str| Some(format!("{value} {what}"));
    if let Some(kind) = schema.get("type") {
        let kinds = if kind.list().is_empty() { std::slice::from_ref(kind) } else { kind.list() };
        if !kinds.iter().any(|kind| is_a(kind.text(), value)) {
            return wrong(&format!("is no {kinds:?}"));
        }
    }
    if schema.get("const").is_some_and(|only| only.value() != *value) {
        return wrong("is another constant");
    }
    if schema.get("enum").is_some_and(|some| !some.list().iter().any(|one| one.value() == *value)) {
        return wrong("is none of those it may be");
    }
    if let (Some(pattern), Some(text)) = (schema.get("pattern"), value.as_str())
        && !text.starts_with(pattern.text().strip_prefix('^').expect("a pattern that says how it begins"))
    {
        return wrong("does not match");
    }
    if let (Some(format), Some(text)) = (schema.get("format"), value.as_str())
        && !has_format(format.text(), text)
    {
        return wrong(&format!("is no {}", format.text()));
    }
    let number = |word: &str| match schema.get(word) {
        Some(Node::Number(number)) => Some(*number),
        _ => None,
    };
    if let Some(value) = value.as_i64()
        && (number("minimum").is_some_and(|least| value < least) || number("maximum").is_some_and(|most| value > most))
    {
        return wrong("is out of its range");
    }
    for name in schema.get("required").map_or(&[][..], Node::list) {
        if value.get(name.text()).is_none() {
            return wrong(&format!("has no {}", name.text()));
        }
    }
    for (name, part) in value.as_object().into_iter().flatten() {
        match schema.get("properties").and_then(|properties| properties.get(name)) {
            Some(property) => {
                if let Some(misfit) = misfit(document, property, part) {
                    return Some(format!("{name}: {misfit}"));
                }
            }
            None if schema.get("additionalProperties") == Some(&Node::Bool(false)) => {
                return wrong(&format!("has {name}, which is not described"));
            }
            None => {}
        }
    }
    let items = schema.get("items")?;
    value.as_array()?.iter().find_map(|item| misfit(document, items, item))
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("an unknown type: {other}"),
    }
}

fn has_format(format: &str, text: &str) -> bool {
    match format {
        "uuid" => uuid::Uuid::try_parse(text).is_ok(),
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "email" => text.contains('@'),
        other => panic!("an unknown format: {other}"),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        struct Reads;

        impl<'de> Visitor<'de> for Reads {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("YAML")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E>(self, yes: bool) -> Result<Node, E> {
                Ok(Node::Bool(yes))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
                Ok(Node::Number(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
                Ok(Node::Number(i64::try_from(number).expect("a small number")))
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = entries.next_entry()? {
                    fields.push(field);
                }
                Ok(Node::Map(fields))
            }
        }

        deserializer.deserialize_any(Reads)
    }
}
