//! The space of a model's sub-networks, as a space file like any other: each layer is absent or has an MLP width, where it is
//! present it has a weight format, and groups of key heads may be merged.

use crate::{
    LlmError,
    config::Config,
    matrix::{BLOCK, Format},
    subnetwork::{Kept, Subnetwork},
};
use srnas_space::{Decision, SearchSpace};
use std::{fmt::Write, sync::Arc};

/// What may be left of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// MLP widths of a layer: so many, evenly up to its own, multiples of 32 below that.
    pub steps: usize,
    /// Weight formats, of each layer and of the embedding; with one there is nothing to decide of it.
    pub formats: Vec<Format>,
    /// Numbers of key heads; with one there is nothing to decide.
    pub kv_heads: Vec<usize>,
    /// At least so many layers.
    pub fewest: usize,
    /// One width and one format for all layers.
    pub uniform: bool,
}

impl Offer {
    /// Four widths and every format that a model's rows can have; at least half of its layers.
    pub fn of(config: &Config) -> Self {
        Self {
            steps: 4,
            formats: Format::ALL.into_iter().filter(|f| *f == Format::F32 || fills_blocks(config)).collect(),
            kv_heads: vec![config.kv_heads],
            fewest: config.widths.len().div_ceil(2).max(1),
            uniform: false,
        }
    }

    /// The space as a file, TOML.
    ///
    /// # Errors
    /// No width, no format, one twice, a quantised one where rows of the residual stream do not fill blocks, numbers of key heads
    /// that do not divide the model's, and more layers than there are.
    pub fn definition(&self, config: &Config) -> Result<String, LlmError> {
        self.check(config)?;
        let layers = config.widths.len();
        let several = self.formats.len() > 1;
        let formats = list(self.formats.iter().map(|f| format!("\"{f}\"")));
        let mut file = String::from("# Parts of a language model: docs/language-models.md\nname = \"llm\"\n");
        let _ = writeln!(file, "describe = [\"{}\"]", self.parameters(config));
        let mut decision = |name: &str, choices: &str, more: &str| {
            let _ = write!(file, "\n[[decisions]]\nname = \"{name}\"\nchoices = {choices}\n{more}");
        };
        if self.kv_heads.len() > 1 {
            decision("kv_heads", &list(self.kv_heads.iter()), "ordered = true\n");
        }
        if several {
            decision("format_embedding", &formats, "");
        }
        if self.uniform {
            // A width of each layer's own where they differ is no one width.
            let widths = widths(config.widths.iter().copied().min().unwrap_or(0), self.steps);
            decision("width", &list(widths.iter()), "ordered = true\n");
            if several {
                decision("format", &formats, "");
            }
        }
        for (i, &full) in config.widths.iter().enumerate() {
            let mut choices = vec![0];
            match self.uniform {
                true => choices.push(1),
                false => choices.extend(widths(full, self.steps)),
            }
            decision(&format!("layer{i}"), &list(choices.iter()), "ordered = true\n");
            if several && !self.uniform {
                let present = list(choices[1..].iter());
                decision(
                    &format!("format{i}"),
                    &formats,
                    &format!("active_if = {{ layer{i} = {present} }}\n"),
                );
            }
        }
        let present = (0..layers).map(|i| format!("min(layer{i}, 1)")).collect::<Vec<_>>().join(" + ");
        let _ = write!(file, "\n[[constraints]]\nrequire = \"{present} >= {}\"\n", self.fewest);
        Ok(file)
    }

    /// The space.
    ///
    /// # Errors
    /// As [`Self::definition`].
    pub fn space(&self, config: &Config) -> Result<Arc<SearchSpace>, LlmError> {
        let text = self.definition(config)?;
        srnas_space::read(&text, "llm").map(Arc::new).map_err(|e| LlmError::Asked(e.to_string()))
    }

    fn check(&self, config: &Config) -> Result<(), LlmError> {
        let layers = config.widths.len();
        let twice = |i: &Format| self.formats.iter().filter(|f| *f == i).count() > 1;
        let quantised = self.formats.iter().any(|f| *f != Format::F32);
        let wrong = match () {
            () if self.steps == 0 || self.formats.is_empty() || self.kv_heads.is_empty() || layers == 0 => {
                "a space needs a layer, a width, a format and a number of key heads".to_string()
            }
            () if self.formats.iter().any(twice) => "a format is there twice".into(),
            () if quantised && !fills_blocks(config) => {
                format!("rows of {} weights do not fill blocks of {BLOCK}: f32 alone is possible", config.dim)
            }
            () if self.fewest == 0 || self.fewest > layers => {
                format!("at least {} layers: 1 to {layers} are possible", self.fewest)
            }
            () => {
                let has = config.kv_heads;
                match self.kv_heads.iter().find(|n| **n == 0 || !has.is_multiple_of(**n)) {
                    Some(n) => format!("{has} key heads cannot be merged to {n}"),
                    None => return Ok(()),
                }
            }
        };
        Err(LlmError::Asked(wrong))
    }

