//! One search: what a method asks for is paid once and told as often as it asks.

use crate::method::{Begin, Method, MethodError, Training};
use hashbrown::HashMap;

/// A method that asks for nothing new so many times in a row has failed.
const REPEATS: usize = 1000;

/// A paid query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The architecture.
    pub choices: Vec<u8>,
    /// Its objectives, each to be maximised.
    pub values: Vec<f32>,
    /// Which shorter training it was; none for a full one.
    pub shorter: Option<usize>,
    /// What was paid by then, in full trainings.
    pub spent: f64,
}

/// The paid queries of a search, in their order; the start is the first.
pub type Trace = Vec<Query>;

/// Costs are added up many times.
const ROUNDING: f64 = 1e-6;

/// Lets a method search until its budget is spent, the next training does not fit into what is left, or there is nothing left
/// to ask. `measure` says what a training finds; of a shorter one the first value counts.
///
/// # Errors
/// The method's own; and of one that asks for what is no architecture, for what was not measured, or for nothing new for ever.
pub fn search(
    method: &mut dyn Method,
    begin: &Begin,
    measure: impl Fn(&Training) -> Option<Vec<f32>>,
) -> Result<Trace, MethodError> {
    let mut trace: Trace = Vec::with_capacity(begin.budget);
    let mut paid: HashMap<(u64, Option<usize>), usize> = HashMap::with_capacity(begin.budget);
    let mut next = Some(Training { choices: begin.start.clone(), shorter: None });
    let (mut repeats, mut spent) = (0, 0.0);
    while let Some(training) = next {
        let Training { choices, shorter } = &training;
        if !begin.space.is_valid(choices) {
            return Err(MethodError(format!("asked for {choices:?}, which is not valid")));
        }
        let cost = match shorter {
            None => 1.0,
            Some(place) => *begin.shorter.get(*place).ok_or_else(|| {
                MethodError(format!("asked for shorter training {place} of {}", begin.shorter.len()))
            })?,
        };
        let key = (begin.key(choices), *shorter);
        let known = paid.get(&key).copied();
        let values = match known {
            Some(place) => trace[place].values.clone(),
            None if spent + cost > begin.budget as f64 + ROUNDING => break,
            None => measure(&training).ok_or_else(|| {
                MethodError(format!("asked for {}, which is not in the table", begin.space.format(choices)))
            })?,
        };
        match shorter {
            None => method.tell(choices, &values)?,
            Some(_) => method.tell_shorter(&training, values[0])?,
        }
        repeats = if known.is_some() { repeats + 1 } else { 0 };
        if known.is_none() {
            paid.insert(key, trace.len());
            spent += cost;
            let Training { choices, shorter } = training;
            trace.push(Query { choices, values, shorter, spent });
        }
        if spent + ROUNDING >= begin.budget as f64 {
            break;
        }
        if repeats >= REPEATS {
            return Err(MethodError(format!("asked {REPEATS} times in a row for what was measured already")));
        }
        next = method.ask_training()?;
    }
    Ok(trace)
}
