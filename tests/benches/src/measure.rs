//! Measuring contenders in turn, so that other work of the machine affects all of them alike.

use std::fmt;

use crate::serve::Done;

/// One contender: each call does the work once and returns its figure (a time or a rate).
pub type Mode<'a> = Box<dyn FnMut() -> Done<f64> + 'a>;

/// The figures of one contender, one for each round.
#[derive(Debug, Clone, Default)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// Returns the median.
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// Returns the quantile `q`.
    pub fn at(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let at = (q * last as f64).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }
}

/// Runs every mode once in each round, in random order: a mode that always followed the heaviest
/// one would find cold caches and a busy journal each time.
pub fn interleave(rounds: usize, modes: &mut [Mode<'_>]) -> Done<Vec<Samples>> {
    let mut samples = vec![Samples::default(); modes.len()];
    let mut order: Vec<usize> = (0..modes.len()).collect();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    // The first round only warms up and is not measured.
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

/// A generator of the same random numbers in each run (xorshift64, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Measures in lockstep: operation i of every mode before operation i+1. The figure of a round
/// is the median of its `operations`.
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

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Time,
    /// Events per second.
    Rate,
    /// Bytes per second.
    Bandwidth,
    /// Bytes.
    Memory,
    /// A plain number.
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

/// The target of a value.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// The value must be at most this.
    AtMost(f64),
    /// The value must be at least this.
    AtLeast(f64),
    /// The value is only reported.
    None,
}

/// One comparison.
#[derive(Debug)]
pub struct Line {
    /// The work.
    pub what: String,
    /// The figure of runlog.
    pub ours: Figure,
    /// The name of the peer.
    pub against: String,
    /// The figure of the peer; `None` if the target is not a ratio.
    pub theirs: Option<Figure>,
    /// The value to compare with the target: a ratio, or runlog's own figure in its unit.
    pub value: f64,
    /// The target.
    pub target: Target,
    /// The interquartile range of the ratio over the rounds.
    pub spread: Option<(f64, f64)>,
}

impl Line {
    /// Compares as a multiple of the peer's figure. For times, less is better.
    pub fn times(
        what: &str,
        unit: Unit,
        ours: &Samples,
        peer: (&str, &Samples),
        target: Target,
    ) -> Self {
        Self::ratio(what, unit, ours, peer, target, |ours, theirs| ours / theirs)
    }

    /// Compares as a fraction of the peer's figure: for times, how much faster runlog is.
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

    /// Compares runlog's own figure with a limit, in the figure's unit.
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

    /// Returns whether the target is met; `None` if there is none.
    pub fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtMost(limit) => Some(self.value <= limit),
            Target::AtLeast(limit) => Some(self.value >= limit),
            Target::None => None,
        }
    }
}
