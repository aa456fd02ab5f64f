//! Where the levels of a range stand: equally far apart, and at numbers that are short to write.

/// A level may stand off its place by so much of the distance to the next one: 0.003 in place of 0.00316.
pub(super) const NEAR: f64 = 0.1;

/// As many levels as one has where nothing is said and no number of levels is round.
const USUAL: usize = 8;

/// Numbers of levels among which a round one is looked for.
const FEWEST: usize = 4;
const FEWEST_LINEAR: usize = 5;
const MOST: usize = 12;

/// Rounding of floats makes no more than this of a distance.
const EXACT: f64 = 1e-9;

/// So many digits are a round number, where they are exact: a sixteenth is 0.0625.
const ROUND_DIGITS: usize = 4;

/// Digits that tell all floats apart.
const ALL_DIGITS: usize = 17;

/// A range whose ends were checked.
pub(super) struct Places {
    pub from: f64,
    pub to: f64,
    pub log: bool,
    pub grid: Option<f64>,
}

impl Places {
    /// How many numbers are possible, where they are on a grid.
    pub fn possible(&self) -> Option<f64> {
        self.grid.map(|grid| ((self.to - self.from) / grid).round() + 1.0)
    }

    /// A number of the grid, or one as near to it as an end may be written.
    pub fn possible_number(&self, step: f64) -> f64 {
        let grid = self.grid.unwrap_or(1.0);
        let number = self.from + step * grid;
        let whole = grid.fract() == 0.0 && self.from.fract() == 0.0;
        let short = rounded(number, 15);
        // 0.1 + 2 · 0.1 is 0.3 and a bit.
        if whole || (short - number).abs() > EXACT * grid { number } else { short }
    }

    /// Levels, not fewer than two; in ascending order where so many numbers are possible.
    pub fn levels(&self, n: usize) -> Vec<f64> {
        if let Some(levels) = self.exact(n) {
            return levels;
        }
        let levels = self.tidy(n);
        // Where few whole numbers are possible, places have the same one.
        if self.grid.is_some() && !levels.is_sorted_by(|a, b| a < b) { self.crowded(n) } else { levels }
    }

    /// The number of levels that is nearest to the usual one among those that give the shortest numbers.
    pub fn round_number(&self) -> usize {
        let possible = self.possible().unwrap_or(f64::INFINITY);
        if possible <= if self.log { USUAL } else { MOST } as f64 {
            return possible as usize;
        }
        let fewest = if self.log { FEWEST } else { FEWEST_LINEAR };
        let round = |n: usize| self.digits_if_round(n).map(|digits| (digits, n.abs_diff(USUAL), n));
        (fewest..=MOST).filter_map(round).min().map_or(USUAL, |(.., n)| n)
    }

    /// The digits of the longest level between the ends, if so many levels are round numbers.
    fn digits_if_round(&self, n: usize) -> Option<usize> {
        let most = |levels: &[f64]| levels[1..n - 1].iter().map(|&level| digits(level)).max().unwrap_or(1);
        match self.exact(n) {
            // Powers, such as 16 32 64, are as round as numbers of one digit.
            Some(_) if self.log => Some(1),
            Some(levels) => Some(most(&levels)),
            None => Some(most(&self.tidy(n))).filter(|&most| most == 1 && self.is_near(n)),
        }
    }

    /// Whether the tidy levels are near to their places and different: whole numbers may have to be elsewhere.
    fn is_near(&self, n: usize) -> bool {
        let levels = self.tidy(n);
        let near = |i: usize| self.distance(levels[i], self.place(i, n)) <= NEAR * self.gap(n);
        (1..n - 1).all(near) && levels.is_sorted_by(|a, b| a < b)
    }

    /// Levels that are at their places, not only near them.
    fn exact(&self, n: usize) -> Option<Vec<f64>> {
        let level = |i: usize| {
            let place = self.place(i, n);
            let level = match self.grid {
                Some(_) => self.nearest_possible(place),
                None => rounded(place, ROUND_DIGITS),
            };
            (self.distance(level, place) <= EXACT * self.gap(n)).then_some(level)
        };
        let between = (1..n - 1).map(level).collect::<Option<Vec<f64>>>()?;
        Some(self.with_ends(between))
    }

    /// Levels each with the fewest digits that are near enough to its place.
    fn tidy(&self, n: usize) -> Vec<f64> {
        let near = NEAR * self.gap(n);
        let level = |i: usize| {
            let place = self.place(i, n);
            let short = |digits: usize| {
                let number = rounded(place, digits);
                let level = if self.grid.is_some() { self.nearest_possible(number) } else { number };
                (level == number && self.distance(level, place) <= near).then_some(level)
            };
            (1..ALL_DIGITS).find_map(short).unwrap_or_else(|| match self.grid {
                Some(_) => self.nearest_possible(place),
                None => place,
            })
        };
        self.with_ends((1..n - 1).map(level).collect())
    }

    /// Levels on a grid that is coarser than their distance near the smaller end: each at least one further than the one before,
    /// and what is left spread anew.
    fn crowded(&self, n: usize) -> Vec<f64> {
        let grid = self.grid.unwrap_or(1.0);
        let step_of = |number: f64| ((number - self.from) / grid).round();
        let mut steps = vec![0.0];
        for i in 1..n - 1 {
            let before = steps[i - 1];
            let rest = Places { from: self.possible_number(before), ..*self };
            // Room is left for those that follow.
            let last = step_of(self.to) - (n - 1 - i) as f64;
            steps.push(step_of(rest.place(1, n - i + 1)).clamp(before + 1.0, last));
        }
        self.with_ends(steps[1..].iter().map(|&step| self.possible_number(step)).collect())
    }

    pub fn with_ends(&self, between: Vec<f64>) -> Vec<f64> {
        [vec![self.from], between, vec![self.to]].concat()
    }

    /// Where a level of so many belongs.
    fn place(&self, i: usize, n: usize) -> f64 {
        let share = i as f64 / (n - 1) as f64;
        if self.log {
            return (self.from.ln() * (1.0 - share) + self.to.ln() * share).exp();
        }
        let place = self.from * (1.0 - share) + self.to * share;
        // 0 is not a hair off.
        if place.abs() <= EXACT * self.gap(n) { 0.0 } else { place }
    }

    /// How far two neighbours of so many levels are apart.
    fn gap(&self, n: usize) -> f64 {
        let levels = (n - 1) as f64;
        if self.log {
            return (self.to.ln() - self.from.ln()) / levels;
        }
        // The ends may be further apart than the largest float.
        self.to / levels - self.from / levels
    }

    fn distance(&self, a: f64, b: f64) -> f64 {
        if self.log { (a.ln() - b.ln()).abs() } else { (a - b).abs() }
    }

    fn nearest_possible(&self, number: f64) -> f64 {
        let grid = self.grid.unwrap_or(1.0);
        self.possible_number(((number - self.from) / grid).round())
    }
}

/// A number with so many significant digits.
fn rounded(number: f64, digits: usize) -> f64 {
    format!("{number:.*e}", digits - 1).parse().unwrap_or(number)
}

/// How many significant digits a number has.
fn digits(number: f64) -> usize {
    (1..ALL_DIGITS).find(|&digits| rounded(number, digits) == number).unwrap_or(ALL_DIGITS)
}
