//! What the policy sees: one row per candidate and one context row, all relative to the episode, none of it about the
//! space. So a policy carries over to tasks and spaces it never saw.

use super::{CandidateKind, Episode};
use crate::{posterior::Kind, space::edit_distance};

/// Names of a candidate's features, in order. `plain` and `transfer` are the two posteriors (without a past, the transfer
/// columns repeat the plain ones); means and bounds are minus the incumbent's value.
pub const CANDIDATE_NAMES: [&str; CANDIDATE_FEATURES] = [
    "base",
    "plain mean",
    "plain deviation",
    "plain bound 1",
    "plain bound 2",
    "plain mean/deviation",
    "plain expected improvement",
    "transfer mean",
    "transfer deviation",
    "transfer bound 1",
    "transfer bound 2",
    "transfer mean/deviation",
    "transfer expected improvement",
    "prior mean",
    "distance to current",
    "distance to incumbent",
    "measured",
    "edit",
    "return",
    "proposal",
    "random",
];

/// Names of the context's features.
pub const CONTEXT_NAMES: [&str; CONTEXT_FEATURES] = [
    "budget used",
    "horizon",
    "log count",
    "current minus incumbent",
    "plain amplitude",
    "transfer scale",
    "best plain bound",
    "best transfer bound",
    "distance current to incumbent",
    "log size of the space",
    "evidence for transfer",
    "has a past",
];

/// Features of a candidate.
pub const CANDIDATE_FEATURES: usize = 21;
/// Features of the context.
pub const CONTEXT_FEATURES: usize = 12;
/// The candidate feature that holds the base rule's score.
pub const BASE: usize = 0;

/// Hash over names and order of the features: actor and learner must agree on it.
pub fn layout_hash() -> u64 {
    CANDIDATE_NAMES
        .iter()
        .chain(&CONTEXT_NAMES)
        .flat_map(|n| n.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
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

pub(super) fn write(episode: &mut Episode, rows: &mut [f32], context: &mut [f32]) {
    let (paid, horizon) = (episode.paid as f32, episode.horizon() as f32);
    let (current_value, incumbent_value) = (episode.current.value, episode.incumbent.value);
    let current = std::mem::take(&mut episode.current.choices);
    let incumbent = std::mem::take(&mut episode.incumbent.choices);
    let d = current.len() as f32;
    let (env, mut predictor, pool, candidates, scratch) = episode.parts();
    context.fill(0.0);
    context[0] = paid / horizon;
    context[1] = horizon / 100.0;
    context[2] = paid.ln() / 4.0;
    context[8] = edit_distance(&current, &incumbent) as f32 / d;
    context[9] = (env.space().log_size() / 20.0) as f32;
    let views = predictor.as_deref_mut().map(|p| {
        let has_prior = p.has_prior();
        let prior_incumbent = env.prior.as_ref().map_or(0.0, |prior| prior_mean(p, prior, env, &incumbent));
        let rule = p.rule();
        let b = p.beliefs();
        let z = b.standardise(incumbent_value);
        let best = |kind, beta| {
            candidates
                .iter()
                .filter_map(|c| c.slot.filter(|_| !c.measured))
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
        context[3] = b.standardise(current_value) - z;
        context[4] = b.amplitude;
        context[5] = b.scale;
        context[6] = plain.best_bound;
        context[7] = transfer.best_bound;
        context[10] = (b.evidence / paid).clamp(-3.0, 3.0);
        context[11] = f32::from(u8::from(has_prior));
        (plain, transfer, prior_incumbent)
    });
    for (c, row) in candidates.iter().zip(rows.chunks_exact_mut(CANDIDATE_FEATURES)) {
        row.fill(0.0);
        if !pool.choices_of(&env.space, c, scratch) {
            scratch.copy_from_slice(&incumbent);
        }
        if let (Some((plain, transfer, prior_incumbent)), Some(p)) = (&views, predictor.as_deref_mut()) {
            for (view, at) in [(plain, 1), (transfer, 7)] {
                // A measured architecture is known: its value and (nearly) no deviation.
                let (mean, deviation) = match c.slot.filter(|_| !c.measured) {
                    Some(slot) => {
                        let (m, s) = p.beliefs().of(view.kind, slot);
                        (m - view.incumbent, s)
                    }
                    None => (0.0, 1e-3),
                };
                row[at] = mean;
                row[at + 1] = deviation;
                row[at + 2] = mean + deviation;
                row[at + 3] = mean + 2.0 * deviation;
                row[at + 4] = (mean / deviation).clamp(-5.0, 5.0);
                row[at + 5] = expected_improvement(view.gap, mean * view.to_gap, deviation * view.to_gap);
                if at == 7 {
                    row[super::BASE] = mean + env.config.rule_beta * deviation;
                }
            }
            row[13] = c.slot.map_or(0.0, |s| p.prior_mean(s) - prior_incumbent);
        }
        row[14] = edit_distance(scratch, &current) as f32 / d;
        row[15] = edit_distance(scratch, &incumbent) as f32 / d;
        row[16] = f32::from(u8::from(c.measured));
        row[17
            + match c.kind {
                CandidateKind::Edit => 0,
                CandidateKind::Return => 1,
                CandidateKind::Proposal => 2,
                CandidateKind::Random => 3,
            }] = 1.0;
    }
    rank_measured_last(candidates, rows);
    episode.current.choices = current;
    episode.incumbent.choices = incumbent;
}

/// The rule never moves to what is measured already: to the base score such candidates come last, if only just.
fn rank_measured_last(candidates: &[super::Candidate], rows: &mut [f32]) {
    let base = |i: usize| i * CANDIDATE_FEATURES + super::BASE;
    let new = (0..candidates.len()).filter(|&i| !candidates[i].measured);
    let lowest = new.map(|i| rows[base(i)]).fold(f32::INFINITY, f32::min);
    if lowest.is_finite() {
        for i in (0..candidates.len()).filter(|&i| candidates[i].measured) {
            rows[base(i)] = lowest - 0.05;
        }
    }
}

/// Weighted mean of the training tasks at an architecture.
fn prior_mean(
    predictor: &crate::posterior::Predictor,
    prior: &crate::posterior::Prior,
    env: &super::Environment,
    choices: &[u8],
) -> f32 {
    let rank = env.space.rank(choices) as usize;
    predictor
        .weights()
        .iter()
        .enumerate()
        .filter(|(_, w)| **w > 0.0)
        .map(|(t, w)| w * prior.of_task(t)[rank])
        .sum()
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
