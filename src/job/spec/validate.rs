//! The validation of a job, before any part of it runs.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::job_spec::{Guards, JobSpec};
use crate::log::format::payload::{ErrorKind, JobError};
use crate::telemetry;
use crate::telemetry::Dependency;

/// What is said of a command that is a directory.
pub const DIRECTORY: &str = "a directory";
/// What is said of a command that is a file without the permission.
pub const NOT_EXECUTABLE: &str = "is not executable";

/// The search path without a `PATH` variable, as in `execvp(3)`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// The start of the error about a required probe.
pub const REQUIRED_PROBE: &str = "required probe";

/// Validates the job and returns the file to execute, relative to the job's directory.
///
/// # Errors
/// The reason why the job must not be started, for its `job_failed`.
pub(crate) fn validate(
    spec: &JobSpec,
    volume: &Path,
    path_variable: Option<&OsStr>,
) -> Result<PathBuf, JobError> {
    if let Some(dir) = &spec.chdir {
        check_directory(dir, &spec.cwd)?;
    }
    guard(&spec.guards, volume)?;
    check_required(spec)?;
    let set = spec.env.iter().rev().find(|(key, _)| key == "PATH");
    let search = match set {
        Some((_, value)) => OsString::from(value),
        None => path_variable.unwrap_or(OsStr::new(DEFAULT_PATH)).to_owned(),
    };
    let program = spec
        .argv
        .first()
        .map(OsString::as_os_str)
        .unwrap_or_default();
    resolve(program, spec.start_dir(), &search)
}

fn check_directory(dir: &Path, name: &Path) -> Result<(), JobError> {
    let shown = name.display();
    let refuse = |message| Err(error(ErrorKind::Validation, message));
    match dir.metadata() {
        Ok(meta) if !meta.is_dir() => {
            return refuse(format!("working directory `{shown}` is not a directory"));
        }
        Ok(_) => {}
        Err(e) => return refuse(format!("cannot enter working directory `{shown}`: {e}")),
    }
    match rustix::fs::access(dir, Access::EXEC_OK) {
        Ok(()) => Ok(()),
        Err(e) => refuse(format!("cannot enter working directory `{shown}`: {e}")),
    }
}

fn error(kind: ErrorKind, message: String) -> JobError {
    JobError { kind, message }
}

fn guard(guards: &Guards, volume: &Path) -> Result<(), JobError> {
    let refuse = |message| Err(error(ErrorKind::ResourceLimit, message));
    if let Some(needed) = guards.free_disk_bytes {
        match telemetry::free_disk_bytes(volume) {
            Ok(free) if free < needed => {
                return refuse(format!(
                    "only {free} bytes are free on the disk of `{}`, but {needed} are required",
                    volume.display()
                ));
            }
            Ok(_) => {}
            Err(e) => return refuse(format!("cannot determine the free disk space: {e}")),
        }
    }
    if let Some(needed) = guards.free_mem_bytes {
        match telemetry::available_mem_bytes() {
            Some(free) if free < needed => {
                return refuse(format!(
                    "only {free} bytes of memory are available, but {needed} are required"
                ));
            }
            Some(_) => {}
            None => return refuse("cannot determine the available memory".to_owned()),
        }
    }
    if let Some(limit) = guards.max_load {
        match telemetry::load_1m() {
            Some(load) if load > limit => {
                return refuse(format!(
                    "the load average is {load}, but at most {limit} is allowed"
                ));
            }
            Some(_) => {}
            None => return refuse("cannot determine the load average".to_owned()),
        }
    }
    Ok(())
}

fn check_required(spec: &JobSpec) -> Result<(), JobError> {
    let is_required = |it: &&Dependency| spec.require.contains(&it.name);
    for it in spec.dependencies.iter().filter(is_required) {
        let what = match it.target.read() {
            Some(true) => continue,
            Some(false) => "is false",
            None => "cannot be determined",
        };
        let message = format!("{REQUIRED_PROBE} {} {what}: {}", it.name, it.spec);
        return Err(error(ErrorKind::Validation, spec.masked(&message)));
    }
    Ok(())
}

