//! runlog together with the programs whose logs it reads and shares: their own code writes, and
//! runlog's binary and library write and read, on real files.

mod omne_runs;
mod runtimo_runs;
mod shared_log;
mod torn;
mod ulids;
mod world;
