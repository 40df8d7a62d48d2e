//! Executing a program as a shell does, with the environment that the caller gave.
//!
//! `Command` would drop variables without `=` and duplicates, sort the others, and let `sh`
//! interpret a program for another machine. It also knows the environment before the new process
//! exists, but some variables contain the pid of the process that they are for.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::{io, ptr};

use rustix::fs::{Mode, OFlags};
use rustix::path::DecInt;

/// The shell that runs a script without `#!`, as in `execvp(3)`.
const SHELL: &CStr = c"/bin/sh";
/// The number of bytes of a file that decide whether it is a script, as in bash.
const SAMPLE_BYTES: usize = 80;
/// The variables with the pid of the process that they are for (`sd_listen_fds(3)`,
/// `sd_watchdog_enabled(3)`, `systemd.exec(5)`).
const PID_VARIABLES: [&str; 3] = ["LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"];
/// The variable that identifies the process in `LISTEN_PID` a second time.
const PIDFD_VARIABLE: &str = "LISTEN_PIDFDID";
/// The maximum length of a pid with its NUL, in bytes.
const MAX_PID_BYTES: usize = 11;

unsafe extern "C" {
    /// The environment (`environ(7)`).
    static environ: *const *const c_char;
}

/// A program that is ready to be executed, which allocates nothing.
pub(crate) struct Exec {
    file: CString,
    argv: StringArray,
    /// The arguments of the shell if the file is a script without `#!`.
    shell_argv: StringArray,
    env: StringArray,
    /// The variables for the pid: the place of each one, and the length before its value.
    pid_variables: Vec<(usize, usize)>,
}

/// The strings that `execve(2)` gets.
struct StringArray {
    /// Each with its NUL.
    strings: Vec<Vec<u8>>,
    /// Room for a pointer to each one, and for the null pointer at the end.
    pointers: Vec<*const c_char>,
}

// SAFETY: each pointer is used only by the call that has just stored it.
unsafe impl Send for StringArray {}
// SAFETY: as above.
unsafe impl Sync for StringArray {}

impl Exec {
    /// Prepares the execution of `file` with the name, the arguments and the variables of a
    /// command. Variables for the process `front` are for the program instead.
    ///
    /// # Errors
    /// A string contains NUL.
    pub(crate) fn new(command: &Command, file: &Path, front: u32) -> io::Result<Self> {
        let file = CString::new(file.as_os_str().as_bytes())?;
        let name = terminated(command.get_program())?;
        let args = command.get_args().map(terminated);
        let args = args.collect::<io::Result<Vec<_>>>()?;
        let shell = [SHELL, &file].map(|word| word.to_bytes_with_nul().to_vec());
        let mut env = inherited_variables();
        for (name, value) in command.get_envs() {
            env.retain(|variable| value_at(variable, name).is_none());
            if let Some(value) = value {
                let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
                env.push(terminated(OsStr::from_bytes(&variable))?);
            }
        }
        let front = DecInt::new(front);
        let is_for_front = |variable: &[u8], name: &str| {
            let at = value_at(variable, OsStr::new(name))?;
            (variable.get(at..) == Some(front.as_bytes_with_nul())).then_some(at)
        };
        if env
            .iter()
            .any(|it| is_for_front(it, "LISTEN_PID").is_some())
        {
            env.retain(|it| value_at(it, OsStr::new(PIDFD_VARIABLE)).is_none());
        }
        let mut pid_variables = Vec::new();
        for (index, variable) in env.iter_mut().enumerate() {
            let found = PID_VARIABLES
                .iter()
                .find_map(|it| is_for_front(variable, it));
            if let Some(at) = found {
                variable.reserve(MAX_PID_BYTES);
                pid_variables.push((index, at));
            }
        }
        Ok(Self {
            file,
            shell_argv: StringArray::new(shell.into_iter().chain(args.iter().cloned()).collect()),
            argv: StringArray::new([name].into_iter().chain(args).collect()),
            env: StringArray::new(env),
            pid_variables,
        })
    }

    /// Executes the program in place of this process, whose pid is `pid`. Returns why that failed.
    ///
    /// Runs between fork and exec, so it calls only async-signal-safe functions.
    pub(crate) fn execute(&mut self, pid: u32) -> io::Error {
        let pid = DecInt::new(pid);
        for (index, at) in &self.pid_variables {
            if let Some(variable) = self.env.strings.get_mut(*index) {
                variable.truncate(*at);
                variable.extend_from_slice(pid.as_bytes_with_nul());
            }
        }
        let e = execve(&self.file, &mut self.argv, &mut self.env);
        if e.raw_os_error() != Some(libc::ENOEXEC) {
            return e;
        }
        match is_binary(&self.file) {
            Ok(false) => execve(SHELL, &mut self.shell_argv, &mut self.env),
            Ok(true) => e,
            Err(e) => e,
        }
    }
}

