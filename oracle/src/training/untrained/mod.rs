//! Zero-cost proxies: what a network says before it is trained. One batch of training images, the weights as they are drawn first.
//!
//! Each file has those that ask a network the same thing, with their formulas: [`codes`] which units are on, [`jacobian`] what moves the
//! logits, [`saliency`] what the loss says of the weights, [`flow`] what flows through weights in absolute value, [`zen`] how far features
//! move.

mod codes;
mod flow;
mod jacobian;
mod matrix;
mod saliency;
mod zen;

use super::{
    data::ImageSet,
    model::{self, Model, Phase, Scale, Shape},
    ops::{self, BLOCK, Moments},
};
use candle_core::{Result, Tensor, Var};
use codes::Codes;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use saliency::{Labelled, Saliency};
use srnas_network::ops::{tensor, with_values};
use srnas_predictor::Describe;
use srnas_space::{Choices, SearchSpace};
use std::{
    fmt,
    rc::Rc,
    str::FromStr,
    sync::{Arc, Once},
};

/// Images in the batch.
const IMAGES: usize = BLOCK;

/// What can be asked of an untrained network: the thirteen of NAS-Bench-Suite-Zero (arXiv 2210.03230), under their names there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proxy {
    /// How many ReLU units tell images apart.
    Nwot,
    /// What flows through weights in absolute value.
    Synflow,
    /// How little correlated is what moves the logits from image to image.
    Jacov,
    /// Number of weights.
    Params,
    /// Multiply-adds for one image.
    Flops,
    /// Σ |weight · gradient|.
    Snip,
    /// Lengths of the gradients.
    GradNorm,
    /// What channels say of the loss.
    Fisher,
    /// What a step along the gradient does to the gradients.
    Grasp,
    /// How far features move.
    Zen,
    /// Lengths of the weights.
    L2Norm,
    /// Σ weight · gradient.
    Plain,
    /// [`Self::Jacov`] by class.
    EpeNas,
}

impl Proxy {
    /// All there are; the first, which say most together, are what a search is told.
    pub const ALL: [Self; 13] = [
        Self::Nwot,
        Self::Synflow,
        Self::Jacov,
        Self::Params,
        Self::Zen,
        Self::Snip,
        Self::GradNorm,
        Self::Fisher,
        Self::Flops,
        Self::Grasp,
        Self::L2Norm,
        Self::Plain,
        Self::EpeNas,
    ];
    /// Chosen among all (docs/results.md): more of them make a search worse.
    pub const DESCRIBING: [Self; 7] =
        [Self::Nwot, Self::Synflow, Self::Jacov, Self::Params, Self::Zen, Self::Snip, Self::GradNorm];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nwot => "nwot",
            Self::Synflow => "synflow",
            Self::Jacov => "jacov",
            Self::Params => "params",
            Self::Flops => "flops",
            Self::Snip => "snip",
            Self::GradNorm => "grad_norm",
            Self::Fisher => "fisher",
            Self::Grasp => "grasp",
            Self::Zen => "zen",
            Self::L2Norm => "l2_norm",
            Self::Plain => "plain",
            Self::EpeNas => "epe_nas",
        }
    }
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        Self::ALL.into_iter().find(|proxy| proxy.name() == name).ok_or_else(|| {
            format!("there is no proxy `{name}`; there are {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

/// The proxies of the networks of a space.
pub struct Proxies {
    space: Arc<SearchSpace>,
    asked: Vec<Proxy>,
    names: Vec<String>,
    shape: Shape,
    scale: Scale,
    /// [C, H, W, N], normalised.
    images: Tensor,
    labels: Arc<[u8]>,
    seed: u64,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxies({}, {:?}, {:?}, {:?})", self.space.name(), self.shape, self.scale, self.names)
    }
}

impl Proxies {
    /// Those that a search is told ([`Proxy::DESCRIBING`]), of networks of this scale, on the first training images of a data set.
    ///
    /// # Errors
    /// Says why there are none: a space whose architectures cannot be built, or too few images.
    pub fn new(
        space: Arc<SearchSpace>,
        data: &ImageSet,
        scale: Scale,
        seed: u64,
    ) -> std::result::Result<Self, String> {
        if !model::can_build(&space) {
            return Err(format!("architectures of {} cannot be built; {}", space.name(), model::BUILT));
        }
        if data.train.len() < IMAGES {
            return Err(format!("{} training images are no batch of {IMAGES}", data.train.len()));
        }
        let batch = data.batch(&data.train, &(0..IMAGES).collect::<Vec<_>>(), |_, _| {});
        let ([height, width], (mean, variance)) = (data.shape.size, data.moments());
        let images = tensor(batch.pixels, (data.shape.channels, height, width, IMAGES))
            .and_then(|pixels| ops::standardise(&pixels, &Moments { mean, variance }))
            .map_err(|error| error.to_string())?;
        let (shape, labels) = (data.shape, batch.labels.into());
        let none = Self { space, asked: vec![], names: vec![], shape, scale, images, labels, seed };
        Ok(none.asking(&Proxy::DESCRIBING))
    }

    /// These instead.
    pub fn asking(mut self, proxies: &[Proxy]) -> Self {
        self.asked = proxies.to_vec();
        self.names = proxies.iter().map(|proxy| proxy.name().to_string()).collect();
        self
    }

    /// The proxies of an architecture, in the order of their names. One that has no number, as of a network that does not look at its
    /// images, is −∞.
    ///
    /// # Errors
    /// When the network fails.
    pub fn of(&self, choices: &Choices) -> Result<Vec<f64>> {
        let network = self.fresh(choices)?;
        let mut answers = Answers { of: self, choices, network, signals: None, saliency: None };
        let number = |found: f64| if found.is_finite() { found } else { f64::NEG_INFINITY };
        self.asked.iter().map(|&proxy| answers.to(proxy).map(number)).collect()
    }

    fn draws(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }

    fn fresh(&self, choices: &Choices) -> Result<Box<dyn Model>> {
        model::build(&self.space, choices, self.shape, self.scale, &mut self.draws())
    }

    fn batch(&self) -> Labelled<'_> {
        Labelled { images: &self.images, labels: &self.labels }
    }

    fn wants(&self, any: &[Proxy]) -> bool {
        self.asked.iter().any(|proxy| any.contains(proxy))
    }
}

/// What one network answers; what several proxies ask is asked once.
struct Answers<'a> {
    of: &'a Proxies,
    choices: &'a Choices,
    network: Box<dyn Model>,
    signals: Option<Rc<Signals>>,
    saliency: Option<Rc<Saliency>>,
}

