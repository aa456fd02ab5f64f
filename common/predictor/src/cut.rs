//! Values with their low tail cut: how bad the bad ones are says little about the good ones, and would set the scale.

/// Measured values, cut and standardised.
#[derive(Debug)]
pub(super) struct Cut {
    /// By measurement, with mean 0 and deviation 1.
    pub standardised: Vec<f64>,
    /// Mean of the cut values.
    pub centre: f64,
    /// Their deviation; 0 counts as 1.
    pub spread: f64,
}

impl Cut {
    /// Cuts values at median − `times` · (best − median); none where nothing would change: `times` is 0, no value is that low,
    /// or the median is the best.
    pub fn new(values: &[f32], times: f32) -> Option<Self> {
        if times <= 0.0 || values.is_empty() {
            return None;
        }
        let best = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let median = srnas_basics::statistics::median(&mut values.to_vec());
        let floor = f64::from(median) - f64::from(times) * f64::from(best - median);
        if best <= median || values.iter().all(|&value| f64::from(value) >= floor) {
            return None;
        }
        let mut standardised: Vec<f64> = values.iter().map(|&value| f64::from(value).max(floor)).collect();
        let n = standardised.len() as f64;
        let centre = standardised.iter().sum::<f64>() / n;
        let spread = (standardised.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / n).sqrt();
        let spread = if spread > 1e-9 { spread } else { 1.0 };
        standardised.iter_mut().for_each(|v| *v = (*v - centre) / spread);
        Some(Self { standardised, centre, spread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_low_tail_is_cut_and_nothing_else() {
        let cut = Cut::new(&[3.0, 4.0, 5.0, -100.0, 3.5], 1.0).unwrap();
        // Median 3.5, best 5: cut at 2.
        assert!((cut.centre - 3.5).abs() < 1e-12, "{cut:?}");
        let back: Vec<f64> = cut.standardised.iter().map(|z| cut.centre + cut.spread * z).collect();
        assert!(back.iter().zip([3.0, 4.0, 5.0, 2.0, 3.5]).all(|(a, b)| (a - b).abs() < 1e-12), "{back:?}");
    }

    #[test]
    fn what_would_not_change_is_left_alone() {
        assert!(Cut::new(&[3.0, 4.0, 5.0, -100.0], 0.0).is_none());
        assert!(Cut::new(&[3.0, 4.0, 5.0], 1.0).is_none());
        assert!(Cut::new(&[], 1.0).is_none());
        assert!(Cut::new(&[1.0], 1.0).is_none());
        // More than half are as good as the best: there is no way from the median up.
        assert!(Cut::new(&[2.0, 2.0, 2.0, -9.0], 1.0).is_none());
    }
}