    /// Number of weights of the layers, as a formula: what is known without measuring.
    fn parameters(&self, config: &Config) -> String {
        let Config { dim, head_dim, .. } = *config;
        let kv = if self.kv_heads.len() > 1 { "kv_heads".into() } else { self.kv_heads[0].to_string() };
        let attention = format!("({} + {} * {kv})", 2 * dim * config.q_dim() + 2 * dim, 2 * dim * head_dim);
        let layer = |i: usize| match self.uniform {
            true => format!("layer{i} * ({attention} + {} * width)", 3 * dim),
            false => format!("min(layer{i}, 1) * {attention} + {} * layer{i}", 3 * dim),
        };
        (0..config.widths.len()).map(layer).collect::<Vec<_>>().join(" + ")
    }
}

fn fills_blocks(config: &Config) -> bool {
    config.dim.is_multiple_of(BLOCK) && config.q_dim().is_multiple_of(BLOCK)
}

fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    format!("[{}]", items.map(|i| i.to_string()).collect::<Vec<_>>().join(", "))
}

/// Widths evenly up to the full one: multiples of 32, and the full one itself.
fn widths(full: usize, steps: usize) -> Vec<usize> {
    let part = |k: usize| (full * k / steps + BLOCK / 2) / BLOCK * BLOCK;
    let mut widths: Vec<usize> = (1..steps).map(part).filter(|w| (BLOCK..full).contains(w)).collect();
    widths.push(full);
    widths.dedup();
    widths
}

/// The architectures of such a space that keep most: all layers, at their largest, in each of the formats that are offered, the first
/// the space's first. None where the space does not have them.
pub fn whole(space: &SearchSpace) -> Vec<Vec<u8>> {
    let largest = |choices: &[String]| {
        let numbers = choices.iter().map(|c| c.parse::<usize>().ok()).collect::<Option<Vec<_>>>()?;
        numbers.iter().enumerate().max_by_key(|(_, n)| **n).map(|(i, _)| i)
    };
    let decisions = space.decisions();
    let most = decisions.iter().filter(|d| largest(&d.choices).is_none()).map(|d| d.choices.len()).max();
    let mut all: Vec<Vec<u8>> = Vec::new();
    for format in 0..most.unwrap_or(1) {
        let choice = |d: &Decision| largest(&d.choices).unwrap_or(format.min(d.choices.len() - 1)) as u8;
        all.push(decisions.iter().map(choice).collect());
    }
    all.retain(|choices| space.is_valid(choices));
    all
}

impl Subnetwork {
    /// What an architecture of such a space says is kept: `of` gives the value of a decision by its name, nothing where it does not
    /// count or the space has none of that name. What is not said is as it is in the model.
    ///
    /// # Errors
    /// A value that is no width, no format, or no number of key heads.
    pub fn of(config: &Config, of: impl Fn(&str) -> Option<String>) -> Result<Self, LlmError> {
        let format = |name: &str| match of(name) {
            None => Ok(None),
            Some(text) => {
                text.parse::<Format>().map(Some).map_err(|e| LlmError::Asked(format!("{name}: {e}")))
            }
        };
        let number = |name: &str| match of(name) {
            None => Ok(None),
            Some(text) => text
                .parse::<usize>()
                .map(Some)
                .map_err(|_| LlmError::Asked(format!("{name}: `{text}` is no whole number"))),
        };
        let (one_width, one_format) = (number("width")?, format("format")?);
        let mut layers = Vec::with_capacity(config.widths.len());
        for (i, &full) in config.widths.iter().enumerate() {
            let width = match (number(&format!("layer{i}"))?, one_width) {
                (Some(0), _) => None,
                (Some(_) | None, Some(width)) => Some(width),
                (Some(width), None) => Some(width),
                (None, None) => Some(full),
            };
            let format = format(&format!("format{i}"))?.or(one_format).unwrap_or(Format::F32);
            layers.push(width.map(|width| Kept { width, format }));
        }
        let embedding = format("format_embedding")?.or(one_format).unwrap_or(Format::F32);
        let kv_heads = number("kv_heads")?.unwrap_or(config.kv_heads);
        Ok(Self { layers, embedding, kv_heads })
    }

