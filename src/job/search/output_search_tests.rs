//! Properties of a search in output: the found lines, and their positions.

use std::fs;

use proptest::prelude::*;

use super::line_search::{LineSearch, PatternCase, SearchItem, SearchOptions};
use super::output_search::{OutputSelection, search_output};
use crate::log::StreamId;
use crate::volume::Dir;

/// The maximum length of a found line, in bytes.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Returns a line with this length and no line end. Each has different bytes.
fn line(number: usize, len: usize) -> Vec<u8> {
    let digits = b"abcdefghijklmnopqrstuvwxyz";
    (number..)
        .map(|at| digits[at % digits.len()])
        .take(len)
        .collect()
}

/// Lines of any length, and ranges of them with their streams.
fn output() -> impl Strategy<Value = (Vec<u8>, Vec<(usize, bool)>)> {
    let lengths = prop::sample::select(vec![0, 1, 7, 65_535, 65_536, 65_537, 200_000]);
    let ranges = prop::collection::vec((1_usize..100_000, any::<bool>()), 1..20);
    (prop::collection::vec(lengths, 1..8), ranges).prop_map(|(lengths, ranges)| {
        let lines = lengths.iter().enumerate().map(|(at, len)| line(at, *len));
        let text = lines.collect::<Vec<_>>().join(&b'\n');
        let mut end = 0;
        let mut ends = Vec::new();
        for (len, is_stderr) in ranges {
            end = (end + len).min(text.len());
            ends.push((end, is_stderr));
        }
        (text, ends)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_line_is_found_at_its_place(
        (text, ranges) in output(),
        stream in prop::sample::select(vec![None, Some(StreamId::Stdout)]),
    ) {
        let tmp = tempfile::tempdir().unwrap();
        fs::create_dir(tmp.path().join("jobs")).unwrap();
        fs::write(tmp.path().join("jobs/it.out"), &text).unwrap();
        let name = |is_stderr| if is_stderr { "stderr" } else { "stdout" };
        let record = |(end, is_stderr): &(usize, bool)| {
            format!("{{\"end\":{end},\"stream\":\"{}\"}}\n", name(*is_stderr))
        };
        let index: String = ranges.iter().map(record).collect();
        fs::write(tmp.path().join("jobs/it.out.idx"), index).unwrap();
        let mut search = LineSearch::new(SearchOptions {
            pattern: "",
            case: PatternCase::Sensitive,
            before: 0,
            after: 0,
        })
        .unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        let selection = OutputSelection { stream, ..OutputSelection::default() };
        let stream_at = |at: usize| {
            let range = ranges.iter().find(|(end, _)| at < *end);
            range.map(|(_, is_stderr)| name(*is_stderr))
        };
        let mut found = Vec::new();
        search_output(&dir, &"it".parse().unwrap(), selection, &mut search, &mut |item| {
            let SearchItem::Line(line) = item else { return Ok(()) };
            assert!(line.bytes.len() <= MAX_LINE_BYTES);
            let at = line.origin.offset as usize;
            if let Some(first) = line.bytes.first() {
                assert_eq!(text.get(at), Some(first));
                assert_eq!(line.origin.stream, stream_at(at));
            }
            if stream.is_none() {
                assert_eq!(text.get(at..at + line.bytes.len()), Some(line.bytes));
            }
            found.extend_from_slice(line.bytes);
            Ok(())
        })
        .unwrap();
        let is_selected = |at: usize| stream.is_none() || stream_at(at) == Some("stdout");
        let expected = text.iter().enumerate().filter(|(at, byte)| is_selected(*at) && **byte != b'\n');
        let expected: Vec<u8> = expected.map(|(_, byte)| *byte).collect();
        prop_assert!(found == expected);
    }
}
