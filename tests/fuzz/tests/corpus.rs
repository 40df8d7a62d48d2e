//! Regression tests: each file of the corpus must be accepted.

use std::fs;
use std::path::Path;

fn each(target: &str, try_it: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let files: Vec<_> = fs::read_dir(corpus).unwrap().collect();
    assert!(!files.is_empty());
    for file in files {
        let path = file.unwrap().path();
        println!("{}", path.display());
        try_it(&fs::read(path).unwrap());
    }
}

#[test]
fn corpus_lines_are_accepted() {
    each("line", runlog_fuzz::line);
}

#[test]
fn corpus_segments_are_accepted() {
    each("segments", runlog_fuzz::segments);
}
