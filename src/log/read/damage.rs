//! Damaged places in a log, and a list of them with a limited length.

use std::fmt;
use std::path::PathBuf;

use crate::log::format::envelope::DamageReason;

/// One damaged place in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The segment.
    pub file: PathBuf,
    /// The number of the line in the segment, from 1.
    pub line: u64,
    /// The offset of the line in the uncompressed segment, in bytes.
    pub offset: u64,
    /// The problem with the line.
    pub reason: DamageReason,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            offset,
            reason,
        } = self;
        write!(
            f,
            "{}:{line}:{offset}: damaged line: {reason}",
            file.display()
        )
    }
}

/// The maximum number of damaged places that a [`DamageList`] keeps.
const MAX_KEPT: usize = 1_000;

/// The damaged places in a log: the first thousand, and the total number.
///
/// A log may consist only of damage, and each place takes far more memory than the byte that
/// causes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DamageList {
    first: Vec<Damage>,
    count: u64,
}

impl DamageList {
    /// Adds a damaged place.
    pub fn push(&mut self, damage: Damage) {
        self.count += 1;
        if self.first.len() < MAX_KEPT {
            self.first.push(damage);
        }
    }

    /// Adds the damaged places of another list.
    pub fn append(&mut self, other: Self) {
        let room = MAX_KEPT.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
        self.count += other.count;
    }

    /// Returns the number of damaged places.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns whether there is no damage.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the first damaged places, at most a thousand.
    pub fn first(&self) -> &[Damage] {
        &self.first
    }

    /// Returns the number of damaged places that are counted but not kept.
    pub fn omitted(&self) -> u64 {
        self.count - self.first.len() as u64
    }

    /// Returns the text that stands for the places that are counted but not kept.
    pub(crate) fn omission(&self) -> Option<String> {
        match self.omitted() {
            0 => None,
            1 => Some("1 more damaged place".to_owned()),
            n => Some(format!("{n} more damaged places")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_list_keeps_first_and_counts_all() {
        let damage = |line| Damage {
            file: PathBuf::from("x"),
            line,
            offset: line,
            reason: DamageReason::Blank,
        };
        let mut list = DamageList::default();
        (0..1_500).for_each(|line| list.push(damage(line)));
        assert_eq!((list.count(), list.omitted()), (1_500, 500));
        assert_eq!(list.first().last(), Some(&damage(999)));
        let mut other = DamageList::default();
        other.push(damage(7));
        other.append(list);
        assert_eq!((other.count(), other.first().len()), (1_501, 1_000));
        assert_eq!(other.first()[..2], [damage(7), damage(0)]);
    }
}
