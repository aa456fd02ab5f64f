//! Parts of a model that are models themselves: layers left out, MLPs with fewer channels, weights in fewer bits.

use crate::{
    LlmError,
    config::Config,
    matrix::{BLOCK, Format, Matrix},
    model::{Layer, Model},
};
use std::fmt;

/// What is kept of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Subnetwork {
    /// Of each layer; none where it is left out.
    pub layers: Vec<Option<Kept>>,
    /// Format of the embedding, and of the output where that is another matrix.
    pub embedding: Format,
    /// Key and value heads; fewer than the model's are means of neighbours (arXiv 2305.13245).
    pub kv_heads: usize,
}

/// What is kept of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kept {
    /// Channels of the MLP.
    pub width: usize,
    /// Format of its matrices.
    pub format: Format,
}

impl Subnetwork {
    /// All of a model, in one format.
    pub fn whole(config: &Config, format: Format) -> Self {
        let layers = config.widths.iter().map(|&width| Some(Kept { width, format })).collect();
        Self { layers, embedding: format, kv_heads: config.kv_heads }
    }
}

impl fmt::Display for Subnetwork {
    /// The widths of the layers, – where one is left out, with the formats.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = self.layers.iter().flatten().all(|kept| kept.format == self.embedding);
        write!(f, "{}", self.embedding)?;
        for layer in &self.layers {
            match layer {
                None => f.write_str(" –")?,
                Some(kept) if one => write!(f, " {}", kept.width)?,
                Some(kept) => write!(f, " {}/{}", kept.width, kept.format)?,
            }
        }
        Ok(())
    }
}

impl Model {
    /// A part of this model. `orders` lists, for each layer, its MLP channels in the order in which they are kept; without it
    /// the first are kept.
    ///
    /// # Errors
    /// Another number of layers, a width that the layer does not have, an order that is none of its channels, a number of key heads
    /// that does not divide the model's, and a format whose blocks do not fit.
    pub fn cut(&self, kept: &Subnetwork, orders: Option<&[Vec<usize>]>) -> Result<Self, LlmError> {
        let (has, asked) = (self.layers.len(), kept.layers.len());
        if has != asked || orders.is_some_and(|o| o.len() != has) {
            return Err(LlmError::Asked(format!(
                "the model has {has} layers, and what to keep is said of {asked}"
            )));
        }
        let merged = self.config.kv_heads / kept.kv_heads.max(1);
        if merged * kept.kv_heads != self.config.kv_heads {
            let (has, asked) = (self.config.kv_heads, kept.kv_heads);
            return Err(LlmError::Asked(format!("{has} key heads cannot be merged to {asked}")));
        }
        let mut layers = Vec::new();
        for (i, (layer, kept)) in self.layers.iter().zip(&kept.layers).enumerate() {
            if let Some(kept) = kept {
                let mut layer = layer.clone();
                if merged > 1 {
                    layer.k = layer.k.merged(merged, self.config.head_dim)?;
                    layer.v = layer.v.merged(merged, self.config.head_dim)?;
                }
                layers.push(cut_layer(i, layer, *kept, orders.map(|o| o[i].as_slice()))?);
            }
        }
        let mut config = self.config.clone();
        config.widths = layers.iter().map(|l| l.gate.rows()).collect();
        config.kv_heads = kept.kv_heads;
        let head = self.head.as_ref().map(|m| m.to_format(kept.embedding)).transpose()?;
        Ok(Self {
            config,
            embedding: self.embedding.to_format(kept.embedding)?,
            layers,
            norm: self.norm.clone(),
            head,
        })
    }

    /// The same model with MLPs of one width: channels of zeros are added, which change nothing.
    ///
    /// # Errors
    /// If a conversion of formats fails.
    pub fn padded(&self) -> Result<Self, LlmError> {
        let width = self.config.widest();
        let mut padded = self.clone();
        padded.config.widths.fill(width);
        for layer in &mut padded.layers {
            widen(layer, width)?;
        }
        Ok(padded)
    }
}

fn cut_layer(i: usize, layer: Layer, kept: Kept, order: Option<&[usize]>) -> Result<Layer, LlmError> {
    let (has, width) = (layer.gate.rows(), kept.width);
    if width == 0 || width > has {
        return Err(LlmError::Asked(format!(
            "layer {i} has {has} channels: 1 to {has} can be kept, not {width}"
        )));
    }
    if let Some(order) = order {
        let mut seen = vec![false; has];
        let fine =
            order.len() == has && order.iter().all(|&c| c < has && !std::mem::replace(&mut seen[c], true));
        if !fine {
            return Err(LlmError::Asked(format!(
                "the order of layer {i} does not list each of its {has} channels once"
            )));
        }
    }
    let mut cut = layer;
    if width < has || order.is_some() {
        let first: Vec<usize> = (0..width).collect();
        let channels = order.map_or(&first[..], |order| &order[..width]);
        cut.gate = cut.gate.rows_of(channels);
        cut.up = cut.up.rows_of(channels);
        cut.down = cut.down.columns_of(channels, width)?;
    }
    // Blocks of a row of `down` run over channels.
    if kept.format != Format::F32 {
        widen(&mut cut, width.next_multiple_of(BLOCK))?;
    }
    let to = |m: &Matrix| m.to_format(kept.format);
    Ok(Layer {
        q: to(&cut.q)?,
        k: to(&cut.k)?,
        v: to(&cut.v)?,
        o: to(&cut.o)?,
        gate: to(&cut.gate)?,
        up: to(&cut.up)?,
        down: to(&cut.down)?,
        ..cut
    })
}

/// Adds channels of zeros to an MLP.
fn widen(layer: &mut Layer, width: usize) -> Result<(), LlmError> {
    let has = layer.gate.rows();
    if has < width {
        layer.gate = layer.gate.padded_below(width)?;
        layer.up = layer.up.padded_below(width)?;
        let (format, all) = (layer.down.format(), (0..has).collect::<Vec<_>>());
        layer.down = layer.down.columns_of(&all, width)?;
        // A width that its blocks do not fill is only met in f32.
        if width.is_multiple_of(BLOCK) {
            layer.down = layer.down.to_format(format)?;
        }
    }
    Ok(())
}
