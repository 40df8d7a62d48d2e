//! A disk with a history: the changes in order, and when each was synced. It yields every image
//! that a power cut can leave.
//!
//! It promises only what POSIX promises: a sync of a file makes its bytes durable but not its
//! name, and a sync of a directory makes its entries durable but nothing below them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

/// A file or directory, independent of its name.
pub(crate) type Node = usize;

/// The root of the volume.
pub(crate) const ROOT: Node = 0;

/// The content of a disk: paths below the root with the bytes of files; `None` for directories.
pub(crate) type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// A change to the disk.
enum Change {
    /// These bytes were written to the file.
    Write(Node, usize, Vec<u8>),
    /// The file was truncated or extended.
    Resize(Node, usize),
    /// Directory entries changed, all at once.
    Names(Vec<(Node, String, Option<Node>)>),
}

/// One step of the history.
enum Step {
    Change(Change),
    /// The changes of this node in the first `n` steps are durable.
    Sync(Node, usize),
    /// The step did not affect the disk.
    Other,
}

/// The part of unsynced changes that remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// The first changes of each node; the last write is torn.
    Some,
    /// Only the sizes; the bytes are zeros.
    Zeros,
}

/// The content of a disk at one moment.
#[derive(Clone, Default)]
struct Contents {
    /// The bytes of files; `None` for directories.
    bytes: Vec<Option<Vec<u8>>>,
    /// The entries of directories.
    names: HashMap<Node, BTreeMap<String, Node>>,
}

/// The disk and its history.
#[derive(Default)]
pub(crate) struct Disk {
    steps: Vec<Step>,
    now: Contents,
    /// The initial content, all of it durable.
    first: Contents,
}

impl Disk {
    /// Loads everything below `root` as durable.
    pub(crate) fn load(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.add(root);
        disk.first = disk.now.clone();
        disk
    }

    fn add(&mut self, path: &Path) -> Node {
        let node = self.now.bytes.len();
        if !path.is_dir() {
            self.now.bytes.push(Some(fs::read(path).unwrap()));
            return node;
        }
        self.now.bytes.push(None);
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            names.insert(name, self.add(&entry.path()));
        }
        self.now.names.insert(node, names);
        node
    }

    /// Returns the number of steps.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Returns whether the last of the first `cut` steps changed something.
    pub(crate) fn is_changed_by(&self, cut: usize) -> bool {
        matches!(self.steps[..cut].last(), Some(Step::Change(_)))
    }

    /// Returns the node of a path below the root.
    pub(crate) fn find(&self, path: &str) -> Option<Node> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        let mut node = ROOT;
        for part in parts {
            node = *self.now.names.get(&node)?.get(part)?;
        }
        Some(node)
    }

    /// Returns the current length of a file.
    pub(crate) fn len(&self, file: Node) -> usize {
        self.now.bytes[file].as_ref().map_or(0, Vec::len)
    }

    /// Records a new file or directory.
    pub(crate) fn make(&mut self, directory: Node, name: &str, is_file: bool) {
        let node = self.now.bytes.len();
        self.now.bytes.push(is_file.then(Vec::new));
        if !is_file {
            self.now.names.insert(node, BTreeMap::new());
        }
        self.first.bytes.push(is_file.then(Vec::new));
        self.change(Change::Names(vec![(
            directory,
            name.to_owned(),
            Some(node),
        )]));
    }

    /// Records a removed name.
    pub(crate) fn remove(&mut self, directory: Node, name: &str) {
        self.change(Change::Names(vec![(directory, name.to_owned(), None)]));
    }

    /// Records a rename.
    pub(crate) fn rename(&mut self, from: (Node, &str), to: (Node, &str)) {
        let node = self.now.names[&from.0][from.1];
        self.change(Change::Names(vec![
            (from.0, from.1.to_owned(), None),
            (to.0, to.1.to_owned(), Some(node)),
        ]));
    }

    /// Records written bytes.
    pub(crate) fn write(&mut self, file: Node, at: usize, bytes: Vec<u8>) {
        self.change(Change::Write(file, at, bytes));
    }

    /// Records a truncated or extended file.
    pub(crate) fn resize(&mut self, file: Node, len: usize) {
        self.change(Change::Resize(file, len));
    }

    fn change(&mut self, change: Change) {
        self.now.apply(&change);
        self.steps.push(Step::Change(change));
    }

    /// Records that all changes of the node so far are durable.
    pub(crate) fn sync(&mut self, node: Node, upto: usize) {
        self.steps.push(Step::Sync(node, upto));
    }

    /// Records a step that does not affect the disk.
    pub(crate) fn other(&mut self) {
        self.steps.push(Step::Other);
    }

    /// Returns the content of the disk after a power cut that follows the first `cut` steps.
    pub(crate) fn image(
        &self,
        cut: usize,
        of_names: Unsynced,
        of_data: Unsynced,
        random: &mut Random,
    ) -> Tree {
        let mut durable = vec![0; self.now.bytes.len()];
        for step in &self.steps[..cut] {
            if let Step::Sync(node, upto) = step {
                durable[*node] = (*upto).max(durable[*node]);
            }
        }
        let mut named = durable.clone();
        for end in &mut named {
            *end = match of_names {
                Unsynced::None => *end,
                Unsynced::All | Unsynced::Zeros => cut,
                Unsynced::Some => *end + random.below(cut - *end + 1),
            };
        }
        self.tie_renames(cut, &mut named);
        let mut left = self.first.clone();
        let mut torn = HashSet::new();
        for (at, step) in self.steps[..cut].iter().enumerate() {
            let Step::Change(change) = step else { continue };
            let stays = match change {
                Change::Names(changes) => {
                    changes.iter().any(|(directory, ..)| at < named[*directory])
                }
                Change::Write(file, ..) | Change::Resize(file, _) => at < durable[*file],
            };
            if stays {
                left.apply(change);
            } else if !matches!(change, Change::Names(_)) {
                let change = left_of(change, of_data, &mut torn, random);
                if let Some(change) = change {
                    left.apply(&change);
                }
            }
        }
        let mut tree = Tree::new();
        left.collect(ROOT, "", &mut tree);
        tree
    }

    /// Makes a rename between directories durable as a whole or not at all.
    fn tie_renames(&self, cut: usize, named: &mut [usize]) {
        let mut is_tied = false;
        while !is_tied {
            is_tied = true;
            for (at, step) in self.steps[..cut].iter().enumerate() {
                let Step::Change(Change::Names(changes)) = step else {
                    continue;
                };
                if changes.iter().any(|(directory, ..)| at < named[*directory]) {
                    for (directory, ..) in changes.iter().filter(|(f, ..)| self.is_directory(*f)) {
                        if named[*directory] <= at {
                            named[*directory] = at + 1;
                            is_tied = false;
                        }
                    }
                }
            }
        }
    }

    fn is_directory(&self, node: Node) -> bool {
        self.now.bytes[node].is_none()
    }
}

