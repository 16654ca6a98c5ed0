//! `ctnl spool`: exit codes for what is whole, damaged, and no spool.

use std::fs;

use crate::program::{Folder, words};

/// The folders of two sinks: an empty one, and one with a segment that is no segment.
fn folder_with_spools() -> Folder {
    let folder = Folder::new();
    for sink in ["tcp%3Aa%3A1", "tcp%3Ab%3A2"] {
        fs::create_dir_all(folder.path().join("spool").join(sink)).unwrap();
        fs::write(folder.path().join("spool").join(sink).join("position"), "").unwrap();
    }
    fs::write(folder.path().join("spool/tcp%3Ab%3A2/00000000004294967296.seg"), "no segment").unwrap();
    folder
}

#[test]
fn a_damaged_spool_fails_the_check_and_a_whole_one_does_not() {
    let folder = folder_with_spools();
    let whole = folder.ctnl(&words(&["spool", "check", "spool/tcp%3Aa%3A1"]));
    assert_eq!((whole.code, &*whole.stderr), (Some(0), ""));
    assert!(whole.stdout.contains("whole, 0 lines"), "{}", whole.stdout);
    let damaged = folder.ctnl(&words(&["spool", "check", "spool"]));
    assert_eq!(damaged.code, Some(1), "{}", damaged.explain());
    assert!(damaged.stdout.contains("whole") && damaged.stdout.contains("the header is damaged"), "{}", damaged.stdout);
    let json = folder.ctnl(&words(&["spool", "check", "spool", "--json"])).stdout;
    let objects: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let figures: Vec<_> = objects.iter().map(|object| (object["sink"].clone(), object["damaged"].clone())).collect();
    assert_eq!(figures, [("tcp:a:1".into(), 0.into()), ("tcp:b:2".into(), 1.into())]);
}

#[test]
fn the_lines_of_a_damaged_spool_are_partly_there_and_those_of_several_sinks_are_not_mixed() {
    let folder = folder_with_spools();
    let run = folder.ctnl(&words(&["spool", "show", "spool/tcp%3Ab%3A2", "--lines"]));
    assert_eq!((run.code, &*run.stdout), (Some(3), ""));
    assert!(run.stderr.contains("damaged"), "{}", run.stderr);
    let run = folder.ctnl(&words(&["spool", "show", "spool", "--lines"]));
    assert_eq!((run.code, &*run.stdout), (Some(2), ""));
    assert!(run.stderr.contains("spool/tcp%3Aa%3A1"), "{}", run.stderr);
}

#[test]
fn a_folder_without_a_spool_is_not_a_whole_one() {
    let folder = folder_with_spools();
    for name in [".", "nowhere", "blocklist.txt"] {
        let run = folder.ctnl(&words(&["spool", "check", name]));
        assert_eq!((run.code, &*run.stdout), (Some(1), ""), "{}", run.explain());
    }
}

#[test]
fn each_verb_of_the_spool_has_a_man_page() {
    let folder = Folder::new();
    assert_eq!(folder.ctnl(&words(&["man", "man1"])).code, Some(0));
    for (verb, flag) in [("show", "lines"), ("check", "json")] {
        let page = fs::read_to_string(folder.path().join(format!("man1/ctnl-spool-{verb}.1"))).unwrap();
        assert!(page.contains(flag) && page.contains("Examples:"), "{verb}");
    }
}
