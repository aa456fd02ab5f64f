//! Names and texts as they may stand in the files that are suggested.

use std::fmt::Write;

/// A string of TOML on one line, as a value or as a key.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => drop(write!(quoted, "\\u{:04X}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A key of TOML: bare where it may be.
pub(super) fn key(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !text.is_empty() && text.chars().all(bare) { text.into() } else { quoted(text) }
}

/// As a decision may be called.
pub(super) fn decision_name(column: &str) -> String {
    let name = column.replace([',', '=', '\n', '\r'], "_");
    let name = name.trim();
    if name.is_empty() { "decision".into() } else { name.into() }
}

/// As a choice may be called: commas are between the decisions of an architecture.
pub(super) fn choice_name(word: &str) -> String {
    let name = word.replace([',', '\n', '\r'], ";");
    let name = name.trim();
    if name.is_empty() { "empty".into() } else { name.into() }
}

/// As a part of a metric's name may be.
pub(super) fn metric_part(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    if name.is_empty() { "metric".into() } else { name }
}

/// A name that `taken` does not have: itself, or with a number behind it.
pub(super) fn unique(name: String, taken: impl Fn(&str) -> bool) -> String {
    if !taken(&name) {
        return name;
    }
    let mut names = (2..).map(|n| format!("{name}_{n}"));
    names.find(|name| !taken(name)).expect("some number is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_string_and_a_key_of_toml() {
        for text in
            ["", "a b", "a\nb", "\"\"\"", "\\", "\u{7f}\u{0}\u{1b}", "größe", "'", "a.b", "\u{85}\u{2028}"]
        {
            let table: toml::Table = toml::from_str(&format!("{} = {}", key(text), quoted(text))).unwrap();
            assert_eq!(table[text].as_str(), Some(text));
        }
    }
}
