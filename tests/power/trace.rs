//! A parser of the output of strace, call by call.
//!
//! All strings are in hex (`-xx`), so that their quotes, commas and brackets cannot be mistaken
//! for those of strace.

use std::collections::HashMap;

/// A system call that returned, or the end of a process.
pub(crate) struct Call {
    /// The thread.
    pub(crate) tid: u32,
    /// The name of the call, or `exit` for the end of a process.
    pub(crate) name: String,
    /// The text between the parentheses.
    pub(crate) args: String,
    /// The result or the exit code; `None` if the call failed.
    pub(crate) result: Option<u64>,
    /// The text after the `=`.
    pub(crate) tail: String,
    /// The number of calls that had returned when it started.
    pub(crate) begun: usize,
}

/// Returns the calls in the order in which they returned.
pub(crate) fn calls(trace: &str) -> Vec<Call> {
    let mut done: Vec<Call> = Vec::new();
    let mut begun: HashMap<u32, (String, usize)> = HashMap::new();
    for line in trace.lines() {
        let (tid, rest) = line.split_once(' ').unwrap();
        let (tid, rest) = (tid.parse().unwrap(), rest.trim_start());
        if let Some(code) = rest.strip_prefix("+++ exited with ") {
            let code = code.split(' ').next().unwrap().parse().unwrap();
            done.push(Call {
                tid,
                name: "exit".to_owned(),
                args: String::new(),
                result: Some(code),
                tail: String::new(),
                begun: done.len(),
            });
        } else if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(tid, (start.to_owned(), done.len()));
        } else if rest.starts_with("<... ") {
            let (_, end) = rest.split_once(" resumed>").unwrap();
            if let Some((start, at)) = begun.remove(&tid) {
                done.extend(call(tid, &format!("{start}{end}"), at));
            }
        } else if !rest.starts_with(['+', '-']) {
            done.extend(call(tid, rest, done.len()));
        }
    }
    done
}

fn call(tid: u32, text: &str, begun: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (args, tail) = rest.rsplit_once(") ").or_else(|| rest.rsplit_once(')'))?;
    let tail = tail.trim_start().strip_prefix("= ")?;
    let number: String = tail.chars().take_while(char::is_ascii_digit).collect();
    Some(Call {
        tid,
        name: name.to_owned(),
        args: args.to_owned(),
        result: number.parse().ok(),
        tail: tail.to_owned(),
        begun,
    })
}

impl Call {
    /// Returns the strings among the arguments.
    pub(crate) fn strings(&self) -> Vec<Vec<u8>> {
        let parts = self.args.split('"');
        parts.skip(1).step_by(2).map(unhex).collect()
    }

    /// Returns the paths of the descriptors among the arguments, in order; `None` for a removed
    /// file.
    pub(crate) fn paths(&self) -> Vec<Option<String>> {
        paths(&self.args)
    }

    /// Returns the path of the descriptor that the call returned.
    pub(crate) fn opened(&self) -> Option<String> {
        paths(&self.tail).pop().flatten()
    }

    /// Returns the thread or process that the call created.
    pub(crate) fn child(&self) -> Option<u32> {
        let made = ["clone", "clone3", "vfork", "fork"].contains(&self.name.as_str());
        let child = self.result.filter(|_| made)?;
        Some(u32::try_from(child).unwrap())
    }

    /// Returns the n-th argument as a number.
    pub(crate) fn number(&self, at: usize) -> u64 {
        self.args.split(", ").nth(at).unwrap().parse().unwrap()
    }
}

/// The parents of threads and processes.
///
/// They are collected before the first call is examined, because a call of a child may return
/// before the call that created the child.
#[derive(Default)]
pub(crate) struct Family {
    /// The thread of the same process that created each thread.
    threads: HashMap<u32, u32>,
    /// The thread that created each process.
    processes: HashMap<u32, u32>,
}

impl Family {
    pub(crate) fn new(calls: &[Call]) -> Self {
        let mut family = Self::default();
        for call in calls {
            let is_thread = call.args.contains("CLONE_THREAD");
            let kind = if is_thread {
                &mut family.threads
            } else {
                &mut family.processes
            };
            kind.extend(call.child().map(|child| (child, call.tid)));
        }
        family
    }

    /// Returns the process of a thread.
    pub(crate) fn leader(&self, mut thread: u32) -> u32 {
        while let Some(other) = self.threads.get(&thread) {
            thread = *other;
        }
        thread
    }

    /// Returns the parent of a process.
    pub(crate) fn parent(&self, process: u32) -> Option<u32> {
        let thread = self.processes.get(&process)?;
        Some(self.leader(*thread))
    }
}

fn paths(text: &str) -> Vec<Option<String>> {
    let parts = text.split('<').skip(1);
    let mut found = Vec::new();
    for part in parts {
        if let Some((path, behind)) = part.split_once('>') {
            let path = String::from_utf8(unhex(path)).unwrap();
            found.push((!behind.starts_with("(deleted)")).then_some(path));
        }
    }
    found
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.split("\\x").skip(1);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}
