//! Properties that hold for any bytes. Each function takes the bytes of a fuzzer, and panics if
//! a property does not hold.
//!
//! To fuzz each target for some minutes, run this in the directory of the project:
//!
//! ```sh
//! cargo fuzz run --fuzz-dir tests/fuzz -s none --features fuzz line -- -max_total_time=300
//! cargo fuzz run --fuzz-dir tests/fuzz -s none --features fuzz segments -- -max_total_time=300
//! ```

mod line;
mod segments;

pub use line::line;
pub use segments::segments;

/// Returns a line of runlog, without its `\n`, with a valid envelope and checksum.
fn framed(seq: u64, rest: &[u8]) -> Vec<u8> {
    let frame = format!(
        r#"{{"v":1,"seq":{seq},"id":"01m80eeqmy{seq:016}","ts":"2026-11-22T01:38:12.768032Z","#
    );
    let mut line = [frame.as_bytes(), rest].concat();
    let crc = crc32c::crc32c(&line);
    line.extend_from_slice(format!(r#","crc":"{crc:08x}"}}"#).as_bytes());
    line
}
