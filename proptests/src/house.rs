//! The house: no file of a crate takes a name from another that, directly or by way of others, takes one from it.
//!
//! Files are read as text. A `use` of this crate's own names is followed through re-exports to the file that defines the name, so a
//! `mod.rs` that lists its parts ties nobody to them; names written out as `crate::a::b` in the code count as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A path of names, `["a", "b", "Name"]`, from the root of the crate.
type Names = Vec<String>;

/// A file of a crate.
#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    /// What it defines itself.
    defined: BTreeSet<String>,
    /// Names it hands on or uses, and where they come from.
    exported: BTreeMap<String, Names>,
    /// Whole modules that it hands on all names of.
    exported_all: Vec<Names>,
    /// What it takes from its crate.
    taken: Vec<Names>,
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The code of a file up to its unit tests, without comments and the contents of strings.
fn code_of(text: &str) -> String {
    let end =
        ["\n#[cfg(test)]\nmod tests {", "\n#[cfg(test)]\nmod golden {"].iter().filter_map(|mark| text.find(mark)).min();
    let lines = text[..end.unwrap_or(text.len())].lines().map(|line| {
        let line = line.trim_start();
        if line.starts_with("//") { "" } else { line.split(" // ").next().unwrap_or_default() }
    });
    let mut lines: Vec<&str> = lines.collect();
    // Modules of tests in files of their own are named by the line after their mark.
    for place in 1..lines.len() {
        if lines[place - 1] == "#[cfg(test)]" && lines[place].contains("mod ") {
            lines[place] = "";
        }
    }
    lines.join("\n")
}

/// The leaves of a `use` tree: path and the name it has afterwards.
fn leaves(tree: &str, before: &[String], found: &mut Vec<(Names, String)>) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let mut path = before.to_vec();
        path.extend(tree[..open].split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
        let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
        let (mut depth, mut start) = (0, 0);
        for (place, c) in inner.char_indices().chain([(inner.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !inner[start..place].trim().is_empty() {
                        leaves(&inner[start..place], &path, found);
                    }
                    start = place + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (tree, renamed) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name.trim())));
    let mut path = before.to_vec();
    path.extend(tree.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
    if path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = renamed.map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
    found.push((path, name));
}

/// A path as written in module `at`, from the root of the crate; none for another crate's.
fn from_root(path: &[String], at: &[String], children: &BTreeSet<String>) -> Option<Names> {
    let mut path = path.iter();
    let mut found = match path.next()?.as_str() {
        "crate" => Names::new(),
        "self" => at.to_vec(),
        "super" => at[..at.len().checked_sub(1)?].to_vec(),
        // A path that begins with a module of one's own.
        child if children.contains(child) => [at, &[child.to_owned()]].concat(),
        _ => return None,
    };
    for name in path {
        if name == "super" {
            found.pop();
        } else {
            found.push(name.clone());
        }
    }
    Some(found)
}

const KINDS: [&str; 9] = ["fn ", "struct ", "enum ", "trait ", "type ", "const ", "static ", "union ", "macro_rules! "];

/// Whether the code breaks off within a `use`.
fn in_use(code: &str) -> bool {
    code.rsplit([';', '}']).next().is_some_and(|last| last.lines().any(|line| line.contains("use ")))
}

impl Module {
    fn read(file: &Path, at: &[String]) -> Self {
        let code = code_of(&fs::read_to_string(file).unwrap());
        let mut module = Self { file: file.to_owned(), ..Self::default() };
        let mut children = BTreeSet::new();
        let plain = |line: &str| -> String {
            let line = line.strip_prefix("pub").map_or(line, |rest| match rest.trim_start().strip_prefix('(') {
                Some(inner) => inner.split_once(')').map_or("", |(_, rest)| rest),
                None => rest,
            });
            line.trim_start().to_owned()
        };
        for line in code.lines() {
            let mut line = plain(line);
            for before in ["async ", "unsafe ", "extern \"C\" "] {
                line = line.strip_prefix(before).map_or(line.clone(), str::to_owned);
            }
            if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                children.insert(name.to_owned());
            }
            let line = line.strip_prefix("const fn ").map_or(line.clone(), |rest| format!("fn {rest}"));
            if let Some(rest) = KINDS.iter().find_map(|kind| line.strip_prefix(kind)) {
                module.defined.insert(rest.chars().take_while(|&c| is_word(c)).collect());
            }
        }
        for statement in code.split(';') {
            let Some(start) = statement.rfind("use ").filter(|&start| {
                let line = statement[..start].rsplit('\n').next().unwrap_or_default();
                line.is_empty() || line.starts_with("pub")
            }) else {
                continue;
            };
            let is_exported = statement[..start].rsplit('\n').next().unwrap_or_default().starts_with("pub");
            let mut found = Vec::new();
            leaves(&statement[start + 4..], &[], &mut found);
            for (path, name) in found {
                let Some(mut path) = from_root(&path, at, &children) else { continue };
                if path.last().is_some_and(|last| last == "*") {
                    path.pop();
                    if is_exported {
                        module.exported_all.push(path);
                    } else if at.len() <= path.len() || at[..path.len()] != path[..] {
                        module.taken.push(path);
                    }
                } else {
                    // Parts may take by their parent what it only uses itself.
                    module.exported.insert(name, path.clone());
                    if !is_exported {
                        module.taken.push(path);
                    }
                }
            }
        }
        // Paths written out where they are used: of the crate, or of a module of one's own.
        let own = children.iter().map(|child| format!("{child}::"));
        for mark in ["crate::", "super::"].map(str::to_owned).into_iter().chain(own) {
            for (start, _) in code.match_indices(&mark) {
                let line = code[..start].rsplit('\n').next().unwrap_or_default();
                let is_inside = code[..start].chars().next_back().is_some_and(|c| is_word(c) || c == ':');
                if is_inside || line.contains("use ") || in_use(&code[..start]) {
                    continue;
                }
                let text: String = code[start..].chars().take_while(|&c| is_word(c) || c == ':').collect();
                let path: Names = text.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
                module.taken.extend(from_root(&path, at, &children));
            }
        }
        module
    }
}

