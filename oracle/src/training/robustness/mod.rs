//! How much of what a network tells right it still tells right under attack, within an L∞ ball.
//!
//! Every attack is on the images that are told right without one; an image leaves as soon as it is fooled. Beside the accuracy under each
//! attack stands that under all of them, image by image the worst: an upper bound of the robust accuracy, as every other here. It is not
//! AutoAttack, whose attacks are other ones and more.

mod apgd;
pub mod ascent;
pub mod crowd;
pub mod losses;
mod radius;
mod square;

pub use radius::{Radius, share};

use super::{
    Network, TrainingError,
    data::{ImageSet, Split},
    ops::BLOCK,
};
use apgd::Apgd;
use ascent::{Ascent, Ended};
use crowd::{Crowd, Victim, columns, room};
use losses::{Loss, is_fooled, ranked};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use square::Square;
use srnas_basics::names::did_you_mean;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
};

/// An attack on trained networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strong {
    /// One step of the whole radius.
    Fgsm,
    /// So many steps of a tenth of the radius along the cross-entropy, from anywhere in the ball.
    Pgd(usize),
    /// The same along the lead of another class.
    Cw(usize),
    /// So many steps of APGD along the cross-entropy.
    ApgdCe(usize),
    /// So many steps of APGD along the targeted difference of logits ratio, for each of so many targets: the classes that come next.
    ApgdDlr(usize, usize),
    /// So many queries of Square.
    Square(usize),
}

/// As they are published, but for the queries: 5,000 are as many as AutoAttack has.
const USUAL: [Strong; 6] = [
    Strong::Fgsm,
    Strong::Pgd(20),
    Strong::Cw(40),
    Strong::ApgdCe(100),
    Strong::ApgdDlr(100, 9),
    Strong::Square(5_000),
];

impl Strong {
    /// All of them as they are usual.
    pub const ALL: [Self; 6] = USUAL;

    /// The name used for metrics, without the radius.
    pub fn metric(self) -> String {
        match self {
            Self::Fgsm => "fgsm".into(),
            Self::Pgd(steps) => format!("pgd{steps}"),
            Self::Cw(steps) => format!("cw{steps}"),
            Self::ApgdCe(_) => "apgd_ce".into(),
            Self::ApgdDlr(..) => "apgd_dlr".into(),
            Self::Square(_) => "square".into(),
        }
    }

    /// What it is, for a person.
    pub fn words(self) -> String {
        match self {
            Self::Fgsm => "FGSM".into(),
            Self::Pgd(steps) => format!("PGD with {steps} steps of ε/10"),
            Self::Cw(steps) => format!("PGD along the margin (CW) with {steps} steps of ε/10"),
            Self::ApgdCe(steps) => format!("APGD along the cross-entropy with {steps} steps"),
            Self::ApgdDlr(steps, targets) => {
                format!("targeted APGD-DLR with {steps} steps for each of {targets} targets")
            }
            Self::Square(queries) => format!("Square with {queries} queries"),
        }
    }

    /// How many passes forward through a network it takes where no image falls; one backward is two.
    fn passes(self) -> usize {
        match self {
            Self::Fgsm => 3,
            Self::Pgd(steps) | Self::Cw(steps) | Self::ApgdCe(steps) => 3 * steps,
            Self::ApgdDlr(steps, targets) => 3 * steps * targets,
            Self::Square(queries) => queries,
        }
    }

    fn checked(self) -> Result<Self, String> {
        let counts = match self {
            Self::Fgsm => [1, 1],
            Self::Pgd(steps) | Self::Cw(steps) | Self::ApgdCe(steps) | Self::Square(steps) => [steps, 1],
            Self::ApgdDlr(steps, targets) => [steps, targets],
        };
        match counts.iter().all(|count| (1..=100_000).contains(count)) {
            true => Ok(self),
            false => Err(format!("`{self}`: steps, targets and queries are 1 to 100000")),
        }
    }
}

/// As it is written: `pgd-20`, `apgd-dlr-100x9`.
impl fmt::Display for Strong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fgsm => f.write_str("fgsm"),
            Self::Pgd(steps) => write!(f, "pgd-{steps}"),
            Self::Cw(steps) => write!(f, "cw-{steps}"),
            Self::ApgdCe(steps) => write!(f, "apgd-ce-{steps}"),
            Self::ApgdDlr(steps, targets) => write!(f, "apgd-dlr-{steps}x{targets}"),
            Self::Square(queries) => write!(f, "square-{queries}"),
        }
    }
}