impl StringArray {
    fn new(strings: Vec<Vec<u8>>) -> Self {
        Self {
            pointers: Vec::with_capacity(strings.len() + 1),
            strings,
        }
    }

    /// Returns the array, which is valid until the next change.
    fn as_ptr(&mut self) -> *const *const c_char {
        let pointers = self.strings.iter().map(|string| string.as_ptr().cast());
        self.pointers.clear();
        self.pointers.extend(pointers.chain([ptr::null()]));
        self.pointers.as_ptr()
    }
}

fn execve(file: &CStr, argv: &mut StringArray, env: &mut StringArray) -> io::Error {
    // SAFETY: each string ends with NUL, and each array with a null pointer.
    unsafe {
        libc::execve(file.as_ptr(), argv.as_ptr(), env.as_ptr());
    }
    io::Error::last_os_error()
}

/// Returns whether a file that the kernel cannot execute is not a script either: it is a program
/// for another machine, or its first line contains NUL.
fn is_binary(file: &CStr) -> io::Result<bool> {
    let file = rustix::fs::open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut sample = [0; SAMPLE_BYTES];
    let n = rustix::io::read(&file, &mut sample)?;
    let sample = sample.get(..n).unwrap_or_default();
    let mut lines = sample.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    Ok(sample.starts_with(b"\x7fELF") || first.contains(&0))
}

/// Returns the variables of this process as the caller gave them, each with its NUL.
fn inherited_variables() -> Vec<Vec<u8>> {
    let mut variables = Vec::new();
    // SAFETY: nothing in this process changes its environment: an array of strings that ends with
    // a null pointer, or a null pointer.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            variables.push(CStr::from_ptr(*next).to_bytes_with_nul().to_vec());
            next = next.add(1);
        }
    }
    variables
}

fn terminated(text: &OsStr) -> io::Result<Vec<u8>> {
    Ok(CString::new(text.as_bytes())?.into_bytes_with_nul())
}

/// Returns where the value of a variable starts, if the variable has this name.
fn value_at(variable: &[u8], name: &OsStr) -> Option<usize> {
    let rest = variable.strip_prefix(name.as_bytes())?;
    rest.starts_with(b"=").then_some(name.len() + 1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Output;

    use super::*;
    use crate::job::process::signals::ChildSetup;

    /// A pid that no process has.
    const FRONT: u32 = u32::MAX;

    fn run(mut command: Command, file: &Path) -> io::Result<Output> {
        let mut exec = Exec::new(&command, file, FRONT)?;
        ChildSetup::default().apply(&mut command, move || {
            let pid = rustix::process::getpid().as_raw_nonzero().get() as u32;
            Err(exec.execute(pid))
        });
        command.output()
    }

    #[test]
    fn only_scripts_are_left_to_the_shell() {
        let tmp = tempfile::tempdir().unwrap();
        let run = |content: &[u8]| {
            let file = tmp.path().join("program");
            std::fs::write(&file, content).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
            let mut command = Command::new("name");
            command.args(["a b", ""]);
            let shown = file.display().to_string();
            run(command, &file)
                .map(|output| {
                    String::from_utf8(output.stdout)
                        .unwrap()
                        .replace(&shown, "FILE")
                })
                .map_err(|e| e.raw_os_error().unwrap())
        };
        assert_eq!(run(b"echo \"$0|$1|$2|$#\"").unwrap(), "FILE|a b||2\n");
        assert_eq!(run(b"echo 1\n\0").unwrap(), "1\n");
        assert_eq!(run(b"").unwrap(), "");
        assert_eq!(run(b"\x7fELF\nfrom another machine"), Err(libc::ENOEXEC));
        assert_eq!(run(b"\0\x01\x02bin"), Err(libc::ENOEXEC));
        assert_eq!(run(b"#!/no/such/interpreter\n"), Err(libc::ENOENT));
    }

    #[test]
    fn variables_for_the_front_are_for_the_program() {
        let front = FRONT.to_string();
        let mut command = Command::new("sh");
        let script = "echo $(($$ - LISTEN_PID)) $(($$ - SYSTEMD_EXEC_PID)) $WATCHDOG_PID \
            ${LISTEN_PIDFDID-none}";
        command.args(["-c", script]);
        command.env("LISTEN_PID", &front).env("LISTEN_PIDFDID", "7");
        command
            .env("SYSTEMD_EXEC_PID", &front)
            .env("WATCHDOG_PID", "1");
        let output = run(command, Path::new("/bin/sh")).unwrap();
        assert_eq!(output.stdout, b"0 0 1 none\n");
    }
}
