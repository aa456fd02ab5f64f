//! What is known of a network before it is trained: its weights and its multiply-adds, and what of a teacher's they are.

use super::model::{Scale, Shape, wide::wide_scale};
use srnas_space::{
    Choices, SearchSpace,
    wrn::{self, Measure, Teacher, WideResNet},
};

/// Counts of the networks of a space of wide residual networks.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    teacher: Teacher,
    scale: wrn::Scale,
}

impl Counts {
    /// Those of a space's networks on such images; none of a space whose networks have to be built to be counted.
    ///
    /// # Errors
    /// A scale that the networks do not have.
    pub fn of(space: &SearchSpace, shape: Shape, scale: Scale) -> Result<Option<Self>, String> {
        let Some(teacher) = Teacher::of(space) else { return Ok(None) };
        Ok(Some(Self { teacher, scale: wide_scale(shape, scale)? }))
    }

    /// The metrics that are counts.
    pub fn metrics() -> impl Iterator<Item = &'static str> {
        Measure::ALL.into_iter().flat_map(|measure| [measure.metric(), measure.metric_of_teacher()])
    }

    /// What a metric counts, and whether in percent of the largest network's.
    pub fn measure(metric: &str) -> Option<(Measure, bool)> {
        Measure::ALL.into_iter().find_map(|measure| match metric {
            _ if metric == measure.metric() => Some((measure, false)),
            _ if metric == measure.metric_of_teacher() => Some((measure, true)),
            _ => None,
        })
    }

    /// What the networks are made of.
    pub fn scale(&self) -> wrn::Scale {
        self.scale
    }

    /// A metric of a network; none of a metric that is no count, and of a network that cannot be built.
    pub fn value(&self, metric: &str, network: &WideResNet) -> Option<f64> {
        let (measure, of_largest) = Self::measure(metric)?;
        let own = network.cost(self.scale)?.of(measure) as f64;
        match of_largest {
            false => Some(own),
            true => Some(100.0 * own / self.teacher.network().cost(self.scale)?.of(measure) as f64),
        }
    }

    /// The same of choices of the space.
    pub fn value_of(&self, metric: &str, space: &SearchSpace, choices: &Choices) -> Option<f64> {
        self.value(metric, &WideResNet::of(space, choices)?)
    }

    /// The least that there is of a metric, and the network that has it.
    pub fn least(&self, metric: &str) -> Option<(WideResNet, f64)> {
        let smallest = self.teacher.smallest(self.scale, Self::measure(metric)?.0);
        Some((smallest, self.value(metric, &smallest)?))
    }
}
