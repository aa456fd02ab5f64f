//! The part of a space that a live search is in: what keeps limits on counts that are known without training, and what a teacher may become.

use crate::goal::{Goal, GoalError, KnownLimit, Limit, Objective};
use srnas_basics::text::number;
use srnas_environment::compress::{Costs, Judge, Students, is_within};
use srnas_oracle::{compress, training::Counts};
use srnas_space::{
    Choices, Restriction, SearchSpace,
    wrn::{Measure, Teacher, WideResNet},
};
use std::sync::Arc;

/// Why there is no such part.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The teacher is none of the space.
    #[error("--teacher: {0}")]
    Teacher(String),
    /// The metric is found by a training alone.
    #[error(
        "--within '{limit}': {metric} is not known without training ({known} are); --require is on what a training finds"
    )]
    Unknown {
        /// As it was given.
        limit: KnownLimit,
        /// What it is on.
        metric: String,
        /// What may be in its place.
        known: String,
    },
    /// Not even the smallest network keeps it.
    #[error(
        "--within '{limit}': the smallest network of {space} ({smallest}) has {least}; give at least that"
    )]
    Smallest {
        /// As it was given.
        limit: KnownLimit,
        /// The space.
        space: String,
        /// The smallest network.
        smallest: Box<WideResNet>,
        /// What it has, in the unit of the limit.
        least: String,
    },
    /// Limits that cannot be kept together.
    #[error("--within: {0}")]
    Together(#[from] GoalError),
    /// Next to nothing keeps all of them.
    #[error(
        "fewer than one network of {space} in 10,000 keeps {limits}; loosen what is asked, or search the space of a smaller teacher"
    )]
    Rare {
        /// The space.
        space: String,
        /// All that was asked.
        limits: String,
    },
}

/// A part of a space of wide residual networks.
#[derive(Clone, Debug)]
pub struct LivePart {
    /// The space of which nothing else is proposed.
    pub space: Arc<SearchSpace>,
    /// What the teacher may become.
    pub students: Students,
}

/// What keeps limits, and is within a teacher where there is one.
#[derive(Debug)]
struct Kept {
    whole: Arc<SearchSpace>,
    counts: Counts,
    /// Each with how it was given.
    limits: Vec<(Limit, KnownLimit)>,
    teacher: Option<WideResNet>,
}

impl Kept {
    /// How far a limit is kept; none where the network cannot be built.
    fn slack(&self, limit: &Limit, network: &WideResNet) -> Option<f64> {
        Some(limit.slack(self.counts.value(&limit.metric, network)?))
    }
}

impl Restriction for Kept {
    fn holds(&self, choices: &Choices) -> bool {
        let Some(network) = WideResNet::of(&self.whole, choices) else { return false };
        self.teacher.is_none_or(|teacher| is_within(&network, &teacher))
            && self.limits.iter().all(|(limit, _)| self.slack(limit, &network) >= Some(0.0))
    }

    fn broken(&self, choices: &Choices) -> Vec<String> {
        let Some(network) = WideResNet::of(&self.whole, choices) else { return Vec::new() };
        let teacher = self.teacher.filter(|teacher| !is_within(&network, teacher));
        let teacher = teacher.map(|teacher| format!("it is larger than the teacher ({teacher})"));
        let broken = self.limits.iter().filter(|(limit, _)| self.slack(limit, &network) < Some(0.0));
        let limits = broken.map(|(limit, given)| {
            let has =
                self.counts.value(&limit.metric, &network).map_or("what cannot be built".into(), number);
            format!("--within '{given}': it has {has}")
        });
        teacher.into_iter().chain(limits).collect()
    }
}

