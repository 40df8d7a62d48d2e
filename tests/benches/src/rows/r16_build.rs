//! Row 16: the time to build the release of runlog, and its size.

use std::fs;
use std::path::Path;

use super::Row;
use crate::context::{Context, Scratch, cargo};
use crate::measure::{Figure, Line, Target, Unit};
use crate::process::time;
use crate::serve::Done;

/// The package of runlog.
const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");

pub struct Build;

impl Row for Build {
    fn number(&self) -> u8 {
        16
    }

    fn work(&self) -> &'static str {
        "a clean build"
    }

    fn measure(&self, context: &Context, scratch: &Scratch) -> Done<Vec<Line>> {
        if context.quick {
            return Ok(Vec::new());
        }
        let target = scratch.sub("target")?;
        let mut build = cargo(Path::new("."))?;
        build.args(["build", "--quiet", "--release", "--bins", "--manifest-path"]);
        build.arg(PACKAGE).env("CARGO_TARGET_DIR", &target);
        let took = time(&mut build)?;
        let size = fs::metadata(target.join("release/runlog"))?.len();
        let told = |what: &str, value, unit| {
            let figure = Figure(value, unit);
            Line::limit(what, figure, Target::None)
        };
        Ok(vec![
            told("clean build, cargo build --release, once", took, Unit::Time),
            told("size of the program", size as f64, Unit::Memory),
        ])
    }
}