/// What goes through a network.
struct Signals {
    nwot: Option<f64>,
    /// The gradient of the images; none where nothing of them reaches the logits.
    jacobian: Option<Tensor>,
}

impl Answers<'_> {
    fn to(&mut self, proxy: Proxy) -> Result<f64> {
        let Shape { classes, .. } = self.of.shape;
        Ok(match proxy {
            Proxy::Params => self.network.parameter_count() as f64,
            Proxy::Flops => self.network.multiply_adds() as f64,
            Proxy::L2Norm => saliency::l2_norm(&*self.network)?,
            Proxy::Synflow => flow::synflow(&mut *self.network, self.of.shape)?,
            Proxy::Nwot => self.signals()?.nwot.unwrap_or(f64::NAN),
            Proxy::Jacov => self.signals()?.score(jacobian::jacov)?,
            Proxy::EpeNas => {
                self.signals()?.score(|gradient| jacobian::epe_nas(gradient, &self.of.labels, classes))?
            }
            Proxy::Snip => self.saliency()?.snip()?,
            Proxy::Plain => self.saliency()?.plain()?,
            Proxy::GradNorm => self.saliency()?.grad_norm()?,
            Proxy::Fisher => self.saliency()?.fisher(),
            Proxy::Grasp => self.saliency()?.grasp(&mut *self.network, self.of.batch())?,
            // Of other weights, and running averages that nobody has moved.
            Proxy::Zen => zen::zen(&mut *self.of.fresh(self.choices)?, self.of.shape, &mut self.of.draws())?,
        })
    }

    fn signals(&mut self) -> Result<Rc<Signals>> {
        if let Some(known) = &self.signals {
            return Ok(known.clone());
        }
        let images = Var::from_tensor(&self.of.images)?;
        let mut codes = self.of.wants(&[Proxy::Nwot]).then(Codes::default);
        let logits = match &mut codes {
            Some(codes) => self.network.pass(&images, codes)?,
            None => self.network.forward(&images, Phase::Train)?,
        };
        let jacobian = match self.of.wants(&[Proxy::Jacov, Proxy::EpeNas]) {
            true => logits.sum_all()?.backward()?.get(&images).cloned(),
            false => None,
        };
        let found = Rc::new(Signals { nwot: codes.and_then(|codes| codes.nwot()), jacobian });
        Ok(self.signals.insert(found).clone())
    }

    fn saliency(&mut self) -> Result<Rc<Saliency>> {
        if let Some(known) = &self.saliency {
            return Ok(known.clone());
        }
        let found = Rc::new(Saliency::of(&mut *self.network, self.of.batch())?);
        Ok(self.saliency.insert(found).clone())
    }
}

impl Signals {
    fn score(&self, of: impl FnOnce(&[f32]) -> Option<f64>) -> Result<f64> {
        let found = self.jacobian.as_ref().map(|jacobian| with_values(jacobian, of)).transpose()?;
        Ok(found.flatten().unwrap_or(f64::NAN))
    }
}

