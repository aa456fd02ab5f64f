//! The tasks: what is steered, what is rewarded, and many worlds of one task that step together.

use super::{
    math::sin_cos,
    physics::{Body, State},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_network::ops::simd::vectorised;
use std::f32::consts::PI;

/// Worlds that step together: a number of each fills the lanes of vector registers.
pub const WORLDS: usize = 64;
/// One number of each world.
pub type Lanes = [f32; WORLDS];
/// What a policy sees of a world: the cart's place and velocity, sine and cosine of the pole's angle, its spin; each scaled to
/// about −1 to 1.
pub const OBSERVED: usize = 5;

/// A task of control. At each step the policy pushes one way or the other with the full force.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Data set of its metrics.
    pub name: &'static str,
    /// What is steered.
    pub body: Body,
    /// Of a push: N on a cart, N m on a hinge.
    pub force: f32,
    /// Of a step, in s.
    pub time: f32,
    /// The pole's angle at the start, give or take [`Self::spread`], which place, velocity and spin also begin with.
    pub start: f32,
    /// See [`Self::start`].
    pub spread: f32,
    /// An episode fails where the pole leans more than this to either side; a pole that is swung up does not.
    pub fall: Option<f32>,
    /// An episode fails where the cart is further than this from the middle.
    pub rail: f32,
    /// Steps of an episode that does not fail.
    pub horizon: u32,
    /// In one line, for the description of its metrics.
    pub told: &'static str,
}

const RAIL: f32 = 2.4;

/// The tasks.
pub const TASKS: [Task; 4] = [
    Task {
        name: "balance",
        body: Body::CartPole { cart: 1.0, pole: 0.1, half: 0.5 },
        force: 10.0,
        time: 0.02,
        start: 0.0,
        spread: 0.05,
        fall: Some(12.0 * PI / 180.0),
        rail: RAIL,
        horizon: 500,
        told: "a pole balanced on a cart",
    },
    Task {
        name: "heavy",
        body: Body::CartPole { cart: 1.0, pole: 1.0, half: 1.0 },
        force: 10.0,
        time: 0.02,
        start: 0.0,
        spread: 0.05,
        fall: Some(12.0 * PI / 180.0),
        rail: RAIL,
        horizon: 500,
        told: "a pole as heavy as its cart balanced",
    },
    Task {
        name: "swingup",
        body: Body::CartPole { cart: 1.0, pole: 0.1, half: 0.5 },
        force: 10.0,
        time: 0.04,
        start: PI,
        spread: 0.05,
        fall: None,
        rail: RAIL,
        horizon: 250,
        told: "a hanging pole swung up by its cart",
    },
    Task {
        name: "pendulum",
        body: Body::Pendulum { pole: 1.0, half: 0.5 },
        force: 2.0,
        time: 0.05,
        start: PI,
        spread: 0.05,
        fall: None,
        rail: RAIL,
        horizon: 200,
        told: "a hanging pole swung up by a weak motor in its hinge",
    },
];

impl Task {
    /// The reward of a state that has not failed, 0 to 1: all of it for a pole that does not fall, else the height of its end.
    #[inline(always)]
    fn reward(&self, state: State) -> f32 {
        if self.fall.is_some() { 1.0 } else { 0.5 + 0.5 * sin_cos(state.angle).1 }
    }

