//! Leaving the terminal: the supervisor goes on in a session of its own.

use std::fs::File;
use std::io;
use std::io::{Read, Write};

use crate::job::capture::stream;
use crate::job::process::fork;
use crate::job::process::fork::ForkResult;

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Detached {
    /// The caller's process: what the supervisor said before it closed the channel.
    Caller(String),
    /// The supervisor, in a session of its own; it reports on the channel.
    Supervisor(File),
}

/// Forks the supervisor off. In the caller's process this returns when the supervisor
/// has closed the channel, or died. No thread may have been started before.
///
/// # Errors
/// There can be no further process, session or descriptor.
pub fn detach() -> io::Result<Detached> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match fork::fork()? {
        ForkResult::Parent => {
            drop(write);
            let mut said = String::new();
            File::from(read).read_to_string(&mut said)?;
            Ok(Detached::Caller(said))
        }
        ForkResult::Child => {
            drop(read);
            let mut channel = File::from(write);
            match leave() {
                Ok(()) => Ok(Detached::Supervisor(channel)),
                Err(e) => {
                    drop(channel.write_all(b"125 cannot leave the terminal"));
                    Err(e)
                }
            }
        }
    }
}

/// A session of its own, and nothing of the caller's streams kept open.
fn leave() -> io::Result<()> {
    rustix::process::setsid()?;
    let null = stream::null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
