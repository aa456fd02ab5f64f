//! The tree of a formula.

use super::evaluate::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Min,
    Max,
    Abs,
    Floor,
    Ceil,
    Round,
    Exp,
    Sqrt,
    Ln,
    Log2,
    Log10,
}

pub(super) const FUNCTIONS: [(&str, Function); 11] = [
    ("min", Function::Min),
    ("max", Function::Max),
    ("abs", Function::Abs),
    ("floor", Function::Floor),
    ("ceil", Function::Ceil),
    ("round", Function::Round),
    ("exp", Function::Exp),
    ("sqrt", Function::Sqrt),
    ("ln", Function::Ln),
    ("log2", Function::Log2),
    ("log10", Function::Log10),
];

/// A part of a formula and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: NodeKind,
    /// Of its operator, else its first character; from 1.
    pub column: usize,
}

#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    Constant(Value),
    /// By its place among the operands.
    Decision(usize),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

impl Node {
    pub fn children(&self) -> Vec<&Node> {
        match &self.kind {
            NodeKind::Constant(_) | NodeKind::Decision(_) => Vec::new(),
            NodeKind::Not(inner) => vec![inner],
            NodeKind::And(a, b)
            | NodeKind::Or(a, b)
            | NodeKind::Compare(_, a, b)
            | NodeKind::Arithmetic(_, a, b) => vec![a, b],
            NodeKind::Call(_, arguments) => arguments.iter().collect(),
        }
    }

    /// Shows every part to `see`; their number.
    pub fn visit(&self, see: &mut impl FnMut(&Node)) -> u64 {
        see(self);
        1 + self.children().into_iter().map(|child| child.visit(see)).sum::<u64>()
    }

    /// Whether it has no value for some operands.
    pub fn is_partial(&self) -> bool {
        use Function::{Ln, Log2, Log10, Sqrt};
        matches!(
            self.kind,
            NodeKind::Arithmetic(Arithmetic::Divide | Arithmetic::Remainder | Arithmetic::Power, ..)
                | NodeKind::Call(Sqrt | Ln | Log2 | Log10, _)
        )
    }

    /// Whether it or a part of it is.
    pub fn has_partial(&self) -> bool {
        self.is_partial() || self.children().into_iter().any(Node::has_partial)
    }

    /// Its operator, as one writes it.
    pub fn sign(&self) -> &'static str {
        match self.kind {
            NodeKind::Arithmetic(how, ..) => match how {
                Arithmetic::Add => "+",
                Arithmetic::Subtract => "-",
                Arithmetic::Multiply => "*",
                Arithmetic::Divide => "/",
                Arithmetic::Remainder => "%",
                Arithmetic::Power => "^",
            },
            NodeKind::Call(function, _) => {
                FUNCTIONS.iter().find(|(_, f)| *f == function).map_or("", |(name, _)| name)
            }
            _ => "",
        }
    }
}
