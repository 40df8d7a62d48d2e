//! Searching the output of jobs, and events, for a regular expression.

pub(crate) mod event_search;
pub(crate) mod line_search;
pub(crate) mod output_search;

#[cfg(test)]
mod output_search_tests;
