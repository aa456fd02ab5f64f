//! Edits of the paths of a cell, made in every cell alike.

use super::{Array, Weights};
use candle_core::Result;

impl Weights {
    /// The names of an edge's layer in every cell that has it.
    fn layers(&self, edge: &str) -> Vec<String> {
        let end = format!(".{edge}.weight");
        let names = self.parameters.keys().filter(|name| name.ends_with(&end));
        names.map(|name| name[..name.len() - ".weight".len()].to_string()).collect()
    }

    /// A 1×1 convolution becomes the 3×3 one that has it in its middle.
    pub(super) fn enlarge(&mut self, edge: &str) -> Result<()> {
        for layer in self.layers(edge) {
            let weight = self.parameter(&format!("{layer}.weight"))?;
            let middle = |&value: &f32| (0..9).map(move |tap| if tap == 4 { value } else { 0.0 });
            let values = weight.values.iter().flat_map(middle).collect();
            let shape = vec![weight.shape[0], weight.shape[1], 3, 3];
            *weight = Array { shape, values };
        }
        Ok(())
    }

    /// What was none becomes what it is in `fresh`; silent, its normalisation has gain and shift 0, of which the gain gets a gradient.
    pub(super) fn add_path(&mut self, fresh: &Self, edge: &str, silent: bool) -> Result<()> {
        for layer in fresh.layers(edge) {
            self.take(fresh, &layer);
            if silent {
                self.parameter(&format!("{layer}.affine"))?.values.fill(0.0);
            }
        }
        Ok(())
    }
}
