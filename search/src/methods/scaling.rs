//! Rules that shrink a wide residual network without a search: what is left of a teacher in the order in which a rule prefers it.
//!
//! * `uniform-scaling`: depths and widths of all stages alike, as compound scaling has it (Tan and Le, arXiv 1905.11946).
//! * `robust-wrn`: as robust networks want it (Huang et al., arXiv 2110.03825): the last stage loses depth and width first, the early ones
//!   keep theirs.
//!
//! Both take the largest that keeps the budget first, and know nothing of what is measured.

use super::{Begin, Method, MethodError, MethodSpec, Preparation, SpecError, Starter};
use hashbrown::HashSet;
use srnas_environment::compress::{Compression, Students};
use srnas_space::{
    Choices,
    wrn::{PREFIX, WideResNet},
};
use std::sync::Arc;

/// By which a student is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Uniform,
    RobustWrn,
}

impl Rule {
    /// How far a student is from what the rule wants, less is better; `shares` are [stage][depth, width] of the teacher's.
    fn distance(self, shares: &[[f64; 2]]) -> f64 {
        let all = || shares.iter().flatten().copied();
        let mean = all().sum::<f64>() / (2 * shares.len()).max(1) as f64;
        match self {
            Self::Uniform => all().map(|share| (share - mean).powi(2)).sum(),
            // Early stages whole; the last one gives what has to be given.
            Self::RobustWrn => {
                let early = shares.len().saturating_sub(1);
                shares[..early].iter().flatten().map(|share| (1.0 - share).powi(2)).sum()
            }
        }
    }
}

pub fn prepare(spec: &MethodSpec, p: &Preparation, rule: Rule) -> Result<Starter, SpecError> {
    spec.options()?.end()?;
    let students = p.students.cloned().or_else(|| Students::of_space(p.space));
    let Some(Students { compression, .. }) = students else {
        let space = p.space.name();
        return Err(spec.unfit(format!(
            "scales wide residual networks ({PREFIX}-28-10 and its like), and {space} has others"
        )));
    };
    let order: Arc<[Vec<u8>]> = ordered(&compression, rule).into();
    if order.is_empty() {
        return Err(spec.unfit("looks at every student, and there are too many of them to be listed"));
    }
    Ok(Box::new(move |begin| {
        let next = Scaling { begin: begin.clone(), order: order.clone(), next: 0, known: HashSet::new() };
        Ok(Box::new(next))
    }))
}

/// A student, and what it is ordered by: whether its stem is another, bands of the budget that it leaves over, what the rule has against it,
/// and the cost that it leaves over.
struct Ordered {
    other_stem: bool,
    left_over: i32,
    distance: f64,
    cost: f32,
    choices: Vec<u8>,
}

/// Students in the rule's order: those that spend the budget first, and of these what the rule wants.
fn ordered(compression: &Compression, rule: Rule) -> Vec<Vec<u8>> {
    /// Students whose costs differ by less of the budget count as equal.
    const BAND: f32 = 0.1;
    let network = |choices: &[u8]| WideResNet::of(compression.space(), choices);
    let Some(teacher) = network(compression.teacher()) else { return Vec::new() };
    let students = compression.students();
    let most = students.iter().map(|choices| compression.share(choices)).fold(f32::MIN_POSITIVE, f32::max);
    let student = |choices: Vec<u8>| {
        let student = network(&choices)?;
        let share = |own: usize, most: usize| own as f64 / most as f64;
        let stages = student.stages.iter().zip(&teacher.stages);
        let shares: Vec<[f64; 2]> =
            stages.map(|(own, most)| [share(own.depth, most.depth), share(own.width, most.width)]).collect();
        let cost = compression.share(&choices);
        let left_over = ((1.0 - cost / most) / BAND) as i32;
        let other_stem = student.stem_stride != teacher.stem_stride;
        Some(Ordered { other_stem, left_over, distance: rule.distance(&shares), cost, choices })
    };
    let mut all: Vec<Ordered> = students.into_iter().filter_map(student).collect();
    all.sort_by(|a, b| {
        let whole = (a.other_stem, a.left_over).cmp(&(b.other_stem, b.left_over));
        whole.then(a.distance.total_cmp(&b.distance)).then(b.cost.total_cmp(&a.cost))
    });
    all.into_iter().map(|student| student.choices).collect()
}

struct Scaling {
    begin: Begin,
    order: Arc<[Vec<u8>]>,
    next: usize,
    known: HashSet<u64>,
}

impl Method for Scaling {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        while let Some(choices) = self.order.get(self.next) {
            self.next += 1;
            if !self.known.contains(&self.begin.key(choices)) {
                return Ok(Some(choices.clone()));
            }
        }
        Ok(None)
    }

    fn tell(&mut self, choices: &Choices, _values: &[f32]) -> Result<(), MethodError> {
        self.known.insert(self.begin.key(choices));
        Ok(())
    }

    fn concurrent(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_environment::compress::{Costs, Judge};
    use srnas_space::SearchSpace;

    #[test]
    fn early_stages_stay_whole_where_the_rule_says_so_and_all_shrink_alike_where_it_says_that() {
        let space = SearchSpace::named("wrn-compress-22-3-basic").unwrap();
        let teacher = [0, 2, 2, 2, 2, 2, 2];
        let compression = Compression::new(&space, &teacher, 0.5, Costs::Published).unwrap();
        let first = |rule| WideResNet::of(&space, &ordered(&compression, rule)[0]).unwrap();
        let robust = first(Rule::RobustWrn);
        let volume = |stage: usize| robust.stages[stage].depth * robust.stages[stage].width;
        assert!(volume(0) + volume(1) > 2 * volume(2) && volume(0) >= 6, "{robust}");
        let uniform = first(Rule::Uniform);
        let widths = uniform.stages.map(|stage| stage.width);
        assert!(widths.iter().max().unwrap() - widths.iter().min().unwrap() <= 1, "{uniform}");
        for rule in [Rule::Uniform, Rule::RobustWrn] {
            let all = ordered(&compression, rule);
            assert_eq!(all.len(), compression.students().len());
            assert!(compression.share(&all[0]) > 0.44 && all[0][0] == 0 && all[all.len() - 1][0] == 1);
        }
        let students = Students::new(&space, &teacher, Costs::Published, Judge::default()).unwrap();
        assert_eq!(ordered(&students.compression, Rule::Uniform)[0], teacher);
    }
}
