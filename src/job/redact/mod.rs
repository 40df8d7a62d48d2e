//! Masking of secrets in everything that runlog records.

pub(crate) mod literal_set;
pub(crate) mod mask_json;
pub(crate) mod matchers;
pub(crate) mod redaction;
pub(crate) mod redactor;
#[cfg(test)]
mod redactor_tests;
pub(crate) mod secret_match;
pub(crate) mod secret_variables;
pub(crate) mod stream_masker;
#[cfg(test)]
mod stream_masker_tests;
