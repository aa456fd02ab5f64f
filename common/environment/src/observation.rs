//! What the policy sees: one row per candidate and one context row, all relative to the episode, none of it about the
//! space. So a policy carries over to tasks and spaces it never saw.

use super::{Candidate, CandidateKind, Walk, predictors::Predictors};
use srnas_predictor::Kind;
use srnas_space::edit_distance;

/// Features by name, in the order in which they stand in a row.
macro_rules! features {
    ($(#[$doc:meta])* $row:ident { $($(#[$what:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $row { $(#[doc = $text] $(#[$what])* $name,)* }

        impl $row {
            /// Their names, in order.
            pub const NAMES: &[&str] = &[$($text,)*];
        }
    };
}

features! {
    /// What is seen of a candidate. *Plain* and *transfer* are the two posteriors (without a past, the transfer columns repeat the
    /// plain ones); means and bounds are minus the incumbent's value.
    Feature {
        /// The base rule's score.
        Base = "base",
        PlainMean = "plain mean",
        PlainDeviation = "plain deviation",
        PlainBound1 = "plain bound 1",
        PlainBound2 = "plain bound 2",
        PlainRatio = "plain mean/deviation",
        PlainImprovement = "plain expected improvement",
        TransferMean = "transfer mean",
        TransferDeviation = "transfer deviation",
        TransferBound1 = "transfer bound 1",
        TransferBound2 = "transfer bound 2",
        TransferRatio = "transfer mean/deviation",
        TransferImprovement = "transfer expected improvement",
        PriorMean = "prior mean",
        ToCurrent = "distance to current",
        ToIncumbent = "distance to incumbent",
        Measured = "measured",
        Edit = "edit",
        Return = "return",
        Proposal = "proposal",
        Random = "random",
    }
}

features! {
    /// What is seen of a candidate besides where there are shorter trainings. *Said* is what the longest one that was made of the
    /// architecture said, the rest what is expected of it: of the candidate's own length, of a full training's the longest of which
    /// something is known. All relative to the best of that length, in deviations of what was measured there.
    ShorterFeature {
        /// What it costs, in full trainings.
        Cost = "cost",
        Shorter = "shorter",
        Measured = "shorter measured",
        Said = "shorter said",
        Mean = "shorter mean",
        Deviation = "shorter deviation",
        Bound2 = "shorter bound 2",
    }
}

features! {
    /// What is seen of the whole walk.
    Context {
        BudgetUsed = "budget used",
        Horizon = "horizon",
        LogCount = "log count",
        CurrentMinusIncumbent = "current minus incumbent",
        PlainAmplitude = "plain amplitude",
        TransferScale = "transfer scale",
        BestPlainBound = "best plain bound",
        BestTransferBound = "best transfer bound",
        CurrentToIncumbent = "distance current to incumbent",
        LogSize = "log size of the space",
        Evidence = "evidence for transfer",
        HasPast = "has a past",
    }
}

features! {
    /// What is seen of it besides where there are shorter trainings.
    ShorterContext {
        CostLeft = "cost left",
        LogCount = "log count of shorter",
        Spent = "spent on shorter",
        CheapestCost = "cheapest cost",
        Lengths = "lengths",
        FirstLeft = "first shorter left",
        SayNothing = "shorter say nothing",
        Agreement = "agreement",
    }
}

/// Features of a candidate where there are full trainings alone.
pub const CANDIDATE_FEATURES: usize = Feature::NAMES.len();
/// Features of the context where there are full trainings alone.
pub const CONTEXT_FEATURES: usize = Context::NAMES.len();
/// The candidate feature that holds what it costs, where there are shorter trainings.
pub const COST: usize = CANDIDATE_FEATURES + ShorterFeature::Cost as usize;
/// The candidate feature that holds the base rule's score.
pub const BASE: usize = Feature::Base as usize;

/// Which features an observation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    shorter: bool,
}

impl Layout {
    /// With what there is to see where candidates may be shorter trainings, or without.
    pub fn new(shorter: bool) -> Self {
        Self { shorter }
    }