/// Returns the part of an unsynced file change that remains. Nothing remains after a torn one.
fn left_of(
    change: &Change,
    unsynced: Unsynced,
    torn: &mut HashSet<Node>,
    random: &mut Random,
) -> Option<Change> {
    let (file, at, mut bytes) = match change {
        Change::Names(_) => return None,
        Change::Resize(file, len) => {
            let stays = unsynced != Unsynced::None && !torn.contains(file);
            return stays.then_some(Change::Resize(*file, *len));
        }
        Change::Write(file, at, bytes) => (*file, *at, bytes.clone()),
    };
    match unsynced {
        Unsynced::None => return None,
        Unsynced::Zeros => bytes.fill(0),
        Unsynced::Some if torn.contains(&file) => return None,
        Unsynced::Some if random.below(2) == 0 => {
            bytes.truncate(random.below(bytes.len() + 1));
            torn.insert(file);
        }
        Unsynced::All | Unsynced::Some => {}
    }
    Some(Change::Write(file, at, bytes))
}

impl Contents {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(file, at, written) => {
                let content = self.bytes[*file].as_mut().unwrap();
                let end = at + written.len();
                content.resize(content.len().max(end), 0);
                content[*at..end].copy_from_slice(written);
            }
            Change::Resize(file, len) => self.bytes[*file].as_mut().unwrap().resize(*len, 0),
            Change::Names(changes) => {
                for (directory, name, node) in changes {
                    let names = self.names.entry(*directory).or_default();
                    match node {
                        Some(node) => names.insert(name.clone(), *node),
                        None => names.remove(name),
                    };
                }
            }
        }
    }

    fn collect(&self, directory: Node, path: &str, tree: &mut Tree) {
        for (name, node) in self.names.get(&directory).into_iter().flatten() {
            let path = format!("{path}/{name}");
            tree.insert(path.clone(), self.bytes[*node].clone());
            self.collect(*node, &path, tree);
        }
    }
}

/// Writes the content to an empty directory.
pub(crate) fn make(tree: &Tree, root: &Path) {
    for (path, bytes) in tree {
        let path = root.join(path.trim_start_matches('/'));
        match bytes {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::create_dir(path).unwrap(),
        }
    }
}

/// A generator of pseudo-random numbers, the same in every test run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number from 0 to `end - 1`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
