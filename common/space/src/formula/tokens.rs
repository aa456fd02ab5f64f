//! The words and signs of a formula.

use super::evaluate::Value;
use std::fmt;

/// More characters than anybody writes.
const LONGEST: usize = 10_000;

/// Why a text is no formula.
#[derive(Debug)]
pub(super) struct Wrong {
    /// From 1.
    column: usize,
    reason: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "at column {}, {}", self.column, self.reason)
    }
}

pub(super) fn wrong<T>(column: usize, reason: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { column, reason: reason.into() })
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number(Value),
    Word(String),
    /// The name of a decision in braces.
    Quoted(String),
    Name(String),
    Sign(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Token::Number(Value::Whole(n)) => write!(f, "{n}"),
            Token::Number(Value::Real(n)) => write!(f, "{n}"),
            Token::Number(_) => Ok(()),
            Token::Word(word) => write!(f, "\"{word}\""),
            Token::Quoted(name) => write!(f, "{{{name}}}"),
            Token::Name(name) => f.write_str(name),
            Token::Sign(sign) => f.write_str(sign),
        }
    }
}

/// Longer signs first.
const SIGNS: [&str; 18] =
    ["&&", "||", "==", "!=", "<=", ">=", "**", "<", ">", "!", "+", "-", "*", "/", "%", "^", "(", ")"];

/// The tokens of a text, each with its column.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, Wrong> {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() > LONGEST {
        return wrong(LONGEST, format!("it goes on; {LONGEST} characters are possible"));
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let (begin, c) = (at, characters[at]);
        let column = begin + 1;
        let run = |from: usize, fits: &dyn Fn(char) -> bool| {
            from + characters[from..].iter().take_while(|&&c| fits(c)).count()
        };
        let until = |close: char| {
            characters[begin + 1..].iter().position(|&c| c == close).map(|length| begin + 1 + length)
        };
        if c.is_whitespace() {
            at += 1;
            continue;
        }
        let token =
            if c.is_ascii_digit() || (c == '.' && characters.get(at + 1).is_some_and(char::is_ascii_digit)) {
                at = run(at, &|c| c.is_ascii_digit() || c == '.');
                if characters.get(at).is_some_and(|c| matches!(c, 'e' | 'E')) {
                    let sign = usize::from(characters.get(at + 1).is_some_and(|c| matches!(c, '+' | '-')));
                    let end = run(at + 1 + sign, &|c| c.is_ascii_digit());
                    at = if end > at + 1 + sign { end } else { at };
                }
                let end = run(at, &|c| c.is_alphanumeric() || c == '_');
                let written: String = characters[begin..end].iter().collect();
                let whole = written.parse().ok().map(Value::Whole);
                let number =
                    whole.or_else(|| written.parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Real));
                match number.filter(|_| end == at) {
                    Some(number) => Token::Number(number),
                    None => return wrong(column, format!("`{written}` is no number")),
                }
            } else if c.is_alphabetic() || c == '_' {
                at = run(at, &|c| c.is_alphanumeric() || c == '_');
                Token::Name(characters[begin..at].iter().collect())
            } else if let Some((close, what)) = match c {
                '"' | '\'' => Some((c, "the word")),
                '{' => Some(('}', "the name")),
                _ => None,
            } {
                let Some(end) = until(close) else {
                    return wrong(column, format!("{what} that begins here has no `{close}` at its end"));
                };
                at = end + 1;
                let inside = characters[begin + 1..end].iter().collect();
                if c == '{' { Token::Quoted(inside) } else { Token::Word(inside) }
            } else if c == ',' {
                at += 1;
                Token::Sign(",")
            } else if let Some(sign) =
                SIGNS.iter().find(|s| characters[at..].iter().take(s.len()).copied().eq(s.chars()))
            {
                at += sign.len();
                Token::Sign(sign)
            } else {
                let instead = match c {
                    '=' => "; write `==` to compare",
                    '&' => "; write `&&` for and",
                    '|' => "; write `||` for or",
                    _ => "",
                };
                return wrong(column, format!("`{c}` is not understood{instead}"));
            };
        found.push((token, column));
    }
    Ok(found)
}