    /// As [`Self::of`], of choices in a space.
    ///
    /// # Errors
    /// As [`Self::of`], and choices that are not of the space.
    pub fn chosen(config: &Config, space: &SearchSpace, choices: &[u8]) -> Result<Self, LlmError> {
        if !space.is_valid(choices) {
            return Err(LlmError::Asked(format!("{choices:?} is not of the space")));
        }
        Self::of(config, |name| {
            let d = space.decisions().iter().position(|d| d.name == name)?;
            (!space.is_inactive(choices, d))
                .then(|| space.decisions()[d].choices[choices[d] as usize].clone())
        })
    }
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

    fn offer(formats: &[Format]) -> Offer {
        Offer { steps: 4, formats: formats.to_vec(), kv_heads: vec![4], fewest: 1, uniform: false }
    }

    #[test]
    fn four_widths_of_five_layers_are_3124_shapes_and_none_is_empty() {
        assert_eq!(widths(172, 4), [32, 96, 128, 172]);
        assert_eq!(widths(20, 4), [20]);
        let config = config(172, 5);
        let space = offer(&[Format::F32]).space(&config).unwrap();
        let (all, listed) = listed_or_drawn(&space, 10_000);
        assert!(listed);
        assert_eq!(all.len(), 3124);
        let of = |choices: &[u8]| Subnetwork::chosen(&config, &space, choices);
        assert_eq!(of(&[4; 5]).unwrap(), Subnetwork::whole(&config, Format::F32));
        assert_eq!(whole(&space), [[4; 5]]);
        assert_eq!(of(&[0, 4, 4, 4, 1]).unwrap().layers[0], None);
        assert_eq!(of(&[0, 4, 4, 4, 1]).unwrap().layers[4].unwrap().width, 32);
        assert!(of(&[0; 5]).is_err());
        assert!(of(&[5; 5]).is_err());
    }

    #[test]
    fn what_is_known_beforehand_is_the_number_of_weights() {
        let config = config(172, 3);
        for (uniform, kv_heads) in
            [(false, vec![4]), (true, vec![4]), (false, vec![1, 2, 4]), (true, vec![2, 4])]
        {
            let offer = Offer { uniform, kv_heads, ..offer(&[Format::F32, Format::Q8_0]) };
            let space = offer.space(&config).unwrap();
            let rest = config.vocabulary * config.dim + config.dim;
            for choices in listed_or_drawn(&space, 300).0 {
                let part = Subnetwork::chosen(&config, &space, &choices).unwrap();
                let widths = part.layers.iter().flatten().map(|kept| kept.width).collect();
                let part = Config { widths, kv_heads: part.kv_heads, ..config.clone() };
                let mut active = choices.clone();
                space.activate(&mut active);
                let said = space.descriptors()[0].number(|d| active[d]);
                assert_eq!(said as usize + rest, part.parameters(), "{choices:?}");
            }
        }
    }

    #[test]
    fn the_format_of_an_absent_layer_does_not_count_and_wrong_offers_are_refused() {
        let one = config(64, 1);
        let space = Offer { steps: 2, fewest: 1, ..offer(&Format::ALL) }.space(&config(64, 2)).unwrap();
        let (all, whole) = listed_or_drawn(&space, 100_000);
        let keys: HashSet<u64> = all.iter().map(|c| space.canonical_key(c)).collect();
        // 3 of the embedding, by absent or 2 widths in 3 formats of two layers, less the empty one.
        assert!(whole);
        assert_eq!(keys.len(), 3 * (7 * 7 - 1));
        for wrong in [
            Offer { formats: vec![Format::F32; 2], ..offer(&[]) },
            Offer { fewest: 2, ..offer(&[Format::F32]) },
            Offer { fewest: 0, ..offer(&[Format::F32]) },
            Offer { kv_heads: vec![3], ..offer(&[Format::F32]) },
            Offer { steps: 0, ..offer(&[Format::F32]) },
        ] {
            assert!(wrong.definition(&one).is_err(), "{wrong:?}");
        }
        let mut odd = config(64, 1);
        odd.dim = 72;
        assert!(offer(&Format::ALL).definition(&odd).is_err());
        assert_eq!(Offer::of(&odd).formats, [Format::F32]);
    }

    #[test]
    fn a_uniform_space_has_one_width() {
        let config = config(172, 3);
        let space = Offer { uniform: true, ..offer(&[Format::F32, Format::Q8_0]) }.space(&config).unwrap();
        assert_eq!(space.len(), 3 + 3);
        assert_eq!(whole(&space), [[0, 3, 0, 1, 1, 1], [1, 3, 1, 1, 1, 1]]);
        let part = Subnetwork::chosen(&config, &space, &[1, 2, 0, 1, 0, 1]).unwrap();
        assert_eq!(part.embedding, Format::Q8_0);
        let kept = Some(Kept { width: 128, format: Format::F32 });
        assert_eq!(part.layers, [kept, None, kept]);
        assert!(Subnetwork::of(&config, |name| (name == "layer1").then(|| "wide".into())).is_err());
    }
}
