//! Shared helpers of the tests: environments, processes, fault injection and checks.

pub(crate) mod checks;
pub(crate) mod contract;
pub(crate) mod crash;
pub(crate) mod env;
pub(crate) mod process;
pub(crate) mod segments;
pub(crate) mod terminal;
