//! `journald:`: the systemd journal, in its native protocol: one datagram of fields for each line.
//!
//! A line that is too long for a datagram is passed in a sealed memory file, as the protocol
//! requires (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use super::options::{SinkOptions, SyslogHeader};
use super::remote::{DatagramSocket, Endpoint, Framing, Packed, Remote};
use crate::chunk::Chunk;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Lines as journal entries.
struct JournalFraming {
    header: SyslogHeader,
}

/// The sink for an address behind `journald:`.
pub fn connect(address: &str, options: &SinkOptions) -> Remote {
    let path = if address.is_empty() { SOCKET } else { address };
    let framing = JournalFraming { header: options.syslog.clone() };
    Remote::new(Endpoint::Datagram(path.into()), Box::new(framing), options.clock.clone())
}

impl Framing for JournalFraming {
    fn pack(&self, chunk: &Chunk, packed: &mut Packed, _: bool) {
        let SyslogHeader { facility, severity, app, .. } = &self.header;
        let common = format!(
            "PRIORITY={severity}\nSYSLOG_FACILITY={facility}\nSYSLOG_IDENTIFIER={app}\nCTNL_STREAM={}\n",
            chunk.stream
        );
        for (number, line) in (chunk.first..).zip(chunk.bytes.split_inclusive(|byte| *byte == b'\n')) {
            packed.bytes.extend_from_slice(b"MESSAGE=");
            packed.bytes.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            // A write to a Vec does not fail.
            let _ = write!(packed.bytes, "\n{common}CTNL_SEQ={number}\n");
            if let Some(event) = event_kind(line) {
                packed.bytes.extend_from_slice(b"CTNL_EVENT=");
                packed.bytes.extend_from_slice(event);
                packed.bytes.push(b'\n');
            }
            packed.ends.push(packed.bytes.len());
        }
    }

    fn send_long(&self, to: &DatagramSocket, datagram: &[u8], _: io::Error) -> io::Result<()> {
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

/// The event kind of a line in JSON. It is near the record's beginning, before any text from
/// outside.
fn event_kind(line: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\"event\":\"";
    let at = line.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let value = line.get(at..)?;
    value.get(..value.iter().position(|byte| *byte == b'"')?)
}
