//! Contenders measured in turn, so that what the machine does meanwhile hits all alike.

use std::fmt;

use crate::serve::Done;

/// One contender: each call does the work once and tells its figure (a time, a rate).
pub type Mode<'a> = Box<dyn FnMut() -> Done<f64> + 'a>;

/// The figures of one contender, one for each round.
#[derive(Debug, Clone, Default)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// The middle one.
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The one that the part `q` of all does not exceed.
    pub fn at(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let at = (q * last as f64).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }
}

/// Runs every mode once in each round, in an order by chance: one that always came right
/// after the heaviest would find cold caches and a busy journal each time.
pub fn interleave(rounds: usize, modes: &mut [Mode<'_>]) -> Done<Vec<Samples>> {
    let mut samples = vec![Samples::default(); modes.len()];
    let mut order: Vec<usize> = (0..modes.len()).collect();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    // What is cold in the first round is not what is measured.
    for round in 0..=rounds {
        for end in (1..order.len()).rev() {
            order.swap(end, chance.below(end + 1));
        }
        for &at in &order {
            let figure = modes[at]()?;
            if round > 0 {
                samples[at].0.push(figure);
            }
        }
    }
    Ok(samples)
}

/// The same numbers in each run of the benches (xorshift64, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Measures in lockstep: operation i of every mode before operation i+1. The figure of a
/// round is the median of its `operations`.
pub fn lockstep(rounds: usize, operations: usize, modes: &mut [Mode<'_>]) -> Done<Vec<Samples>> {
    let mut samples = vec![Samples::default(); modes.len()];
    for _ in 0..rounds {
        let round = interleave(operations, modes)?;
        for (all, one) in samples.iter_mut().zip(round) {
            all.0.push(one.median());
        }
    }
    Ok(samples)
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Time,
    /// Events a second.
    Rate,
    /// Bytes a second.
    Bandwidth,
    /// Bytes.
    Memory,
    /// Just a number.
    Count,
}

/// A figure with its unit.
#[derive(Debug, Clone, Copy)]
pub struct Figure(pub f64, pub Unit);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, unit) = *self;
        match unit {
            Unit::Time if value < 1e3 => write!(f, "{value:.0} ns"),
            Unit::Time if value < 1e6 => write!(f, "{:.2} µs", value / 1e3),
            Unit::Time if value < 1e9 => write!(f, "{:.2} ms", value / 1e6),
            Unit::Time => write!(f, "{:.2} s", value / 1e9),
            Unit::Rate => write!(f, "{value:.0}/s"),
            Unit::Bandwidth => write!(f, "{:.0} MB/s", value / 1e6),
            Unit::Memory => write!(f, "{:.1} MB", value / 1e6),
            Unit::Count => write!(f, "{value}"),
        }
    }
}

/// What a value is held against.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// It has to be at most this.
    AtMost(f64),
    /// It has to be at least this.
    AtLeast(f64),
    /// It is only told.
    None,
}

/// One comparison.
#[derive(Debug)]
pub struct Line {
    /// The work.
    pub what: String,
    /// What runlog needs, or reaches.
    pub ours: Figure,
    /// Against what.
    pub against: String,
    /// What that needs, or reaches; `None` where the target is no ratio.
    pub theirs: Option<Figure>,
    /// What is held against the target: a ratio, or our own figure in its own unit.
    pub value: f64,
    /// The target.
    pub target: Target,
    /// The middle half of the same ratio, round by round.
    pub spread: Option<(f64, f64)>,
}

impl Line {
    /// How many times the peer's figure ours is: for times, where less is better.
    pub fn times(
        what: &str,
        unit: Unit,
        ours: &Samples,
        peer: (&str, &Samples),
        target: Target,
    ) -> Self {
        Self::ratio(what, unit, ours, peer, target, |ours, theirs| ours / theirs)
    }

    /// How many times ours the peer's figure is: how much faster we are, for times.
    pub fn faster(
        what: &str,
        unit: Unit,
        ours: &Samples,
        peer: (&str, &Samples),
        target: Target,
    ) -> Self {
        Self::ratio(what, unit, ours, peer, target, |ours, theirs| theirs / ours)
    }

    fn ratio(
        what: &str,
        unit: Unit,
        ours: &Samples,
        (against, theirs): (&str, &Samples),
        target: Target,
        of: impl Fn(f64, f64) -> f64,
    ) -> Self {
        let rounds = ours.0.iter().zip(&theirs.0).map(|(a, b)| of(*a, *b));
        let rounds = Samples(rounds.collect());
        Self {
            what: what.to_owned(),
            ours: Figure(ours.median(), unit),
            against: against.to_owned(),
            theirs: Some(Figure(theirs.median(), unit)),
            value: of(ours.median(), theirs.median()),
            target,
            spread: Some((rounds.at(0.25), rounds.at(0.75))),
        }
    }

    /// Our own figure against a limit, in the figure's own unit.
    pub fn limit(what: &str, ours: Figure, target: Target) -> Self {
        Self {
            what: what.to_owned(),
            ours,
            against: "–".to_owned(),
            theirs: None,
            value: ours.0,
            target,
            spread: None,
        }
    }

    /// Whether the target is met; `None` where there is none.
    pub fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtMost(limit) => Some(self.value <= limit),
            Target::AtLeast(limit) => Some(self.value >= limit),
            Target::None => None,
        }
    }
}
