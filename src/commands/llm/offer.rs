//! What may be left of a model, as it is said on the command line.

use clap::Args;
use serde::{Deserialize, Serialize};
use srnas_llm::{LlmError, config::Config, matrix::Format, space::Offer};

#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OfferArguments {
    /// MLP widths that a layer may have: so many, evenly up to its own [default: 4]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub widths: Option<usize>,
    /// At least so many layers are kept [default: half of them]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fewest_layers: Option<usize>,
    /// Weight formats that may be chosen [default: f32,q8_0,q4_0 where the model's rows fill their blocks]
    #[arg(long, value_delimiter = ',', value_name = "FORMAT,…")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<Name>,
    /// Numbers of key and value heads that may be chosen; fewer are means of neighbours [default: the model's own]
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kv_heads: Vec<usize>,
    /// One width and one format for all layers, instead of one for each
    #[arg(long)]
    pub uniform: bool,
}

/// A format by its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Format);

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.to_string()
    }
}

impl OfferArguments {
    /// What they mean of a model.
    ///
    /// # Errors
    /// What the model cannot have.
    pub fn offer(&self, config: &Config) -> Result<Offer, LlmError> {
        let default = Offer::of(config);
        let offer = Offer {
            steps: self.widths.unwrap_or(default.steps),
            formats: match self.formats.is_empty() {
                true => default.formats,
                false => self.formats.iter().map(|name| name.0).collect(),
            },
            kv_heads: if self.kv_heads.is_empty() { default.kv_heads } else { self.kv_heads.clone() },
            fewest: self.fewest_layers.unwrap_or(default.fewest),
            uniform: self.uniform,
        };
        offer.definition(config)?;
        Ok(offer)
    }
}