impl FromStr for Strong {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = ["apgd-ce", "apgd-dlr", "fgsm", "pgd", "cw", "square"];
        let own = |name: &&&str| {
            text.strip_prefix(**name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let Some(name) = names.iter().find(own) else {
            let all = USUAL.map(|attack| attack.to_string()).join(", ");
            let word = text.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | 'x'));
            let hint = did_you_mean(word, names);
            return Err(format!("there is no attack `{text}`; attacks are written as in {all}{hint}"));
        };
        let rest = text[name.len()..].strip_prefix('-');
        let wrong = || {
            format!(
                "`{text}`: after {name} stands a number, as in {}",
                USUAL.map(|attack| attack.to_string()).join(", ")
            )
        };
        let number = |usual: usize| rest.map_or(Ok(usual), |rest| rest.parse().map_err(|_| wrong()));
        let attack = match *name {
            "fgsm" => rest.map_or(Ok(Self::Fgsm), |_| Err("fgsm has one step and takes no number".into())),
            "pgd" => number(20).map(Self::Pgd),
            "cw" => number(40).map(Self::Cw),
            "apgd-ce" => number(100).map(Self::ApgdCe),
            "square" => number(5_000).map(Self::Square),
            _ => {
                let (steps, targets) =
                    rest.map_or(("100", "9"), |rest| rest.split_once('x').unwrap_or((rest, "9")));
                let (steps, targets) =
                    (steps.parse().map_err(|_| wrong())?, targets.parse().map_err(|_| wrong())?);
                Ok(Self::ApgdDlr(steps, targets))
            }
        };
        attack?.checked()
    }
}

impl Serialize for Strong {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Strong {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How robust a network is to be found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Robustness {
    /// Radii.
    pub epsilon: Vec<Radius>,
    /// Attacks, within each.
    pub attacks: Vec<Strong>,
    /// Only the first so many images of a split are attacked; all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
}

/// What all attacks together leave, image by image the worst.
const WORST: &str = "worst";
/// How far logits move for how far pixels move.
const LIPSCHITZ: &str = "lipschitz";

impl Robustness {
    /// Checks that it can be found, of networks that tell so many classes apart.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self, classes: usize) -> Result<(), String> {
        if self.epsilon.is_empty() || self.attacks.is_empty() || self.images == Some(0) {
            return Err("robustness: at least one epsilon, one attack and one image".into());
        }
        let mut names = std::collections::HashSet::new();
        if let Some(twice) = self.names().into_iter().find(|name| !names.insert(name.clone())) {
            return Err(format!("robustness: `{twice}` is asked twice"));
        }
        for attack in &self.attacks {
            attack.checked()?;
            if let Strong::ApgdDlr(_, targets) = attack
                && (classes < 4 || *targets >= classes)
            {
                return Err(format!(
                    "`{attack}` needs four classes and more classes than targets, and there are {classes} classes; leave it out or give fewer \
                     targets, as in apgd-dlr-100x3"
                ));
            }
        }
        Ok(())
    }

    /// How many passes of [`BLOCK`] images forward through a network it takes, of a split of so many images, where none of them falls.
    pub(super) fn passes(&self, images: usize) -> usize {
        let batches = self.images.unwrap_or(usize::MAX).min(images).div_ceil(BLOCK);
        let attacks: usize = self.attacks.iter().map(|attack| attack.passes()).sum();
        attacks * self.epsilon.len() * batches
    }

    /// The attack of which the Lipschitz term takes the attacked images: the first along the cross-entropy in steps.
    fn probing(&self) -> Option<Strong> {
        self.attacks.iter().copied().find(|attack| matches!(attack, Strong::Pgd(_)))
    }

    /// The names of what is found, in order: `pgd20@8` is the accuracy under PGD with 20 steps within 8/255.
    pub fn names(&self) -> Vec<String> {
        let of = |radius: &Radius| {
            let at = |name: &str| format!("{name}@{}", radius.in_255());
            let attacks = self.attacks.iter().map(|attack| at(&attack.metric()));
            let rest = [Some(at(WORST)), self.probing().map(|_| at(LIPSCHITZ))];
            attacks.chain(rest.into_iter().flatten()).collect::<Vec<_>>()
        };
        self.epsilon.iter().flat_map(of).collect()
    }

