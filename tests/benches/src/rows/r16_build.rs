//! Row 16: the time to build the release of runlog, and its size.

use std::fs;
use std::path::Path;

use super::Row;
use crate::context::{Context, Scratch, cargo};
use crate::measure::Target::AtMost;
use crate::measure::{Figure, Line, Unit};
use crate::process::time;
use crate::serve::Done;

/// The package of runlog.
const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");

/// The maximum build time on two processors, in nanoseconds.
const BUILD: f64 = 120e9;
/// The maximum size of the program, in bytes.
const SIZE: f64 = 5e6;

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
        let figure = Figure(took, Unit::Time);
        let what = "clean build, cargo build --release, once";
        let size = Figure(size as f64, Unit::Memory);
        Ok(vec![
            Line::limit(what, figure, AtMost(BUILD)),
            Line::limit("size of the program", size, AtMost(SIZE)),
        ])
    }
}
