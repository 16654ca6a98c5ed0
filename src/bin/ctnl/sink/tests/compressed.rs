//! Compressed rotated files: nothing is lost whatever fails, and their numbers are those of plain files.

use std::io::Read;

use super::compress::{Compression, Compressor};
use super::*;

const FORMATS: [(Compression, &str); 2] = [(Compression::Gzip, ".gz"), (Compression::Zstd, ".zst")];

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The content of a file, decompressed if its name says that it is compressed.
fn content(path: &Path) -> String {
    let (file, mut text) = (fs::File::open(path).unwrap(), String::new());
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap(),
        Some("zst") => zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap(),
        _ => {
            let mut file = file;
            file.read_to_string(&mut text).unwrap()
        }
    };
    text
}

/// Compresses the rotated files.
fn compress(path: &Path, compression: Compression, until_names: &[&str]) -> Vec<String> {
    let compressor = Compressor::start(path, compression).unwrap();
    until(|| names(path.parent().unwrap()) == until_names);
    compressor.take_warnings()
}

#[test]
fn rotated_files_are_compressed_and_every_line_is_in_one_of_them() {
    for (compression, suffix) in FORMATS {
        let folder = temporary();
        let path = folder.path().join("x");
        let rotation = Rotation { size: Some(4000), every: None, keep: 1000 };
        let options = SinkOptions { rotation, compression: Some(compression), ..options() };
        let mut sinks = open(&format!("file:{}", path.display()), &options);
        for first in (1..=20_000).step_by(100) {
            sinks.put(chunk(first, 100));
        }
        until_delivered(&sinks, 20_000);
        // All but the file that is written.
        until(|| names(folder.path()).iter().filter(|name| !name.ends_with(suffix)).count() == 1);
        assert_eq!(sinks.take_warnings(), [] as [&str; 0]);
        assert_eq!(finish(sinks), []);
        let count = names(folder.path()).len() - 1;
        assert!(count > 30, "{count}");
        let rotated = (1..=count).rev().map(|number| folder.path().join(format!("x.{number}{suffix}")));
        let text: String = rotated.chain([path]).map(|path| content(&path)).collect();
        assert_eq!(text.lines().map(str::to_owned).collect::<Vec<_>>(), lines("s", 1..=20_000));
    }
}

#[test]
fn files_beyond_the_number_to_keep_are_removed_compressed_or_not() {
    let folder = temporary();
    let path = folder.path().join("x");
    let rotation = Rotation { size: Some(4000), every: None, keep: 3 };
    let options = SinkOptions { rotation, compression: Some(Compression::Gzip), ..options() };
    let mut sinks = open(&format!("file:{}", path.display()), &options);
    for first in (1..=20_000).step_by(100) {
        sinks.put(chunk(first, 100));
    }
    until_delivered(&sinks, 20_000);
    until(|| names(folder.path()) == ["x", "x.1.gz", "x.2.gz", "x.3.gz"]);
    assert_eq!(sinks.take_warnings(), [] as [&str; 0]);
    assert_eq!(finish(sinks), []);
}

#[test]
fn what_a_crash_left_is_completed_and_its_temporary_file_removed() {
    for (compression, suffix) in FORMATS {
        let folder = temporary();
        let path = folder.path().join("x");
        let file = |name: &str| folder.path().join(name);
        let (first, second) = (format!("x.1{suffix}"), format!("x.2{suffix}"));
        fs::write(&path, "live").unwrap();
        fs::write(file("x.1"), "one\n").unwrap();
        drop(compress(&path, compression, &["x", &first]));
        // A crash before the plain file was removed; one before that in the middle of a file.
        fs::write(file("x.1"), "one\n").unwrap();
        fs::write(file("x.2"), "two\n").unwrap();
        fs::write(file("x.compress-tmp"), "a part").unwrap();
        let warnings = compress(&path, compression, &["x", &first, &second]);
        assert_eq!((content(&file(&first)), content(&file(&second))), ("one\n".into(), "two\n".into()));
        assert_eq!(warnings, [] as [&str; 0]);
    }
}

#[test]
fn a_file_of_the_same_name_with_another_content_is_not_replaced_nor_is_the_plain_file_removed() {
    let folder = temporary();
    let path = folder.path().join("x");
    fs::write(folder.path().join("x.1"), "one\n").unwrap();
    fs::write(folder.path().join("x.1.gz"), "not ours").unwrap();
    let compressor = Compressor::start(&path, Compression::Gzip).unwrap();
    let mut warnings = Vec::new();
    until(|| {
        warnings.extend(compressor.take_warnings());
        !warnings.is_empty()
    });
    assert!(warnings[0].contains("x.1") && warnings[0].contains("stays uncompressed"), "{warnings:?}");
    assert_eq!(names(folder.path()), ["x.1", "x.1.gz"]);
    assert_eq!(content(&folder.path().join("x.1")), "one\n");
    assert_eq!(fs::read(folder.path().join("x.1.gz")).unwrap(), b"not ours");
}

#[test]
fn a_renamed_file_that_is_still_written_stays_plain() {
    let folder = temporary();
    let path = folder.path().join("x");
    let rotation = Rotation { size: Some(1 << 20), every: None, keep: 3 };
    let options = SinkOptions { rotation, compression: Some(Compression::Gzip), ..options() };
    let mut sinks = open(&format!("file:{}", path.display()), &options);
    sinks.put(chunk(1, 10));
    until_delivered(&sinks, 10);
    // As logrotate does, before it sends SIGHUP.
    fs::rename(&path, folder.path().join("x.1")).unwrap();
    let other = Compressor::start(&path, Compression::Gzip).unwrap();
    thread::sleep(Duration::from_millis(200));
    sinks.put(chunk(11, 10));
    until_delivered(&sinks, 20);
    assert_eq!((names(folder.path()), other.take_warnings()), (vec!["x.1".to_owned()], vec![]));
    assert_eq!(finish(sinks), []);
    assert_eq!(read(&folder.path().join("x.1")), lines("s", 1..=20));
}
