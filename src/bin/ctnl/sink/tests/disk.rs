//! A disk that is full and has space again: a tmpfs of 128 KiB, in a mount namespace of its own.

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use super::queue::Item;
use super::stdout::StdoutSink;
use super::*;

const DISK: &str = "CTNL_TEST_DISK";

/// Runs the test `name` again in a process that has such a disk.
fn on_a_small_disk(name: &str, test: impl FnOnce(PathBuf)) {
    if let Some(disk) = env::var_os(DISK) {
        return test(disk.into());
    }
    let disk = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size=128k none \"${DISK}\" && exec \"$@\"");
    let run = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", &format!("sink::tests::disk::{name}")])
        .env(DISK, disk.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && output.contains("1 passed"), "{output}{}", String::from_utf8_lossy(&run.stderr));
}

/// Fills all but `left` bytes of the disk.
fn fill(disk: &Path, left: usize) -> PathBuf {
    let path = disk.join("filler");
    fs::write(&path, vec![0; (128 << 10) - left]).unwrap();
    path
}

#[test]
fn a_full_disk_applies_backpressure_and_no_line_is_torn_or_missing() {
    on_a_small_disk("a_full_disk_applies_backpressure_and_no_line_is_torn_or_missing", |disk| {
        let filler = fill(&disk, 20 << 10);
        let path = disk.join("x");
        let mut sinks = open(&format!("file:{}", path.display()), &SinkOptions { queue_max: 10_000, ..options() });
        let mut put = 0;
        until(|| {
            if sinks.has_capacity() {
                // Odd lengths: no line ends at the end of a page.
                sinks.put(chunk(put + 1, 333));
                put += 333;
            }
            !sinks.has_capacity() && sinks.statistics()[0].down_since.is_some()
        });
        assert!(sinks.statistics()[0].why.as_deref().unwrap().contains("No space left"));
        let written = read(&path);
        assert_eq!(written, lines("s", 1..=written.len() as u64));
        assert!(!written.is_empty() && (written.len() as u64) < put);
        fs::remove_file(filler).unwrap();
        assert_eq!(finish(sinks), []);
        assert_eq!(read(&path), lines("s", 1..=put));
    });
}

#[test]
fn standard_output_to_a_file_on_a_full_disk_has_whole_lines_only() {
    on_a_small_disk("standard_output_to_a_file_on_a_full_disk_has_whole_lines_only", |disk| {
        for appends in [false, true] {
            let filler = fill(&disk, 20 << 10);
            let path = disk.join("x");
            fs::write(&path, "before\n").unwrap();
            let mut file = fs::File::options().write(!appends).append(appends).open(&path).unwrap();
            std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
            let mut sink = StdoutSink::new(file, b"header\n");
            let chunk = chunk(1, 4999);
            for _ in 0..2 {
                assert!(sink.deliver(&chunk).unwrap_err().reason.contains("No space left"));
                assert_eq!(read(&path), ["before"]);
            }
            fs::remove_file(filler).unwrap();
            sink.deliver(&chunk).unwrap();
            let expected = [vec!["before".to_owned(), "header".to_owned()], lines("s", 1..=4999)].concat();
            assert_eq!(read(&path), expected);
            fs::remove_file(path).unwrap();
        }
    });
}

#[test]
fn a_full_disk_under_the_spool_is_a_gap_with_exact_numbers() {
    on_a_small_disk("a_full_disk_under_the_spool_is_a_gap_with_exact_numbers", |disk| {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let options = SinkOptions { queue_max: 10_000, ..spooling(&disk.join("spool"), 1 << 30) };
        let mut sinks = open(&format!("unix:{}", socket.display()), &options);
        let mut put = 0;
        let mut put_one = |sinks: &mut Sinks| {
            sinks.put(chunk(put + 1, 100));
            put += 100;
            put
        };
        until(|| {
            if sinks.statistics()[0].queued < 5000 {
                put_one(&mut sinks);
            }
            sinks.sinks[0].state().spool_error.is_some()
        });
        assert!(sinks.sinks[0].state().spool_error.as_deref().unwrap().contains("No space left"));
        for _ in 0..100 {
            put_one(&mut sinks);
        }
        let dropped = sinks.statistics()[0].dropped;
        assert!(dropped > 1000);
        let listener = UnixListener::bind(socket).unwrap();
        let reading = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            BufReader::new(stream).lines().map(Result::unwrap).collect::<Vec<_>>()
        });
        until(|| sinks.statistics()[0].queued == 0 && sinks.statistics()[0].spooled == 0);
        let last = put_one(&mut sinks);
        assert_eq!(finish(sinks), []);
        assert_eq!(account(&reading.join().unwrap()), (last, dropped));
    });
}