/// Every module of the crate whose root is `root`, by its names.
fn modules(root: &Path) -> BTreeMap<Names, Module> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(Names::new(), root.to_owned())];
    while let Some((names, file)) = waiting.pop() {
        let folder = if names.is_empty() || file.ends_with("mod.rs") {
            file.parent().unwrap().to_owned()
        } else {
            file.with_extension("")
        };
        let text = fs::read_to_string(&file).unwrap();
        let code = code_of(&text);
        for line in code.lines() {
            let word = line.rsplit("mod ").next().filter(|_| line.starts_with("mod ") || line.contains(" mod "));
            let Some(name) = word.and_then(|word| word.strip_suffix(';')) else { continue };
            let child = [names.as_slice(), &[name.to_owned()]].concat();
            let places = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
            if let Some(place) = places.into_iter().find(|place| place.is_file()) {
                waiting.push((child, place));
            }
        }
        found.insert(names.clone(), Module::read(&file, &names));
    }
    found
}

/// The module that defines what `path` names.
fn home<'a>(modules: &'a BTreeMap<Names, Module>, path: &[String], depth: usize) -> Option<&'a Names> {
    if depth > 20 {
        return None;
    }
    let longest = (0..=path.len()).rev().find(|&length| modules.contains_key(&path[..length]))?;
    let (names, module) = modules.get_key_value(&path[..longest])?;
    let Some(name) = path.get(longest) else { return Some(names) };
    if module.defined.contains(name) {
        return Some(names);
    }
    if let Some(from) = module.exported.get(name) {
        let whole = [from.as_slice(), &path[longest + 1..]].concat();
        return home(modules, &whole, depth + 1);
    }
    for all in &module.exported_all {
        if let Some(found) = home(modules, &[all.as_slice(), &path[longest..]].concat(), depth + 1)
            && modules[found].defined.contains(name)
        {
            return Some(found);
        }
    }
    // Taken by the parent and used through it, or made by a macro: nobody's in particular.
    None
}

/// Groups of files that take names from each other, and who takes what.
fn circles(root: &Path) -> Vec<String> {
    let modules = modules(root);
    let mut arrows: BTreeMap<&Names, BTreeSet<&Names>> = BTreeMap::new();
    for (names, module) in &modules {
        for path in &module.taken {
            if let Some(found) = home(&modules, path, 0).filter(|found| *found != names) {
                arrows.entry(names).or_default().insert(found);
            }
        }
    }
    let reached = |from: &Names| {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(names) = waiting.pop() {
            for &next in arrows.get(&names).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    waiting.push(next.clone());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&Names, BTreeSet<Names>> = modules.keys().map(|names| (names, reached(names))).collect();
    let mut found = Vec::new();
    for (names, nexts) in &arrows {
        for next in nexts {
            if reach[next].contains(*names) {
                found.push(format!("{} takes from {}", modules[*names].file.display(), modules[*next].file.display()));
            }
        }
    }
    found
}

/// Where circles are known and still stand. Nothing may be added here.
const STANDING: [&str; 5] =
    ["compare/src/report/", "compare/src/overview/", "kernels/src/", "cli/src/", "benches/peers/"];

fn roots() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crates = fs::read_dir(top.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let libraries = crates.flat_map(|folder| [folder.join("src/lib.rs"), folder.join("src/main.rs")]);
    let mut roots: Vec<PathBuf> =
        libraries.chain([top.join("benches/peers/main.rs")]).filter(|p| p.is_file()).collect();
    roots.sort();
    roots
}

#[test]
fn no_two_files_of_a_crate_take_names_from_each_other() {
    let roots = roots();
    assert!(roots.len() > 10, "{roots:?}");
    let mut found: Vec<String> = roots.iter().flat_map(|root| circles(root)).collect();
    found.retain(|circle| !STANDING.iter().any(|place| circle.contains(place)));
    assert!(found.is_empty(), "circles of imports:\n{}", found.join("\n"));
}

#[test]
fn a_circle_is_found_through_re_exports_and_a_list_of_parts_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a;\nmod b;\npub use a::{A, helper as help};\npub use b::B;\n");
    write("a.rs", "use crate::b::B;\npub struct A(B);\npub fn helper() {}\n");
    write("b/mod.rs", "mod inner;\npub use inner::B;\n");
    write("b/inner.rs", "use super::super::error::X;\npub struct B;\n");
    let found = || circles(&folder.path().join("lib.rs"));
    assert_eq!(found(), Vec::<String>::new());
    write("b/inner.rs", "pub struct B;\nfn go() { crate::help(); }\n");
    assert_eq!(found().len(), 2, "{:?}", found());
    write("b/inner.rs", "use crate::{\n    A,\n    B as Own,\n};\npub struct B;\n");
    assert_eq!(found().len(), 2, "{:?}", found());
    // What only tests take ties nobody.
    write("b/inner.rs", "pub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::A;\n}\n");
    assert_eq!(found(), Vec::<String>::new());
}