/// Finds the file of a command that runs in `cwd`, the way a shell does. The result is spelled
/// as a shell would execute it, because a script sees it as its `$0`.
fn resolve(program: &OsStr, cwd: &Path, search: &OsStr) -> Result<PathBuf, JobError> {
    let shown = program.to_string_lossy();
    if program.is_empty() {
        return Err(error(
            ErrorKind::NotFound,
            "the command is empty".to_owned(),
        ));
    }
    let is_path = program.as_bytes().contains(&b'/');
    let candidates: Vec<PathBuf> = if is_path {
        vec![PathBuf::from(program)]
    } else {
        std::env::split_paths(search)
            .map(|dir| {
                // An empty entry means the current directory, as in sh.
                let is_empty = dir.as_os_str().is_empty();
                let dir = if is_empty { Path::new(".") } else { &dir };
                dir.join(program)
            })
            .collect()
    };
    let mut found_file = false;
    for path in candidates {
        let file = cwd.join(&path);
        let meta = match file.metadata() {
            Ok(meta) => meta,
            Err(e) if is_path && e.kind() != io::ErrorKind::NotFound => {
                let message = format!("cannot execute {shown}: {e}");
                return Err(error(ErrorKind::NotExecutable, message));
            }
            Err(e) => {
                found_file |= e.kind() == io::ErrorKind::PermissionDenied;
                continue;
            }
        };
        if meta.is_dir() {
            if is_path {
                let message = format!("`{shown}` is {DIRECTORY}");
                return Err(error(ErrorKind::NotExecutable, message));
            }
            continue;
        }
        if rustix::fs::access(&file, Access::EXEC_OK).is_ok() {
            return Ok(path);
        }
        found_file = true;
    }
    Err(if found_file {
        error(
            ErrorKind::NotExecutable,
            format!("`{shown}` {NOT_EXECUTABLE}"),
        )
    } else {
        error(ErrorKind::NotFound, format!("command not found: `{shown}`"))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn commands_resolve_as_in_a_shell() {
        let tmp = tempfile::tempdir().unwrap();
        let file = |name: &str, mode| {
            let path = tmp.path().join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            path
        };
        let good = file("good", 0o755);
        file("plain", 0o644);
        std::fs::create_dir(tmp.path().join("dir")).unwrap();
        let find = |name: &str, search: &str| resolve(name.as_ref(), tmp.path(), search.as_ref());
        let kind = |name: &str| find(name, "/nowhere:").unwrap_err().kind;

        let spelling = |name, search| find(name, search).unwrap().into_os_string();
        assert_eq!(spelling("./good", ""), "./good");
        assert_eq!(find(good.to_str().unwrap(), "").unwrap(), good);
        assert_eq!(find("good", tmp.path().to_str().unwrap()).unwrap(), good);
        assert_eq!(spelling("good", "/nowhere:"), "./good");
        assert_eq!(kind("missing"), ErrorKind::NotFound);
        assert_eq!(kind("./missing"), ErrorKind::NotFound);
        assert_eq!(kind("plain"), ErrorKind::NotExecutable);
        assert_eq!(kind("./plain"), ErrorKind::NotExecutable);
        let dir = find("./dir", "/nowhere:").unwrap_err();
        assert_eq!(dir.kind, ErrorKind::NotExecutable);
        assert_eq!(dir.message, "`./dir` is a directory");
        assert_eq!(kind(""), ErrorKind::NotFound);
        std::os::unix::fs::symlink("loop", tmp.path().join("loop")).unwrap();
        let long = format!("./{}", "a".repeat(300));
        for (name, why) in [
            ("./loop", "Too many levels of symbolic links"),
            ("./good/x", "Not a directory"),
            (&long, "File name too long"),
        ] {
            let found = find(name, "").unwrap_err();
            assert_eq!(found.kind, ErrorKind::NotExecutable);
            let start = format!("cannot execute {name}: {why}");
            assert!(found.message.starts_with(&start), "{}", found.message);
        }
        assert_eq!(kind("loop"), ErrorKind::NotFound);
    }
}
