#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runlog_fuzz::segments(data));
