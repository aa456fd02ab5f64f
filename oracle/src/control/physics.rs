//! The tasks' bodies and how they move.
//!
//! Angles are those of the pole to the vertical, 0 where it stands, in radians; lengths in metres, masses in
//! kilograms, forces in newtons, times in seconds. The integrator is Euler's with the new velocities: unlike the plain
//! one, it neither feeds energy to a swinging pole nor takes it away in the long run.

use super::math::sin_cos;

/// Gravity, in m/s².
const GRAVITY: f32 = 9.8;

/// Place and velocity of the cart, angle and angular velocity of the pole. Where there is no cart, that stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// Of the cart, in m.
    pub place: f32,
    /// Of the cart, in m/s.
    pub velocity: f32,
    /// Of the pole, in rad.
    pub angle: f32,
    /// Of the pole, in rad/s.
    pub spin: f32,
}

/// What is steered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// A pole hinged to a cart on a rail, without friction (Barto, Sutton and Anderson 1983); the cart is pushed.
    CartPole {
        /// Of the cart.
        cart: f32,
        /// Of the pole.
        pole: f32,
        /// Half the pole's length.
        half: f32,
    },
    /// A pole on a fixed hinge, which turns it.
    Pendulum {
        /// Of the pole.
        pole: f32,
        /// Half the pole's length.
        half: f32,
    },
}

impl Body {
    /// Accelerations of cart and pole under a force on the cart, or a torque (N m) on the hinge.
    #[inline(always)]
    fn accelerations(self, state: State, force: f32) -> (f32, f32) {
        let (sine, cosine) = sin_cos(state.angle);
        match self {
            Self::CartPole { cart, pole, half } => {
                let total = cart + pole;
                let push = (force + pole * half * state.spin * state.spin * sine) / total;
                let turn =
                    (GRAVITY * sine - cosine * push) / (half * (4.0 / 3.0 - pole * cosine * cosine / total));
                (push - pole * half * turn * cosine / total, turn)
            }
            Self::Pendulum { pole, half } => {
                (0.0, (GRAVITY * sine + force / (pole * half)) / (4.0 / 3.0 * half))
            }
        }
    }

    /// The state after a short time under a force.
    #[inline(always)]
    pub fn after(self, state: State, force: f32, time: f32) -> State {
        let (push, turn) = self.accelerations(state, force);
        let (velocity, spin) = (state.velocity + time * push, state.spin + time * turn);
        State { place: state.place + time * velocity, velocity, angle: state.angle + time * spin, spin }
    }

    /// Kinetic and potential energy, in J, counted from the hinge.
    #[cfg(test)]
    fn energy(self, state: State) -> f64 {
        let (velocity, angle, spin) =
            (f64::from(state.velocity), f64::from(state.angle), f64::from(state.spin));
        let (cart, pole, half) = match self {
            Self::CartPole { cart, pole, half } => (cart.into(), pole.into(), half.into()),
            Self::Pendulum { pole, half } => (0.0, f64::from(pole), f64::from(half)),
        };
        0.5 * (cart + pole) * velocity * velocity
            + pole * half * velocity * spin * angle.cos()
            + 2.0 / 3.0 * pole * half * half * spin * spin
            + pole * f64::from(GRAVITY) * half * angle.cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::PI;

    const CART_POLE: Body = Body::CartPole { cart: 1.0, pole: 0.1, half: 0.5 };
    const PENDULUM: Body = Body::Pendulum { pole: 1.0, half: 0.5 };

    /// The most that the energy leaves its first value in three seconds, in J.
    fn drift(body: Body, time: f32) -> f64 {
        let mut state = State { angle: 1.0, ..State::default() };
        let first = body.energy(state);
        let steps = (3.0 / time) as usize;
        let off = (0..steps).map(|_| {
            state = body.after(state, 0.0, time);
            (body.energy(state) - first).abs()
        });
        off.fold(0.0, f64::max)
    }

    #[test]
    fn energy_is_kept_but_for_an_error_that_halves_with_the_step() {
        for body in [CART_POLE, PENDULUM] {
            let [coarse, fine] = [0.01, 0.005].map(|time| drift(body, time));
            let swing = body.energy(State::default()) - body.energy(State { angle: PI, ..State::default() });
            assert!(coarse < 0.05 * swing, "{body:?}: {coarse} of {swing}");
            assert!((1.7..2.3).contains(&(coarse / fine)), "{body:?}: {coarse} and {fine}");
        }
    }

    #[test]
    fn what_begins_in_symmetry_goes_on_in_symmetry() {
        for body in [CART_POLE, PENDULUM] {
            let mut one = State { place: 0.3, velocity: -0.2, angle: 0.4, spin: 1.5 };
            let mirrored =
                |s: State| State { place: -s.place, velocity: -s.velocity, angle: -s.angle, spin: -s.spin };
            let mut other = mirrored(one);
            for step in 0..500 {
                let force = if step % 7 < 3 { 3.0 } else { -2.0 };
                (one, other) = (body.after(one, force, 0.02), body.after(other, -force, 0.02));
                assert_eq!(other, mirrored(one), "{body:?}, step {step}");
            }
        }
    }

    #[test]
    fn a_standing_and_a_hanging_pole_stay_and_small_swings_have_their_period() {
        for body in [CART_POLE, PENDULUM] {
            assert_eq!(body.after(State::default(), 0.0, 0.02), State::default());
            // Of a rod about its end 2π √(4/3 half / g); on a cart that gives way it is shorter.
            let effective = match body {
                Body::CartPole { cart, pole, half } => half * (4.0 / 3.0 - pole / (cart + pole)),
                Body::Pendulum { half, .. } => half * 4.0 / 3.0,
            };
            let period = 2.0 * PI * (effective / GRAVITY).sqrt();
            let (mut state, time) = (State { angle: PI + 0.02, ..State::default() }, 1e-3);
            let mut crossings = Vec::new();
            for step in 0..4000 {
                let next = body.after(state, 0.0, time);
                if state.angle > PI && next.angle <= PI {
                    crossings.push(step as f32 * time);
                }
                state = next;
            }
            let found = crossings[1] - crossings[0];
            assert!((found / period - 1.0).abs() < 2e-3, "{body:?}: {found} s, not {period} s");
        }
    }
}
