//! What Python prints of dictionaries and numbers and JSON does not have: quotes of either kind, `None`, `True`, `NaN`, `Infinity`,
//! tuples.

use serde_json::{Map, Number, Value};

/// How deep lists and dictionaries may be in each other.
const DEEPEST: usize = 100;

/// A value and how many of its numbers are infinite: these, and what is not a number, are read as nothing.
///
/// # Errors
/// Says at which character it is neither JSON nor a literal of Python.
pub(super) fn read(text: &str) -> Result<(Value, usize), String> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok((value, 0));
    }
    let mut reader = Reader { text, at: 0, infinite: 0 };
    let value = reader.value(0)?;
    reader.blank();
    match reader.rest() {
        "" => Ok((value, reader.infinite)),
        _ => Err(reader.wrong("its end")),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    infinite: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn blank(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn skip(&mut self, sign: char) -> bool {
        self.blank();
        let there = self.next() == Some(sign);
        if there {
            self.at += sign.len_utf8();
        }
        there
    }

    fn wrong(&self, wanted: &str) -> String {
        let line = 1 + self.text[..self.at].matches('\n').count();
        let found: String = self.rest().chars().take(20).collect();
        match found.as_str() {
            "" => format!("line {line}: it ends where {wanted} should come: was it cut short?"),
            found => format!("line {line}: `{}` stands where {wanted} should", found.replace('\n', " ")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.blank();
        if depth > DEEPEST {
            return Err(format!("lists are in each other more than {DEEPEST} deep"));
        }
        match self.next() {
            Some('{') => self.dictionary(depth),
            Some('[') => self.list('[', ']', depth),
            Some('(') => self.list('(', ')', depth),
            Some('"' | '\'') => self.string().map(Value::String),
            _ => self.word(),
        }
    }

    fn dictionary(&mut self, depth: usize) -> Result<Value, String> {
        self.skip('{');
        let mut entries = Map::new();
        while !self.skip('}') {
            let name = match self.value(depth + 1)? {
                Value::String(name) => name,
                other => other.to_string(),
            };
            if !self.skip(':') {
                return Err(self.wrong("`:`"));
            }
            let value = self.value(depth + 1)?;
            entries.insert(name, value);
            if !self.skip(',') && !self.rest().starts_with('}') {
                return Err(self.wrong("`,` or `}`"));
            }
        }
        Ok(Value::Object(entries))
    }

    fn list(&mut self, opens: char, closes: char, depth: usize) -> Result<Value, String> {
        self.skip(opens);
        let mut values = Vec::new();
        while !self.skip(closes) {
            values.push(self.value(depth + 1)?);
            if !self.skip(',') && !self.rest().starts_with(closes) {
                return Err(self.wrong(&format!("`,` or `{closes}`")));
            }
        }
        Ok(Value::Array(values))
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = self.next().unwrap_or('"');
        let begin = self.at;
        self.at += 1;
        let (mut text, mut pair) = (String::new(), None);
        while let Some(c) = self.next() {
            self.at += c.len_utf8();
            if c == quote {
                return Ok(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            let Some(escaped) = self.next() else { break };
            self.at += escaped.len_utf8();
            let digits = match escaped {
                'x' => 2,
                'u' => 4,
                'U' => 8,
                'n' | 't' | 'r' | 'b' | 'f' => {
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'b' => '\u{8}',
                        _ => '\u{c}',
                    });
                    continue;
                }
                other => {
                    text.push(other);
                    continue;
                }
            };
            let code = self.rest().get(..digits).and_then(|code| u32::from_str_radix(code, 16).ok());
            let code = code.ok_or_else(|| self.wrong("a character's number"))?;
            self.at += digits;
            // JSON writes what is beyond 16 bits as two.
            match (pair.take(), code) {
                (None, 0xd800..0xdc00) => pair = Some(code),
                (Some(high), 0xdc00..0xe000) => {
                    text.extend(char::from_u32(0x10000 + ((high - 0xd800) << 10) + (code - 0xdc00)));
                }
                (_, code) => text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
            }
        }
        self.at = begin;
        Err(self.wrong("a text whose quote is closed"))
    }

    fn word(&mut self) -> Result<Value, String> {
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | ')' | ':' | '(' | '[' | '{');
        let word = self.rest().split(ends).next().unwrap_or_default().to_string();
        let value = match word.as_str() {
            "None" | "null" | "NaN" | "nan" | "-nan" | "-NaN" => Value::Null,
            "True" | "true" => true.into(),
            "False" | "false" => false.into(),
            "inf" | "Infinity" | "-inf" | "-Infinity" | "+inf" => {
                self.infinite += 1;
                Value::Null
            }
            number => match (number.parse::<i64>(), number.parse::<f64>().ok().and_then(Number::from_f64)) {
                (Ok(whole), _) => whole.into(),
                (_, Some(number)) => number.into(),
                _ => return Err(self.wrong("a value")),
            },
        };
        self.at += word.len();
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_python_prints_is_read() {
        let text = r#"{'lr': 1e-05, 'op': "it's", 'none': None, 'ok': True, 'sizes': (64, 32,), 'deep': {'x': [nan, -inf]}, 3: '\u00e9\n'}"#;
        let (value, infinite) = read(text).unwrap();
        let wanted = json!({
            "lr": 1e-5, "op": "it's", "none": null, "ok": true, "sizes": [64, 32], "deep": {"x": [null, null]}, "3": "é\n",
        });
        assert_eq!((value, infinite), (wanted, 1));
        // As `json.dump` writes it.
        let (value, infinite) =
            read("{\"cost\": Infinity, \"loss\": NaN, \"é\": \"\\ud83d\\ude00\"}\n").unwrap();
        assert_eq!((value, infinite), (json!({"cost": null, "loss": null, "é": "😀"}), 1));
        assert_eq!(read("[]").unwrap().0, json!([]));
    }

    #[test]
    fn what_is_neither_is_named_by_its_line() {
        for (text, says) in [
            ("", "it ends where a value should come"),
            ("{'a': 1", "cut short"),
            ("{'a': 1}\n x", "line 2: `x` stands where its end should"),
            ("{'a' 1}", "where `:` should"),
            ("[1 2]", "where `,` or `]` should"),
            ("{'a': 'b}", "a text whose quote is closed"),
            ("{'a': tensor(0.5)}", "`tensor(0.5)}` stands where a value should"),
            ("'\\u12'", "a character's number"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
        assert!(read(&"[".repeat(5000)).unwrap_err().contains("deep"));
    }
}