    fn candidate_names(self) -> impl Iterator<Item = &'static str> {
        let more = if self.shorter { ShorterFeature::NAMES } else { &[] };
        Feature::NAMES.iter().chain(more).copied()
    }

    fn context_names(self) -> impl Iterator<Item = &'static str> {
        let more = if self.shorter { ShorterContext::NAMES } else { &[] };
        Context::NAMES.iter().chain(more).copied()
    }

    /// Features of a candidate.
    pub fn candidate_features(self) -> usize {
        self.candidate_names().count()
    }

    /// Features of the context.
    pub fn context_features(self) -> usize {
        self.context_names().count()
    }

    /// The candidate feature that holds what it costs, if there is one.
    pub fn cost(self) -> Option<usize> {
        self.shorter.then_some(COST)
    }

    /// Hash over names and order of the features: actor and learner must agree on it.
    pub fn hash(self) -> u64 {
        self.candidate_names()
            .chain(self.context_names())
            .flat_map(|n| n.bytes().chain([0]))
            .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

/// Middles of eight equally likely slices of the standard normal distribution.
const NORMAL: [f32; 8] = [-1.534_12, -0.887_15, -0.488_78, -0.157_31, 0.157_31, 0.488_78, 0.887_15, 1.534_12];
const FLOOR: f32 = 0.02;

/// Expected improvement of the shaped quality φ when the incumbent lacks `gap` to the best, and a candidate lies
/// `mean` ± `deviation` above the incumbent (all in units of the gap between median and best).
fn expected_improvement(gap: f32, mean: f32, deviation: f32) -> f32 {
    // Far below the incumbent nothing is expected: most candidates end here.
    if mean + 2.0 * deviation <= 0.0 {
        return 0.0;
    }
    let now = gap.max(0.0) + FLOOR;
    let total: f32 = NORMAL
        .iter()
        .map(|q| mean + deviation * q)
        .filter(|&rise| rise > 0.0)
        .map(|rise| (now / ((gap - rise).max(0.0) + FLOOR)).log10())
        .sum();
    total / NORMAL.len() as f32
}

/// One posterior as seen from the incumbent.
struct View {
    kind: Kind,
    incumbent: f32,
    /// Factor to units of the gap, and what the incumbent lacks to the best in them.
    to_gap: f32,
    gap: f32,
    best_bound: f32,
}

pub(super) fn write(walk: &mut Walk, rows: &mut [f32], context: &mut [f32]) {
    let (paid, horizon) = (walk.spent() as f32, walk.horizon() as f32);
    let (shorter, point) = (walk.shorter_trainings(), walk.incumbent.point);
    let layout = walk.environment().config.layout();
    let (current_value, incumbent_value) = (walk.current.value, walk.incumbent.value);
    let current = std::mem::take(&mut walk.current.choices);
    let incumbent = std::mem::take(&mut walk.incumbent.choices);
    let d = current.len() as f32;
    let (env, mut predictors, pool, candidates, scratch) = walk.parts();
    context.fill(0.0);
    context[Context::BudgetUsed as usize] = paid / horizon;
    context[Context::Horizon as usize] = horizon / 100.0;
    context[Context::LogCount as usize] = paid.ln() / 4.0;
    context[Context::CurrentToIncumbent as usize] = edit_distance(&current, &incumbent) as f32 / d;
    context[Context::LogSize as usize] = (env.space().log_size() / 20.0) as f32;
    let views = predictors.as_deref_mut().map(|predictors| {
        let p = &mut predictors.full;
        let has_prior = p.has_prior();
        let prior_incumbent = p.prior_mean_of_point(point);
        let rule = p.rule();
        let b = p.beliefs();
        let z = b.standardise(incumbent_value);
        let best = |kind, beta| {
            candidates
                .iter()
                .filter_map(|c| c.slot.filter(|_| !c.measured && c.fidelity.is_full()))
                .map(|s| {
                    let (m, v) = b.of(kind, s);
                    m + beta * v
                })
                .fold(f32::NEG_INFINITY, f32::max)
        };
        // Without a past nothing says what the gap is: the best upper bound stands for the best.
        let reach = (best(Kind::Plain, 2.0).max(z) + 0.1).max(0.5);
        let plain = View {
            kind: Kind::Plain,
            incumbent: z,
            to_gap: 1.0 / reach,
            gap: 1.0 - z / reach,
            best_bound: best(Kind::Plain, env.config.rule_beta).max(-9.0) - z,
        };
        let transfer = if rule == Kind::Transfer {
            let incumbent = b.scale * z;
            View {
                kind: rule,
                incumbent,
                to_gap: 1.0,
                gap: (1.0 - prior_incumbent.max(incumbent)).clamp(0.0, 2.0),
                best_bound: best(rule, env.config.rule_beta).max(-9.0) - incumbent,
            }
        } else {
            View { ..plain }
        };
        context[Context::CurrentMinusIncumbent as usize] = b.standardise(current_value) - z;
        context[Context::PlainAmplitude as usize] = b.amplitude;
        context[Context::TransferScale as usize] = b.scale;
        context[Context::BestPlainBound as usize] = plain.best_bound;
        context[Context::BestTransferBound as usize] = transfer.best_bound;
        context[Context::Evidence as usize] = (b.evidence / paid).clamp(-3.0, 3.0);
        context[Context::HasPast as usize] = f32::from(u8::from(has_prior));
        (plain, transfer, prior_incumbent)
    });
    let features = layout.candidate_features();
    for (c, row) in candidates.iter().zip(rows.chunks_exact_mut(features)) {
        row.fill(0.0);
        if !pool.choices_of(&env.space, c, scratch) {
            scratch.copy_from_slice(&incumbent);
        }
        if let (Some((plain, transfer, prior_incumbent)), Some(predictors)) =
            (&views, predictors.as_deref_mut())
        {
            let p = &mut predictors.full;
            for (view, first) in [(plain, Feature::PlainMean), (transfer, Feature::TransferMean)] {
                // A measured architecture is known: its value and (nearly) no deviation.
                let (mean, deviation) = match c.slot.filter(|_| !c.measured) {
                    Some(slot) => {
                        let (m, s) = p.beliefs().of(view.kind, slot);
                        (m - view.incumbent, s)
                    }
                    None => (0.0, 1e-3),
                };
                row[first as usize..][..6].copy_from_slice(&[
                    mean,
                    deviation,
                    mean + deviation,
                    mean + 2.0 * deviation,
                    (mean / deviation).clamp(-5.0, 5.0),
                    expected_improvement(view.gap, mean * view.to_gap, deviation * view.to_gap),
                ]);
                if first == Feature::TransferMean {
                    row[BASE] = mean + env.config.rule_beta * deviation;
                }
            }
            row[Feature::PriorMean as usize] = c.slot.map_or(0.0, |s| p.prior_mean(s) - prior_incumbent);
        }
        row[Feature::ToCurrent as usize] = edit_distance(scratch, &current) as f32 / d;
        row[Feature::ToIncumbent as usize] = edit_distance(scratch, &incumbent) as f32 / d;
        row[Feature::Measured as usize] = f32::from(u8::from(c.measured));
        let kind = match c.kind {
            CandidateKind::Edit => Feature::Edit,
            CandidateKind::Return => Feature::Return,
            CandidateKind::Proposal => Feature::Proposal,
            CandidateKind::Random => Feature::Random,
        };
        row[kind as usize] = 1.0;
    }
    if let (Some(_), Some(p)) = (layout.cost(), predictors) {
        if p.levels.is_empty() {
            rows.chunks_exact_mut(features).take(candidates.len()).for_each(|row| row[COST] = 1.0);
        } else {
            write_shorter(p, candidates, rows, features);
            let (count, spent) = shorter;
            context[CONTEXT_FEATURES..].copy_from_slice(&[
                (horizon - paid) / 10.0,
                (1.0 + count as f32).ln() / 4.0,
                spent as f32 / horizon,
                p.levels[0].cost as f32,
                p.levels.len() as f32,
                p.first_left(),
                f32::from(u8::from(p.says_nothing())),
                p.agreement(),
            ]);
        }
    }
    rank_measured_last(candidates, rows, features);
    walk.current.choices = current;
    walk.incumbent.choices = incumbent;
}

/// What the candidates have besides where there are shorter trainings, and the base score: the rule's choice comes first.
fn write_shorter(p: &mut Predictors, candidates: &[Candidate], rows: &mut [f32], features: usize) {
    // A space may be exhausted.
    if candidates.is_empty() {
        return;
    }
    let choice = p.rule_choice(candidates);
    let (kind, beta) = p.rule();
    let longest = p.levels.iter().rposition(|level| !level.known.is_empty());
    let mut top = f32::NEG_INFINITY;
    for (c, row) in candidates.iter().zip(rows.chunks_exact_mut(features)) {
        if let Some(slot) = c.slot {
            let (mean, deviation) = p.full.beliefs().of(kind, slot);
            row[BASE] = mean + beta * deviation;
        }
        if !c.fidelity.is_full() {
            // For the same architecture the rule makes the full training.
            row[BASE] -= AFTER_THE_FULL;
        }
        if !c.measured {
            top = top.max(row[BASE]);
        }
        let own = &mut row[CANDIDATE_FEATURES..];
        own[ShorterFeature::Cost as usize] = c.cost as f32;
        own[ShorterFeature::Shorter as usize] = f32::from(u8::from(!c.fidelity.is_full()));
        if let Some(level) = p.levels.iter_mut().rev().find(|level| level.known.contains_key(&c.key)) {
            let beliefs = level.predictor.beliefs();
            own[ShorterFeature::Measured as usize] = 1.0;
            own[ShorterFeature::Said as usize] =
                (beliefs.standardise(level.known[&c.key]) - beliefs.standardise(level.best)).max(-5.0);
        }
        if let (Some(place), Some(slot)) = (c.fidelity.place().or(longest), c.slot) {
            let best = p.levels[place].best;
            let beliefs = p.levels[place].predictor.beliefs();
            let (mean, deviation) = beliefs.of(Kind::Plain, slot);
            let best = if best.is_finite() { beliefs.standardise(best) } else { 0.0 };
            own[ShorterFeature::Mean as usize] = (mean - best).max(-5.0);
            own[ShorterFeature::Deviation as usize] = deviation;
            own[ShorterFeature::Bound2 as usize] = (mean + 2.0 * deviation - best).max(-5.0);
        }
    }
    let base = &mut rows[choice * features + BASE];
    if *base < top || !candidates[choice].fidelity.is_full() {
        *base = top + AFTER_THE_FULL;
    }
}

/// How far the base scores of the rule's choice and of what comes after it lie apart at least.
const AFTER_THE_FULL: f32 = 0.1;

/// The rule never moves to what is measured already: to the base score such candidates come last, if only just.
fn rank_measured_last(candidates: &[Candidate], rows: &mut [f32], features: usize) {
    let base = |i: usize| i * features + BASE;
    let new = (0..candidates.len()).filter(|&i| !candidates[i].measured);
    let lowest = new.map(|i| rows[base(i)]).fold(f32::INFINITY, f32::min);
    if lowest.is_finite() {
        for i in (0..candidates.len()).filter(|&i| candidates[i].measured) {
            rows[base(i)] = lowest - 0.05;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_improvement_grows_with_mean_and_deviation_and_is_never_negative() {
        assert_eq!(expected_improvement(0.5, -1.0, 0.1), 0.0);
        let small = expected_improvement(0.5, 0.0, 0.1);
        assert!(small > 0.0);
        assert!(expected_improvement(0.5, 0.0, 0.3) > small);
        assert!(expected_improvement(0.5, 0.2, 0.1) > small);
        // Nothing better than the best: with no gap left nothing can be gained beyond the floor.
        assert_eq!(expected_improvement(0.0, 1.0, 0.1), 0.0);
    }
}
