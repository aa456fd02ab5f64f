//! What a reward is measured by: the moving average of those before it, in the spread of all that were told, so that one learning rate
//! serves every metric.

/// A moving-average baseline.
#[derive(Clone, Copy, Debug)]
pub struct Baseline {
    /// Share of the average that is kept with each reward.
    keep: f64,
    average: Option<f64>,
    /// Number, mean and sum of squared differences of what was told (Welford).
    told: (f64, f64, f64),
}

impl Baseline {
    /// Keeps so much of the average with each reward, 0 to 1.
    pub fn new(keep: f64) -> Self {
        Self { keep: keep.min(1.0), average: None, told: (0.0, 0.0, 0.0) }
    }

    /// How far a reward is above the baseline, in spreads; and the baseline moves to it. Nought while all are equal.
    pub fn advantage(&mut self, reward: f64) -> f64 {
        let (n, mean, squares) = &mut self.told;
        *n += 1.0;
        let before = reward - *mean;
        *mean += before / *n;
        *squares += before * (reward - *mean);
        let spread = (*squares / *n).sqrt();
        let baseline = self.average.unwrap_or(reward);
        self.average = Some(self.keep * baseline + (1.0 - self.keep) * reward);
        if spread > 0.0 { (reward - baseline) / spread } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advantages_are_in_spreads_above_a_moving_average() {
        let mut baseline = Baseline::new(0.5);
        assert_eq!(baseline.advantage(4.0), 0.0);
        // Of 4 and 8 the spread is 2.
        assert_eq!(baseline.advantage(8.0), 2.0);
        // The average is 6 by now; of 4, 8 and 6 the spread is √(8/3).
        assert_eq!(baseline.advantage(6.0), 0.0);
        assert!((baseline.advantage(5.0) - -1.0 / (35.0f64 / 16.0).sqrt()).abs() < 1e-12);
        let told = |scale: f64, shift: f64| {
            let mut baseline = Baseline::new(0.9);
            [1.0, 3.0, 2.0, 7.0].map(|reward| baseline.advantage(scale * reward + shift))
        };
        for (a, b) in told(1.0, 0.0).iter().zip(told(100.0, -5.0)) {
            assert!((a - b).abs() < 1e-9, "whatever the unit");
        }
        let mut equal = Baseline::new(0.9);
        assert!((0..5).all(|_| equal.advantage(3.0) == 0.0));
    }
}
