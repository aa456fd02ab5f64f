//! The plain posterior about what past tasks say, for searches of several objectives: a past in which the mean alone counts, as far
//! as the measurements follow it.

use super::{Predictor, cut::Cut, expectation::standardised};

/// Measurements by which a past can be judged.
const LEAST: usize = 4;

impl Predictor {
    /// The plain posterior about the past's mean: mean and deviation of each slot, in deviations of what was measured. The mean counts
    /// with the slope that the measurements have on it (generalised least squares); nothing where they do not follow it, by the
    /// Bayesian information criterion, or are too few to say.
    pub fn about_the_past(&mut self) -> Option<(Vec<f32>, Vec<f32>)> {
        let n = self.len();
        if !self.has_prior() || n < LEAST {
            return None;
        }
        let cut = Cut::new(&self.points.values, self.settings.plain.cut);
        let z =
            cut.as_ref().map_or_else(|| standardised(&self.points.values), |cut| cut.standardised.clone());
        // What is cut of the measurements is cut of the past, whose unit is from the median to the best.
        let times = self.settings.plain.cut;
        let lowest = if times > 0.0 { -times } else { f32::NEG_INFINITY };
        let mean: Vec<f64> =
            self.transfers[0].point_mean[..n].iter().map(|m| f64::from(m.max(lowest))).collect();
        let [z_white, mean_white, ones] =
            [&z[..], &mean, &vec![1.0; n]].map(|values| self.plain.whitened(values));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (mm, m1, one) = (dot(&mean_white, &mean_white), dot(&mean_white, &ones), dot(&ones, &ones));
        let (zm, z1) = (dot(&z_white, &mean_white), dot(&z_white, &ones));
        let determinant = mm * one - m1 * m1;
        let slope = (zm * one - z1 * m1) / determinant;
        // A past that is the same everywhere has no slope, and one that says the opposite is none.
        if determinant <= 1e-9 * mm * one || slope <= 0.0 {
            return None;
        }
        let level = (z1 - slope * m1) / one;
        let rest: Vec<f64> = z.iter().zip(&mean).map(|(z, m)| z - slope * m - level).collect();
        let mut means = vec![0.0; self.slots.n];
        let square = self.plain.regress(&rest, &mut means);
        let (count, alone) = (n as f64, dot(&z_white, &z_white));
        if count * (alone / square.max(1e-9)).ln() <= 2.0 * count.ln() {
            return None;
        }
        let beliefs = self.beliefs();
        // In the deviations of all values, not of those that are cut.
        let (centre, deviation) = (beliefs.centre, beliefs.spread);
        let (offset, unit) =
            cut.map_or((0.0, 1.0), |cut| ((cut.centre - centre) / deviation, cut.spread / deviation));
        for (mean, past) in means.iter_mut().zip(&self.transfers[0].mean) {
            let about = slope * f64::from(past.max(lowest)) + level + f64::from(*mean);
            *mean = (offset + unit * about) as f32;
        }
        let amplitude = ((square + 1.0) / (count + 1.0)) as f32;
        let explained = self.plain.explained().iter();
        let deviations = explained.map(|e| unit as f32 * (amplitude * (1.0 - e).max(1e-6)).sqrt()).collect();
        Some((means, deviations))
    }
}
