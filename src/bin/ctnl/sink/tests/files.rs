//! Files: rotation, SIGHUP, pipes.

use std::io::Read;

use super::*;

#[test]
fn rotation_splits_no_line_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let rotation = Rotation { size: Some(1000), every: None, keep: 100 };
    let mut sinks = open(&format!("file:{}", path.display()), &SinkOptions { rotation, ..options() });
    for first in (1..1001).step_by(10) {
        sinks.put(chunk(first, 10));
    }
    assert_eq!(finish(sinks), []);
    let mut seen = Vec::new();
    let count = fs::read_dir(folder.path()).unwrap().count();
    for number in (1..count).rev() {
        let part = folder.path().join(format!("x.{number}"));
        assert!((1..=1000).contains(&fs::metadata(&part).unwrap().len()));
        seen.extend(read(&part));
    }
    seen.extend(read(&path));
    assert_eq!(seen, lines("s", 1..=1000));
    assert!(count > 5);
}

#[test]
fn a_renamed_file_is_created_anew_on_sighup_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("x"), folder.path().join("moved"));
    let mut sinks = open(&format!("file:{}", path.display()), &options());
    sinks.put(chunk(1, 2));
    until_delivered(&sinks, 2);
    fs::rename(&path, &moved).unwrap();
    sinks.put(chunk(3, 2));
    until_delivered(&sinks, 4);
    sinks.reopen();
    until(|| sinks.are_reopened());
    // It exists although there is no line for it.
    assert!(path.exists());
    sinks.put(chunk(5, 2));
    assert_eq!(finish(sinks), []);
    assert_eq!((read(&moved), read(&path)), (lines("s", 1..=4), lines("s", 5..=6)));
}

#[test]
fn a_file_that_was_truncated_continues_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let rotation = Rotation { size: Some(50), every: None, keep: 1 };
    let mut sinks = open(&format!("file:{}", path.display()), &SinkOptions { rotation, ..options() });
    sinks.put(chunk(1, 9));
    until_delivered(&sinks, 9);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    sinks.put(chunk(10, 1));
    until_delivered(&sinks, 10);
    sinks.put(chunk(11, 8));
    assert_eq!(finish(sinks), []);
    assert_eq!(read(&path), lines("s", 10..=18));
}

#[test]
fn a_partial_line_of_an_earlier_crash_is_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    fs::write(&path, "s 1\ns 2\n{\"torn").unwrap();
    let mut sinks = open(&format!("file:{}", path.display()), &options());
    sinks.put(chunk(3, 1));
    assert_eq!(finish(sinks), []);
    assert_eq!(read(&path), lines("s", 1..=3));
    fs::write(&path, vec![0; 2 << 20]).unwrap();
    let refused = Sinks::open(&[format!("file:{}", path.display()).parse().unwrap()], &options()).err().unwrap();
    assert!(format!("{refused:#}").contains("another kind of file"), "{refused:#}");
    assert_eq!(fs::metadata(&path).unwrap().len(), 2 << 20);
}

/// A path that is a mistake: no byte of the file may change.
#[test]
fn a_file_of_another_kind_is_never_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let long = "no line at all ".repeat(60_000);
    for text in [&*long, "text\nmore text", "s 1\ntheirs\npartial", "{\"a\":1}", "\0\0\0\0"] {
        fs::write(&path, text).unwrap();
        let refused = Sinks::open(&[format!("file:{}", path.display()).parse().unwrap()], &options()).err().unwrap();
        assert!(format!("{refused:#}").contains("another kind of file"), "{refused:#}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    // What is whole is continued, and a line that a power failure tore is truncated, whatever is left of it.
    for (text, kept) in [("theirs\n", "theirs"), ("s 1\n\0\0", "s 1"), ("x\ns 1\r\ns", "x\ns 1\r"), ("s 2", "")] {
        fs::write(&path, text).unwrap();
        let mut sinks = open(&format!("file:{}", path.display()), &options());
        sinks.put(chunk(3, 1));
        assert_eq!(finish(sinks), []);
        let separator = if kept.is_empty() { "" } else { "\n" };
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{kept}{separator}s 3\n"));
    }
}

#[test]
fn a_csv_file_with_other_columns_or_other_lines_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let with_header = SinkOptions { header: b"head\n"[..].into(), ..options() };
    for text in ["other head\ns 1\n", "s 1\n", "heap\ns 1\ns"] {
        fs::write(&path, text).unwrap();
        let spec: SinkSpec = format!("file:{}", path.display()).parse().unwrap();
        let refused = Sinks::open(&[spec], &with_header).err().unwrap();
        assert!(format!("{refused:#}").contains("does not begin with the columns"), "{refused:#}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    // A header that a power failure tore is written again.
    fs::write(&path, "hea").unwrap();
    let is_own_line: LineTest = Arc::new(|line| b"head".starts_with(line));
    let mut sinks = open(&format!("file:{}", path.display()), &SinkOptions { is_own_line, ..with_header });
    sinks.put(chunk(3, 1));
    assert_eq!(finish(sinks), []);
    assert_eq!(read(&path), ["head", "s 3"]);
}

#[test]
fn a_file_has_one_writer_and_a_path_that_cannot_be_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let spec: SinkSpec = format!("file:{}/x", folder.path().display()).parse().unwrap();
    let sinks = Sinks::open(std::slice::from_ref(&spec), &options()).unwrap();
    let refused = Sinks::open(std::slice::from_ref(&spec), &options()).err().unwrap();
    assert!(format!("{refused:#}").contains("another process writes to it"), "{refused:#}");
    finish(sinks);
    assert!(Sinks::open(&["file:/no/such/folder/x".parse().unwrap()], &options()).is_err());
}

#[test]
fn a_full_pipe_applies_backpressure_and_gets_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Opening one end alone would block.
    let both = fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut sinks = open(&format!("file:{}", path.display()), &SinkOptions { queue_max: 10_000, ..options() });
    let mut pipe = fs::File::open(&path).unwrap();
    drop(both);
    let mut put = 0;
    while sinks.has_capacity() {
        sinks.put(chunk(put + 1, 100));
        put += 100;
        // The delivery thread writes what the pipe has space for.
        thread::yield_now();
        assert!(put < 1_000_000);
    }
    // Beyond the limit nothing is dropped either.
    sinks.put(chunk(put + 1, 100));
    let reading = thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(finish(sinks), []);
    let seen: Vec<String> = reading.join().unwrap().lines().map(str::to_owned).collect();
    assert_eq!(seen, lines("s", 1..=put + 100));
}

