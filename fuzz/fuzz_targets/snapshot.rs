//! A save file, of either format: it is read or refused. What is read and written again is read as the same; a file that
//! was written by us and is changed in one byte, or cut, is refused.

#![no_main]

use ctnl::model::Flow;
use ctnl::snapshot::{BinaryWriter, Head, SaveReader};
use ctnl::units::Nanos;
use libfuzzer_sys::fuzz_target;

/// The entries up to the end or the first error, and whether there was none.
fn read(file: &[u8]) -> (Vec<Flow>, bool) {
    let (mut flows, mut flow) = (Vec::new(), Flow::blank());
    let Ok(mut reader) = SaveReader::new(file) else { return (flows, false) };
    loop {
        match reader.next_entry(&mut flow) {
            Ok(true) => flows.push(flow.clone()),
            ended => return (flows, ended.is_ok()),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (flows, _) = read(bytes);
    let mut file = Vec::new();
    let mut writer = BinaryWriter::begin(&mut file, &Head::default());
    flows.iter().for_each(|flow| writer.entry(&mut file, flow, Nanos(1)));
    writer.end(&mut file);
    assert_eq!(read(&file), (flows, true));
    let Some((at, change)) = bytes.first_chunk::<3>().map(|[low, high, change]| (u16::from_le_bytes([*low, *high]), *change))
    else {
        return;
    };
    let at = usize::from(at) % file.len();
    assert!(!read(&file[..at]).1);
    if change != 0 {
        file[at] ^= change;
        assert!(!read(&file).1);
    }
});