impl LivePart {
    /// What of a space keeps limits on counts, and is within a teacher unless a limit lets students have more than it. `teacher` is as
    /// [`compress::teacher`] reads it, and the largest network where none is given.
    ///
    /// # Errors
    /// See [`PartError`].
    pub fn new(
        space: &Arc<SearchSpace>,
        counts: Counts,
        limits: &[KnownLimit],
        teacher: Option<&str>,
    ) -> Result<Self, PartError> {
        let largest = Teacher::of(space).and_then(|largest| largest.choices(&largest.network()).ok());
        let largest = largest.ok_or_else(|| PartError::Teacher("the space has none".into()))?;
        let choices = match teacher {
            Some(text) => compress::teacher(space, text).map_err(PartError::Teacher)?,
            None => largest.clone(),
        };
        let value = |metric: &str| counts.value_of(metric, space, &choices);
        let bounds = limits.iter().map(|given| bound(space, &counts, given, value(given.metric())));
        let limits: Vec<(Limit, KnownLimit)> = bounds.collect::<Result<_, _>>()?;
        let searched = vec![Objective { metric: String::new(), minimise: false }];
        Goal::new(searched, limits.iter().map(|(limit, _)| limit.clone()).collect())?;
        let grows = limits.iter().any(|(_, given)| given.is_beyond_the_teacher());
        let within = WideResNet::of(space, &choices).filter(|_| choices != largest && !grows);
        // What is first limited is what there is to spend.
        let spent = limits.first().and_then(|(limit, _)| Some((Counts::measure(&limit.metric)?.0, limit)));
        let measure = spent.map_or(Measure::MultiplyAdds, |(measure, _)| measure);
        let share = spent.and_then(|(_, limit)| Some(limit.bound / value(&limit.metric)?));
        let part = match limits.is_empty() && within.is_none() {
            true => space.clone(),
            false => {
                let names: Vec<String> = limits.iter().map(|(_, given)| format!("'{given}'")).collect();
                let teacher = within.map(|network| format!("the teacher ({network})"));
                let asked = names.into_iter().chain(teacher).collect::<Vec<_>>().join(" and ");
                let kept = Kept { whole: space.clone(), counts, limits, teacher: within };
                let rare = || PartError::Rare { space: space.name().into(), limits: asked };
                space.part(Box::new(kept)).ok_or_else(rare)?
            }
        };
        let costs = Costs::Counted(counts.scale(), measure);
        let students =
            Students::within(&part, &choices, share.unwrap_or(1.0) as f32, costs, Judge::of_measured());
        let students = students.ok_or_else(|| PartError::Teacher("it has no student".into()))?;
        Ok(Self { space: part, students })
    }
}

