//! `ctnl save`, `ctnl restore` and `ctnl flush --save`: what is saved is created again, and nothing of a file that
//! is not whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ctnl::model::Flow;
use ctnl::snapshot::{BinaryWriter, Head, SaveReader};
use ctnl::table;
use ctnl::units::Nanos;
use nix::sys::signal::Signal;

use ctnl_test_support::harness::{Run, TestNetns, assert_same_entries, key, tests, udp};
use ctnl_test_support::net::Namespace;
use ctnl_test_support::running::{Running, until};
use ctnl_test_support::similar_entries::similar_entries;
use ctnl_test_support::summary::{Restored, Summary};

tests![
    what_was_saved_and_deleted_is_restored,
    a_filter_selects_what_is_saved,
    what_flush_saved_is_the_same_table_after_a_restore,
    the_file_of_a_flush_has_what_was_deleted_and_no_more,
    what_a_killed_flush_has_deleted_is_in_its_file,
    a_full_disk_ends_a_flush_and_what_it_deleted_is_restored,
    an_existing_file_is_neither_overwritten_nor_is_anything_deleted,
    a_killed_restore_can_be_repeated,
    a_file_that_is_cut_at_any_byte_creates_nothing,
    a_file_that_is_damaged_at_any_byte_creates_nothing,
    the_entries_before_a_cut_are_restored_on_request,
    timeouts_are_lowered_by_the_age_of_the_file,
    entries_are_created_in_the_mapped_zone_and_in_the_named_namespace,
    a_pipe_is_restored_as_a_file_is,
    a_dry_run_of_a_restore_creates_nothing,
];

/// A folder with files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("a name in UTF-8").to_owned()
    }
}

fn restore(netns: &TestNetns, arguments: &[&str], code: i32) -> Restored {
    let arguments = [&["restore", "--json"], arguments].concat();
    Restored::read(&netns.ctnl(&arguments).exits_with(code).stdout())
}

fn delete_all(netns: &TestNetns) {
    netns.ctnl(&["flush", "--all", "--yes"]).exits_with(0);
    assert_eq!(netns.dump(), []);
}

/// What a restore gives back: all but the id, the remaining time, and what the kernel counts anew.
fn kept(flows: &[Flow]) -> BTreeMap<String, Flow> {
    let kept = |flow: &Flow| Flow {
        id: None,
        timeout: None,
        use_count: None,
        start: None,
        counters_orig: None,
        counters_reply: None,
        ..flow.clone()
    };
    flows.iter().map(|flow| (format!("{:?}", key(flow)), kept(flow))).collect()
}

/// Fails unless the table is `before` again, with at most `seconds` less of each timeout.
#[track_caller]
fn assert_restored(netns: &TestNetns, before: &[Flow], seconds: u32) {
    let after = netns.dump();
    assert_same_entries(&after, before);
    assert_eq!(kept(&after), kept(before));
    let timeouts = |flows: &[Flow]| -> BTreeMap<String, u32> {
        flows.iter().map(|flow| (format!("{:?}", key(flow)), flow.timeout.expect("a timeout"))).collect()
    };
    let (after, before) = (timeouts(&after), timeouts(before));
    for (entry, left) in before {
        assert!((left.saturating_sub(seconds)..=left).contains(&after[&entry]), "{entry}: {left}, {}", after[&entry]);
    }
}

/// Longer than a test takes.
const SECONDS: u32 = 120;

fn what_was_saved_and_deleted_is_restored(netns: &TestNetns) {
    let folder = Folder::new();
    let file = folder.name("table");
    netns.fill(171, 1_500);
    let before = netns.dump();
    netns.ctnl(&["save", &file]).exits_with(0).stderr_contains("1500 saved to");
    delete_all(netns);
    let restored = restore(netns, &[&file], 0);
    assert_eq!((restored.entries, restored.restored, restored.table_after), (1_500, 1_500, 1_500), "{restored:?}");
    assert_eq!((&*restored.format, restored.aged), ("binary", true));
    assert_restored(netns, &before, SECONDS);
    // What exists is left as it is.
    let again = restore(netns, &[&file], 0);
    assert_eq!((again.restored, again.existing), (0, 1_500), "{again:?}");
    assert_restored(netns, &before, SECONDS);
}