/// A file of this mode on a full disk, beside a socket whose reader gets everything meanwhile. Returns
/// the lines of the file after there is space again, the number of lines, and that of dropped ones.
fn a_full_file_beside_a_socket(disk: &Path, mode: &str) -> (Vec<String>, u64, u64) {
    let filler = fill(disk, 20 << 10);
    let folder = tempfile::tempdir().unwrap();
    let (path, socket) = (disk.join("x"), folder.path().join("socket"));
    let listener = UnixListener::bind(&socket).unwrap();
    let reading = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        BufReader::new(stream).lines().map(Result::unwrap).collect::<Vec<_>>()
    });
    let specs = [format!("file:{},mode={mode}", path.display()), format!("unix:{}", socket.display())];
    let specs = specs.map(|spec| spec.parse().unwrap());
    let options = SinkOptions { queue_max: 50_000, ..spooling(&folder.path().join("spool"), 8 << 20) };
    let mut sinks = Sinks::open(&specs, &options).unwrap();
    let put = 333 * 300;
    for first in (1..put).step_by(333) {
        assert!(sinks.has_capacity());
        sinks.put(chunk(first, 333));
        // The reader of the socket is never slow.
        until(|| {
            let [file, socket] = &sinks.statistics()[..] else { panic!("two sinks") };
            socket.delivered == first + 332 && (file.down_since.is_some() || file.delivered == first + 332)
        });
    }
    let full = sinks.statistics()[0].clone();
    assert!(full.why.as_deref().is_some_and(|why| why.contains("No space left")), "{full:?}");
    let written = read(&path);
    assert_eq!(written, lines("s", 1..=written.len() as u64));
    assert!(!written.is_empty() && written.len() < 3000);
    fs::remove_file(filler).unwrap();
    // Beyond the size of the disk, but the rest of the test needs little.
    let mount = Command::new("mount").args(["-o", "remount,size=8m"]).arg(disk).status().unwrap();
    assert!(mount.success());
    until(|| {
        let now = &sinks.statistics()[0];
        now.down_since.is_none() && now.queued == 0 && now.spooled == 0
    });
    sinks.put(chunk(put + 1, 1));
    assert_eq!(sinks.finish(LONG), []);
    assert_eq!(reading.join().unwrap(), lines("s", 1..=put + 1));
    (read(&path), put + 1, sinks.statistics()[0].dropped)
}

#[test]
fn a_full_disk_under_a_file_of_mode_spool_delays_the_lines_of_that_file_alone() {
    const NAME: &str = "a_full_disk_under_a_file_of_mode_spool_delays_the_lines_of_that_file_alone";
    on_a_small_disk(NAME, |disk| {
        let (written, put, dropped) = a_full_file_beside_a_socket(&disk, "spool");
        assert_eq!((written, dropped), (lines("s", 1..=put), 0));
    });
}

#[test]
fn a_full_disk_under_a_file_of_mode_drop_is_an_exact_gap_in_that_file_alone() {
    const NAME: &str = "a_full_disk_under_a_file_of_mode_drop_is_an_exact_gap_in_that_file_alone";
    on_a_small_disk(NAME, |disk| {
        let (written, put, dropped) = a_full_file_beside_a_socket(&disk, "drop");
        assert!(dropped > 10_000, "{dropped}");
        assert_eq!(account(&written), (put, dropped));
        assert_eq!(written.iter().filter(|line| line.contains("gap")).count(), 1);
    });
}

#[test]
fn a_disk_that_is_full_at_the_start_is_an_error_for_a_file_of_mode_block_alone() {
    const NAME: &str = "a_disk_that_is_full_at_the_start_is_an_error_for_a_file_of_mode_block_alone";
    on_a_small_disk(NAME, |disk| {
        // No inode is left.
        let mount = Command::new("mount").args(["-o", "remount,nr_inodes=1"]).arg(&disk).status().unwrap();
        assert!(mount.success());
        let path = disk.join("x");
        let block = Sinks::open(&[format!("file:{}", path.display()).parse().unwrap()], &options());
        assert!(format!("{:#}", block.err().unwrap()).contains("No space left"));
        let sinks = open(&format!("file:{},mode=drop", path.display()), &options());
        until_down(&sinks);
        let mount = Command::new("mount").args(["-o", "remount,nr_inodes=9"]).arg(&disk).status().unwrap();
        assert!(mount.success());
        until_up(&sinks);
        assert_eq!(finish(sinks), []);
        assert!(path.exists());
    });
}

