//! What a LLaMA-type model is like: the sizes that its files state.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Sizes and constants of a model. Every layer has the same attention; the width of its MLP is its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub dim: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads: each serves `heads / kv_heads` query heads (grouped-query attention, arXiv 2305.13245).
    pub kv_heads: usize,
    /// Width of a head, even.
    pub head_dim: usize,
    /// MLP width of each layer.
    pub widths: Vec<usize>,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Base of the rotary embedding (arXiv 2104.09864).
    pub rope_theta: f32,
    /// What the mean square is raised by in RMS normalisation (arXiv 1910.07467).
    pub norm_epsilon: f32,
    /// Whether the output uses the embedding's matrix.
    pub tied: bool,
    /// Token that a text begins with.
    pub bos: Option<u32>,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
}

/// Keys of `config.json` that change the computation, with the values under which it is the one implemented here.
const REFUSED: &[(&str, &[&str])] = &[
    ("rope_scaling", &["null"]),
    ("sliding_window", &["null"]),
    ("num_local_experts", &["null", "0"]),
    ("num_experts", &["null", "0"]),
    ("n_routed_experts", &["null", "0"]),
    ("attention_bias", &["null", "false"]),
    ("mlp_bias", &["null", "false"]),
    ("hidden_act", &["null", "\"silu\""]),
    ("quantization_config", &["null"]),
    ("partial_rotary_factor", &["null", "1.0", "1"]),
    ("logit_scale", &["null", "1.0", "1"]),
];

impl Config {
    /// Reads a `config.json` as Hugging Face's LLaMA models have it.
    ///
    /// # Errors
    /// What is missing, what is no number, what does not go together, and each key that asks for a computation that is not
    /// implemented, by its name.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| format!("is no JSON object: {e}"))?;
        let kind = object.get("model_type").and_then(Value::as_str).unwrap_or("llama");
        if !["llama", "mistral"].contains(&kind) {
            return Err(format!("model_type `{kind}` is not supported: llama and mistral are"));
        }
        for (key, fine) in REFUSED {
            let value = object.get(*key).map_or("null".into(), Value::to_string);
            if !fine.contains(&value.as_str()) {
                return Err(format!("`{key}` = {value} is not supported"));
            }
        }
        // The newer place of theta; a scaling may stand there too.
        let rope = object.get("rope_parameters").and_then(Value::as_object);
        if let Some(kind) = rope.and_then(|r| r.get("rope_type")).and_then(Value::as_str)
            && kind != "default"
        {
            return Err(format!("`rope_parameters.rope_type` = \"{kind}\" is not supported"));
        }
        let whole = |key: &str| match object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(v) => match v.as_u64() {
                Some(n) if n > 0 => Ok(Some(n as usize)),
                _ => Err(format!("`{key}` = {v} is no positive whole number")),
            },
        };
        let needed = |key: &str| whole(key)?.ok_or_else(|| format!("`{key}` is missing"));
        let real = |v: Option<&Value>, key: &str, default: f64| match v {
            None | Some(Value::Null) => Ok(default as f32),
            Some(v) => v.as_f64().map(|x| x as f32).ok_or_else(|| format!("`{key}` = {v} is no number")),
        };
        let (dim, heads) = (needed("hidden_size")?, needed("num_attention_heads")?);
        let layers = needed("num_hidden_layers")?;
        let widths = match object.get("intermediate_size") {
            // The widths of each layer, as this program's own exports of uneven models state them.
            Some(Value::Array(each)) => each
                .iter()
                .map(|v| v.as_u64().filter(|n| *n > 0).map(|n| n as usize))
                .collect::<Option<Vec<_>>>()
                .ok_or("`intermediate_size` lists what is no positive whole number")?,
            _ => vec![needed("intermediate_size")?; layers],
        };
        if widths.len() != layers {
            return Err(format!("`intermediate_size` has {} values for {layers} layers", widths.len()));
        }
        let tokens = |key: &str| -> Result<Vec<u32>, String> {
            match object.get(key) {
                None | Some(Value::Null) => Ok(Vec::new()),
                Some(Value::Array(list)) => list.iter().map(|v| token(key, v)).collect(),
                Some(v) => Ok(vec![token(key, v)?]),
            }
        };
        let theta = rope.and_then(|r| r.get("rope_theta")).or(object.get("rope_theta"));
        Self {
            vocabulary: needed("vocab_size")?,
            dim,
            heads,
            kv_heads: whole("num_key_value_heads")?.unwrap_or(heads),
            head_dim: whole("head_dim")?.unwrap_or(dim / heads),
            widths,
            context: whole("max_position_embeddings")?.unwrap_or(2048),
            rope_theta: real(theta, "rope_theta", 1e4)?,
            norm_epsilon: real(object.get("rms_norm_eps"), "rms_norm_eps", 1e-6)?,
            tied: object.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(false),
            bos: tokens("bos_token_id")?.first().copied(),
            eos: tokens("eos_token_id")?,
        }
        .checked()
    }

    /// The configuration, if its sizes go together.
    ///
    /// # Errors
    /// Which do not.
    pub fn checked(self) -> Result<Self, String> {
        let sizes = [self.vocabulary, self.dim, self.heads, self.kv_heads, self.head_dim, self.context];
        if sizes.contains(&0) || self.widths.contains(&0) {
            return Err("a size is 0".into());
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!("{} heads cannot share {} KV heads evenly", self.heads, self.kv_heads));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!("a head of width {} has no halves to rotate", self.head_dim));
        }
        let in_range = |value: f32| value >= 0.0 && value.is_finite();
        if !in_range(self.rope_theta) || self.rope_theta == 0.0 || !in_range(self.norm_epsilon) {
            return Err("rope_theta or rms_norm_eps is out of range".into());
        }
        Ok(self)
    }

    /// `config.json` for Hugging Face's `LlamaForCausalLM`; all layers have the widest MLP, to which the others are padded.
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "vocab_size": self.vocabulary, "hidden_size": self.dim, "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads, "head_dim": self.head_dim,
            "intermediate_size": self.widest(), "num_hidden_layers": self.widths.len(),
            "max_position_embeddings": self.context, "rope_theta": exact(self.rope_theta),
            "rms_norm_eps": exact(self.norm_epsilon), "tie_word_embeddings": self.tied,
            "attention_bias": false, "mlp_bias": false, "torch_dtype": "float32",
        });
        if let Some(bos) = self.bos {
            object["bos_token_id"] = bos.into();
        }
        if let Some(eos) = self.eos.first() {
            object["eos_token_id"] = if self.eos.len() == 1 { json!(eos) } else { json!(self.eos) };
        }
        object
    }

    /// The widest MLP; 0 where no layer is left.
    pub fn widest(&self) -> usize {
        self.widths.iter().copied().max().unwrap_or(0)
    }

    /// Width of all key heads together.
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Width of all query heads together.
    pub fn q_dim(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        let attention = 2 * self.dim * (self.q_dim() + self.kv_dim()) + 2 * self.dim;
        let layers: usize = self.widths.iter().map(|w| attention + 3 * w * self.dim).sum();
        layers + self.dim + self.vocabulary * self.dim * if self.tied { 1 } else { 2 }
    }
}

