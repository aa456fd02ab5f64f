//! Numbers that a program drew from a range, as the nearest of the levels that a space has of it.

use super::descriptor::Scale;
use srnas_space::Decision;

/// The levels of a decision, on the scale on which they are near to each other.
#[derive(Debug)]
pub(super) struct Nearest {
    scale: Scale,
    levels: Vec<f64>,
    /// Lowest and highest level, as they are written.
    ends: String,
}

impl Nearest {
    /// Of a decision's choices.
    ///
    /// # Errors
    /// Says which choice is no number of the scale.
    pub fn of(decision: &Decision, scale: Scale) -> Result<Self, String> {
        let level = |choice: &String| {
            let number: Option<f64> = choice.parse().ok().filter(|n: &f64| n.is_finite());
            let place = number.map(|number| scale.place(number)).filter(|place| place.is_finite());
            let what = if scale == Scale::Log { "number above 0" } else { "number" };
            place.ok_or_else(|| format!("nearest: the choice `{choice}` of `{}` is no {what}", decision.name))
        };
        let levels: Vec<f64> = decision.choices.iter().map(level).collect::<Result<_, _>>()?;
        let by_level = |pick: fn(f64, f64) -> bool| {
            let choices = decision.choices.iter().zip(&levels);
            choices.reduce(|a, b| if pick(*b.1, *a.1) { b } else { a }).map_or("", |(choice, _)| choice)
        };
        let ends = format!("{} to {}", by_level(|b, a| b < a), by_level(|b, a| b > a));
        Ok(Self { scale, levels, ends })
    }

    /// The choice nearest to a number; of two equally near ones the first.
    ///
    /// # Errors
    /// For a number beyond all of them, from where to where they go.
    pub fn choice(&self, number: f64) -> Result<u8, &str> {
        let at = self.scale.place(number);
        let low = self.levels.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.levels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // An end may be a hair off where it was computed.
        let hair = 1e-6 * (high - low).max(f64::MIN_POSITIVE);
        if !(low - hair..=high + hair).contains(&at) {
            return Err(&self.ends);
        }
        let far = |level: &f64| (level - at).abs();
        let near = self.levels.iter().zip(0u8..).min_by(|a, b| far(a.0).total_cmp(&far(b.0)));
        near.map(|(_, choice)| choice).ok_or(&self.ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_between_levels_count_as_the_nearer_one() {
        let decision = Decision::new("lr", &["0.001", "0.01", "0.1"]);
        let log = Nearest::of(&decision, Scale::Log).unwrap();
        let choices = |nearest: &Nearest, numbers: &[f64]| -> Vec<u8> {
            numbers.iter().map(|n| nearest.choice(*n).unwrap()).collect()
        };
        assert_eq!(choices(&log, &[0.001, 0.0031, 0.0032, 0.05, 0.1000000001]), [0, 0, 1, 2, 2]);
        let linear = Nearest::of(&decision, Scale::Linear).unwrap();
        assert_eq!(choices(&linear, &[0.0054, 0.0056, 0.05]), [0, 1, 1]);
        for beyond in [0.2, 0.0001, -1.0, f64::NAN] {
            assert_eq!(log.choice(beyond), Err("0.001 to 0.1"), "{beyond}");
        }
        let said = Nearest::of(&Decision::new("lr", &["0", "1"]), Scale::Log).unwrap_err();
        assert!(said.contains("`0` of `lr` is no number above 0"), "{said}");
    }
}
