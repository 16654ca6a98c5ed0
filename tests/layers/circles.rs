//! Circles of imports among the files of one folder. A subfolder counts as one file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use crate::code::Code;

/// The imports of each file of a folder, by module.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Every circle below `root`, one line each: the folder and the files of the circle.
pub fn of_tree(root: &Path) -> Vec<String> {
    let mut circles = Vec::new();
    visit(root, &[], &mut circles);
    circles
}

fn visit(folder: &Path, path: &[String], circles: &mut Vec<String>) {
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    for circle in of(&imports(folder, &segments)) {
        circles.push(format!("{}: {}", folder.display(), circle.join(", ")));
    }
    for (name, inner) in subfolders(folder) {
        // A binary is a crate of its own: the paths in it begin anew.
        let inner_path = match name.as_str() {
            "bin" => Vec::new(),
            _ if folder.ends_with("bin") => Vec::new(),
            _ => [path, &[name]].concat(),
        };
        visit(&inner, &inner_path, circles);
    }
}

fn subfolders(folder: &Path) -> Vec<(String, std::path::PathBuf)> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).map(|path| (stem(&path), path)).collect();
    folders.sort();
    folders
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The imports among the files of `folder`, whose module path is `path`.
fn imports(folder: &Path, path: &[&str]) -> Imports {
    let mut files: HashMap<String, Vec<Code>> = HashMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.unwrap().path();
        if entry.is_dir() {
            continue;
        }
        if entry.extension().is_some_and(|extension| extension == "rs") {
            files.entry(stem(&entry)).or_default().push(read(&entry));
        }
    }
    let modules: Vec<String> = files.keys().filter(|name| !is_root(name)).cloned().collect();
    let root = files.iter().find(|(name, _)| is_root(name)).and_then(|(_, codes)| codes.first());
    let items = root.map(|code| code.reexports(&modules)).unwrap_or_default();
    modules
        .iter()
        .map(|name| {
            let codes = files.get(name).expect("a file of the folder");
            let found = codes.iter().flat_map(|code| code.siblings(path, &items, &modules));
            (name.clone(), found.filter(|other| other != name).collect())
        })
        .collect()
}

/// The file whose module is the folder itself: it declares and re-exports the others.
fn is_root(stem: &str) -> bool {
    matches!(stem, "mod" | "lib" | "main")
}

fn read(path: &Path) -> Code {
    let source = fs::read_to_string(path).unwrap();
    Code::of(&source).without_tests()
}

/// The circles of a graph: every set of files each of which reaches all others.
fn of(imports: &Imports) -> Vec<Vec<String>> {
    let reaches: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|name| (name, reach(imports, name))).collect();
    let mut circles = BTreeSet::new();
    for (name, reached) in &reaches {
        if reached.contains(*name) {
            let circle: Vec<String> =
                reached.iter().filter(|other| reaches[**other].contains(*name)).map(|other| (*other).clone()).collect();
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// Every file that `from` imports, directly or through others.
fn reach<'a>(imports: &'a Imports, from: &str) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = imports[from].iter().collect();
    while let Some(name) = next.pop() {
        if reached.insert(name) {
            next.extend(imports.get(name).into_iter().flatten());
        }
    }
    reached
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    for (a, b) in [
        ("use super::b::B;", "use super::a::A;"),
        ("use super::{b, c::C};", "fn f(_: super::a::A) {}"),
        ("use crate::folder::b::B;", "use super::A;"),
        ("fn f() { super::b::g() } mod inner { use super::super::c; }", "use super::{A, c};"),
    ] {
        assert_eq!(circles_of(a, b), [vec!["a".to_owned(), "b".to_owned()]], "{a} | {b}");
    }
}

#[test]
fn imports_in_one_direction_and_those_of_tests_are_no_circle() {
    for (a, b) in [
        ("use super::b::B;", "use super::c::C;"),
        ("use super::b::B;", "#[cfg(test)]\nmod tests { use super::super::a::A; }"),
        ("use super::b::B;", "// use super::a::A;\nconst X: &str = \"super::a\";"),
        ("use crate::other::b::B;", "use super::a::A;"),
    ] {
        assert_eq!(circles_of(a, b), [] as [Vec<String>; 0], "{a} | {b}");
    }
}

/// The circles of a made-up folder with the files a, b and c.
#[cfg(test)]
fn circles_of(a: &str, b: &str) -> Vec<Vec<String>> {
    let modules = ["a", "b", "c"].map(str::to_owned).to_vec();
    let items = Code::of("pub use a::A; pub use b::{B, g}; mod c;").reexports(&modules);
    let imports = [("a", a), ("b", b), ("c", "")].map(|(name, source)| {
        let code = Code::of(source).without_tests();
        (name.to_owned(), code.siblings(&["folder"], &items, &modules).into_iter().filter(|m| m != name).collect())
    });
    of(&imports.into_iter().collect())
}
