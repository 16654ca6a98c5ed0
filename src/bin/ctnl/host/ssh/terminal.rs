//! The terminal of this process.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::stat::{SFlag, fstat, major};

/// Device numbers of pseudo-terminals (`UNIX98_PTY_SLAVE_MAJOR` in include/uapi/linux/major.h).
const PSEUDO: std::ops::RangeInclusive<u64> = 136..=143;

/// Whether the terminal of this process is a pseudo-terminal: whoever is at its other end, a terminal
/// multiplexer, dtach or run0, may be used over SSH. A console or a serial line is local.
pub fn is_pseudo(proc: &Path) -> bool {
    let is_pseudo = |descriptor: &dyn AsFd| {
        fstat(descriptor.as_fd()).is_ok_and(|stat| {
            let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
            kind == SFlag::S_IFCHR && PSEUDO.contains(&major(stat.st_rdev))
        })
    };
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    is_pseudo(&stdin)
        || is_pseudo(&stdout)
        || is_pseudo(&stderr)
        || controlling_major(proc).is_some_and(|major| PSEUDO.contains(&major))
}

/// The major number of the controlling terminal: `tty_nr` in `/proc/PID/stat` (`do_task_stat` in
/// fs/proc/array.c). The name before it may contain spaces and brackets.
fn controlling_major(proc: &Path) -> Option<u64> {
    let stat = fs::read_to_string(proc.join("self/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let device: u64 = fields.split_ascii_whitespace().nth(4)?.parse().ok()?;
    Some((device >> 8) & 0xfff)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_controlling_terminal_is_read_behind_a_name_with_brackets() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("self")).unwrap();
        fs::write(folder.path().join("self/stat"), "7 (a) b) S 1 7 7 34819 7 0").unwrap();
        assert_eq!(controlling_major(folder.path()), Some(136));
        fs::write(folder.path().join("self/stat"), "7 (a) S 1 7 7 1025 7 0").unwrap();
        assert_eq!(controlling_major(folder.path()), Some(4));
    }
}
