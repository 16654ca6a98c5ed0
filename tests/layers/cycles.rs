//! Import cycles among the files of one folder. A subfolder counts as one file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use crate::code::Code;

/// The imports of each file of a folder, by module.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Every cycle below `root`, one line each: the folder and the files of the cycle.
pub fn of_tree(root: &Path) -> Vec<String> {
    let mut cycles = Vec::new();
    visit(root, &[], &mut cycles);
    cycles
}

fn visit(folder: &Path, path: &[String], cycles: &mut Vec<String>) {
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    for cycle in of(&imports(folder, &segments)) {
        cycles.push(format!("{}: {}", folder.display(), cycle.join(", ")));
    }
    for (name, inner) in subfolders(folder) {
        // A binary is a crate of its own: the paths in it begin anew.
        let inner_path = match name.as_str() {
            "bin" => Vec::new(),
            _ if folder.ends_with("bin") => Vec::new(),
            _ => [path, &[name]].concat(),
        };
        visit(&inner, &inner_path, cycles);
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

/// A file of a folder, or of a folder below it, as many levels down as `depth`.
struct Source {
    code: Code,
    depth: usize,
}

/// The imports among the files and the subfolders of `folder`, whose module path is `path`.
fn imports(folder: &Path, path: &[&str]) -> Imports {
    let mut sources: HashMap<String, Vec<Source>> = HashMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.unwrap().path();
        // The binaries are crates of their own.
        if entry.is_dir() && !entry.ends_with("bin") && !folder.ends_with("bin") {
            add_folder(&entry, 0, sources.entry(stem(&entry)).or_default());
        } else if is_rust(&entry) {
            sources.entry(stem(&entry)).or_default().push(Source { code: read(&entry), depth: 0 });
        }
    }
    let modules: Vec<String> = sources.keys().filter(|name| !is_root(name)).cloned().collect();
    let root = sources.iter().find(|(name, _)| is_root(name)).and_then(|(_, found)| found.first());
    let items = root.map(|root| root.code.reexports(&modules)).unwrap_or_default();
    let imported = |name: &String| {
        let found = sources.get(name).expect("a file of the folder").iter();
        let found = found.flat_map(|source| source.code.siblings(path, source.depth, &items, &modules));
        (name.clone(), found.filter(|other| other != name).collect())
    };
    modules.iter().map(imported).collect()
}

/// Adds the files of `folder`. Those beside its `mod.rs` are one level further down than that.
fn add_folder(folder: &Path, depth: usize, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.unwrap().path();
        if entry.is_dir() {
            add_folder(&entry, depth + 1, sources);
        } else if is_rust(&entry) {
            let depth = if is_root(&stem(&entry)) { depth } else { depth + 1 };
            sources.push(Source { code: read(&entry), depth });
        }
    }
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// The file whose module is the folder itself: it declares and re-exports the others.
fn is_root(stem: &str) -> bool {
    matches!(stem, "mod" | "lib" | "main")
}

fn read(path: &Path) -> Code {
    let source = fs::read_to_string(path).unwrap();
    Code::of(&source).without_tests()
}

/// The cycles of a graph: every set of files each of which reaches all others.
fn of(imports: &Imports) -> Vec<Vec<String>> {
    let reaches: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|name| (name, reach(imports, name))).collect();
    let mut cycles = BTreeSet::new();
    for (name, reached) in &reaches {
        if reached.contains(*name) {
            let cycle: Vec<String> =
                reached.iter().filter(|other| reaches[**other].contains(*name)).map(|other| (*other).clone()).collect();
            cycles.insert(cycle);
        }
    }
    cycles.into_iter().collect()
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
fn an_import_cycle_is_found_in_every_syntax() {
    for (a, b) in [
        ("use super::b::B;", "use super::a::A;"),
        ("use super::{b, c::C};", "fn f(_: super::a::A) {}"),
        ("use crate::folder::b::B;", "use super::A;"),
        ("fn f() { super::b::g() } mod inner { use super::super::c; }", "use super::{A, c};"),
    ] {
        assert_eq!(cycles_of(a, b), [vec!["a".to_owned(), "b".to_owned()]], "{a} | {b}");
    }
}

#[test]
fn imports_in_one_direction_and_those_of_tests_are_no_cycle() {
    for (a, b) in [
        ("use super::b::B;", "use super::c::C;"),
        ("use super::b::B;", "#[cfg(test)]\nmod tests { use super::super::a::A; }"),
        ("use super::b::B;", "// use super::a::A;\nconst X: &str = \"super::a\";"),
        ("use crate::other::b::B;", "use super::a::A;"),
    ] {
        assert_eq!(cycles_of(a, b), [] as [Vec<String>; 0], "{a} | {b}");
    }
}

#[test]
fn a_cycle_through_a_file_of_a_subfolder_is_found() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("b")).unwrap();
    let write = |name: &str, source: &str| fs::write(folder.path().join(name), source).unwrap();
    write("a.rs", "use super::b::B;");
    write("b/mod.rs", "mod inner;");
    write("b/inner.rs", "use super::a::NotTheFile;");
    assert_eq!(of_tree(folder.path()), [] as [String; 0]);
    write("b/inner.rs", "use super::super::a::A;");
    assert_eq!(of_tree(folder.path()), [format!("{}: a, b", folder.path().display())]);
    write("b/inner.rs", "");
    write("b/mod.rs", "use super::a::A;");
    assert_eq!(of_tree(folder.path()).len(), 1);
}

/// The cycles of a made-up folder with the files a, b and c.
#[cfg(test)]
fn cycles_of(a: &str, b: &str) -> Vec<Vec<String>> {
    let modules = ["a", "b", "c"].map(str::to_owned).to_vec();
    let items = Code::of("pub use a::A; pub use b::{B, g}; mod c;").reexports(&modules);
    let imports = [("a", a), ("b", b), ("c", "")].map(|(name, source)| {
        let code = Code::of(source).without_tests();
        (name.to_owned(), code.siblings(&["folder"], 0, &items, &modules).into_iter().filter(|m| m != name).collect())
    });
    of(&imports.into_iter().collect())
}
