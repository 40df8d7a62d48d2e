//! A disk that remembers: what was changed on it, in order, and what was synced when. From
//! that comes every image that a loss of power can leave.
//!
//! It promises what POSIX does and no more: a sync of a file makes its bytes durable, not
//! its name; a sync of a folder makes the names in it durable, and nothing below them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

/// A file or folder, whatever its name is.
pub(crate) type Node = usize;

/// The root of the volume.
pub(crate) const ROOT: Node = 0;

/// What is on a disk: paths below the root, and the bytes of files; folders have none.
pub(crate) type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// A change of the disk.
enum Change {
    /// The file got these bytes there.
    Write(Node, usize, Vec<u8>),
    /// The file was cut, or made longer.
    Resize(Node, usize),
    /// Names in folders came and went, all at once.
    Names(Vec<(Node, String, Option<Node>)>),
}

/// One thing that happened.
enum Step {
    Change(Change),
    /// What was changed in this node in the first so many steps is durable.
    Sync(Node, usize),
    /// Nothing happened to the disk.
    Other,
}

/// What is left of changes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// The first so many of each node, the last write torn.
    Some,
    /// Only the sizes: the bytes are zeros.
    Zeros,
}

/// What is on a disk at one moment.
#[derive(Clone, Default)]
struct Contents {
    /// Bytes of the files, `None` for folders.
    bytes: Vec<Option<Vec<u8>>>,
    /// What is in the folders.
    names: HashMap<Node, BTreeMap<String, Node>>,
}

/// The disk and its history.
#[derive(Default)]
pub(crate) struct Disk {
    steps: Vec<Step>,
    now: Contents,
    /// At the beginning, all of it durable.
    first: Contents,
}

impl Disk {
    /// What is below `root` now, all of it durable.
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

    /// How many things happened.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Whether the last of the first `cut` steps changed something.
    pub(crate) fn is_changed_by(&self, cut: usize) -> bool {
        matches!(self.steps[..cut].last(), Some(Step::Change(_)))
    }

    /// The node of a path below the root.
    pub(crate) fn find(&self, path: &str) -> Option<Node> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        let mut node = ROOT;
        for part in parts {
            node = *self.now.names.get(&node)?.get(part)?;
        }
        Some(node)
    }

    /// The length of a file now.
    pub(crate) fn len(&self, file: Node) -> usize {
        self.now.bytes[file].as_ref().map_or(0, Vec::len)
    }

    /// A new file or folder has this name.
    pub(crate) fn make(&mut self, folder: Node, name: &str, is_file: bool) {
        let node = self.now.bytes.len();
        self.now.bytes.push(is_file.then(Vec::new));
        if !is_file {
            self.now.names.insert(node, BTreeMap::new());
        }
        self.first.bytes.push(is_file.then(Vec::new));
        self.change(Change::Names(vec![(folder, name.to_owned(), Some(node))]));
    }

    /// A name is gone.
    pub(crate) fn remove(&mut self, folder: Node, name: &str) {
        self.change(Change::Names(vec![(folder, name.to_owned(), None)]));
    }

    /// Something has another name.
    pub(crate) fn rename(&mut self, from: (Node, &str), to: (Node, &str)) {
        let node = self.now.names[&from.0][from.1];
        self.change(Change::Names(vec![
            (from.0, from.1.to_owned(), None),
            (to.0, to.1.to_owned(), Some(node)),
        ]));
    }

    /// Bytes were written.
    pub(crate) fn write(&mut self, file: Node, at: usize, bytes: Vec<u8>) {
        self.change(Change::Write(file, at, bytes));
    }

    /// A file was cut, or made longer.
    pub(crate) fn resize(&mut self, file: Node, len: usize) {
        self.change(Change::Resize(file, len));
    }

    fn change(&mut self, change: Change) {
        self.now.apply(&change);
        self.steps.push(Step::Change(change));
    }

    /// What was changed in the node in the first so many steps is durable.
    pub(crate) fn sync(&mut self, node: Node, upto: usize) {
        self.steps.push(Step::Sync(node, upto));
    }

    /// Something happened that is no matter of the disk.
    pub(crate) fn other(&mut self) {
        self.steps.push(Step::Other);
    }

    /// What is on the disk after a loss of power behind the first `cut` steps.
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
                Change::Names(changes) => changes.iter().any(|(folder, ..)| at < named[*folder]),
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

    /// A rename from one folder to another is there as a whole or not at all.
    fn tie_renames(&self, cut: usize, named: &mut [usize]) {
        let mut is_tied = false;
        while !is_tied {
            is_tied = true;
            for (at, step) in self.steps[..cut].iter().enumerate() {
                let Step::Change(Change::Names(changes)) = step else {
                    continue;
                };
                if changes.iter().any(|(folder, ..)| at < named[*folder]) {
                    for (folder, ..) in changes.iter().filter(|(f, ..)| self.is_folder(*f)) {
                        if named[*folder] <= at {
                            named[*folder] = at + 1;
                            is_tied = false;
                        }
                    }
                }
            }
        }
    }

    fn is_folder(&self, node: Node) -> bool {
        self.now.bytes[node].is_none()
    }
}

/// What is left of a change of a file that was not synced; nothing of one behind a torn one.
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
                for (folder, name, node) in changes {
                    let names = self.names.entry(*folder).or_default();
                    match node {
                        Some(node) => names.insert(name.clone(), *node),
                        None => names.remove(name),
                    };
                }
            }
        }
    }

    fn collect(&self, folder: Node, path: &str, tree: &mut Tree) {
        for (name, node) in self.names.get(&folder).into_iter().flatten() {
            let path = format!("{path}/{name}");
            tree.insert(path.clone(), self.bytes[*node].clone());
            self.collect(*node, &path, tree);
        }
    }
}

/// Makes the tree in an empty folder.
pub(crate) fn make(tree: &Tree, root: &Path) {
    for (path, bytes) in tree {
        let path = root.join(path.trim_start_matches('/'));
        match bytes {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::create_dir(path).unwrap(),
        }
    }
}

/// Numbers that are the same in every run of the tests.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// From 0 up to, not including, `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