impl Describe for Proxies {
    fn names(&self) -> &[String] {
        &self.names
    }

    /// Passes through a few networks, backward twice as much as forward; where they cannot be built there is nothing to do.
    fn work(&self) -> f64 {
        const NETWORKS: usize = 16;
        let gradient = |of: &[Proxy]| if self.wants(of) { 3.0 } else { 0.0 };
        let passes = gradient(&[Proxy::Nwot, Proxy::Jacov, Proxy::EpeNas])
            + gradient(&[Proxy::Snip, Proxy::Plain, Proxy::GradNorm, Proxy::Fisher, Proxy::Grasp])
            + if self.wants(&[Proxy::Zen]) { 2.0 } else { 0.0 };
        let (mut rng, mut choices) = (self.draws(), vec![0; self.space.len()]);
        let multiply_adds = (0..NETWORKS).map(|_| {
            self.space.sample(&mut rng, &mut choices);
            self.fresh(&choices).map_or(0, |network| network.multiply_adds())
        });
        passes * (IMAGES as f64) * multiply_adds.sum::<u64>() as f64 / NETWORKS as f64
    }

    fn describe(&self, active: &Choices, descriptors: &mut [f32]) {
        let found = self.of(active).unwrap_or_else(|error| {
            // It says nothing then; one line stands for all that fail alike.
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!("nothing is known of {} without training: {error}", self.space.format(active));
            });
            vec![f64::NAN; self.names.len()]
        });
        descriptors.iter_mut().zip(found).for_each(|(to, found)| *to = found as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::data;

    fn proxies() -> Proxies {
        let scale = Scale { width: 4, stages: 2, cells: 1 };
        Proxies::new(SearchSpace::named("nb201").unwrap(), &data::digits(), scale, 1).unwrap()
    }

    #[test]
    fn names_are_those_of_the_literature_and_others_are_refused() {
        for proxy in Proxy::ALL {
            assert_eq!(proxy.name().parse(), Ok(proxy));
        }
        let refused = "naswot".parse::<Proxy>().unwrap_err();
        assert!(refused.contains("`naswot`") && refused.contains("epe_nas"), "{refused}");
        assert!(Proxy::ALL.starts_with(&Proxy::DESCRIBING));
    }

    #[test]
    fn what_can_say_more_scores_higher_and_equal_cells_score_alike() {
        let proxies = proxies();
        let of = |choices: [u8; 6]| proxies.of(&choices).unwrap();
        let (large, small) = (of([3; 6]), of([1, 0, 0, 2, 0, 0]));
        assert!([0, 1, 3].into_iter().all(|proxy| large[proxy] > small[proxy]), "{large:?} {small:?}");
        let proxies = proxies.asking(&Proxy::ALL);
        let of = |choices: [u8; 6]| proxies.of(&choices).unwrap();
        assert!(of([3; 6]).iter().all(|found| found.is_finite()), "{:?}", of([3; 6]));
        assert_eq!(of([3; 6]), of([3; 6]));
        // Nothing leads on from node 1.
        assert_eq!(of([3, 1, 0, 3, 0, 3]), of([0, 1, 0, 3, 0, 3]));
    }

    #[test]
    fn a_proxy_says_the_same_whatever_else_is_asked() {
        let cell = [3, 1, 3, 1, 2, 4];
        let all = proxies().asking(&Proxy::ALL).of(&cell).unwrap();
        for (proxy, found) in Proxy::ALL.into_iter().zip(&all) {
            assert_eq!(proxies().asking(&[proxy]).of(&cell).unwrap(), [*found], "{proxy:?}");
        }
        let mut reversed = Proxy::ALL;
        reversed.reverse();
        let found = proxies().asking(&reversed).of(&cell).unwrap();
        assert!(found.iter().rev().eq(&all), "{found:?} {all:?}");
        assert_eq!(proxies().of(&cell).unwrap(), all[..Proxy::DESCRIBING.len()]);
        assert!(proxies().asking(&[]).of(&cell).unwrap().is_empty());
    }

    #[test]
    fn a_network_that_does_not_look_has_no_score_and_does_not_fail() {
        let proxies = proxies().asking(&Proxy::ALL);
        let found = proxies.of(&[0; 6]).unwrap();
        assert!(found.iter().all(|found| !found.is_nan()), "{found:?}");
        let of = |proxy: Proxy| found[Proxy::ALL.iter().position(|of| *of == proxy).unwrap()];
        assert_eq!([Proxy::Jacov, Proxy::EpeNas, Proxy::Zen].map(of), [f64::NEG_INFINITY; 3]);
        assert_eq!([Proxy::Snip, Proxy::GradNorm, Proxy::Fisher, Proxy::Grasp].map(of), [0.0; 4]);
        assert!(of(Proxy::Params) > 0.0 && of(Proxy::L2Norm) > 0.0);
    }
}
