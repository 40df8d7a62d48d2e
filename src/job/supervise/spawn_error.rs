//! The error of a command that could not be executed, in the words of a shell.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::Access;

use crate::log::format::payload::{ErrorKind, JobError};

/// The error about a script with a missing interpreter.
pub const MISSING_INTERPRETER: &str = "interpreter not found:";
/// The error about a program with a missing loader, which the program names in its header.
pub const MISSING_LOADER: &str = "loader not found:";
/// The error about a file whose interpreter cannot be executed.
pub const UNUSABLE_INTERPRETER: &str = "its interpreter";
/// The error about a program that is still being written.
pub const BUSY_PROGRAM: &str = "another process has the file open for writing";
/// The error about a file that is neither a program for this machine nor a script.
pub const FOREIGN_PROGRAM: &str = "Exec format error";
/// The error about a command that is longer than the system allows.
pub const TOO_LONG: &str = "Argument list too long";

/// The maximum length of the first line of a script, in bytes.
const MAX_SHEBANG_BYTES: usize = 256;
/// The type of the part of an ELF file that names the loader (`elf(5)`).
const PT_INTERP: u64 = 3;
/// The maximum length of the name of a loader, in bytes.
const MAX_LOADER_BYTES: u64 = 4096;

/// A program that executes a file in place of the kernel.
enum Interpreter {
    /// That of a script.
    Script(String),
    /// That of a program with shared libraries.
    Loader(String),
}

/// Returns the error of a failed spawn of a file that was found.
pub(crate) fn spawn_error(name: &str, program: &Path, e: &io::Error) -> JobError {
    let code = e.raw_os_error();
    let kind = match code {
        Some(libc::ENOENT) => ErrorKind::NotFound,
        // runlog itself lacks a resource.
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => ErrorKind::ResourceLimit,
        _ => ErrorKind::NotExecutable,
    };
    let is_about_a_file = matches!(
        code,
        Some(libc::ENOENT | libc::EACCES | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG)
    );
    let is_about_another = is_about_a_file && rustix::fs::access(program, Access::EXEC_OK).is_ok();
    let why = match interpreter(program).filter(|_| is_about_another) {
        // A carriage return before the end of the line belongs to the name.
        Some(Interpreter::Script(path)) if kind == ErrorKind::NotFound => {
            format!("{MISSING_INTERPRETER} `{}`", path.escape_debug())
        }
        Some(Interpreter::Loader(path)) if kind == ErrorKind::NotFound => {
            format!("{MISSING_LOADER} `{}`", path.escape_debug())
        }
        Some(Interpreter::Script(path) | Interpreter::Loader(path)) => {
            format!("{UNUSABLE_INTERPRETER} `{}`: {e}", path.escape_debug())
        }
        None if code == Some(libc::ETXTBSY) => BUSY_PROGRAM.to_owned(),
        None => e.to_string(),
    };
    let message = format!("cannot execute {name}: {why}");
    JobError { kind, message }
}

/// Returns the program that a file names for its execution (`execve(2)`).
fn interpreter(program: &Path) -> Option<Interpreter> {
    let file = File::open(program).ok()?;
    let mut start = [0; MAX_SHEBANG_BYTES];
    let n = file.read_at(&mut start, 0).ok()?;
    let start = start.get(..n)?;
    let Some(line) = start.strip_prefix(b"#!") else {
        return loader(&file, start).map(Interpreter::Loader);
    };
    let line = line.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    words.next().map(str::to_owned).map(Interpreter::Script)
}

/// Returns the loader that a little-endian ELF file names, from its first bytes.
fn loader(file: &File, start: &[u8]) -> Option<String> {
    // The places in the header, and in the description of a part: an address has 4 or 8 bytes.
    let (size, parts_at, parts, offset_at, len_at) = match start.get(..6)? {
        b"\x7fELF\x01\x01" => (4, 28, 42, 4, 16),
        b"\x7fELF\x02\x01" => (8, 32, 54, 8, 32),
        _ => return None,
    };
    let first = number(start, parts_at, size)?;
    let (part_size, count) = (number(start, parts, 2)?, number(start, parts + 2, 2)?);
    for n in 0..count {
        let mut part = vec![0; part_size as usize];
        file.read_exact_at(&mut part, first.checked_add(n * part_size)?)
            .ok()?;
        if number(&part, 0, 4)? == PT_INTERP {
            let len = number(&part, len_at, size)?.min(MAX_LOADER_BYTES);
            let mut name = vec![0; len as usize];
            file.read_exact_at(&mut name, number(&part, offset_at, size)?)
                .ok()?;
            let name = name.split(|byte| *byte == 0).next()?;
            return Some(String::from_utf8_lossy(name).into_owned());
        }
    }
    None
}

/// Returns a little-endian number.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + size)?.iter().rev();
    Some(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Returns the message for a file with this content.
    fn message(content: &[u8], code: i32) -> String {
        let tmp = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(tmp.path(), content).unwrap();
        std::fs::set_permissions(tmp.path(), PermissionsExt::from_mode(0o755)).unwrap();
        spawn_error("job", tmp.path(), &io::Error::from_raw_os_error(code)).message
    }

    /// Returns an ELF file for an address size, with a loader as its second part.
    fn elf(class: u8, size: usize, [parts_at, parts, offset_at, len_at]: [usize; 4]) -> Vec<u8> {
        let mut file = vec![0; 300];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0x7f, b'E', b'L', b'F', class, 1]);
        put(parts_at, &100_u64.to_le_bytes()[..size]);
        put(parts, &[60, 0, 2, 0]);
        put(160, &[3]);
        put(160 + offset_at, &250_u64.to_le_bytes()[..size]);
        put(160 + len_at, &12_u64.to_le_bytes()[..size]);
        put(250, b"/lib/ld.so.9\0");
        file
    }

    #[test]
    fn missing_loader_is_named() {
        let expected = "cannot execute job: loader not found: `/lib/ld.so.9`";
        let layouts = [(1, 4, [28, 42, 4, 16]), (2, 8, [32, 54, 8, 32])];
        for (class, size, places) in layouts {
            let file = elf(class, size, places);
            assert_eq!(message(&file, libc::ENOENT), expected);
            // A damaged file has none.
            for len in 0..250 {
                assert!(message(&file[..len], libc::ENOENT).starts_with("cannot execute job: No"));
            }
        }
    }

    #[test]
    fn unusable_interpreter_is_named() {
        assert_eq!(
            message(b"#! /etc/passwd -x\n", libc::EACCES),
            "cannot execute job: its interpreter `/etc/passwd`: Permission denied (os error 13)"
        );
        assert_eq!(
            message(b"#!/bin/sh\n", libc::E2BIG),
            "cannot execute job: Argument list too long (os error 7)"
        );
    }
}
