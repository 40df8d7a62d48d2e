//! Lines that other programs wrote: omne-cli and runtimo-core.

pub(crate) mod foreign;
