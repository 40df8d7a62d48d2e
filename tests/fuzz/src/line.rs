//! One line, both unchanged and with a valid envelope.

use runlog::log::{Envelope, RunState, apply_foreign};

use crate::framed;

/// Asserts that nothing panics, that every event of runlog has a matching checksum, and that the
/// state can be written, is short, and can be read again.
pub fn line(data: &[u8]) {
    let mut state = RunState::default();
    take(&mut state, data);
    apply_foreign(&mut state, data);
    // Random bytes never have a valid checksum.
    for seq in 0..2 {
        let framed = framed(seq, data);
        take(&mut state, &framed);
    }
    let summary = state.summary().expect("a state can be written");
    assert!(summary.get().len() <= 33 << 10, "{}", summary.get().len());
    let _: RunState = serde_json::from_str(summary.get()).expect("a summary reads back");
}

/// Applies the line if it is an event.
fn take(state: &mut RunState, line: &[u8]) {
    let Ok(env) = Envelope::parse(line) else {
        return;
    };
    let (covered, trailer) = line.split_at(line.len() - 18);
    let crc = format!(r#","crc":"{:08x}"}}"#, crc32c::crc32c(covered));
    assert_eq!(trailer, crc.as_bytes());
    assert!(line.starts_with(b"{\"v\":1,"));
    assert_eq!((env.id().len(), env.ts().len()), (26, 27));
    state.apply(&env, line);
}
