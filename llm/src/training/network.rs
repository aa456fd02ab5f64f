//! A model whose weights are variables, and whose parts share them: a super-network.

use super::ops::{
    attention::{Heads, attention},
    embedding::embedding,
    gated::gated,
    linear::linear,
    norm::norm,
};
use crate::{
    LlmError,
    config::Config,
    matrix::Matrix,
    model::{Layer, Model, angles},
};
use candle_core::{Tensor, Var};
use srnas_network::ops::{copied, tensor};
use std::sync::Arc;

/// A model in training.
#[derive(Debug)]
pub struct Network {
    config: Config,
    /// By Hugging Face's names.
    parameters: Vec<(String, Var)>,
    angles: Arc<Vec<f32>>,
}

/// Variables of a layer, in the order of [`Network::parameters`].
const OF_A_LAYER: [&str; 9] = [
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// What of each layer takes part: the first channels of its MLP, so many; none where it is left out.
pub type Shape = [Option<usize>];

impl Network {
    /// The network that starts as a model.
    ///
    /// # Errors
    /// As candle's.
    pub fn new(model: &Model) -> Result<Self, LlmError> {
        let mut parameters = Vec::new();
        let mut put = |name: String, values: Vec<f32>, shape: &[usize]| -> Result<(), LlmError> {
            parameters.push((name, Var::from_tensor(&tensor(values, shape)?)?));
            Ok(())
        };
        let dense = |m: &Matrix| (m.to_f32().into_owned(), [m.rows(), m.columns()]);
        let (values, shape) = dense(&model.embedding);
        put("model.embed_tokens.weight".into(), values, &shape)?;
        for (i, layer) in model.layers.iter().enumerate() {
            let [q, k, v, o, gate, up, down] = layer.matrices().map(dense);
            let gain = |gain: &[f32]| (gain.to_vec(), [gain.len(), 1]);
            let (before, after) = (gain(&layer.attention_norm), gain(&layer.mlp_norm));
            let of_layer = [before, q, k, v, o, after, gate, up, down];
            for (part, (values, shape)) in OF_A_LAYER.iter().zip(of_layer) {
                let vector = part.ends_with("layernorm");
                let shape = if vector { &shape[..1] } else { &shape[..] };
                put(format!("model.layers.{i}.{part}.weight"), values, shape)?;
            }
        }
        put("model.norm.weight".into(), model.norm.clone(), &[model.norm.len()])?;
        if let Some(head) = &model.head {
            let (values, shape) = dense(head);
            put("lm_head.weight".into(), values, &shape)?;
        }
        let angles = Arc::new(angles(&model.config, model.config.context));
        Ok(Self { config: model.config.clone(), parameters, angles })
    }

    /// What the whole is like.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its variables, by name.
    pub fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    /// Everything that there is.
    pub fn whole(&self) -> Vec<Option<usize>> {
        self.config.widths.iter().copied().map(Some).collect()
    }

    /// Logits of what follows each token, by the part of the network that has a shape: tokens of sequences of `length`, one after
    /// the other → [tokens, vocabulary].
    ///
    /// # Errors
    /// A sequence that is longer than the context, a shape of another number of layers, and candle's.
    pub fn logits(&self, tokens: &Arc<Vec<u32>>, length: usize, shape: &Shape) -> Result<Tensor, LlmError> {
        let Config { heads, kv_heads, head_dim, norm_epsilon, context, ref widths, .. } = self.config;
        if length > context || length == 0 || shape.len() != widths.len() {
            let (layers, has) = (shape.len(), widths.len());
            return Err(LlmError::Asked(format!(
                "sequences of {length} tokens and {layers} layers, where the context is {context} and {has} layers are there"
            )));
        }
        let heads = Heads { heads, kv_heads, head_dim, length, angles: self.angles.clone() };
        let at = |i: usize| self.parameters[i].1.as_tensor();
        let mut x = embedding(at(0), tokens)?;
        for (i, width) in shape.iter().enumerate() {
            let Some(width) = *width else { continue };
            let of_layer = |part: usize| at(1 + i * OF_A_LAYER.len() + part);
            let whole = |x: &Tensor, part: usize| linear(x, of_layer(part), of_layer(part).dim(0)?);
            let h = norm(&x, of_layer(0), norm_epsilon)?;
            let attended = attention(&whole(&h, 1)?, &whole(&h, 2)?, &whole(&h, 3)?, &heads)?;
            x = (x + whole(&attended, 4)?)?;
            let h = norm(&x, of_layer(5), norm_epsilon)?;
            let (gate, up) = (linear(&h, of_layer(6), width)?, linear(&h, of_layer(7), width)?);
            x = (x + whole(&gated(&gate, &up)?, 8)?)?;
        }
        let last = 1 + widths.len() * OF_A_LAYER.len();
        let x = norm(&x, at(last), norm_epsilon)?;
        let head = at(if self.config.tied { 0 } else { last + 1 });
        Ok(linear(&x, head, self.config.vocabulary)?)
    }

    /// The model as it is now.
    ///
    /// # Errors
    /// As candle's.
    pub fn model(&self) -> Result<Model, LlmError> {
        let mut values = self.parameters.iter().map(|(_, var)| Ok((copied(var)?, var.dims().to_vec())));
        let mut next = || -> Result<(Vec<f32>, Vec<usize>), LlmError> {
            values.next().unwrap_or_else(|| Err(LlmError::Asked("a parameter is missing".into())))
        };
        let matrix = |(values, shape): (Vec<f32>, Vec<usize>)| Matrix::dense(shape[0], shape[1], values);
        let embedding = matrix(next()?)?;
        let mut layers = Vec::new();
        for _ in &self.config.widths {
            layers.push(Layer {
                attention_norm: next()?.0,
                q: matrix(next()?)?,
                k: matrix(next()?)?,
                v: matrix(next()?)?,
                o: matrix(next()?)?,
                mlp_norm: next()?.0,
                gate: matrix(next()?)?,
                up: matrix(next()?)?,
                down: matrix(next()?)?,
            });
        }
        let norm = next()?.0;
        let head = if self.config.tied { None } else { Some(matrix(next()?)?) };
        Ok(Model { config: self.config.clone(), embedding, layers, norm, head })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        matrix::Format,
        subnetwork::{Kept, Subnetwork},
        training::fresh,
    };

    fn model(tied: bool) -> Model {
        let config = Config {
            vocabulary: 40,
            dim: 16,
            heads: 4,
            kv_heads: 2,
            head_dim: 4,
            widths: vec![24, 32, 24],
            context: 32,
            rope_theta: 1e4,
            norm_epsilon: 1e-5,
            tied,
            bos: Some(1),
            eos: vec![2],
        };
        fresh(config, 1).unwrap()
    }

    #[test]
    fn it_says_what_the_part_of_the_model_says_that_inference_cuts() {
        for tied in [true, false] {
            let model = model(tied);
            let network = Network::new(&model).unwrap();
            let tokens: Vec<u32> = (0..24).map(|i| (i * 7 % 40) as u32).collect();
            let shape = [Some(16), None, Some(24)];
            let kept = |width: &Option<usize>| width.map(|width| Kept { width, format: Format::F32 });
            let part =
                Subnetwork { layers: shape.iter().map(kept).collect(), embedding: Format::F32, kv_heads: 2 };
            let cut = network.model().unwrap().cut(&part, None).unwrap();
            let logits = network.logits(&Arc::new(tokens.clone()), 12, &shape).unwrap();
            let logits = copied(&logits).unwrap();
            for (i, sequence) in tokens.chunks(12).enumerate() {
                let expected = cut.run(sequence, &mut cut.cache(), 12).unwrap();
                for (a, b) in logits[i * 12 * 40..].iter().zip(&expected) {
                    assert!((a - b).abs() < 1e-4, "{a} {b}");
                }
            }
            assert!(network.logits(&Arc::new(tokens), 12, &[None; 2]).is_err());
        }
    }

    /// candle drops gradients in silence where an operation has no backward pass.
    #[test]
    fn every_parameter_has_a_gradient() {
        let network = Network::new(&model(false)).unwrap();
        let tokens = Arc::new((0..24).map(|i| (i * 7 % 40) as u32).collect());
        let logits = network.logits(&tokens, 12, &network.whole()).unwrap();
        let store = logits.sqr().unwrap().mean_all().unwrap().backward().unwrap();
        for (name, var) in network.parameters() {
            let gradient = copied(&store.get(var).expect(name).contiguous().unwrap()).unwrap();
            assert!(gradient.iter().any(|g| *g != 0.0), "{name}");
        }
    }
}
