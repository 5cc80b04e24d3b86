//! JSON from strangers: the fields of an object, and nothing of what is nested in these.
//!
//! A [`Value`] takes up to a hundred times the memory of its text (`[{},{},…]`). Nobody needs what is nested, so it is
//! checked and skipped.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::{fmt, marker::PhantomData};

/// The fields of an object in their order, also those with the same name. Nested lists and objects are empty.
///
/// Reads at most `most` fields and one more, which tells that there are too many; the rest is skipped. Fails if the text is
/// no JSON object in UTF-8.
pub fn fields(json: &[u8], most: usize) -> serde_json::Result<Vec<(String, Value)>> {
    let mut input = serde_json::Deserializer::from_slice(json);
    let fields = input.deserialize_map(Fields { most })?;
    input.end()?;
    Ok(fields)
}

/// An object of at most `most` fields. Of two with one name the last counts.
pub fn object(json: &[u8], most: usize) -> Option<Map<String, Value>> {
    let fields = fields(json, most).ok()?;
    (fields.len() <= most).then(|| fields.into_iter().collect())
}

/// For a field that may be an object: keeps the first fields of that, without what is nested in them.
pub fn with_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    const MOST: usize = 32;
    Flat { fields: MOST }.deserialize(deserializer).map(Some)
}

struct Fields {
    most: usize,
}

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while fields.len() <= self.most {
            match map.next_entry_seed(PhantomData, Flat { fields: 0 })? {
                Some(field) => fields.push(field),
                None => return Ok(fields),
            }
        }
        skip_entries(map)?;
        Ok(fields)
    }
}

/// A value without what is nested in it, but for so many fields of an object.
struct Flat {
    fields: usize,
}

impl<'de> DeserializeSeed<'de> for Flat {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flat {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        if self.fields == 0 {
            skip_entries(map)?;
            return Ok(Value::Object(Map::new()));
        }
        let fields = Fields { most: self.fields }.visit_map(map)?;
        Ok(Value::Object(fields.into_iter().collect()))
    }
}

fn skip_entries<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Option<Vec<(String, Value)>> {
        fields(text.as_bytes(), 3).ok()
    }

    #[test]
    fn fields_keep_their_values_and_lose_what_is_nested() {
        let text = r#" {"a": "x\ud83d\ude00", "b": [1, {"c": [[]]}], "a": -1.5, "d": {"e": null}} "#;
        let all = [("a", json!("x😀")), ("b", json!([])), ("a", json!(-1.5)), ("d", json!({}))];
        assert_eq!(read(text).unwrap(), all.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn one_more_than_asked_for_is_read_and_no_other() {
        let many = format!("{{{}}}", vec![r#""a":[{},{"":0}]"#; 1000].join(","));
        assert_eq!(read(&many).unwrap().len(), 4);
    }

    #[test]
    fn of_a_field_that_is_an_object_the_fields_are_kept() {
        #[derive(serde::Deserialize)]
        struct Outer {
            #[serde(default, deserialize_with = "with_fields")]
            field: Option<Value>,
        }

        let read = |text: &str| serde_json::from_str::<Outer>(text).unwrap().field;
        assert_eq!(read(r#"{"field":{"a":1,"b":[1,{}],"c":{"d":2}}}"#), Some(json!({"a": 1, "b": [], "c": {}})));
        assert_eq!(read(r#"{"field":"x"}"#), Some(json!("x")));
        assert_eq!(read("{}"), None);
        let many: Vec<String> = (0..1000).map(|n| format!(r#""{n}":0"#)).collect();
        let kept = read(&format!(r#"{{"field":{{{}}}}}"#, many.join(","))).unwrap();
        assert!(kept.as_object().unwrap().len() < 50);
    }

    #[test]
    fn what_is_no_object_is_refused_however_deep_the_fault() {
        for text in ["", "[]", "1", "{", "{}}", r#"{"a":[1,}"#, r#"{"a":[{"b":tru}]}"#, r#"{"a":1}{"b":2}"#] {
            assert!(read(text).is_none(), "{text}");
        }
        assert!(fields(b"{\"a\":\"\xff\"}", 3).is_err());
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep).unwrap(), [("a".to_owned(), json!([]))]);
    }

    proptest! {
        #[test]
        fn what_has_nothing_nested_is_read_as_serde_json_reads_it(
            text in "\\{(\"[a-c]\":(-?(0|[1-9][0-9]{0,19})(\\.[0-9])?|true|null|\"[a-z]*\"),)*\"d\":1\\}",
        ) {
            let all = fields(text.as_bytes(), 1000).unwrap();
            let read: Map<String, Value> = all.into_iter().collect();
            prop_assert_eq!(read, serde_json::from_str::<Map<String, Value>>(&text).unwrap());
        }
    }
}