/// As people write it: 1e-5 and not 0.000009999999747378752.
fn exact(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn token(key: &str, value: &Value) -> Result<u32, String> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| format!("`{key}` = {value} is no token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(change: &str) -> String {
        format!(
            r#"{{"model_type":"llama","vocab_size":32,"hidden_size":16,"num_attention_heads":4,"num_key_value_heads":2,
            "intermediate_size":40,"num_hidden_layers":2,"rms_norm_eps":1e-5{change}}}"#
        )
    }

    #[test]
    fn a_config_is_read_and_written_and_read_again() {
        let config = Config::from_json(&text(r#","bos_token_id":1,"eos_token_id":[2,3]"#)).unwrap();
        assert_eq!((config.head_dim, config.kv_dim(), config.rope_theta), (4, 8, 1e4));
        assert_eq!(config.eos, [2, 3]);
        assert_eq!(Config::from_json(&config.to_json().to_string()).unwrap(), config);
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_its_name() {
        for (change, named) in [
            (r#","rope_scaling":{"type":"linear","factor":2.0}"#, "rope_scaling"),
            (r#","sliding_window":4096"#, "sliding_window"),
            (r#","num_local_experts":8"#, "num_local_experts"),
            (r#","attention_bias":true"#, "attention_bias"),
            (r#","hidden_act":"gelu""#, "hidden_act"),
            (r#","rope_parameters":{"rope_type":"yarn"}"#, "rope_parameters.rope_type"),
        ] {
            let said = Config::from_json(&text(change)).unwrap_err();
            assert!(said.contains(named), "{said}");
        }
        for (from, to) in
            [("_heads\":4", "_heads\":3"), ("\"hidden_size\":16,", ""), (":40", ":-4"), (":40", ":0")]
        {
            assert!(Config::from_json(&text("").replacen(from, to, 1)).is_err(), "{from} → {to}");
        }
    }
}
