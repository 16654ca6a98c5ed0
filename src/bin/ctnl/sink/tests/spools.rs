//! Spools over restarts, and at their limit.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::*;

/// A folder for a socket and a spool.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Scene { folder: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn open(&self, max: u64) -> Sinks {
        open(&self.spec(), &self.options(max))
    }

    fn options(&self, max: u64) -> SinkOptions {
        SinkOptions { queue_max: 4096, ..spooling(&self.folder.path().join("spool"), max) }
    }

    fn spec(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// The segments, oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        let sink = fs::read_dir(self.folder.path().join("spool")).unwrap().next().unwrap().unwrap().path();
        let mut files: Vec<_> = fs::read_dir(sink).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        files.sort();
        files
    }

    /// Starts a receiver, ends `sinks`, and returns what was received.
    fn receive(&self, sinks: Sinks) -> Vec<String> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let reading = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            BufReader::new(stream).lines().map(Result::unwrap).collect::<Vec<_>>()
        });
        until(|| sinks.statistics()[0].down_since.is_none() && sinks.statistics()[0].delivered > 0);
        assert_eq!(finish(sinks), []);
        fs::remove_file(self.socket()).unwrap();
        reading.join().unwrap()
    }
}

#[test]
fn lines_of_an_earlier_run_are_delivered_first_under_its_own_stream_name() {
    let scene = Scene::new();
    let mut sinks = scene.open(1 << 20);
    for first in (1..1001).step_by(10) {
        sinks.put(chunk_of("one", first, 10));
        until(|| sinks.has_capacity() && sinks.statistics()[0].queued < 4000);
    }
    until_down(&sinks);
    let left = finish(sinks);
    assert_eq!((left[0].lost, left[0].name.as_str()), (0, &*scene.spec()));
    assert!(left[0].spooled > 1000 && left[0].why.as_deref().unwrap().contains("No such file"), "{left:?}");

    let mut sinks = scene.open(1 << 20);
    sinks.put(chunk_of("two", 1, 5));
    until_down(&sinks);
    assert_eq!(finish(sinks)[0].lost, 0);

    let mut sinks = scene.open(1 << 20);
    sinks.put(chunk_of("three", 1, 3));
    let expected = [lines("one", 1..=1000), lines("two", 1..=5), lines("three", 1..=3)].concat();
    assert_eq!(scene.receive(sinks), expected);
    assert_eq!(scene.segments(), [] as [PathBuf; 0]);
}

/// Including the chunk in flight.
#[test]
fn a_killed_run_leaves_everything_undelivered_in_the_spool() {
    const FOLDER: &str = "CTNL_TEST_FOLDER";
    const NAME: &str = "a_killed_run_leaves_everything_undelivered_in_the_spool";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = PathBuf::from(folder);
        let mut sinks =
            open(&format!("unix:{}", folder.join("socket").display()), &spooling(&folder.join("spool"), 1 << 20));
        for first in (1..1001).step_by(10) {
            sinks.put(chunk(first, 10));
        }
        until_down(&sinks);
        until(|| sinks.statistics()[0].queued == 0);
        nix::sys::signal::raise(nix::sys::signal::SIGKILL).unwrap();
    }
    let scene = Scene::new();
    run_until_killed(&scene, NAME, FOLDER);
    let mut sinks = scene.open(1 << 20);
    sinks.put(chunk_of("two", 1, 1));
    assert_eq!(scene.receive(sinks), [lines("s", 1..=1000), lines("two", [1])].concat());
}

/// Its peer is connected and reads nothing, so that the end waits for it, and a supervisor does not wait.
#[test]
fn a_run_that_is_killed_while_its_end_waits_for_a_peer_has_spooled_everything() {
    const FOLDER: &str = "CTNL_TEST_FOLDER_OF_HANGING_PEER";
    const NAME: &str = "a_run_that_is_killed_while_its_end_waits_for_a_peer_has_spooled_everything";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = PathBuf::from(folder);
        let _listener = UnixListener::bind(folder.join("socket")).unwrap();
        let options = SinkOptions { queue_max: 8 << 20, ..spooling(&folder.join("spool"), 8 << 20) };
        let mut sinks = open(&format!("unix:{}", folder.join("socket").display()), &options);
        for first in (1..5001).step_by(100) {
            sinks.put(chunk(first, 100));
        }
        until(|| sinks.sinks[0].state().in_flight.is_some());
        thread::spawn(|| {
            thread::sleep(2 * SPOOL_AFTER);
            nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL).unwrap();
        });
        finish(sinks);
    }
    let scene = Scene::new();
    run_until_killed(&scene, NAME, FOLDER);
    fs::remove_file(scene.socket()).unwrap();
    let mut sinks = scene.open(8 << 20);
    sinks.put(chunk_of("two", 1, 1));
    assert_eq!(scene.receive(sinks), [lines("s", 1..=5000), lines("two", [1])].concat());
}

