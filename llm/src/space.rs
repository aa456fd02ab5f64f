//! The space of a model's sub-networks: each layer is absent or has an MLP width, and where it is present a weight format.

use crate::{
    LlmError,
    config::Config,
    matrix::{BLOCK, Format},
    subnetwork::{Kept, Subnetwork},
};
use srnas_space::{Choices, Condition, Conditional, Decision, SearchSpace};

/// What a search decides of a model.
#[derive(Debug)]
pub struct LlmSpace {
    space: SearchSpace,
    /// The widths of each layer from which it chooses, in order; choice 0 is absent.
    widths: Vec<Vec<usize>>,
    formats: Vec<Format>,
}

impl LlmSpace {
    /// The space of a model: `steps` widths for each layer, evenly up to its own and multiples of 32 below that, and these
    /// formats, chosen for each layer and for the embedding. With one format there is nothing to decide of it.
    ///
    /// # Errors
    /// No width, no format, one twice, a quantised one where rows of the residual stream do not fill blocks, and more
    /// decisions than a space may have.
    pub fn new(config: &Config, steps: usize, formats: &[Format]) -> Result<Self, LlmError> {
        let quantised = formats.iter().any(|f| *f != Format::F32);
        if quantised && (!config.dim.is_multiple_of(BLOCK) || !config.q_dim().is_multiple_of(BLOCK)) {
            let dim = config.dim;
            return Err(LlmError::Asked(format!(
                "rows of {dim} weights do not fill blocks of {BLOCK}: f32 alone is possible"
            )));
        }
        if steps == 0 || formats.is_empty() || config.widths.is_empty() {
            return Err(LlmError::Asked("a space needs a layer, a width and a format".into()));
        }
        let widths: Vec<Vec<usize>> = config.widths.iter().map(|&full| widths_of(full, steps)).collect();
        let (mut decisions, mut conditions) = (Vec::new(), Vec::new());
        let names: Vec<&str> = formats.iter().map(|f| f.name()).collect();
        if formats.len() > 1 {
            decisions.push(Decision::new("format.embedding", &names));
        }
        for (i, widths) in widths.iter().enumerate() {
            let mut layer = Decision::new(format!("layer.{i}"), &["absent"]);
            layer.choices.extend(widths.iter().map(usize::to_string));
            layer.ordered = true;
            decisions.push(layer);
            if formats.len() > 1 {
                let depends_on = decisions.len() - 1;
                let active_if = (1..=widths.len()).filter_map(|c| u8::try_from(c).ok()).collect();
                conditions.push(Condition { decision: decisions.len(), depends_on, active_if });
                decisions.push(Decision::new(format!("format.{i}"), &names));
            }
        }
        let space =
            Conditional::space("llm", decisions, conditions).map_err(|e| LlmError::Asked(e.to_string()))?;
        Ok(Self { space, widths, formats: formats.to_vec() })
    }

    /// Its decisions.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// The sub-network that choices of this space mean; none where they are not of it.
    pub fn subnetwork(&self, choices: &Choices) -> Option<Subnetwork> {
        if !self.space.is_valid(choices) {
            return None;
        }
        let mut rest = choices.iter().map(|&c| c as usize);
        let several = self.formats.len() > 1;
        let format = |rest: &mut dyn Iterator<Item = usize>| match several {
            true => rest.next().map(|c| self.formats[c]),
            false => Some(self.formats[0]),
        };
        let embedding = format(&mut rest)?;
        let mut layers = Vec::with_capacity(self.widths.len());
        for widths in &self.widths {
            let (chosen, format) = (rest.next()?, format(&mut rest)?);
            layers.push(chosen.checked_sub(1).map(|c| Kept { width: widths[c], format }));
        }
        Some(Subnetwork { layers, embedding })
    }
}

/// Widths evenly up to the full one: multiples of 32, and the full one itself.
fn widths_of(full: usize, steps: usize) -> Vec<usize> {
    let part = |k: usize| (full * k / steps + BLOCK / 2) / BLOCK * BLOCK;
    let mut widths: Vec<usize> = (1..steps).map(part).filter(|w| (BLOCK..full).contains(w)).collect();
    widths.push(full);
    widths.dedup();
    widths
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::listed_or_drawn;
    use std::collections::HashSet;

    fn config(width: usize, layers: usize) -> Config {
        Config {
            vocabulary: 512,
            dim: 64,
            heads: 8,
            kv_heads: 4,
            head_dim: 8,
            widths: vec![width; layers],
            context: 512,
            rope_theta: 1e4,
            norm_epsilon: 1e-5,
            tied: true,
            bos: Some(1),
            eos: vec![2],
        }
    }

    #[test]
    fn four_widths_of_five_layers_are_3125_shapes() {
        assert_eq!(widths_of(172, 4), [32, 96, 128, 172]);
        assert_eq!(widths_of(20, 4), [20]);
        let space = LlmSpace::new(&config(172, 5), 4, &[Format::F32]).unwrap();
        assert_eq!(space.space().size(), Some(3125));
        let whole = space.subnetwork(&[4; 5]).unwrap();
        assert!(whole.layers.iter().all(|l| *l == Some(Kept { width: 172, format: Format::F32 })));
        assert_eq!(space.subnetwork(&[0, 4, 4, 4, 1]).unwrap().layers[0], None);
        assert_eq!(space.subnetwork(&[5; 5]), None);
    }

    #[test]
    fn the_format_of_an_absent_layer_does_not_count() {
        let space = LlmSpace::new(&config(64, 1), 2, &Format::ALL).unwrap();
        assert_eq!(space.space().len(), 3);
        let (all, whole) = listed_or_drawn(space.space(), 1000);
        let keys: HashSet<u64> = all.iter().map(|c| space.space().canonical_key(c)).collect();
        // 3 of the embedding, by absent or 2 widths in 3 formats.
        assert!(whole);
        assert_eq!(keys.len(), 3 * (1 + 2 * 3));
        let mut odd = config(64, 1);
        odd.dim = 72;
        assert!(LlmSpace::new(&odd, 2, &Format::ALL).is_err());
    }
}