/// It would be prepended to the spool: so is the gap for it.
#[test]
fn items_in_flight_that_a_full_disk_rejects_at_the_end_become_gaps_before_the_spool() {
    const NAME: &str = "items_in_flight_that_a_full_disk_rejects_at_the_end_become_gaps_before_the_spool";
    on_a_small_disk(NAME, |disk| {
        let folder = disk.join("spool");
        let sink = ends::sink_with_spool(&folder, 1 << 20, 1 << 30);
        sink.push(ends::wide("s", 561, 10), 10);
        assert!(ends::spill_all(&sink));
        fill(&disk, 24 << 10);
        let gap = Item::Gap(ends::gap(301, 50, DropCause::Queue, 1, 2));
        let on_their_way = [Item::Chunk(ends::wide("s", 1, 300)), gap, Item::Chunk(ends::wide("s", 351, 10))];
        on_their_way.into_iter().for_each(|item| sink.state().sent.push(item, 1));
        sink.state().unconfirmed = usize::MAX;
        sink.state().in_flight = Some(Item::Chunk(ends::wide("s", 361, 200)));
        sink.state().queue.push_front(Item::Chunk(ends::wide("s", 571, 300)));
        // The disk has 24 KiB: enough for small items, and not for a long one.
        sink.push(ends::wide("s", 571 + 300, 1), 20);
        assert_eq!(spiller::spool_undelivered(&sink, 60), 300 + 10 + 200 + 301);
        let left: Vec<_> = ends::left(&folder).iter().map(ends::shown).collect();
        assert_eq!(left, [(1, -300), (301, -50), (351, -210), (561, 10), (571, -301)]);
    });
}

/// The item in flight goes before the spooled ones.
#[test]
fn kept_lines_give_way_to_an_item_in_flight_when_the_disk_is_full() {
    on_a_small_disk("kept_lines_give_way_to_an_item_in_flight_when_the_disk_is_full", |disk| {
        let (now, keep) = (Clock::system().now().monotonic, Some(Duration::from_secs(100)));
        let spool = Spool::open(&disk.join("spool"), "x", 1 << 20).unwrap();
        let mut spool = spool.keeping(keep, now).unwrap();
        spool.keep(&Item::Chunk(ends::wide("s", 1, 300)), None, now).unwrap();
        fs::write(disk.join("filler"), vec![0; 256 << 10]).unwrap_err();
        // First into an empty spool, and then before what is in it.
        spool.prepend(&Item::Chunk(ends::wide("s", 401, 100))).unwrap();
        assert_eq!(spool.kept_segments(), [] as [u64; 0]);
        spool.prepend(&Item::Chunk(ends::wide("s", 301, 100))).unwrap();
        assert_eq!(spool.peek(0).unwrap().map(|item| item.first()), Some(301));
    });
}

/// A bind mount on a single file, as in a container: a rename of it is EBUSY.
#[test]
fn a_rotation_that_fails_is_reported_once_and_lines_are_appended_to_the_same_file() {
    const NAME: &str = "a_rotation_that_fails_is_reported_once_and_lines_are_appended_to_the_same_file";
    on_a_small_disk(NAME, |disk| {
        let path = disk.join("x");
        fs::write(&path, "").unwrap();
        let mount = Command::new("mount").arg("--bind").arg(&path).arg(&path).output().unwrap();
        assert!(mount.status.success(), "{}", String::from_utf8_lossy(&mount.stderr));
        fs::write(disk.join("x.1"), "kept").unwrap();
        fs::write(disk.join("x.2"), "kept too").unwrap();
        let rotation = Rotation { size: Some(50), every: None, keep: 2 };
        let mut sinks = open(&format!("file:{}", path.display()), &SinkOptions { rotation, ..options() });
        for first in (1..101).step_by(10) {
            sinks.put(chunk(first, 10));
        }
        assert_eq!(sinks.finish(LONG), []);
        assert_eq!(read(&path), lines("s", 1..=100));
        let warnings = sinks.take_warnings();
        let has_reason = warnings.iter().all(|warning| warning.contains("rotation failed") && warning.contains("busy"));
        assert!(warnings.len() == 1 && has_reason, "{warnings:?}");
        let kept = [2, 3].map(|number| fs::read_to_string(disk.join(format!("x.{number}"))).unwrap());
        assert_eq!(kept, ["kept", "kept too"]);
    });
}
