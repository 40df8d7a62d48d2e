//! Masking of secrets.

pub(crate) mod masker;
pub(crate) mod stream_masker;
