//! Lines that other programs wrote: omne-cli and runtimo-core.

pub(crate) mod foreign;
pub(crate) mod runtimo_wal;
