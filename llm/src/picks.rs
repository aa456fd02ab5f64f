//! Named ones among measured parts: the smallest and the fastest that lose little, and the best of a size.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// Metrics of a part, by name.
pub type Metrics = BTreeMap<String, f64>;

/// Which part is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pick {
    /// Of those that lose little, the one with the fewest bytes.
    Smallest,
    /// Of those that lose little, the one that writes the most tokens a second.
    Fastest,
    /// The best of all.
    Best,
    /// The best of those with at most so many bytes.
    Within(u64),
}

impl Pick {
    /// Those that have a name without a number.
    pub const NAMED: [Self; 3] = [Self::Smallest, Self::Fastest, Self::Best];
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smallest => f.write_str("smallest"),
            Self::Fastest => f.write_str("fastest"),
            Self::Best => f.write_str("best"),
            Self::Within(bytes) => write!(f, "best:{bytes}"),
        }
    }
}

impl FromStr for Pick {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(pick) = Self::NAMED.into_iter().find(|pick| pick.to_string() == text) {
            return Ok(pick);
        }
        let bytes = text.strip_prefix("best:").and_then(|bytes| bytes.parse().ok());
        bytes.map(Self::Within).ok_or_else(|| {
            format!("`{text}` is no pick: smallest, fastest, best and best:BYTES, such as best:300000, are")
        })
    }
}

/// By what a part is good.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// The metric.
    pub metric: String,
    /// Whether less is better.
    pub minimise: bool,
}

impl Quality {
    /// What may be lost of it: a share of what the whole model has.
    fn is_near(&self, value: f64, whole: f64, share: f64) -> bool {
        match self.minimise {
            true => value <= whole + share * whole.abs(),
            false => value >= whole - share * whole.abs(),
        }
    }

    fn is_better(&self, value: f64, than: f64) -> bool {
        if self.minimise { value < than } else { value > than }
    }
}

/// The place of a pick among parts; none where no part has what it asks for. `whole` has the metrics of the whole model, and `share`
/// says how much of its quality may be lost. Of equals it is the first.
pub fn pick(pick: Pick, parts: &[Metrics], whole: &Metrics, quality: &Quality, share: f64) -> Option<usize> {
    let value = |i: usize, metric: &str| parts[i].get(metric).copied().filter(|v| v.is_finite());
    let good = |i: usize| value(i, &quality.metric);
    let near = |i: &usize| match (good(*i), whole.get(&quality.metric)) {
        (Some(value), Some(whole)) => quality.is_near(value, *whole, share),
        _ => false,
    };
    let first_by = |of: &dyn Fn(usize) -> Option<f64>, keep: &dyn Fn(&usize) -> bool, less: bool| {
        let mut found: Option<(usize, f64)> = None;
        for i in (0..parts.len()).filter(keep) {
            let Some(value) = of(i) else { continue };
            if found.is_none_or(|(_, best)| if less { value < best } else { value > best }) {
                found = Some((i, value));
            }
        }
        found.map(|(i, _)| i)
    };
    match pick {
        Pick::Smallest => first_by(&|i| value(i, "bytes"), &near, true),
        Pick::Fastest => first_by(&|i| value(i, "tokens_per_s"), &near, false),
        Pick::Best | Pick::Within(_) => {
            let fits = |i: &usize| match pick {
                Pick::Within(bytes) => value(*i, "bytes").is_some_and(|b| b <= bytes as f64),
                _ => true,
            };
            let mut found: Option<usize> = None;
            for i in (0..parts.len()).filter(fits).filter(|i| good(*i).is_some()) {
                let better =
                    |best| quality.is_better(good(i).unwrap_or(f64::NAN), good(best).unwrap_or(f64::NAN));
                if found.is_none_or(better) {
                    found = Some(i);
                }
            }
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(perplexity: f64, bytes: f64, speed: f64) -> Metrics {
        let of = |name: &str, value| (name.to_string(), value);
        [of("perplexity", perplexity), of("bytes", bytes), of("tokens_per_s", speed)].into()
    }

    #[test]
    fn what_is_near_counts_and_ties_go_to_the_first() {
        let quality = Quality { metric: "perplexity".into(), minimise: true };
        let whole = part(4.0, 1000.0, 50.0);
        let parts = [
            part(4.03, 500.0, 60.0),
            part(4.05, 400.0, 90.0),
            part(4.01, 500.0, 70.0),
            part(3.9, 1000.0, 50.0),
            part(f64::NAN, 1.0, 900.0),
        ];
        let of = |which: &str| pick(which.parse().unwrap(), &parts, &whole, &quality, 0.01);
        assert_eq!([of("smallest"), of("fastest"), of("best")], [Some(0), Some(2), Some(3)]);
        assert_eq!([of("best:500"), of("best:400"), of("best:399")], [Some(2), Some(1), None]);
        assert_eq!(pick(Pick::Smallest, &parts, &whole, &quality, 0.1), Some(1));
        assert_eq!(pick(Pick::Smallest, &[], &whole, &quality, 0.1), None);
        assert_eq!(pick(Pick::Smallest, &parts, &Metrics::new(), &quality, 0.1), None);
        let accuracy = Quality { metric: "bytes".into(), minimise: false };
        assert_eq!(pick(Pick::Best, &parts, &whole, &accuracy, 0.0), Some(3));
        assert!("best:".parse::<Pick>().is_err() && "large".parse::<Pick>().is_err());
    }
}