#[test]
fn a_pipe_without_a_reader_and_a_socket_are_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, hint) in [(pipe, "start its reader first"), (socket, "use unix:/")] {
        let refused = Sinks::open(&[format!("file:{}", path.display()).parse().unwrap()], &options()).err().unwrap();
        assert!(format!("{refused:#}").contains(hint), "{refused:#}");
    }
}

#[test]
fn lines_that_a_file_did_not_accept_before_the_end_are_counted() {
    let mut sinks = open("file:/dev/full", &options());
    sinks.put(chunk(1, 7));
    until_down(&sinks);
    let left = sinks.finish(Duration::ZERO);
    assert_eq!((left[0].lost, left[0].spooled), (7, 0));
    assert!(left[0].why.as_deref().unwrap().contains("No space left"), "{left:?}");
}

#[test]
fn each_file_begins_with_the_header_which_a_file_with_lines_does_not_get_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let rotation = Rotation { size: Some(20), every: None, keep: 9 };
    let options = SinkOptions { rotation, header: b"head\n"[..].into(), ..options() };
    for (first, last) in [(1, 3), (4, 5)] {
        let mut sinks = open(&format!("file:{}", path.display()), &options);
        (first..=last).for_each(|number| sinks.put(chunk(number, 1)));
        assert_eq!(finish(sinks), []);
    }
    let part = |name: &str| read(&folder.path().join(name)).join(" ");
    assert_eq!([part("x.1"), part("x")], ["head s 1 s 2 s 3", "head s 4 s 5"]);
}

#[test]
fn a_removed_file_is_created_again_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let mut sinks =
        open(&format!("file:{}", path.display()), &SinkOptions { header: b"head\n"[..].into(), ..options() });
    sinks.put(chunk(1, 2));
    until_delivered(&sinks, 2);
    fs::remove_file(&path).unwrap();
    sinks.put(chunk(3, 2));
    until_delivered(&sinks, 4);
    assert_eq!(read(&path), ["head", "s 3", "s 4"]);
    // Also while there is nothing to write.
    fs::remove_file(&path).unwrap();
    until(|| path.exists());
    sinks.put(chunk(5, 1));
    assert_eq!(finish_with_warnings(sinks, 2, "the file was removed"), []);
    assert_eq!(read(&path), ["head", "s 5"]);
}

#[test]
fn a_file_that_was_replaced_is_written_to_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let mut sinks = open(&format!("file:{}", path.display()), &options());
    sinks.put(chunk(1, 2));
    until_delivered(&sinks, 2);
    let other = folder.path().join("other");
    fs::write(&other, "theirs\n").unwrap();
    fs::rename(&other, &path).unwrap();
    sinks.put(chunk(3, 1));
    assert_eq!(finish_with_warnings(sinks, 1, "the file was removed"), []);
    assert_eq!(read(&path), ["theirs", "s 3"]);
}

/// Ends `sinks`, and checks number and text of the warnings.
#[track_caller]
fn finish_with_warnings(mut sinks: Sinks, count: usize, text: &str) -> Vec<Undelivered> {
    let undelivered = sinks.finish(LONG);
    let warnings = sinks.take_warnings();
    let are_expected = warnings.iter().all(|warning| warning.starts_with("sink file:/") && warning.contains(text));
    assert!(warnings.len() == count && are_expected, "{warnings:?}");
    undelivered
}
