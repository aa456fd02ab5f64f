//! The part of a space that a search by an oracle is in.

use super::{
    Usage,
    config::{LiveConfig, TrainingConfig},
};
use crate::commands::space::GivenSpace;
use srnas_oracle::{
    OracleSpec,
    training::{Counts, data},
};
use srnas_search::{KnownLimit, LivePart};

/// What is said where nothing is known before a training.
const UNKNOWN: &str = "--within and --teacher go with --oracle train in a space of wide residual networks (wrn-compress-28-10 and its like), whose \
                       weights and multiply-adds are counted; of others write the constraints into the space's file, or --require what a \
                       training finds";

/// What of a space is searched by an oracle, with what a teacher may become where it has some.
///
/// # Errors
/// Limits and teachers that nothing is known of, or that leave nothing.
pub fn of(
    given: GivenSpace,
    oracle: &OracleSpec,
    training: Option<&TrainingConfig>,
    within: &[KnownLimit],
    teacher: Option<&str>,
) -> anyhow::Result<GivenSpace> {
    let trains = training.filter(|_| *oracle == OracleSpec::Train);
    let counts = match trains {
        // What is wrong with images is said where they are read.
        Some(training) => match data::shape(&training.data) {
            Ok(shape) => Counts::of(&given.space, shape, training.recipe.scale).map_err(Usage)?,
            Err(_) => None,
        },
        None => None,
    };
    match counts {
        None if within.is_empty() && teacher.is_none() => Ok(given),
        None => Err(Usage(UNKNOWN.into()).into()),
        Some(counts) => {
            let part = LivePart::new(&given.space, counts, within, teacher);
            let LivePart { space, students } = part.map_err(|e| Usage(e.to_string()))?;
            Ok(GivenSpace { space, students: Some(students), ..given })
        }
    }
}

impl LiveConfig {
    /// Which part of its space is searched, to be put behind the space's name; nothing where it is all of it.
    pub fn part_in_words(&self) -> String {
        let limits = self.within.iter().map(ToString::to_string);
        let teacher = self.teacher.iter().map(|teacher| format!("within {teacher}"));
        let all: Vec<String> = teacher.chain(limits).collect();
        if all.is_empty() { String::new() } else { format!(", {}", all.join(", ")) }
    }
}
