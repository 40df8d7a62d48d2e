//! The binary. All of its code is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    runlog::cli::main()
}

// The unwinder becomes part of the program, because the start takes 0.1 ms longer if it is loaded
// from libgcc_s.so.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}
