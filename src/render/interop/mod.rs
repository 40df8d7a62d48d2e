//! Exports in the formats of other programs.

pub(crate) mod as_omne;
pub(crate) mod as_runtimo;
