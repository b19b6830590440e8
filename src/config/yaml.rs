//! YAML as trees of values: what a configuration file is read as, and shown as.

use serde_json::{Map, Number, Value};
use yaml_rust2::{Yaml, YamlEmitter, YamlLoader};

/// The one document in a text; null where there is none.
///
/// # Errors
/// No YAML, several documents, or what no configuration needs: keys that are no texts, numbers without end.
pub fn value_of(text: &str) -> Result<Value, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    match documents.len() {
        0 => Ok(Value::Null),
        1 => value_from(&documents[0]),
        several => Err(format!("it has {several} documents, and may have one")),
    }
}

/// A value in YAML's notation.
pub fn text_of(value: &Value) -> String {
    let mut text = String::new();
    YamlEmitter::new(&mut text).dump(&yaml_from(value)).expect("a text takes all that is written to it");
    let body = text.strip_prefix("---\n").unwrap_or(&text);
    format!("{body}\n")
}

fn value_from(yaml: &Yaml) -> Result<Value, String> {
    match yaml {
        Yaml::Null => Ok(Value::Null),
        Yaml::Boolean(value) => Ok(Value::Bool(*value)),
        Yaml::Integer(value) => Ok(Value::Number((*value).into())),
        Yaml::Real(text) => {
            let number = yaml.as_f64().and_then(Number::from_f64);
            number.map(Value::Number).ok_or_else(|| format!("{text} is no number that a setting can have"))
        }
        Yaml::String(text) => Ok(Value::String(text.clone())),
        Yaml::Array(items) => items.iter().map(value_from).collect::<Result<_, _>>().map(Value::Array),
        Yaml::Hash(members) => {
            let member = |(key, value): (&Yaml, &Yaml)| match key {
                Yaml::String(key) => Ok((key.clone(), value_from(value)?)),
                other => Err(format!("{other:?} is no name of a setting: put it in quotes")),
            };
            members.iter().map(member).collect::<Result<Map<_, _>, _>>().map(Value::Object)
        }
        Yaml::Alias(_) | Yaml::BadValue => Err("it has an alias to nothing, or a tag that its value does not fit".into()),
    }
}

fn yaml_from(value: &Value) -> Yaml {
    match value {
        Value::Null => Yaml::Null,
        Value::Bool(value) => Yaml::Boolean(*value),
        Value::Number(number) => number.as_i64().map_or_else(|| Yaml::Real(number.to_string()), Yaml::Integer),
        Value::String(text) => Yaml::String(text.clone()),
        Value::Array(items) => Yaml::Array(items.iter().map(yaml_from).collect()),
        Value::Object(members) => {
            Yaml::Hash(members.iter().map(|(key, value)| (Yaml::String(key.clone()), yaml_from(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_again() {
        let value = json!({
            "text": "a: b", "number": 5, "real": 0.5, "no": false, "nothing": null, "digits": "0123", "yes": "true",
            "list": ["*", "10.0.0.0/8", ["x"]], "map": { "in": { "side": 1 } }, "empty": [], "hash": {},
        });
        assert_eq!(value_of(&text_of(&value)), Ok(value));
    }

    #[test]
    fn what_no_configuration_needs_is_refused() {
        for text in ["a: [", "a: 1\na: 2", "a: 1\n---\nb: 2", "1: a", "a: .inf"] {
            assert!(value_of(text).is_err(), "{text}");
        }
    }
}
