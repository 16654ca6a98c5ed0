//! A JSON Schema of `docs/`, for the tests of the formats that it describes.

use std::collections::BTreeSet;

use serde_json::Value;

/// A schema, as JSON and compiled.
pub(super) struct Schema {
    pub(super) json: Value,
    validator: jsonschema::Validator,
}

impl Schema {
    /// Panics if the text is not a schema, or one that ignores unknown keys.
    pub(super) fn parse(text: &str) -> Self {
        let json = serde_json::from_str(text).unwrap();
        assert_strict(&json, "");
        let validator = jsonschema::validator_for(&json).unwrap();
        Schema { json, validator }
    }

    /// Panics if `value` does not match.
    pub(super) fn check(&self, value: &Value) {
        let errors: Vec<String> = self
            .validator
            .iter_errors(value)
            .map(|error| format!("{}: {:?}", error.instance_path(), error.kind()))
            .collect();
        assert!(errors.is_empty(), "{value}: {errors:#?}");
    }

    /// The paths of all keys, as `.orig.src`.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        self.add_keys(&self.json, "", &mut keys);
        keys
    }

    fn add_keys(&self, schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => self.json.pointer(&reference[1..]).unwrap(),
            None => schema,
        };
        for (key, child) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            self.add_keys(child, &path, keys);
            keys.insert(path);
        }
    }

    pub(super) fn is_valid(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }
}

/// Every object refuses unknown keys, every integer has bounds, every array has a type of items.
fn assert_strict(schema: &Value, path: &str) {
    let has = |key| schema.get(key).is_some_and(|value| !value.is_null());
    match schema["type"].as_str() {
        Some("object") => assert_eq!(schema["additionalProperties"], false, "{path}"),
        Some("integer") => assert!(has("minimum") && has("maximum"), "{path}"),
        Some("array") => assert!(has("items"), "{path}"),
        Some("string" | "boolean") => {}
        Some(other) => panic!("{path}: {other}"),
        None => assert!(["$ref", "const", "enum", "oneOf"].into_iter().any(has), "{path}"),
    }
    for key in ["properties", "$defs"] {
        for (name, child) in schema[key].as_object().into_iter().flatten() {
            assert_strict(child, &format!("{path}/{key}/{name}"));
        }
    }
    if has("items") {
        assert_strict(&schema["items"], &format!("{path}/items"));
    }
}

/// Adds the paths of all keys of `value`.
pub(super) fn add_keys(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for (key, child) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        add_keys(child, &path, keys);
        keys.insert(path);
    }
}

/// `value` with an unknown key in each of its objects, one at a time.
pub(super) fn with_unknown_keys(value: &Value) -> Vec<Value> {
    let mut copies = Vec::new();
    if let Some(object) = value.as_object() {
        for (key, child) in object {
            for changed in with_unknown_keys(child) {
                let mut copy = object.clone();
                copy.insert(key.clone(), changed);
                copies.push(Value::Object(copy));
            }
        }
        let mut copy = object.clone();
        copy.insert("unknown_key".to_owned(), Value::Bool(true));
        copies.push(Value::Object(copy));
    }
    copies
}
