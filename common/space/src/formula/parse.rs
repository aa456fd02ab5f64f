//! The syntax of formulas: text to tree, with what is true or false, a number and a word told apart.

use super::{
    super::Decision,
    Operands,
    evaluate::Value,
    tokens::{Token, Wrong, tokens, wrong},
    tree::{Arithmetic, Comparison, FUNCTIONS, Function, Node, NodeKind},
};
use srnas_basics::names::did_you_mean;

/// A tree as deep as this fits every stack.
const DEEPEST: usize = 100;

/// What sort of value a part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Truth,
    Number,
    Word,
}

impl Sort {
    fn said(self) -> &'static str {
        match self {
            Sort::Truth => "true or false",
            Sort::Number => "a number",
            Sort::Word => "a word",
        }
    }
}

/// A part with its sort, and its text for messages.
struct Part {
    node: Node,
    sort: Sort,
    begin: usize,
    end: usize,
}

/// The tree of a formula, and the decisions that it names.
pub(super) fn parse(text: &str, decisions: &[Decision], wanted: Sort) -> Result<(Node, Operands), Wrong> {
    let tokens = tokens(text)?;
    let end = text.chars().count() + 1;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        end,
        depth: 0,
        decisions,
        operands: Operands::default(),
        words: Vec::new(),
    };
    let part = parser.either()?;
    if let Some((token, column)) = parser.tokens.get(parser.at) {
        return wrong(*column, format!("`{token}` does not fit; an operator such as `&&` is expected"));
    }
    if part.sort != wanted {
        let wants = match wanted {
            Sort::Truth => "neither true nor false; compare two numbers, as in `depth * width <= 96`",
            _ => "not a number; count something, as in `depth * width ^ 2`",
        };
        return wrong(1, format!("it is {}, and {wants}", part.sort.said()));
    }
    Ok((part.node, parser.operands))
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    at: usize,
    /// Column behind the text.
    end: usize,
    depth: usize,
    decisions: &'a [Decision],
    operands: Operands,
    words: Vec<String>,
}

