//! Net2DeeperNet of a residual stage: a block whose last convolution is nought adds exactly nothing, and is the first to get a gradient.

use super::Weights;
use candle_core::Result;

impl Weights {
    /// Adds a block at the end of a stage; what is not nought in it is as in `fresh`, which is as wide.
    pub(super) fn deepen(&mut self, fresh: &Self, stage: usize, block: usize) -> Result<()> {
        let name = format!("stage{stage}.block{block}");
        self.take(fresh, &name);
        self.parameter(&format!("{name}.second.weight"))?.values.fill(0.0);
        // It sees what whoever is behind the stage sees, whose averages are known.
        let next = format!("stage{}.block0.norm1", stage + 1);
        let seen = self.running.get(&next).or_else(|| self.running.get("last")).cloned();
        if let Some(moments) = seen {
            self.running.insert(format!("{name}.norm1"), moments);
        }
        Ok(())
    }
}