#[test]
fn spooled_lines_that_were_delivered_are_not_repeated_after_a_restart() {
    let scene = Scene::new();
    let mut spool = Spool::open(scene.folder.path(), "x", 1 << 20).unwrap();
    for first in 1..=3 {
        spool.append(&queue::Item::Chunk(chunk(first, 1))).unwrap();
    }
    assert_eq!(spool.peek(NOW).unwrap(), Some(queue::Item::Chunk(chunk(1, 1))));
    spool.advance();
    drop(spool);
    let mut spool = Spool::open(scene.folder.path(), "x", 1 << 20).unwrap();
    spool.append(&queue::Item::Chunk(chunk_of("t", 1, 1))).unwrap();
    spool.prepend(&queue::Item::Chunk(chunk(0, 1))).unwrap();
    // The prepended item is first. The read offset of the segment behind it is lost by that.
    let mut seen = Vec::new();
    while let Some(queue::Item::Chunk(chunk)) = spool.peek(NOW).unwrap() {
        seen.push((chunk.stream.to_string(), chunk.first));
        spool.advance();
    }
    let of = |stream: &str, numbers: &[u64]| numbers.iter().map(|n| (stream.to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(seen, [of("s", &[0, 1, 2, 3]), of("t", &[1])].concat());
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn a_full_spool_and_a_full_queue_become_a_gap_with_exact_numbers() {
    let scene = Scene::new();
    let mut sinks = scene.open(32 << 10);
    let last = 20_000;
    let refuses = |sinks: &Sinks| sinks.sinks[0].state().spool_error.is_some();
    for first in (1..=last).step_by(100) {
        sinks.put(chunk(first, 100));
        until(|| refuses(&sinks) || sinks.statistics()[0].queued < 3000);
    }
    assert!(refuses(&sinks));
    for first in (last + 1..=2 * last).step_by(100) {
        sinks.put(chunk(first, 100));
    }
    let dropped = sinks.statistics()[0].dropped;
    let listener = UnixListener::bind(scene.socket()).unwrap();
    let reading = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        BufReader::new(stream).lines().map(Result::unwrap).collect::<Vec<_>>()
    });
    until(|| sinks.statistics()[0].queued == 0 && sinks.statistics()[0].spooled == 0);
    sinks.put(chunk(2 * last + 1, 1));
    assert_eq!(finish(sinks), []);
    let received = reading.join().unwrap();
    assert_eq!(account(&received), (2 * last + 1, dropped));
    assert!(dropped > 0 && received.iter().any(|line| line.ends_with("Spool")));
}

#[test]
fn lines_that_do_not_fit_at_the_end_are_reported_and_are_a_gap_in_the_next_run() {
    let scene = Scene::new();
    let mut sinks =
        Sinks::open(&[scene.spec().parse().unwrap()], &SinkOptions { queue_max: 1 << 20, ..scene.options(4096) })
            .unwrap();
    sinks.put(chunk(1, 10));
    until_down(&sinks);
    for first in (11..2011).step_by(100) {
        sinks.put(chunk(first, 100));
    }
    let left = finish(sinks);
    assert!(left[0].lost > 1000 && left[0].lost.is_multiple_of(100), "{left:?}");
    let received = scene.receive(scene.open(4096));
    let kept = 2010 - left[0].lost;
    let mut expected = lines("s", 1..=kept);
    expected.push(format!("s gap {} {} Spool", kept + 1, left[0].lost));
    assert_eq!(received, expected);
}

#[test]
fn a_torn_last_frame_is_skipped_and_counted_and_the_others_are_delivered() {
    for cut in [1, 9, 20] {
        let scene = Scene::new();
        let mut sinks = scene.open(1 << 20);
        sinks.put(chunk_of("one", 1, 2));
        until_down(&sinks);
        sinks.put(chunk_of("one", 3, 2));
        until(|| sinks.statistics()[0].spooled > 0 && sinks.statistics()[0].queued < 20);
        finish(sinks);
        let last = scene.segments().pop().unwrap();
        let file = OpenOptions::new().write(true).open(&last).unwrap();
        file.set_len(file.metadata().unwrap().len() - cut).unwrap();
        let mut sinks = scene.open(1 << 20);
        sinks.put(chunk_of("two", 1, 1));
        until(|| sinks.statistics()[0].spooled > 0);
        let listener = UnixListener::bind(scene.socket()).unwrap();
        let received = BufReader::new(listener.accept().unwrap().0).lines();
        let received = thread::spawn(move || received.map(Result::unwrap).collect::<Vec<_>>());
        until_delivered(&sinks, 3);
        assert_eq!(sinks.statistics()[0].damaged, 1);
        assert_eq!(finish(sinks), []);
        assert_eq!(received.join().unwrap(), [lines("one", 1..=2), lines("two", 1..=1)].concat());
    }
}

#[test]
fn a_receiver_gets_a_gap_for_a_damaged_chunk() {
    let scene = Scene::new();
    let mut sinks = scene.open(1 << 20);
    for first in (1..=91).step_by(10) {
        sinks.put(chunk_of("one", first, 10));
        until(|| sinks.has_capacity() && sinks.statistics()[0].queued < 100);
    }
    until_down(&sinks);
    finish(sinks);
    let path = scene.segments().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|line| line == b"one 55\n").unwrap();
    bytes[at] = b'x';
    fs::write(path, bytes).unwrap();
    let mut sinks = scene.open(1 << 20);
    sinks.put(chunk_of("two", 1, 1));
    let sink = Arc::clone(&sinks.sinks[0]);
    let gap = vec!["one gap 51 10 Spool".to_owned()];
    assert_eq!(scene.receive(sinks), [lines("one", 1..=50), gap, lines("one", 61..=100), lines("two", [1])].concat());
    assert_eq!((sink.statistics().damaged, sink.statistics().dropped), (1, 10));
}

