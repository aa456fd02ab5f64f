//! Every key of a configuration, as the code declares it: name, type, default and doc comment.

use super::Config;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::fmt::Write;

/// Stands for a name that the user chooses.
const NAME: &str = "NAME";

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its dotted path, such as `learning.batch`.
    pub path: String,
    /// The last part of the path where it stands for a name that the user chooses.
    pub name: Option<String>,
    /// What it means.
    pub about: String,
    /// What values it takes.
    pub values: String,
    /// The default as TOML writes it; `None`: not set.
    pub default: Option<String>,
}

/// Every key, in order of the paths; those without a section come first.
pub fn keys() -> Vec<Key> {
    let defaults: toml_edit::DocumentMut =
        Config::default().to_toml().parse().expect("what was written can be read");
    let mut keys = Vec::new();
    collect(&schema(), &mut Vec::new(), &defaults, &mut keys);
    keys.sort_by_key(|key| (key.path.contains('.'), key.path.clone()));
    keys
}

/// The keys as Markdown: a table for each section.
pub fn reference() -> String {
    let (mut text, mut section) = (String::new(), None);
    let schema = schema();
    for key in keys() {
        let of = key.path.rsplit_once('.').map_or("", |(section, _)| section).to_string();
        if section.as_ref() != Some(&of) {
            let title = if of.is_empty() { "The run as a whole".into() } else { format!("`[{of}]`") };
            let node = of.split('.').filter(|s| !s.is_empty());
            let about = about(node.fold(&schema, |node, name| &node["properties"][name]));
            let about = if of.is_empty() { "Keys before the first section." } else { &about };
            let gap = if section.is_some() { "\n" } else { "" };
            write!(text, "{gap}### {title}\n\n{about}\n\n| key | values | default | |\n|---|---|---|---|\n")
                .expect("strings take everything");
            section = Some(of);
        }
        let default = key.default.map_or("not set".into(), |d| format!("`{d}`"));
        let cells = [format!("`{}`", key.path), key.values, default, key.about];
        let row: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        writeln!(text, "| {} |", row.join(" | ")).expect("strings take everything");
    }
    text
}

fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().into()
}

fn collect(node: &Value, at: &mut Vec<String>, defaults: &toml_edit::DocumentMut, keys: &mut Vec<Key>) {
    if let Some(properties) = node["properties"].as_object() {
        for (name, inner) in properties {
            at.push(name.clone());
            collect(inner, at, defaults, keys);
            at.pop();
        }
        return;
    }
    let named = &node["additionalProperties"];
    let (values, name) = if named.is_object() {
        at.push(NAME.into());
        (values(named), Some(NAME.to_string()))
    } else {
        (values(node), None)
    };
    let default = at.iter().try_fold(defaults.as_item(), |item, name| item.get(name));
    keys.push(Key {
        path: at.join("."),
        about: about(node),
        values,
        default: default.map(|item| item.to_string().trim().into()),
        name: name.clone(),
    });
    if name.is_some() {
        at.pop();
    }
}

/// The doc comment as one line, without links.
fn about(node: &Value) -> String {
    let text = node["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`")
}

/// What a schema takes, in words.
fn values(node: &Value) -> String {
    if let Some(variants) = node["oneOf"].as_array() {
        let variant = |v: &Value| {
            let name = v["const"].as_str().unwrap_or_default();
            format!("`{name}`: {}", about(v).trim_end_matches('.'))
        };
        return variants.iter().map(variant).collect::<Vec<_>>().join("; ");
    }
    let kind = match &node["type"] {
        // An optional value is its type or null.
        Value::Array(kinds) => kinds[0].as_str(),
        kind => kind.as_str(),
    };
    match kind.unwrap_or_default() {
        "integer" => "whole number".into(),
        "number" => "number".into(),
        "boolean" => "`true` or `false`".into(),
        "string" => "text".into(),
        "array" => format!("list of {}s", values(&node["items"])),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::layers::variable_of, *};

    #[test]
    fn every_key_has_a_meaning_values_and_a_variable_of_its_own() {
        let keys = keys();
        for key in &keys {
            assert!(!key.about.is_empty() && !key.values.is_empty(), "{key:?}");
        }
        let find = |path: &str| keys.iter().find(|k| k.path == path).unwrap();
        assert_eq!(find("learning.average").default.as_deref(), Some("0.0025"));
        assert_eq!(find("run.steps").default, None);
        assert_eq!(find("task_sets.NAME").values, "list of texts");
        assert!(find("prior").values.contains("`network`: The predictor network"), "{:?}", find("prior"));
        let mut variables: Vec<String> = keys.iter().map(|k| variable_of(&k.path)).collect();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), keys.len());
        assert!(variables.contains(&"SRNAS_POSTERIOR__SETTINGS__PLAIN__NOISE".to_string()));
    }

    #[test]
    fn every_key_of_the_default_configuration_is_declared() {
        let declared = keys();
        let table: toml::Table = Config::default().to_toml().parse().unwrap();
        fn walk(table: &toml::Table, at: &str, declared: &[Key], n: &mut usize) {
            for (name, value) in table {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                match value.as_table() {
                    Some(inner) => walk(inner, &path, declared, n),
                    None => {
                        assert!(declared.iter().any(|k| k.path == path), "{path}");
                        *n += 1;
                    }
                }
            }
        }
        let mut n = 0;
        walk(&table, "", &declared, &mut n);
        // run.steps and simulation.latency have no default, and nobody has named a task set.
        assert_eq!(n + 3, declared.len());
    }
}
