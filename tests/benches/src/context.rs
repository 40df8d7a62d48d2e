//! The context of a benchmark: the amount of work, the programs, and a place for its data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::time;
use crate::serve::Done;

/// The programs of this package besides this one.
const PROGRAMS: [&str; 4] = ["runlog", "omne", "runtimo-old", "runtimo-new"];

/// The directory for copies of the programs.
const INSTALLED: &str = "programs";

/// The context of a benchmark.
pub struct Context {
    /// Whether to do less of everything.
    pub quick: bool,
    bin: PathBuf,
    data: Scratch,
}

impl Context {
    pub fn new(quick: bool, data: Option<&Path>) -> Done<Self> {
        let exe = std::env::current_exe()?;
        let bin = exe.parent().ok_or("no directory of programs")?.to_owned();
        build_programs(&bin)?;
        let beside = bin.join("bench-data");
        let data = data.unwrap_or(&beside);
        let name = format!("runlog-bench-{}", std::process::id());
        let data = Scratch::new(data.join(name))?;
        // Programs are installed, because the pages of a file that a linker just wrote are small,
        // and take longer to map.
        let installed = data.sub(INSTALLED)?;
        for program in PROGRAMS {
            fs::copy(bin.join(program), installed.join(program))?;
        }
        Ok(Self { quick, bin, data })
    }

    /// Returns the directory for the data of all rows.
    pub fn data(&self) -> &Path {
        &self.data.0
    }

    /// Returns a directory for one row. It is removed with all of its contents when the row is
    /// done.
    pub fn scratch(&self, row: u8) -> Done<Scratch> {
        Scratch::new(self.data.0.join(format!("row-{row}")))
    }

    /// Waits until the disk has finished the writes of a row, so that they do not slow down the
    /// next one.
    pub fn settle(&self) -> Done {
        time(Command::new("sync").arg("-f").arg(self.data()))?;
        Ok(())
    }

    /// Returns one of the programs of this package.
    pub fn program(&self, name: &str) -> PathBuf {
        self.data().join(INSTALLED).join(name)
    }

    /// Returns `full`, or `quick` if there is less to do.
    pub fn n<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Returns the number of rounds of every benchmark.
    pub fn rounds(&self) -> usize {
        self.n(9, 3)
    }

    /// Returns the program `runtimo` of 0.10.3, installed once next to the other programs.
    pub fn runtimo(&self) -> Done<PathBuf> {
        let root = self.bin.join("runtimo-cli-0.10.3");
        let program = root.join("bin/runtimo");
        if !program.exists() {
            let mut install = cargo(&self.bin)?;
            install.args([
                "install",
                "runtimo-cli",
                "--version",
                "=0.10.3",
                "--locked",
                "--root",
            ]);
            let installed = install.arg(&root).status()?;
            if !installed.success() {
                return Err("cannot install runtimo".into());
            }
        }
        Ok(program)
    }
}

/// Builds the other programs: `cargo run` builds only the program that it runs.
fn build_programs(bin: &Path) -> Done {
    let mut build = cargo(bin)?;
    build.args(["build", "--quiet", "--bins", "--manifest-path"]);
    build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if build.status()?.success() {
        return Ok(());
    }
    Err("the programs to be measured cannot be built".into())
}

/// Returns cargo with the target directory of this build. It does not get the variables that
/// `cargo run` set for this package: build scripts that read them would run again, and this
/// program would be replaced.
pub fn cargo(bin: &Path) -> Done<Command> {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name.as_ref());
        }
    }
    cargo.env_remove("LD_LIBRARY_PATH");
    let target = bin.parent().ok_or("no directory of builds")?;
    cargo.env("CARGO_TARGET_DIR", target);
    Ok(cargo)
}

/// A directory that is removed when it is dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    fn new(path: PathBuf) -> Done<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Creates a directory in it.
    pub fn sub(&self, name: &str) -> Done<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Returns the path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