    /// What a name of [`Self::names`] means, for a person; none of other names.
    pub fn describe(&self, name: &str) -> Option<String> {
        let (what, radius) = name.split_once('@')?;
        let radius = self.epsilon.iter().find(|epsilon| epsilon.in_255().to_string() == radius)?;
        let within = format!("ε = {radius} of the range of pixels");
        match (what, self.probing()) {
            (WORST, _) => {
                let all = self.attacks.iter().map(|attack| attack.metric()).collect::<Vec<_>>().join(", ");
                Some(format!("accuracy under the worst of {all} for each image, {within}; not AutoAttack"))
            }
            (LIPSCHITZ, Some(attack)) => Some(format!(
                "mean of ‖f(x) − f(x′)‖₁ / ‖x − x′‖∞, f logits and x′ where {} ended, over images told right, {within}",
                attack.words()
            )),
            _ => {
                let attack = self.attacks.iter().find(|attack| attack.metric() == what)?;
                Some(format!("accuracy under {}, {within}", attack.words()))
            }
        }
    }

    /// Attacks a network on images. Gives every name of [`Self::names`] with its value: accuracies in percent.
    ///
    /// # Errors
    /// A network that says what is no number; a wish to stop.
    pub fn of(
        &self,
        network: &mut Network,
        data: &ImageSet,
        split: &Split,
        seed: u64,
        stop: &AtomicBool,
    ) -> Result<BTreeMap<String, f64>, TrainingError> {
        let images = self.images.unwrap_or(usize::MAX).min(split.len());
        let shape = [data.shape.channels, data.shape.size[0], data.shape.size[1]];
        let mut standing: BTreeMap<String, usize> = BTreeMap::new();
        let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let places: Vec<usize> = (0..images).collect();
        for places in places.chunks(together(data.image_len())) {
            let crowd = told_right(network, data, split, places)?;
            for radius in &self.epsilon {
                let at = |what: &str| format!("{what}@{}", radius.in_255());
                let run = Run { crowd: &crowd, shape, epsilon: radius.share(), seed };
                let mut worst: BTreeSet<usize> = crowd.places.iter().copied().collect();
                for &attack in &self.attacks {
                    if stop.load(Ordering::Relaxed) {
                        return Err(TrainingError::Stopped);
                    }
                    let (fooled, moved) = run.attack(network, attack)?;
                    *standing.entry(at(&attack.metric())).or_default() += crowd.places.len() - fooled.len();
                    worst.retain(|place| !fooled.contains(place));
                    if self.probing() == Some(attack) {
                        ratios.entry(at(LIPSCHITZ)).or_default().extend(moved);
                    }
                }
                *standing.entry(at(WORST)).or_default() += worst.len();
            }
        }
        // Of a network that tells no image right there is nothing to take a mean of: it is not as smooth as can be.
        ratios.retain(|_, ratios| !ratios.is_empty());
        let mean = |ratios: Vec<f64>| ratios.iter().sum::<f64>() / ratios.len() as f64;
        let percent = |standing: usize| 100.0 * standing as f64 / images as f64;
        let accuracies = standing.into_iter().map(|(name, standing)| (name, percent(standing)));
        Ok(accuracies.chain(ratios.into_iter().map(|(name, ratios)| (name, mean(ratios)))).collect())
    }
}

/// Images attacked at a time: a quarter of a million pixel values, since activations are as many times more as a network has channels.
fn together(values: usize) -> usize {
    ((1 << 18) / values / BLOCK).max(1) * BLOCK
}

/// Those images that a network tells right.
fn told_right(
    victim: &mut Network,
    data: &ImageSet,
    split: &Split,
    places: &[usize],
) -> Result<Crowd, TrainingError> {
    let batch = data.batch(split, places, |_, _| {});
    let crowd =
        Crowd { clean: batch.pixels, labels: batch.labels, places: places.to_vec(), width: batch.width };
    let logits = victim.logits(&crowd.clean, crowd.width)?;
    let numbers = |n: usize| logits[n..].iter().step_by(crowd.width).all(|logit| logit.is_finite());
    if let Some(n) = (0..places.len()).find(|&n| !numbers(n)) {
        return Err(TrainingError::NoNumber { image: places[n] });
    }
    let told = |&n: &usize| !is_fooled(&logits, crowd.width, n, usize::from(crowd.labels[n]));
    let kept: Vec<usize> = (0..places.len()).filter(told).collect();
    Ok(crowd.only(&kept))
}

/// Attacks within one radius on the images that are told right.
struct Run<'a> {
    crowd: &'a Crowd,
    shape: [usize; 3],
    epsilon: f32,
    seed: u64,
}

