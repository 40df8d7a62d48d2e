//! Detaching from the terminal: the job is supervised in a separate session.

use std::fs::File;
use std::io;
use std::io::{Read, Write};

use crate::job::capture::stream;
use crate::job::process::fork::ForkResult;
use crate::job::process::{fork, inherited};

/// The byte that ends the report to the caller. Later processes may keep the channel open, so
/// its end means nothing.
pub const END_OF_REPORT: u8 = 0;

/// The side of the fork.
#[derive(Debug)]
pub enum Detached {
    /// The caller's process, with the report that it received.
    Caller(String),
    /// The front, in its own session. It and the supervisor report on the channel.
    Front(File),
}

/// Forks the front. In the caller's process, this returns when the report is complete, or when
/// all processes that could complete it have died. No thread may have been started before.
///
/// # Errors
/// The system has no more processes, sessions or descriptors.
pub fn detach() -> io::Result<Detached> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match fork::fork()? {
        ForkResult::Parent(_) => {
            drop(write);
            Ok(Detached::Caller(read_report(File::from(read))?))
        }
        ForkResult::Child => {
            drop(read);
            let mut channel = File::from(write);
            match leave() {
                Ok(()) => Ok(Detached::Front(channel)),
                Err(e) => {
                    drop(write!(
                        channel,
                        "125 error: cannot leave the terminal: {e}\0"
                    ));
                    Err(e)
                }
            }
        }
    }
}

fn read_report(channel: File) -> io::Result<String> {
    let mut report = Vec::new();
    for byte in io::BufReader::new(channel).bytes() {
        match byte? {
            END_OF_REPORT => break,
            byte => report.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&report).into_owned())
}

/// Starts a session, and closes all inherited descriptors, including those that hold locks.
fn leave() -> io::Result<()> {
    rustix::process::setsid()?;
    inherited::close_descriptors();
    let null = stream::null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
