//! Running a command without a log, in place of this process, so that nothing supervises it.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use rustix::process::set_child_subreaper;

use super::attempts::program;
use super::child::Program;
use super::spawn_error::spawn_error;
use crate::job::process::exec::Exec;
use crate::job::process::signals::ChildSetup;
use crate::job::spec::job_spec::JobSpec;
use crate::job::spec::validate::validate;
use crate::log::format::payload::JobError;

/// Replaces this process with the command of a job, which inherits everything that this process
/// has inherited. Guards check the free space of `volume`. Returns why that failed.
pub fn exec_unlogged(spec: &JobSpec, volume: &Path, path_variable: Option<&OsStr>) -> JobError {
    let file = match validate(spec, volume, path_variable) {
        Ok(file) => file,
        Err(e) => return e,
    };
    // Otherwise it would remain set.
    set_child_subreaper(None).ok();
    let Program { mut command, .. } = program(spec, &file);
    command.envs(spec.env.iter().map(|(k, v)| (k, v)));
    let setup = ChildSetup {
        inherits_stdin: true,
        inherits_output: true,
    };
    let own = std::process::id();
    let e = match Exec::new(&command, &file, own) {
        Ok(mut exec) => {
            setup.apply(&mut command, move || Err(exec.execute(own)));
            command.exec()
        }
        Err(e) => e,
    };
    let name = spec.argv.first().cloned().unwrap_or_default();
    spawn_error(&name.to_string_lossy(), &file, &e)
}
