//! Whether a batch fits the run's space: what is whole in itself may still speak of architectures that there are not.

use super::{Experience, Malformed};
use srnas_space::SearchSpace;

impl Experience {
    /// Checks candidates and architectures against a space whose observations have `max_candidates` at most.
    ///
    /// # Errors
    /// [`Malformed`] names the first array with something foreign.
    pub fn fits(&self, space: &SearchSpace, max_candidates: usize) -> Result<(), Malformed> {
        let wrong = |array, index, value, rule| Err(Malformed::Value { array, index, value, rule });
        if let Some(i) = self.counts.iter().position(|&c| usize::from(c) > max_candidates) {
            let rule = "at most the candidates that this run's configuration allows";
            return wrong("counts", i, self.counts[i].into(), rule);
        }
        let m = &self.measurements.architectures;
        if let Some(i) = m.chunks_exact(space.len()).position(|choices| !space.is_valid(choices)) {
            return wrong(
                "measurements.architectures",
                i,
                i as f64,
                "a valid architecture of the run's space",
            );
        }
        let d = space.len();
        let foreign = |(i, c): &(usize, &u8)| **c >= space.arity(i % d);
        if let Some((i, &c)) = self.identities.iter().enumerate().find(foreign) {
            return wrong("identities", i, c.into(), "a choice of its decision");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Measurements;

    #[test]
    fn what_the_space_has_not_is_named() {
        let space = SearchSpace::named("nb201").unwrap();
        let fits = |e: Experience| e.fits(&space, 3).map_err(|e| e.to_string());
        let measured = |architectures: Vec<u8>| Experience {
            measurements: Measurements { architectures, ..Default::default() },
            ..Default::default()
        };
        fits(Experience { counts: vec![3, 1], ..Default::default() }).unwrap();
        fits(measured(vec![0, 1, 2, 3, 4, 0])).unwrap();
        assert!(
            fits(Experience { counts: vec![3, 4], ..Default::default() }).unwrap_err().contains("counts")
        );
        assert!(fits(measured(vec![0, 1, 2, 3, 5, 0])).unwrap_err().contains("measurements.architectures"));
        let identities = Experience { identities: vec![0, 0, 0, 0, 0, 9], ..Default::default() };
        assert!(fits(identities).unwrap_err().contains("`identities`[5]"));
    }
}