fn a_filter_selects_what_is_saved(netns: &TestNetns) {
    let folder = Folder::new();
    let file = folder.name("udp.ctnl");
    let flows = netns.fill(172, 500);
    netns.ctnl(&["save", "udp", "and", "not", "mark", "1", &file]).exits_with(0);
    let udp = |flow: &&Flow| u8::from(flow.orig.protocol) == 17 && flow.mark != Some(1);
    let expected: Vec<Flow> = flows.iter().filter(udp).cloned().collect();
    assert!(expected.len() > 10);
    delete_all(netns);
    let restored = restore(netns, &[&file], 0);
    assert_eq!(restored.saved_filter, "proto udp and not mark = 1");
    assert_same_entries(&netns.dump(), &expected);
    // What is a filter as a whole names no file.
    for words in [&["save", "udp"][..], &["save", "udp", "and", "dport", "53"], &["save"]] {
        netns.ctnl(words).exits_with(2).stderr_contains("no file is given");
    }
}

fn what_flush_saved_is_the_same_table_after_a_restore(netns: &TestNetns) {
    let folder = Folder::new();
    let file = folder.name("undo");
    netns.fill(173, 1_500);
    netns.create(&similar_entries());
    let before = netns.dump();
    let flushed = netns.ctnl(&["flush", "--all", "--yes", "--json", "--save", &file]).exits_with(0).stdout();
    let flushed = Summary::read(&flushed);
    assert_eq!((flushed.deleted, flushed.saved), (before.len() as u64, Some(before.len() as u64)));
    assert_eq!(flushed.saved_to.as_deref(), Some(&*file));
    assert_eq!(netns.dump(), []);
    restore(netns, &[&file], 0);
    assert_restored(netns, &before, SECONDS);
}

fn saved(file: &str) -> Vec<Flow> {
    let bytes = fs::read(file).expect("a file");
    let (mut reader, mut flows, mut flow) = (SaveReader::new(&bytes[..]).expect("a head"), vec![], Flow::blank());
    while reader.next_entry(&mut flow).expect("a whole file") {
        flows.push(flow.clone());
    }
    flows
}

fn the_file_of_a_flush_has_what_was_deleted_and_no_more(netns: &TestNetns) {
    let folder = Folder::new();
    netns.fill(174, 1_000);
    let keys = |flows: &[Flow]| flows.iter().map(|flow| format!("{:?}", key(flow))).collect::<Vec<_>>();
    let (file, dry) = (folder.name("some"), folder.name("dry"));
    let before = netns.dump();
    netns.ctnl(&["flush", "udp", "--max", "50", "--yes", "--save", &file]).exits_with(0);
    let (after, saved) = (keys(&netns.dump()), keys(&saved(&file)));
    let mut deleted: Vec<_> = keys(&before).into_iter().filter(|key| !after.contains(key)).collect();
    let mut saved = saved.clone();
    deleted.sort();
    saved.sort();
    assert_eq!((saved.len(), &saved), (50, &deleted));
    netns.ctnl(&["flush", "tcp", "--dry-run", "--save", &dry]).exits_with(0);
    assert!(!folder.path("dry").exists());
    for no_file in ["-", "/dev/null", "/dev/full"] {
        netns.ctnl(&["flush", "tcp", "--yes", "--save", no_file]).exits_with(2);
    }
    assert_eq!(netns.dump().len(), before.len() - 50);
    // Refused without --yes: nothing is left behind.
    netns.ctnl(&["flush", "proto", "0-255", "--save", &dry]).exits_with(2);
    assert!(!folder.path("dry").exists());
}

fn what_a_killed_flush_has_deleted_is_in_its_file(netns: &TestNetns) {
    const ENTRIES: u32 = 30_000;
    let folder = Folder::new();
    let file = folder.name("undo");
    netns.fill(179, ENTRIES.into());
    let before = netns.dump();
    let running = Running::start(netns, &["flush", "--all", "--yes", "--save", &file]);
    let mut connection = netns.connection();
    let mut left = ENTRIES;
    until(
        || {
            left = table::count(&mut connection).expect("count").entries;
            left < ENTRIES - 1_000
        },
        || "nothing is deleted".to_owned(),
    );
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait().signal(), Some(Signal::SIGKILL as i32));
    let left = netns.dump().len() as u64;
    assert!(left > 0, "it was killed in the middle");
    netns.ctnl(&["restore", &file]).exits_with(1).stderr_contains("cut short");
    let restored = restore(netns, &["--incomplete", &file], 0);
    assert_eq!(restored.restored, u64::from(ENTRIES) - left, "{restored:?}");
    assert_restored(netns, &before, SECONDS);
}

