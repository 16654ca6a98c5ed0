//! Files of lines.

use std::io::Read;

use super::*;

#[test]
fn rotation_splits_no_line_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let rotation = Rotation { size: Some(1000), every: None, keep: 100 };
    let mut sinks = open(&format!("file:{}", path.display()), &Options { rotation, ..options() });
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
fn a_file_that_was_moved_away_is_made_anew_on_sighup_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("x"), folder.path().join("moved"));
    let mut sinks = open(&format!("file:{}", path.display()), &options());
    sinks.put(chunk(1, 2));
    until_delivered(&sinks, 2);
    fs::rename(&path, &moved).unwrap();
    sinks.put(chunk(3, 2));
    until_delivered(&sinks, 4);
    sinks.hangup();
    until(|| {
        let place = sinks.places.first().unwrap();
        !place.state().reopen
    });
    sinks.put(chunk(5, 2));
    assert_eq!(finish(sinks), []);
    assert_eq!((read(&moved), read(&path)), (lines("s", 1..=4), lines("s", 5..=6)));
}

#[test]
fn a_file_that_was_emptied_goes_on_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let rotation = Rotation { size: Some(50), every: None, keep: 1 };
    let mut sinks = open(&format!("file:{}", path.display()), &Options { rotation, ..options() });
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
fn what_an_earlier_death_cut_short_is_cut_off() {
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

#[test]
fn a_file_has_one_writer_and_a_path_that_cannot_be_opened_is_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let word: Word = format!("file:{}/x", folder.path().display()).parse().unwrap();
    let sinks = Sinks::open(std::slice::from_ref(&word), &options()).unwrap();
    let refused = Sinks::open(std::slice::from_ref(&word), &options()).err().unwrap();
    assert!(format!("{refused:#}").contains("another process writes to it"), "{refused:#}");
    finish(sinks);
    assert!(Sinks::open(&["file:/no/such/folder/x".parse().unwrap()], &options()).is_err());
}

/// Only places that cannot be down for long hold the reader back.
#[test]
fn a_full_pipe_holds_the_reader_back_and_gets_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // For both ends, so that it does not wait for the other one.
    let both = fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut sinks = open(&format!("file:{}", path.display()), &Options { queue_max: 10_000, ..options() });
    let mut pipe = fs::File::open(&path).unwrap();
    drop(both);
    let mut put = 0;
    while sinks.has_room() {
        sinks.put(chunk(put + 1, 100));
        put += 100;
        // The thread takes what it can.
        thread::yield_now();
        assert!(put < 1_000_000);
    }
    // Even then nothing that is put is left out.
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
fn a_pipe_that_nobody_reads_and_a_socket_are_refused_at_once_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, said) in [(pipe, "nobody reads"), (socket, "use unix:/")] {
        let refused = Sinks::open(&[format!("file:{}", path.display()).parse().unwrap()], &options()).err().unwrap();
        assert!(format!("{refused:#}").contains(said), "{refused:#}");
    }
}

#[test]
fn what_a_closed_place_did_not_take_is_counted() {
    let mut sinks = open("file:/dev/full", &options());
    sinks.put(chunk(1, 7));
    until_down(&sinks);
    let left = sinks.finish(Instant::now());
    assert_eq!((left[0].lost, left[0].spooled), (7, 0));
    assert!(left[0].why.as_deref().unwrap().contains("No space left"), "{left:?}");
}

#[test]
fn each_file_begins_with_the_header_and_a_file_that_has_lines_gets_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let rotation = Rotation { size: Some(20), every: None, keep: 9 };
    let options = Options { rotation, header: b"head\n"[..].into(), ..options() };
    for (first, last) in [(1, 3), (4, 5)] {
        let mut sinks = open(&format!("file:{}", path.display()), &options);
        (first..=last).for_each(|number| sinks.put(chunk(number, 1)));
        assert_eq!(finish(sinks), []);
    }
    let part = |name: &str| read(&folder.path().join(name)).join(" ");
    assert_eq!([part("x.1"), part("x")], ["head s 1 s 2 s 3", "head s 4 s 5"]);
}
