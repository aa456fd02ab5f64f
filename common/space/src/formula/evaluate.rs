//! What a formula is worth for one architecture.

use super::tree::{Arithmetic, Comparison, Function, Node, NodeKind};
use std::cmp::Ordering;

/// A value. Words are numbered in the order in which a formula meets them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Truth(bool),
    Whole(i64),
    Real(f64),
    Word(usize),
}

/// Why a part has no value.
#[derive(Debug)]
pub(super) struct Undefined {
    /// Where it stands, from 1.
    pub column: usize,
    pub why: String,
}

impl Value {
    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
            // The reader lets numbers alone come here.
            Self::Truth(_) | Self::Word(_) => f64::NAN,
        }
    }

    fn is_true(self) -> bool {
        self == Self::Truth(true)
    }
}

/// The value of a part of a formula; `operand` gives the value of a decision.
pub(super) fn evaluate(node: &Node, operand: &impl Fn(usize) -> Value) -> Result<Value, Undefined> {
    let value = |node: &Node| evaluate(node, operand);
    let defined = |result: Result<Value, &str>| {
        let number = result.and_then(|v| if v.real().is_nan() { Err("it is not a number") } else { Ok(v) });
        number.map_err(|why| Undefined { column: node.column, why: format!("`{}`: {why}", node.sign()) })
    };
    Ok(match &node.kind {
        NodeKind::Constant(constant) => *constant,
        NodeKind::Decision(place) => operand(*place),
        NodeKind::Not(inner) => Value::Truth(!value(inner)?.is_true()),
        // What stands behind is not asked where it changes nothing, so that it may guard against what has no value.
        NodeKind::And(a, b) => Value::Truth(value(a)?.is_true() && value(b)?.is_true()),
        NodeKind::Or(a, b) => Value::Truth(value(a)?.is_true() || value(b)?.is_true()),
        NodeKind::Compare(how, a, b) => Value::Truth(compare(*how, value(a)?, value(b)?)),
        NodeKind::Arithmetic(how, a, b) => defined(arithmetic(*how, value(a)?, value(b)?))?,
        NodeKind::Call(function, arguments) => {
            let arguments = arguments.iter().map(value).collect::<Result<Vec<_>, _>>()?;
            defined(call(*function, &arguments))?
        }
    })
}

fn compare(how: Comparison, a: Value, b: Value) -> bool {
    let order = match (a, b) {
        (Value::Truth(a), Value::Truth(b)) => Some(a.cmp(&b)),
        (Value::Word(a), Value::Word(b)) => Some(a.cmp(&b)),
        (Value::Whole(a), Value::Whole(b)) => Some(a.cmp(&b)),
        _ => a.real().partial_cmp(&b.real()),
    };
    match how {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::Unequal => order != Some(Ordering::Equal),
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

/// Whole numbers stay whole while they fit 64 bits.
fn arithmetic(how: Arithmetic, a: Value, b: Value) -> Result<Value, &'static str> {
    if let (Value::Whole(a), Value::Whole(b)) = (a, b) {
        let whole = match how {
            Arithmetic::Add => a.checked_add(b),
            Arithmetic::Subtract => a.checked_sub(b),
            Arithmetic::Multiply => a.checked_mul(b),
            Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Err("its right side is 0"),
            Arithmetic::Divide => a.checked_div(b),
            Arithmetic::Remainder => Some(a.checked_rem(b).unwrap_or(0)),
            Arithmetic::Power => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        };
        if let Some(whole) = whole {
            return Ok(Value::Whole(whole));
        }
    }
    let (a, b) = (a.real(), b.real());
    Ok(Value::Real(match how {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide | Arithmetic::Remainder if b == 0.0 => return Err("its right side is 0"),
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => a % b,
        Arithmetic::Power if a == 0.0 && b < 0.0 => return Err("0 has no negative power"),
        Arithmetic::Power if a < 0.0 && b.fract() != 0.0 => {
            return Err("a negative number has no power that is not whole");
        }
        Arithmetic::Power => a.powf(b),
    }))
}

fn call(function: Function, arguments: &[Value]) -> Result<Value, &'static str> {
    let whole = |real: f64| match real {
        // Exact in both.
        real if real.abs() < 9e15 => Value::Whole(real as i64),
        real => Value::Real(real),
    };
    let first = arguments[0];
    let pick = |wanted: Comparison| {
        let better = |a: Value, b: &Value| if compare(wanted, *b, a) { *b } else { a };
        arguments.iter().fold(first, better)
    };
    Ok(match function {
        Function::Min => pick(Comparison::Less),
        Function::Max => pick(Comparison::Greater),
        Function::Abs => match first {
            Value::Whole(n) => n.checked_abs().map_or(Value::Real(first.real().abs()), Value::Whole),
            _ => Value::Real(first.real().abs()),
        },
        Function::Floor => whole(first.real().floor()),
        Function::Ceil => whole(first.real().ceil()),
        Function::Round => whole(first.real().round()),
        Function::Exp => Value::Real(first.real().exp()),
        Function::Sqrt if first.real() < 0.0 => return Err("a negative number has no root"),
        Function::Sqrt => Value::Real(first.real().sqrt()),
        _ if first.real() <= 0.0 => return Err("only numbers above 0 have a logarithm"),
        Function::Ln => Value::Real(first.real().ln()),
        Function::Log2 => Value::Real(first.real().log2()),
        Function::Log10 => Value::Real(first.real().log10()),
    })
}