    #[inline(always)]
    fn failed(&self, state: State) -> bool {
        (state.place.abs() > self.rail) | (state.angle.abs() > self.fall.unwrap_or(f32::INFINITY))
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The episode goes on.
    Not,
    /// It failed: nothing more is to be had.
    Failed,
    /// Its time is over, whatever more would have been to be had.
    Over,
}

/// Many worlds of one task. Each begins a new episode as it ends one.
pub struct Worlds {
    task: Task,
    places: Lanes,
    velocities: Lanes,
    angles: Lanes,
    spins: Lanes,
    ages: [u32; WORLDS],
    rng: ChaCha8Rng,
}

impl Worlds {
    /// All at the start of an episode.
    pub fn new(task: Task, seed: u64) -> Self {
        let still = [0.0; WORLDS];
        let mut worlds = Self {
            task,
            places: still,
            velocities: still,
            angles: still,
            spins: still,
            ages: [0; WORLDS],
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        (0..WORLDS).for_each(|world| worlds.begin(world));
        worlds
    }

    fn begin(&mut self, world: usize) {
        let mut near = |middle: f32| middle + self.task.spread * self.rng.random_range(-1.0..1.0f32);
        (self.angles[world], self.spins[world]) = (near(self.task.start), near(0.0));
        if let Body::CartPole { .. } = self.task.body {
            (self.places[world], self.velocities[world]) = (near(0.0), near(0.0));
        }
        self.ages[world] = 0;
    }

    /// What the policy sees, [`OBSERVED`] of each world.
    pub fn observe(&self, seen: &mut [Lanes]) {
        vectorised!(self.see(seen));
    }

    #[inline(always)]
    fn see(&self, seen: &mut [Lanes]) {
        let [places, velocities, sines, cosines, spins] = seen.first_chunk_mut().expect("that many");
        for world in 0..WORLDS {
            places[world] = self.places[world] / RAIL;
            velocities[world] = self.velocities[world] * 0.5;
            (sines[world], cosines[world]) = sin_cos(self.angles[world]);
            spins[world] = self.spins[world] * 0.25;
        }
    }

    /// Pushes each cart or hinge forwards where `forwards` is 1, backwards where it is 0; says what that was worth, and what
    /// ended with it.
    pub fn step(&mut self, forwards: &Lanes, rewards: &mut Lanes, ends: &mut [End; WORLDS]) {
        let mut failed = [0.0; WORLDS];
        vectorised!(self.act(forwards, rewards, &mut failed));
        for world in 0..WORLDS {
            self.ages[world] += 1;
            ends[world] = match () {
                () if failed[world] > 0.0 => End::Failed,
                () if self.ages[world] == self.task.horizon => End::Over,
                () => End::Not,
            };
            if ends[world] != End::Not {
                self.begin(world);
            }
        }
    }

    #[inline(always)]
    fn act(&mut self, forwards: &Lanes, rewards: &mut Lanes, failed: &mut Lanes) {
        let task = self.task;
        let Self { places, velocities, angles, spins, .. } = self;
        for world in 0..WORLDS {
            let state = State {
                place: places[world],
                velocity: velocities[world],
                angle: angles[world],
                spin: spins[world],
            };
            let force = task.force * (2.0 * forwards[world] - 1.0);
            let state = task.body.after(state, force, task.time);
            (places[world], velocities[world]) = (state.place, state.velocity);
            (angles[world], spins[world]) = (state.angle, state.spin);
            failed[world] = if task.failed(state) { 1.0 } else { 0.0 };
            rewards[world] = task.reward(state) * (1.0 - failed[world]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes every world so at each step; how each step ended, and what the last one was worth.
    fn pushed(task: Task, forwards: impl Fn(u32) -> f32, steps: u32) -> (Vec<[End; WORLDS]>, Lanes) {
        let mut worlds = Worlds::new(task, 1);
        let (mut rewards, mut all) = ([0.0; WORLDS], Vec::new());
        for step in 0..steps {
            let mut ends = [End::Not; WORLDS];
            worlds.step(&[forwards(step); WORLDS], &mut rewards, &mut ends);
            all.push(ends);
        }
        (all, rewards)
    }

    fn task(name: &str) -> Task {
        TASKS.into_iter().find(|task| task.name == name).unwrap()
    }

    #[test]
    fn a_pole_that_is_pushed_one_way_falls_and_a_hanging_one_leaves_the_rail() {
        let (ends, _) = pushed(task("balance"), |_| 1.0, 20);
        let first = |world: usize| ends.iter().position(|ends| ends[world] == End::Failed).unwrap();
        // In seven to ten steps, as is known of this cart-pole.
        assert!((0..WORLDS).all(|world| (6..10).contains(&first(world))));
        let (ends, rewards) = pushed(task("swingup"), |_| 1.0, 25);
        assert!(ends[..10].iter().flatten().all(|end| *end == End::Not));
        assert!((0..WORLDS).all(|world| ends.iter().any(|ends| ends[world] == End::Failed)));
        assert!(rewards.iter().all(|reward| (0.0..0.5).contains(reward)));
    }

    #[test]
    fn time_ends_what_does_not_fail() {
        let pendulum = task("pendulum");
        let (ends, _) = pushed(pendulum, |step| f32::from(u8::from(step % 2 == 0)), pendulum.horizon);
        let (last, before) = ends.split_last().unwrap();
        assert!(before.iter().flatten().all(|end| *end == End::Not));
        assert_eq!(*last, [End::Over; WORLDS]);
    }

    #[test]
    fn a_motor_as_weak_as_the_pendulums_does_not_lift_it_at_once() {
        let (_, rewards) = pushed(task("pendulum"), |_| 1.0, 100);
        assert!(rewards.iter().all(|reward| *reward < 0.3), "{rewards:?}");
    }
}
