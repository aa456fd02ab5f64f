//! A greedy portfolio of the past tasks first, then the transfer posterior ([`srnas_predictor::Prior::portfolio`]).

use super::{
    MethodSpec, Preparation, SpecError, Starter,
    gp::{Acquisition, Gp},
    transfer::{NO_PAST, past_of},
};
use crate::method::{Method, MethodError, Training};
use srnas_predictor::{Kind, PosteriorSettings, Prior};
use srnas_space::Choices;
use std::{collections::VecDeque, sync::Arc};

pub fn prepare(spec: &MethodSpec, p: &Preparation) -> Result<(Starter, Arc<Prior>), SpecError> {
    let mut options = spec.options()?;
    let n = options.whole("n", 10, 0)?;
    let beta = options.number("beta", 3.0, 0.0)? as f32;
    options.end()?;
    let settings = PosteriorSettings::default();
    let prior = past_of(spec, p, None, settings)?.ok_or_else(|| spec.unfit(NO_PAST))?;
    let first = prior.portfolio(p.space, n.min(p.budget));
    let start: Starter = Box::new(move |begin| {
        let favourites = begin.past.favourites().to_vec();
        let gp = Gp::new(begin, settings, Kind::Transfer, Acquisition::Bound(beta)).near(favourites);
        Ok(Box::new(Portfolio { first: first.clone().into(), gp }))
    });
    Ok((start, prior))
}

struct Portfolio {
    /// What is left of the portfolio.
    first: VecDeque<Vec<u8>>,
    gp: Gp,
}

impl Method for Portfolio {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        while let Some(choices) = self.first.pop_front() {
            if let Some(open) = self.gp.ask_among(vec![choices]) {
                return Ok(Some(open));
            }
        }
        self.gp.ask()
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.gp.tell(choices, values)
    }

    fn begun(&mut self, training: &Training) {
        self.gp.begun(training);
    }

    fn concurrent(&self) -> bool {
        true
    }
}