fn a_full_disk_ends_a_flush_and_what_it_deleted_is_restored(netns: &TestNetns) {
    let folder = Folder::new();
    netns.fill(175, 3_000);
    let before = netns.dump();
    let small = "mount -t tmpfs -o size=64k small \"$1\" && \"$2\" flush --all --yes --json --save \"$1/undo\"; code=$?
        cp \"$1/undo\" \"$3\"; exit $code";
    let mut command = Command::new("unshare");
    fs::create_dir(folder.path("small")).expect("a folder");
    command.args(["--mount", "sh", "-c", small, "sh", &folder.name("small")]);
    command.args([ctnl_test_support::harness::program(), &folder.name("undo")]);
    let run = Run::of(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")).exits_with(3);
    let run = run.stderr_contains("No space left on device").stderr_contains("--incomplete");
    let flushed = Summary::read(&run.stdout());
    assert!(flushed.deleted > 0 && flushed.unsent > 0 && flushed.table_after > 1_000, "{flushed:?}");
    assert!(flushed.saved >= Some(flushed.deleted), "{flushed:?}");
    let file = folder.name("undo");
    netns.ctnl(&["restore", &file]).exits_with(1).stderr_contains("cut short");
    let restored = restore(netns, &["--incomplete", &file], 0);
    assert!(restored.incomplete && restored.restored == flushed.deleted, "{restored:?}");
    assert_restored(netns, &before, SECONDS);
}

fn an_existing_file_is_neither_overwritten_nor_is_anything_deleted(netns: &TestNetns) {
    let folder = Folder::new();
    let file = folder.name("undo");
    fs::write(&file, "precious").expect("write");
    netns.create(&[udp(1, 2), udp(3, 4)]);
    netns.ctnl(&["flush", "--all", "--save", &file]).exits_with(2).stderr_contains("exists");
    netns.ctnl(&["save", &file]).exits_with(2).stderr_contains("--overwrite");
    assert_eq!((fs::read_to_string(&file).expect("read"), netns.dump().len()), ("precious".to_owned(), 2));
    netns.ctnl(&["save", "--overwrite", &file]).exits_with(0);
    assert_eq!(saved(&file).len(), 2);
    assert_eq!(fs::read_dir(folder.0.path()).expect("a folder").count(), 1);
}

fn a_killed_restore_can_be_repeated(netns: &TestNetns) {
    const ENTRIES: usize = 30_000;
    let folder = Folder::new();
    let file = folder.name("table");
    netns.fill(176, ENTRIES as u64);
    let before = netns.dump();
    netns.ctnl(&["save", &file]).exits_with(0);
    delete_all(netns);
    let running = Running::start(netns, &["restore", &file]);
    let mut connection = netns.connection();
    let entries = |connection: &mut _| table::count(connection).expect("count").entries as usize;
    until(|| entries(&mut connection) > 500, || "nothing is restored".to_owned());
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait().signal(), Some(Signal::SIGKILL as i32));
    let created = entries(&mut connection) as u64;
    assert!(created < ENTRIES as u64, "it was killed in the middle");
    let again = restore(netns, &[&file], 0);
    assert_eq!((again.existing, again.restored), (created, ENTRIES as u64 - created));
    assert_restored(netns, &before, SECONDS);
}

/// A file with two entries.
fn small_file(folder: &Folder) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = BinaryWriter::begin(&mut bytes, &Head { time: Nanos(1), ..Head::default() });
    for flow in [udp(1, 2), udp(3, 4)] {
        writer.entry(&mut bytes, &flow, Nanos(1));
    }
    writer.end(&mut bytes);
    fs::write(folder.path("whole"), &bytes).expect("write");
    bytes
}

fn a_file_that_is_cut_at_any_byte_creates_nothing(netns: &TestNetns) {
    let folder = Folder::new();
    let (whole, file) = (small_file(&folder), folder.name("cut"));
    for end in 0..whole.len() {
        fs::write(&file, &whole[..end]).expect("write");
        netns.ctnl(&["restore", "--no-age", &file]).exits_with(1).stderr_contains("nothing was restored");
        assert_eq!(netns.dump().len(), 0, "cut at {end}");
    }
    assert_eq!(restore(netns, &["--no-age", &folder.name("whole")], 0).restored, 2);
}

fn a_file_that_is_damaged_at_any_byte_creates_nothing(netns: &TestNetns) {
    let folder = Folder::new();
    let (whole, file) = (small_file(&folder), folder.name("damaged"));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&file, &damaged).expect("write");
        netns.ctnl(&["restore", "--no-age", &file]).exits_with(1).stderr_contains("nothing was restored");
        assert_eq!(netns.dump().len(), 0, "damaged at {at}");
    }
}

fn the_entries_before_a_cut_are_restored_on_request(netns: &TestNetns) {
    let folder = Folder::new();
    let file = folder.name("table");
    netns.fill(177, 3_000);
    netns.ctnl(&["save", &file]).exits_with(0);
    delete_all(netns);
    let whole = fs::read(&file).expect("read");
    fs::write(&file, &whole[..whole.len() * 2 / 3]).expect("write");
    netns.ctnl(&["restore", &file]).exits_with(1).stderr_contains("--incomplete");
    assert_eq!(netns.dump(), []);
    let restored = restore(netns, &["--incomplete", &file], 0);
    assert!(restored.incomplete && (1_000..3_000).contains(&restored.restored), "{restored:?}");
    assert_eq!(netns.dump().len() as u64, restored.restored);
    // Damage is no cut.
    fs::write(&file, [&whole[..whole.len() / 2], &whole[whole.len() / 2 + 1..]].concat()).expect("write");
    netns.ctnl(&["restore", "--incomplete", &file]).exits_with(1).stderr_contains("corrupt");
}