impl Run<'_> {
    /// The places of the images that an attack fools; and of attacks in steps, image by image, how far logits moved for how far pixels did.
    fn attack(
        &self,
        victim: &mut dyn Victim,
        attack: Strong,
    ) -> Result<(Vec<usize>, Vec<f64>), TrainingError> {
        let &Self { epsilon, seed, shape, .. } = self;
        let ascent = |steps| Ascent { epsilon, stride: epsilon / 10.0, steps, start: Some(seed) };
        let fooled = match attack {
            Strong::Fgsm => {
                return self.climb(
                    victim,
                    Ascent { epsilon, stride: epsilon, steps: 1, start: None },
                    &Loss::CrossEntropy,
                );
            }
            Strong::Pgd(steps) => return self.climb(victim, ascent(steps), &Loss::CrossEntropy),
            Strong::Cw(steps) => return self.climb(victim, ascent(steps), &Loss::Margin),
            Strong::ApgdCe(steps) => {
                Apgd { epsilon, steps, seed }.on(victim, self.crowd.clone(), Loss::CrossEntropy)?
            }
            Strong::ApgdDlr(steps, targets) => {
                self.targeted(victim, Apgd { epsilon, steps, seed }, targets)?
            }
            Strong::Square(queries) => {
                Square { epsilon, queries, seed, shape }.on(victim, self.crowd.clone())?
            }
        };
        Ok((fooled, Vec::new()))
    }

    fn climb(
        &self,
        victim: &mut dyn Victim,
        ascent: Ascent,
        loss: &Loss,
    ) -> Result<(Vec<usize>, Vec<f64>), TrainingError> {
        if self.crowd.labels.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let clean = victim.logits(&self.crowd.clean, self.crowd.width)?;
        let position: BTreeMap<usize, usize> =
            self.crowd.places.iter().enumerate().map(|(n, &place)| (place, n)).collect();
        let (mut fooled, mut ratios) = (Vec::new(), Vec::new());
        let mut hear = |ended: Ended| {
            if ended.fooled {
                fooled.push(ended.place);
            }
            if ended.moved > 0.0 {
                let before = clean[position[&ended.place]..].iter().step_by(self.crowd.width);
                let apart: f64 = before.zip(&ended.logits).map(|(a, b)| f64::from((a - b).abs())).sum();
                ratios.push((ended.place, apart / f64::from(ended.moved)));
            }
        };
        ascent.on(victim, self.crowd.clone(), loss, &mut hear)?;
        // In the order of the images, so that the sum has the same bits in whatever order they fell.
        ratios.sort_by_key(|(place, _)| *place);
        Ok((fooled, ratios.into_iter().map(|(_, ratio)| ratio).collect()))
    }

    /// One target after the other, on what still stands.
    fn targeted(
        &self,
        victim: &mut dyn Victim,
        apgd: Apgd,
        targets: usize,
    ) -> Result<Vec<usize>, TrainingError> {
        let mut fooled = Vec::new();
        if self.crowd.labels.is_empty() {
            return Ok(fooled);
        }
        let mut crowd = self.crowd.clone();
        let mut logits = victim.logits(&crowd.clean, crowd.width)?;
        for rank in 1..=targets {
            let target = |n: usize| ranked(&logits, crowd.width, n)[rank] as u8;
            let loss = Loss::Targeted((0..crowd.labels.len()).map(target).collect());
            let seed = apgd.seed.wrapping_add(rank as u64);
            let fell = Apgd { seed, ..apgd }.on(victim, crowd.clone(), loss)?;
            let kept: Vec<usize> =
                (0..crowd.labels.len()).filter(|&n| !fell.contains(&crowd.places[n])).collect();
            logits = columns(&logits, crowd.width, &kept, room(kept.len()));
            crowd = crowd.only(&kept);
            fooled.extend(fell);
        }
        Ok(fooled)
    }
}

#[cfg(test)]
mod tests;