#[test]
fn files_that_are_not_segments_yield_no_lines() {
    let scene = Scene::new();
    drop(Spool::open(scene.folder.path(), "x", 1 << 20).unwrap());
    for (name, bytes) in [("01", &b""[..]), ("02", b"ctnlspl1"), ("03", &[0xff; 100]), ("4", b"x"), ("+5", b"x")] {
        let name = format!("{name:0>20}.seg").replace("00000000000000000004", "4");
        let mut file = fs::File::create(scene.folder.path().join("x").join(name)).unwrap();
        file.write_all(bytes).unwrap();
    }
    let mut spool = Spool::open(scene.folder.path(), "x", 1 << 20).unwrap();
    assert_eq!((spool.peek(NOW).unwrap(), spool.damaged(), spool.bytes()), (None, 3, 0));
}

#[test]
fn a_spool_that_another_process_uses_is_refused() {
    let scene = Scene::new();
    let sinks = scene.open(1 << 20);
    let refused = Sinks::open(&[scene.spec().parse().unwrap()], &scene.options(1 << 20)).err().unwrap();
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    finish(sinks);
}

#[test]
fn lines_for_a_sink_that_is_not_named_any_more_are_reported_unless_another_process_has_it() {
    let scene = Scene::new();
    let mut sinks = scene.open(1 << 20);
    sinks.put(chunk(1, 5));
    until_down(&sinks);
    // Its folder is in use.
    let warnings_of = |socket: &str| {
        let spec = format!("unix:{}", scene.folder.path().join(socket).display());
        let mut sinks = open(&spec, &scene.options(1 << 20));
        sinks.finish(Duration::ZERO);
        sinks.take_warnings()
    };
    assert_eq!(warnings_of("other"), [] as [&str; 0]);
    assert_eq!(finish(sinks)[0].lost, 0);
    let warnings = warnings_of("other");
    assert!(warnings.len() == 1 && warnings[0].contains("socket has") && warnings[0].contains("--to"), "{warnings:?}");
    assert_eq!(warnings_of("socket"), [] as [&str; 0]);
}

#[test]
fn every_sink_has_a_folder_of_its_own_inside_the_spool() {
    let names =
        ["unix:/a/b", "unix:/a_b", "tcp:[::1]:1", "..", ".", "a%2Fb", "a/b", &"x/".repeat(500), &"x/".repeat(501)];
    let files: std::collections::HashSet<_> = names.iter().map(|name| spool::folder::file_name(name)).collect();
    assert_eq!(files.len(), names.len());
    assert!(files.iter().all(|file| file.len() < 256 && !file.contains('/') && !file.starts_with('.')), "{files:?}");
}

/// Runs the test `name` in a process of its own, with the folder of `scene` in `variable`. It has to be killed.
fn run_until_killed(scene: &Scene, name: &str, variable: &str) {
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("sink::tests::spools::{name}")])
        .env(variable, scene.folder.path())
        .output()
        .unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&run.status), Some(9), "{run:?}");
}