fn timeouts_are_lowered_by_the_age_of_the_file(netns: &TestNetns) {
    const HOUR: u64 = 3600;
    let folder = Folder::new();
    let file = folder.name("old");
    let now = ctnl::clock::Clock::system().now().realtime;
    let time = now.since(Nanos(HOUR * Nanos::PER_SECOND));
    let mut bytes = Vec::new();
    let mut writer = BinaryWriter::begin(&mut bytes, &Head { time, ..Head::default() });
    for (port, timeout) in [(1, 100), (2, 3_600), (3, 10_000)] {
        writer.entry(&mut bytes, &Flow { timeout: Some(timeout), ..udp(port, 53) }, time);
    }
    writer.end(&mut bytes);
    fs::write(&file, bytes).expect("write");
    let restored = restore(netns, &[&file], 0);
    assert_eq!((restored.expired, restored.restored, restored.aged), (2, 1, true), "{restored:?}");
    let left = |port| netns.dumped(&udp(port, 53).orig).and_then(|flow| flow.timeout).expect("an entry");
    assert!((6_300..=6_400).contains(&left(3)), "{}", left(3));
    let restored = restore(netns, &["--no-age", &file], 0);
    assert_eq!((restored.expired, restored.restored, restored.existing, restored.aged), (0, 2, 1, false));
    assert!((3_500..=3_600).contains(&left(2)), "{}", left(2));
}

fn entries_are_created_in_the_mapped_zone_and_in_the_named_namespace(netns: &TestNetns) {
    let folder = Folder::new();
    let file = folder.name("zones");
    let in_zone = |zone| Flow { zone_both: Some(zone), ..udp(1, 2) };
    netns.create(&[in_zone(10), in_zone(20), udp(1, 2)]);
    netns.ctnl(&["save", &file]).exits_with(0);
    let other = Namespace::new();
    let arguments = ["--zone-map", "10=11", "--zone-map", "20=10", "--into-netns", &other.path(), &file];
    let restored = restore(netns, &arguments, 0);
    assert_eq!((restored.restored, restored.zones), (3, BTreeMap::from([(0, 1), (10, 1), (20, 1)])));
    assert_eq!(netns.dump().len(), 3);
    let listed = netns.ctnl(&["list", "-o", "csv", "--columns", "zone", "--netns", &other.path()]).stdout();
    let mut zones: Vec<&str> = listed.lines().skip(1).collect();
    zones.sort_unstable();
    assert_eq!(zones, ["0", "10", "11"], "{listed}");
    for bad in ["10", "10=11=12", "x=1", "1=70000"] {
        netns.ctnl(&["restore", "--zone-map", bad, &file]).exits_with(2);
    }
    netns.ctnl(&["restore", "--zone-map", "10=1,10=2", &file]).exits_with(2).stderr_contains("two zones");
}

fn a_pipe_is_restored_as_a_file_is(netns: &TestNetns) {
    netns.fill(178, 800);
    let before = netns.dump();
    for format in ["binary", "save"] {
        let bytes = {
            let mut command = netns.ctnl_command(&["save", "-o", format, "-"]);
            command.stderr(Stdio::null()).output().expect("run").stdout
        };
        delete_all(netns);
        let mut command = netns.ctnl_command(&["restore", "--json", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run");
        std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), &bytes).expect("write");
        let output = child.wait_with_output().expect("its end");
        let restored = Restored::read(&String::from_utf8(output.stdout).expect("text"));
        assert_eq!((&*restored.format, restored.restored), (format, before.len() as u64), "{restored:?}");
        if format == "binary" {
            assert_restored(netns, &before, SECONDS);
        } else {
            assert_same_entries(&netns.dump(), &before);
        }
    }
}

fn a_dry_run_of_a_restore_creates_nothing(netns: &TestNetns) {
    let folder = Folder::new();
    let whole = small_file(&folder);
    let file = folder.name("whole");
    assert_eq!(restore(netns, &["--dry-run", "--no-age", &file], 0).restored, 2);
    assert_eq!(restore(netns, &["--dry-run", &file], 0).expired, 2);
    fs::write(&file, &whole[1..]).expect("write");
    netns.ctnl(&["restore", "--dry-run", &file]).exits_with(1);
    assert_eq!(netns.dump(), []);
}
