//! Running a command without a log, in place of this process, so that nothing supervises it.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use rustix::process::set_child_subreaper;

use super::attempts::command;
use super::spawn_error::spawn_error;
use crate::job::process::signals::ChildSetup;
use crate::job::spec::job_spec::JobSpec;
use crate::job::spec::validate::validate;
use crate::log::format::payload::JobError;

/// Replaces this process with the command of a job, which inherits everything that this process
/// has inherited. Guards check the free space of `volume`. Returns why that failed.
pub fn exec_unlogged(spec: &JobSpec, volume: &Path, path_variable: Option<&OsStr>) -> JobError {
    let program = match validate(spec, volume, path_variable) {
        Ok(program) => program,
        Err(e) => return e,
    };
    // Otherwise it would remain set.
    set_child_subreaper(None).ok();
    let mut command = command(spec, &program);
    command.envs(spec.env.iter().map(|(k, v)| (k, v)));
    let setup = ChildSetup {
        inherits_stdin: true,
        inherits_output: true,
    };
    setup.apply(&mut command, || Ok(()));
    let e = command.exec();
    let name = spec.argv.first().cloned().unwrap_or_default();
    spawn_error(&name.to_string_lossy(), &program, &e)
}
