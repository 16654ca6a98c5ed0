//! The systemd journal, in its native protocol: one datagram for each line, with fields.
//!
//! A line that is too long for a datagram is passed in a sealed memory file, as the protocol
//! has it.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;

use anyhow::Result;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use super::local::Datagrams;
use super::remote::{Address, Framing, Packed, Remote};
use super::{Deliver, Options, Syslog, Word};
use crate::chunk::Chunk;

const SOCKET: &str = "/run/systemd/journal/socket";

/// The framing.
struct Entries {
    head: Syslog,
}

pub fn make(word: &Word, options: &Options) -> Result<Box<dyn Deliver>> {
    let path = if word.rest.is_empty() { SOCKET } else { &word.rest };
    let entries = Entries { head: options.syslog.clone() };
    Ok(Box::new(Remote::new(word.name(), Address::Datagram(path.into()), Box::new(entries))))
}

impl Framing for Entries {
    fn pack(&self, chunk: &Chunk, packed: &mut Packed, _: bool) {
        let Syslog { facility, severity, app, .. } = &self.head;
        let same = format!(
            "PRIORITY={severity}\nSYSLOG_FACILITY={facility}\nSYSLOG_IDENTIFIER={app}\nCTNL_STREAM={}\n",
            chunk.stream
        );
        for (number, line) in (chunk.first..).zip(chunk.bytes.split_inclusive(|byte| *byte == b'\n')) {
            packed.bytes.extend_from_slice(b"MESSAGE=");
            packed.bytes.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            // Writing to a Vec does not fail.
            let _ = write!(packed.bytes, "\n{same}CTNL_SEQ={number}\n");
            if let Some(event) = event_of(line) {
                packed.bytes.extend_from_slice(b"CTNL_EVENT=");
                packed.bytes.extend_from_slice(event);
                packed.bytes.push(b'\n');
            }
            packed.ends.push(packed.bytes.len());
        }
    }

    fn send_long(&self, to: &Datagrams, datagram: &[u8], _: io::Error) -> io::Result<()> {
        let memory = memfd_create(c"ctnl", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC)?;
        let mut memory = File::from(memory);
        memory.write_all(datagram)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
        fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
        let descriptors = [memory.as_raw_fd()];
        let message = [ControlMessage::ScmRights(&descriptors)];
        sendmsg::<UnixAddr>(to.socket.as_raw_fd(), &[IoSlice::new(&[])], &message, MsgFlags::empty(), None)?;
        Ok(())
    }
}

/// What kind of record a line in JSON is. Records begin with their kind, before any text that
/// is not ours.
fn event_of(line: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\"event\":\"";
    let at = line.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let value = line.get(at..)?;
    value.get(..value.iter().position(|byte| *byte == b'"')?)
}