impl Parser<'_> {
    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |(_, column)| *column)
    }

    /// Takes one of these signs, or a word for it.
    fn take(&mut self, signs: &[&'static str]) -> Option<(&'static str, usize)> {
        let (token, column) = self.tokens.get(self.at)?;
        let sign = signs.iter().find(|sign| match token {
            Token::Sign(found) => found == *sign,
            Token::Name(found) => found == *sign,
            _ => false,
        })?;
        self.at += 1;
        Some((sign, *column))
    }

    fn part(&self, kind: NodeKind, sort: Sort, column: usize, begin: usize) -> Part {
        let end = self.tokens[..self.at]
            .last()
            .map_or(begin, |(token, column)| column + token.to_string().chars().count());
        Part { node: Node { kind, column }, sort, begin, end }
    }

    fn said(&self, part: &Part) -> String {
        let length = part.end.saturating_sub(part.begin).max(1);
        self.text.chars().skip(part.begin - 1).take(length).collect::<String>().trim().to_string()
    }

    fn want(&self, part: &Part, sort: Sort, who: &str) -> Result<(), Wrong> {
        if part.sort == sort {
            return Ok(());
        }
        let wanted = if sort == Sort::Number { "numbers" } else { "what is true or false" };
        wrong(
            part.begin,
            format!("`{}` is {}, and `{who}` wants {wanted}", self.said(part), part.sort.said()),
        )
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return wrong(self.column(), format!("it is nested deeper than {DEEPEST} times"));
        }
        let found = inner(self)?;
        self.depth -= 1;
        Ok(found)
    }

    fn either(&mut self) -> Result<Part, Wrong> {
        let mut left = self.both()?;
        while let Some((sign, column)) = self.take(&["||", "or"]) {
            let right = self.both()?;
            self.want(&left, Sort::Truth, sign)?;
            self.want(&right, Sort::Truth, sign)?;
            let begin = left.begin;
            let kind = NodeKind::Or(Box::new(left.node), Box::new(right.node));
            left = self.part(kind, Sort::Truth, column, begin);
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Part, Wrong> {
        let mut left = self.negation()?;
        while let Some((sign, column)) = self.take(&["&&", "and"]) {
            let right = self.negation()?;
            self.want(&left, Sort::Truth, sign)?;
            self.want(&right, Sort::Truth, sign)?;
            let begin = left.begin;
            let kind = NodeKind::And(Box::new(left.node), Box::new(right.node));
            left = self.part(kind, Sort::Truth, column, begin);
        }
        Ok(left)
    }

    /// `not` binds weaker than comparisons, as in Python, and `!` stronger, as in C.
    fn negation(&mut self) -> Result<Part, Wrong> {
        let Some((_, column)) = self.take(&["not"]) else { return self.comparison() };
        let inner = self.deeper(Self::negation)?;
        self.want(&inner, Sort::Truth, "not")?;
        Ok(self.part(NodeKind::Not(Box::new(inner.node)), Sort::Truth, column, column))
    }

    /// One comparison, or several in one direction: `1 <= a < b` is `1 <= a && a < b`.
    fn comparison(&mut self) -> Result<Part, Wrong> {
        let mut left = self.sum()?;
        let begin = left.begin;
        let (mut all, mut first): (Option<Node>, Option<&'static str>) = (None, None);
        while let Some((sign, column)) = self.take(&["==", "!=", "<=", ">=", "<", ">"]) {
            let right = self.sum()?;
            let how = self.compared(sign, column, &left, &right)?;
            let same_way = |a: &str, b: &str| a != "!=" && a.as_bytes()[0] == b.as_bytes()[0];
            if first.is_some_and(|first| !same_way(first, sign))
                || (first.is_some() && left.sort == Sort::Truth)
            {
                return wrong(
                    column,
                    format!("`{sign}` after another comparison can be read in two ways; write parentheses"),
                );
            }
            first.get_or_insert(sign);
            let middle = right.node.clone();
            let node =
                Node { kind: NodeKind::Compare(how, Box::new(left.node), Box::new(right.node)), column };
            all = Some(match all {
                None => node,
                Some(before) => Node { kind: NodeKind::And(Box::new(before), Box::new(node)), column },
            });
            left = Part { node: middle, ..right };
        }
        Ok(match all {
            None => left,
            Some(node) => self.part(node.kind, Sort::Truth, node.column, begin),
        })
    }

    fn compared(&self, sign: &str, column: usize, left: &Part, right: &Part) -> Result<Comparison, Wrong> {
        if left.sort != right.sort {
            let (a, b) = (self.said(left), self.said(right));
            let (one, other) = (left.sort.said(), right.sort.said());
            return wrong(column, format!("`{a}` is {one} and `{b}` is {other}; they cannot be compared"));
        }
        let how = match sign {
            "==" => Comparison::Equal,
            "!=" => Comparison::Unequal,
            _ if left.sort != Sort::Number => {
                let what = left.sort.said();
                return wrong(
                    column,
                    format!("`{}` is {what}, which is not less or more than another", self.said(left)),
                );
            }
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            _ => Comparison::GreaterOrEqual,
        };
        self.known_word(left, right)?;
        self.known_word(right, left)?;
        Ok(how)
    }

    /// A word that is compared with a decision is one of its choices.
    fn known_word(&self, decision: &Part, word: &Part) -> Result<(), Wrong> {
        let (NodeKind::Decision(place), NodeKind::Constant(Value::Word(number))) =
            (&decision.node.kind, &word.node.kind)
        else {
            return Ok(());
        };
        let (decision, text) = (&self.decisions[self.operands.decisions[*place]], &self.words[*number]);
        if decision.choices.contains(text) {
            return Ok(());
        }
        let hint = did_you_mean(text, decision.choices.iter().map(String::as_str));
        wrong(word.begin, format!("`{}` has no choice \"{text}\"{hint}", decision.name))
    }

    fn arithmetic(&self, sign: &str, column: usize, left: Part, right: Part) -> Result<Part, Wrong> {
        self.want(&left, Sort::Number, sign)?;
        self.want(&right, Sort::Number, sign)?;
        let how = match sign {
            "+" => Arithmetic::Add,
            "-" => Arithmetic::Subtract,
            "*" => Arithmetic::Multiply,
            "/" => Arithmetic::Divide,
            "%" => Arithmetic::Remainder,
            _ => Arithmetic::Power,
        };
        let kind = NodeKind::Arithmetic(how, Box::new(left.node), Box::new(right.node));
        Ok(self.part(kind, Sort::Number, column, left.begin))
    }

    fn sum(&mut self) -> Result<Part, Wrong> {
        let mut left = self.product()?;
        while let Some((sign, column)) = self.take(&["+", "-"]) {
            let right = self.product()?;
            left = self.arithmetic(sign, column, left, right)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Part, Wrong> {
        let mut left = self.signed()?;
        while let Some((sign, column)) = self.take(&["*", "/", "%"]) {
            let right = self.signed()?;
            left = self.arithmetic(sign, column, left, right)?;
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Part, Wrong> {
        let Some((sign, column)) = self.take(&["-", "+", "!"]) else { return self.power() };
        let inner = self.deeper(Self::signed)?;
        let sort = if sign == "!" { Sort::Truth } else { Sort::Number };
        self.want(&inner, sort, sign)?;
        let kind = match sign {
            "!" => NodeKind::Not(Box::new(inner.node)),
            "-" => {
                let zero = Node { kind: NodeKind::Constant(Value::Whole(0)), column };
                NodeKind::Arithmetic(Arithmetic::Subtract, Box::new(zero), Box::new(inner.node))
            }
            _ => inner.node.kind,
        };
        Ok(self.part(kind, sort, column, column))
    }

    /// From the right, and before a sign: `-2 ^ 2` is -4, `2 ^ -1` a half.
    fn power(&mut self) -> Result<Part, Wrong> {
        let left = self.operand()?;
        match self.take(&["^", "**"]) {
            Some((_, column)) => {
                let right = self.deeper(Self::signed)?;
                self.arithmetic("^", column, left, right)
            }
            None => Ok(left),
        }
    }

    fn operand(&mut self) -> Result<Part, Wrong> {
        let Some((token, column)) = self.tokens.get(self.at).cloned() else {
            return wrong(self.end, "it ends where a decision or a number is expected");
        };
        self.at += 1;
        match token {
            Token::Number(number) => Ok(self.part(NodeKind::Constant(number), Sort::Number, column, column)),
            Token::Word(word) => {
                let number = self.word(&word);
                Ok(self.part(NodeKind::Constant(Value::Word(number)), Sort::Word, column, column))
            }
            Token::Sign("(") => {
                let inner = self.deeper(Self::either)?;
                self.close("(", column)?;
                Ok(self.part(inner.node.kind, inner.sort, inner.node.column, column))
            }
            Token::Quoted(name) => self.decision(&name, column),
            Token::Name(name) if matches!(self.tokens.get(self.at), Some((Token::Sign("("), _))) => {
                self.call(&name, column)
            }
            Token::Name(name) => match name.as_str() {
                "true" | "True" | "false" | "False" => {
                    let truth = Value::Truth(name.eq_ignore_ascii_case("true"));
                    Ok(self.part(NodeKind::Constant(truth), Sort::Truth, column, column))
                }
                "and" | "or" | "not" => wrong(
                    column,
                    format!("`{name}` does not fit; a decision of this name stands in braces: `{{{name}}}`"),
                ),
                _ => self.decision(&name, column),
            },
            Token::Sign(sign) => {
                let before = self.at.checked_sub(2).map(|before| &self.tokens[before].0);
                let hint = match before {
                    Some(Token::Name(name)) => {
                        format!("; a decision named `{name}` stands in braces: `{{{name}}}`")
                    }
                    _ => String::new(),
                };
                wrong(column, format!("`{sign}` does not fit; a decision or a number is expected{hint}"))
            }
        }
    }

    fn close(&mut self, what: &str, opened: usize) -> Result<(), Wrong> {
        match self.take(&[")"]) {
            Some(_) => Ok(()),
            None => wrong(self.column(), format!("a `)` is expected: `{what}` of column {opened} is open")),
        }
    }

    fn call(&mut self, name: &str, column: usize) -> Result<Part, Wrong> {
        let Some((sign, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let hint = did_you_mean(name, FUNCTIONS.iter().map(|(known, _)| *known));
            return wrong(column, format!("there is no function `{name}`{hint}"));
        };
        self.at += 1;
        let mut arguments = vec![self.deeper(Self::either)?];
        while self.take(&[","]).is_some() {
            arguments.push(self.deeper(Self::either)?);
        }
        self.close(name, column)?;
        arguments.iter().try_for_each(|a| self.want(a, Sort::Number, sign))?;
        let several = matches!(function, Function::Min | Function::Max);
        if several != (arguments.len() > 1) {
            let wanted = if several { "two numbers or more" } else { "one number" };
            return wrong(column, format!("`{name}` wants {wanted}, not {}", arguments.len()));
        }
        let arguments = arguments.into_iter().map(|a| a.node).collect();
        Ok(self.part(NodeKind::Call(*function, arguments), Sort::Number, column, column))
    }

    fn word(&mut self, word: &str) -> usize {
        self.words.iter().position(|known| known == word).unwrap_or_else(|| {
            self.words.push(word.into());
            self.words.len() - 1
        })
    }

    fn decision(&mut self, name: &str, column: usize) -> Result<Part, Wrong> {
        let Some(place) = self.decisions.iter().position(|d| d.name == name) else {
            let is_choice = self.decisions.iter().any(|d| !d.literal && d.choices.iter().any(|c| c == name));
            let hint = match is_choice {
                true => format!("; a choice stands in quotes: `\"{name}\"`"),
                false => did_you_mean(name, self.decisions.iter().map(|d| d.name.as_str())),
            };
            return wrong(column, format!("there is no decision `{name}`{hint}"));
        };
        let decision = &self.decisions[place];
        let values: Vec<Value> = (0..decision.choices.len())
            .map(|choice| match decision.value(choice as u8) {
                serde_json::Value::Bool(truth) => Value::Truth(truth),
                serde_json::Value::Number(number) => {
                    number.as_i64().map_or(Value::Real(number.as_f64().unwrap_or(f64::NAN)), Value::Whole)
                }
                _ => Value::Word(self.word(&decision.choices[choice])),
            })
            .collect();
        let sort = match values.first() {
            Some(Value::Truth(_)) => Sort::Truth,
            Some(Value::Word(_)) => Sort::Word,
            _ => Sort::Number,
        };
        let operand = self.operands.decisions.iter().position(|&known| known == place).unwrap_or_else(|| {
            self.operands.decisions.push(place);
            self.operands.values.push(values);
            self.operands.decisions.len() - 1
        });
        Ok(self.part(NodeKind::Decision(operand), sort, column, column))
    }
}
