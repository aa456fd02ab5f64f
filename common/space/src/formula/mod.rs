//! Formulas over decisions, such as `depth * width <= 96 && (act != "tanh" || depth == 1)`.
//!
//! They bind as in Python and C: `^` (or `**`), then signs and `!`, `* / %`, `+ -`, comparisons, `not`, `&&` (or `and`), `||` (or
//! `or`). What is true or false, a number and a word is told apart when a formula is read, and what could not be computed for
//! some combination of choices, such as a division by zero, is refused then: a formula that was read has an answer for every
//! architecture.

mod evaluate;
mod parse;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;

use super::Decision;
use evaluate::{Undefined, Value, evaluate};
use parse::Sort;
use tree::{Arithmetic, Node, NodeKind};

/// Combinations of choices times parts of a formula that are tried when it is read, at most.
const TRIED: u64 = 1 << 24;

/// A formula that is true or false of every architecture.
#[derive(Clone, Debug)]
pub struct Formula {
    text: String,
    root: Node,
    operands: Operands,
}

/// The decisions that a formula names and what their choices are worth in it.
#[derive(Clone, Debug, Default)]
struct Operands {
    decisions: Vec<usize>,
    /// For each of them the value of each choice.
    values: Vec<Vec<Value>>,
}

impl Formula {
    /// Reads a formula over these decisions.
    ///
    /// # Errors
    /// Says at which column what is no formula, which name is no decision, what cannot be compared or computed, and for which
    /// choices something has no value.
    pub fn read(text: &str, decisions: &[Decision]) -> Result<Box<Self>, String> {
        Self::read_as(text, decisions, Sort::Truth)
    }

    /// Reads a formula that is a number for every architecture.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_number(text: &str, decisions: &[Decision]) -> Result<Box<Self>, String> {
        Self::read_as(text, decisions, Sort::Number)
    }

    fn read_as(text: &str, decisions: &[Decision], wanted: Sort) -> Result<Box<Self>, String> {
        let wrong = |reason: String| format!("`{text}`: {reason}");
        let (root, operands) = parse::parse(text, decisions, wanted).map_err(|e| wrong(e.to_string()))?;
        if operands.decisions.is_empty() {
            return Err(wrong("it names no decision".into()));
        }
        let formula = Self { text: text.into(), root, operands };
        formula.check(&formula.root, decisions).map_err(wrong)?;
        Ok(Box::new(formula))
    }

    /// The formula as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Places of the decisions that it names.
    pub fn decisions(&self) -> &[usize] {
        &self.operands.decisions
    }

    /// Whether it is true; `choice` gives the choice of a decision by its place.
    pub fn holds(&self, choice: impl Fn(usize) -> u8) -> bool {
        // What has no value was refused when it was read.
        matches!(self.value(choice), Ok(Value::Truth(true)))
    }

    /// The number that it is; `choice` gives the choice of a decision by its place.
    pub fn number(&self, choice: impl Fn(usize) -> u8) -> f64 {
        match self.value(choice) {
            Ok(Value::Whole(whole)) => whole as f64,
            Ok(Value::Real(real)) => real,
            // What was read is a number everywhere.
            _ => f64::NAN,
        }
    }

    fn value(&self, choice: impl Fn(usize) -> u8) -> Result<Value, Undefined> {
        let value = |operand: usize| {
            self.operands.values[operand][usize::from(choice(self.operands.decisions[operand]))]
        };
        evaluate(&self.root, &value)
    }

    /// Whether a part has a value for all choices: by trying all, else part by part.
    fn check(&self, node: &Node, decisions: &[Decision]) -> Result<(), String> {
        let mut named = Vec::new();
        let parts = node.visit(&mut |n| {
            if let NodeKind::Decision(operand) = n.kind {
                named.push(operand);
            }
        });
        named.sort_unstable();
        named.dedup();
        let combinations = named
            .iter()
            .try_fold(1u64, |all, &operand| all.checked_mul(self.operands.values[operand].len() as u64));
        if combinations.and_then(|all| all.checked_mul(parts)).is_some_and(|tried| tried <= TRIED) {
            return self.try_all(node, &named, decisions);
        }
        // A division may have a value whatever is divided.
        if let NodeKind::Arithmetic(how @ (Arithmetic::Divide | Arithmetic::Remainder), dividend, divisor) =
            &node.kind
            && !matches!(dividend.kind, NodeKind::Constant(_))
        {
            let one = Node { kind: NodeKind::Constant(Value::Whole(1)), column: node.column };
            let kind = NodeKind::Arithmetic(*how, Box::new(one), divisor.clone());
            self.check(&Node { kind, column: node.column }, decisions)?;
            return if dividend.has_partial() { self.check(dividend, decisions) } else { Ok(()) };
        }
        if node.is_partial() {
            return Err(format!(
                "at column {}, `{}` depends on too many decisions to tell whether it always has a value; write the formula without it",
                node.column,
                node.sign()
            ));
        }
        // What always has a value need not be tried.
        let mut children = node.children().into_iter().filter(|child| child.has_partial());
        children.try_for_each(|child| self.check(child, decisions))
    }

    fn try_all(&self, node: &Node, named: &[usize], decisions: &[Decision]) -> Result<(), String> {
        let mut choices = vec![0u8; self.operands.values.len()];
        loop {
            let value = |operand: usize| self.operands.values[operand][usize::from(choices[operand])];
            if let Err(Undefined { column, why }) = evaluate(node, &value) {
                let given = |&operand: &usize| {
                    let decision = &decisions[self.operands.decisions[operand]];
                    format!("{} = {}", decision.name, decision.choices[usize::from(choices[operand])])
                };
                let choices = named.iter().map(given).collect::<Vec<_>>().join(", ");
                let given = if choices.is_empty() { String::new() } else { format!(" where {choices}") };
                return Err(format!("at column {column}, {why}{given}"));
            }
            // The next combination, as on an odometer.
            let next = named.iter().find(|&&operand| {
                choices[operand] += 1;
                let turned = usize::from(choices[operand]) == self.operands.values[operand].len();
                if turned {
                    choices[operand] = 0;
                }
                !turned
            });
            if next.is_none() {
                return Ok(());
            }
        }
    }
}