/// A limit in numbers, where a teacher has so much of its metric.
fn bound(
    space: &SearchSpace,
    counts: &Counts,
    given: &KnownLimit,
    has: Option<f64>,
) -> Result<(Limit, KnownLimit), PartError> {
    let unknown = || PartError::Unknown {
        limit: given.clone(),
        metric: given.metric().into(),
        known: Counts::metrics().collect::<Vec<_>>().join(", "),
    };
    let limit = given.limit(has).ok_or_else(unknown)?;
    let (smallest, least) = counts.least(&limit.metric).ok_or_else(unknown)?;
    if limit.at_most && least > limit.bound {
        // Upwards: what is said is to be enough.
        let up = |value: f64| number((value * 1e4).ceil() / 1e4);
        let least = match has.filter(|_| given.is_of_teacher()) {
            Some(has) => format!("{}%", up(100.0 * least / has)),
            None => up(least),
        };
        return Err(PartError::Smallest {
            limit: given.clone(),
            space: space.name().into(),
            smallest: Box::new(smallest),
            least,
        });
    }
    Ok((limit, given.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use srnas_oracle::training::model::{Scale, Shape};

    const DIGITS: Shape = Shape { channels: 1, size: [8, 8], classes: 10 };

    fn part(space: &str, width: usize, limits: &[&str], teacher: Option<&str>) -> Result<LivePart, String> {
        let space = SearchSpace::named(space).unwrap();
        let counts = Counts::of(&space, DIGITS, Scale { width, stages: 3, cells: 1 }).unwrap().unwrap();
        let limits: Vec<KnownLimit> = limits.iter().map(|text| text.parse().unwrap()).collect();
        LivePart::new(&space, counts, &limits, teacher).map_err(|error| error.to_string())
    }

    fn all(space: &SearchSpace) -> Vec<Vec<u8>> {
        let mut choices = vec![0; space.len()];
        let all = (0..space.size().unwrap()).filter_map(|rank| {
            space.unrank(rank, &mut choices);
            space.is_valid(&choices).then(|| choices.clone())
        });
        all.collect()
    }

    #[test]
    fn what_breaks_a_limit_is_no_part_of_it_and_is_masked() {
        let limits = ["cost/multiply_adds <= 50%", "cost/parameters_percent >= 3"];
        let LivePart { space, students } =
            part("wrn-compress-22-3-basic", 2, &limits, Some("WRN-16-3")).unwrap();
        let whole = SearchSpace::named("wrn-compress-22-3-basic").unwrap();
        let counts = Counts::of(&whole, DIGITS, Scale { width: 2, stages: 3, cells: 1 }).unwrap().unwrap();
        let teacher = compress::teacher(&whole, "WRN-16-3").unwrap();
        let of = |metric, choices: &[u8]| counts.value_of(metric, &whole, choices).unwrap();
        let (network, most) = (WideResNet::of(&whole, &teacher).unwrap(), of("cost/multiply_adds", &teacher));
        let keeps = |choices: &[u8]| {
            is_within(&WideResNet::of(&whole, choices).unwrap(), &network)
                && of("cost/multiply_adds", choices) <= 0.5 * most
                && of("cost/parameters_percent", choices) >= 3.0
        };
        let (kept, mut expected) = (all(&space), all(&whole));
        expected.retain(|choices| keeps(choices));
        assert!((100..432).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept, expected);
        assert_eq!(students.compression.students(), kept, "and the agent's masks are the same");
        // What breaks something is told why.
        let large = whole.format(&teacher);
        let error = space.parse(&large).unwrap_err().to_string();
        assert!(error.contains("--within 'cost/multiply_adds <= 50% of the teacher's': it has"), "{error}");
        let deep = whole.format(&[0, 2, 0, 0, 0, 0, 0]);
        assert!(space.parse(&deep).unwrap_err().to_string().contains("larger than the teacher"));
    }

    #[test]
    fn above_the_teacher_students_grow_and_without_limits_it_is_the_space() {
        let LivePart { space, .. } =
            part("wrn-compress-22-3-basic", 2, &["cost/multiply_adds <= 150%"], Some("WRN-16-2")).unwrap();
        assert!(all(&space).iter().any(|choices| choices[1] == 2));
        let whole = part("wrn-compress-22-3-basic", 2, &[], None).unwrap();
        assert_eq!(all(&whole.space).len(), 1_458);
        assert_eq!(whole.students.compression.students().len(), 1_458);
    }

    #[test]
    fn a_space_too_large_to_be_looked_at_is_masked_by_the_smallest_that_can_follow() {
        let LivePart { space, students } =
            part("wrn-compress-46-14", 16, &["cost/parameters <= 20%"], None).unwrap();
        let compression = &students.compression;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        for _ in 0..100 {
            let student = compression.random(&mut rng);
            assert!(space.is_valid(&student), "{}", space.format(&student));
            assert!(compression.share(&student) <= 0.2 + 1e-6);
        }
        let first = compression.allowed(compression.teacher(), 0);
        let open = first.iter().filter(|open| **open).count();
        assert!(open > 20 && open <= first.len(), "{open} of {}", first.len());
    }

    #[test]
    fn what_cannot_be_kept_is_said_with_the_numbers() {
        let refused =
            |limits: &[&str], teacher| part("wrn-compress-22-3-basic", 2, limits, teacher).unwrap_err();
        for (limit, says) in [
            ("cost/multiply_adds <= 100", "(stem stride 2, depths 1 1 1, widths 1 1 1) has 4304"),
            ("cost/multiply_adds <= 1%", "widths 1 1 1) has 1.2228%; give at least that"),
            ("cost/parameters_percent <= 0.5", "has 3.6888; give at least that"),
            ("cost/latency_ms <= 3", "cost/latency_ms is not known without training (cost/multiply_adds, "),
        ] {
            let said = refused(&[limit], None);
            assert!(said.contains(says), "{limit}: {said}");
        }
        let said = refused(&["cost/multiply_adds <= 20000", "cost/multiply_adds >= 30000"], None);
        assert!(said.contains("nothing can be within"), "{said}");
        let said = refused(&["cost/multiply_adds <= 12000", "cost/parameters >= 90%"], None);
        assert!(said.contains("fewer than one network of wrn-compress-22-3-basic in 10,000"), "{said}");
        assert!(refused(&[], Some("WRN-28-3")).contains("--teacher: "));
    }
}
