//! One search: what a method asks for is paid once and told as often as it asks.

use crate::method::{Begin, Method, MethodError};
use hashbrown::HashMap;
use srnas_common::space::Choices;

/// A method that asks for nothing new so many times in a row has failed.
const REPEATS: usize = 1000;

/// A paid query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The architecture.
    pub choices: Vec<u8>,
    /// Its objectives, each to be maximised.
    pub values: Vec<f32>,
}

/// The paid queries of a search, in their order; the start is the first.
pub type Trace = Vec<Query>;

/// Lets a method search until its budget is spent or it has nothing left to ask.
///
/// # Errors
/// The method's own; and of one that asks for what is no architecture, for what was not measured, or for nothing new for ever.
pub fn search(
    method: &mut dyn Method,
    begin: &Begin,
    measure: impl Fn(&Choices) -> Option<Vec<f32>>,
) -> Result<Trace, MethodError> {
    let mut trace: Trace = Vec::with_capacity(begin.budget);
    let mut paid: HashMap<u64, usize> = HashMap::with_capacity(begin.budget);
    let mut next = Some(begin.start.clone());
    let mut repeats = 0;
    while let Some(choices) = next {
        if !begin.space.is_valid(&choices) {
            return Err(MethodError(format!("asked for {choices:?}, which is not valid")));
        }
        let key = begin.key(&choices);
        let known = paid.get(&key).copied();
        let values = match known {
            Some(place) => trace[place].values.clone(),
            None => measure(&choices).ok_or_else(|| {
                MethodError(format!("asked for {}, which is not in the table", begin.space.format(&choices)))
            })?,
        };
        method.tell(&choices, &values)?;
        repeats = if known.is_some() { repeats + 1 } else { 0 };
        if known.is_none() {
            paid.insert(key, trace.len());
            trace.push(Query { choices, values });
        }
        if trace.len() >= begin.budget {
            break;
        }
        if repeats >= REPEATS {
            return Err(MethodError(format!("asked {REPEATS} times in a row for what was measured already")));
        }
        next = method.ask()?;
    }
    Ok(trace)
}
