//! The order of the rooms: an import in `src/` never runs upward, and files never import each
//! other in a circle.
//!
//! The order is the table "Rooms" of `docs/architecture.md`, lowest room first. A name that a
//! `mod.rs` re-exports counts as an import of the file that declares it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::{read, root};

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

static COMMENT: LazyLock<Regex> = LazyLock::new(|| regex(r"(?m)//.*$"));
static TEST_CODE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?s)#\[cfg\(test\)\]\s*(#\[[^\n]*\]\s*)*mod \w+ \{.*"));
static TEST_FILE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"#\[cfg\(test\)\]\s*(?:#\[[^\n]*\]\s*)*(?:pub\(\w+\) )?mod (\w+);"));
static USE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?m)^\s*(pub(?:\(\w+\))? )?use (\w+::[^;]+);"));
static INLINE_PATH: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:crate|super)(?:::\w+)+"));

/// Returns the rooms of the table, lowest first: `log/read`, or `cli` for all of `src/cli/`.
fn rooms() -> Vec<String> {
    let page = read("docs/architecture.md");
    let (_, section) = page.split_once("\n## Rooms\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned())
        .collect()
}

/// A file in `src/`, without its tests and comments.
struct Module {
    is_mod_file: bool,
    code: String,
    /// The names that a `mod.rs` re-exports, each with its path from the root of the crate.
    reexports: BTreeMap<String, String>,
}

/// The modules of the crate by path: `log/read/reader`.
struct Crate(BTreeMap<String, Module>);

impl Crate {
    fn read() -> Self {
        let mut modules = BTreeMap::new();
        let mut only_tests = BTreeSet::new();
        let mut directories = vec![root().join("src")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let (name, is_mod_file) = module_name(&path);
                let code = fs::read_to_string(&path).unwrap();
                let code = COMMENT.replace_all(&code, "");
                for test in TEST_FILE.captures_iter(&code) {
                    only_tests.insert(child(&name, &test[1]));
                }
                let module = Module {
                    is_mod_file,
                    code: TEST_CODE.replace(&code, "").into_owned(),
                    reexports: BTreeMap::new(),
                };
                modules.insert(name, module);
            }
        }
        modules.retain(|name, _| !only_tests.contains(name) && !name.ends_with("_tests"));
        let mut found = Self(modules);
        found.read_reexports();
        found
    }

    fn read_reexports(&mut self) {
        let mut all = Vec::new();
        for (name, module) in self.0.iter().filter(|(_, module)| module.is_mod_file) {
            for found in USE.captures_iter(&module.code) {
                if found.get(1).is_none() {
                    continue;
                }
                for path in paths(&found[2]) {
                    let last = path.rsplit("::").next().unwrap().to_owned();
                    all.push((name.clone(), last, self.absolute(name, &path)));
                }
            }
        }
        for (name, last, path) in all {
            let module = self.0.get_mut(&name).unwrap();
            module.reexports.extend(path.map(|path| (last, path)));
        }
    }

    /// Returns a path of a module's code as one from the root: `log/read/reader/Item`.
    fn absolute(&self, module: &str, path: &str) -> Option<String> {
        let mut parts = path.split("::");
        let first = parts.next()?;
        let mut base = match first {
            "crate" => String::new(),
            "self" => module.to_owned(),
            "super" => parent(module),
            name => {
                let name = child(module, name);
                self.0.contains_key(&name).then_some(name)?
            }
        };
        for part in parts {
            base = match part {
                "super" => parent(&base),
                "self" => base,
                part => child(&base, part),
            };
        }
        Some(base)
    }

    /// Returns the module that declares what a path names.
    fn declaring(&self, path: &str) -> Option<String> {
        let mut module = path.to_owned();
        let mut name = None;
        while !self.0.contains_key(&module) {
            let separator = module.rfind('/')?;
            name = Some(module.split_off(separator + 1));
            module.pop();
        }
        let target = name.and_then(|name| self.0[&module].reexports.get(&name));
        match target {
            Some(target) => self.declaring(target),
            None => Some(module),
        }
    }

    /// Returns the modules that the code of a module names, in `use` lines and elsewhere.
    fn imports(&self, name: &str) -> BTreeSet<String> {
        let module = &self.0[name];
        let mut named = Vec::new();
        for found in USE.captures_iter(&module.code) {
            if !(module.is_mod_file && found.get(1).is_some()) {
                named.extend(paths(&found[2]));
            }
        }
        let rest = USE.replace_all(&module.code, "");
        let inline = INLINE_PATH.find_iter(&rest);
        named.extend(inline.map(|path| path.as_str().to_owned()));
        let absolute = named.iter().filter_map(|path| self.absolute(name, path));
        let mut modules: BTreeSet<String> =
            absolute.filter_map(|path| self.declaring(&path)).collect();
        modules.remove(name);
        modules
    }

    fn graph(&self) -> BTreeMap<String, BTreeSet<String>> {
        let names = self
            .0
            .keys()
            .filter(|name| *name != "main" && *name != "lib");
        names
            .map(|name| (name.clone(), self.imports(name)))
            .collect()
    }
}

/// Returns the module path of a file, and whether it is a `mod.rs`.
fn module_name(path: &Path) -> (String, bool) {
    let path = path.strip_prefix(root().join("src")).unwrap();
    let name = path.with_extension("").to_str().unwrap().to_owned();
    match name.strip_suffix("/mod") {
        Some(name) => (name.to_owned(), true),
        None => (name, false),
    }
}

fn parent(module: &str) -> String {
    let above = module.rsplit_once('/').map_or("", |(above, _)| above);
    above.to_owned()
}

fn child(module: &str, name: &str) -> String {
    let separator = if module.is_empty() { "" } else { "/" };
    format!("{module}{separator}{name}")
}

/// Returns the paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((prefix, group)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap().trim().to_owned()];
    };
    let group = group.trim().strip_suffix('}').unwrap();
    let (mut depth, mut parts) = (0_usize, vec![String::new()]);
    for c in group.chars() {
        match c {
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty());
    parts
        .flat_map(paths)
        .map(|path| format!("{}{path}", prefix.trim()))
        .collect()
}

/// Returns the rank of a module's room: the longest row that is a prefix of its path.
fn rank(module: &str, rooms: &[String]) -> usize {
    let contains = |room: &str| {
        let rest = module.strip_prefix(room);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let matching = rooms.iter().enumerate().filter(|(_, room)| contains(room));
    let longest = matching.max_by_key(|(_, room)| room.len());
    longest
        .unwrap_or_else(|| panic!("{module} is in no room of docs/architecture.md"))
        .0
}

#[test]
fn imports_follow_room_order() {
    let rooms = rooms();
    let mut upward = Vec::new();
    for (module, targets) in Crate::read().graph() {
        for target in targets {
            if rank(&target, &rooms) > rank(&module, &rooms) {
                upward.push(format!("{module} -> {target}"));
            }
        }
    }
    assert!(upward.is_empty(), "upward imports:\n{}", upward.join("\n"));
}

#[test]
fn files_do_not_import_in_circles() {
    let graph = Crate::read().graph();
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            if module == to {
                return true;
            }
            if seen.insert(module) {
                next.extend(graph[module].iter().map(String::as_str));
            }
        }
        false
    };
    let edges = graph
        .iter()
        .flat_map(|(module, targets)| targets.iter().map(move |target| (module, target)));
    let circular: Vec<String> = edges
        .filter(|(module, target)| reaches(target, module))
        .map(|(module, target)| format!("{module} -> {target}"))
        .collect();
    assert!(circular.is_empty(), "circles:\n{}", circular.join("\n"));
}
