//! What is printed to stderr, and exit codes.
//!
//! Callers match these lines: kube-proxy and Calico search for `0 flow entries have been deleted`, and others for
//! the version. So the name and the version are those of the conntrack(8) whose command line this is.

use anyhow::Error;
use ctnl::netlink;
use ctnl::text::printable_lines;
use nix::errno::Errno;

use crate::conntrack_syntax::{Command, ErrorExit, Request, SyntaxError};
use crate::term::exit::{Exit, UsageError};
use crate::term::hint;
use crate::term::stderr::Stderr;

/// Name and version, as conntrack(8) prints them.
pub const PROGRAM: &str = "conntrack v1.4.9 (conntrack-tools)";

/// Prints a line that begins with name and version.
pub fn line(text: &str) {
    print(&format!("{PROGRAM}: {}\n", printable_lines(text)));
}

/// Prints lines without name and version.
pub fn note(text: &str) {
    print(&format!("{}\n", printable_lines(text)));
}

fn print(text: &str) {
    // Where stderr is closed there is nobody to read it.
    let _ = Stderr::of_this_process().write_all(text.as_bytes());
}

/// Prints what the parser has ignored.
pub fn warnings(request: &Request) {
    request.warnings.iter().for_each(|warning| note(warning));
}

/// The exit code of a command that has printed its number: nothing is a failure, but for lists.
pub fn counted(count: u64, what: &str) -> Exit {
    line(&format!("{count} {what}."));
    if count == 0 { Exit::Failed } else { Exit::Done }
}

/// Prints why a command line is refused.
pub fn refuse(error: &SyntaxError) -> Exit {
    match error.exit {
        ErrorExit::Usage => refuse_usage(&error.message),
        ErrorExit::Failed => {
            line(&error.message);
            Exit::Failed
        }
    }
}

fn refuse_usage(message: &str) -> Exit {
    line(message);
    note("hint: conntrack -h lists the options");
    Exit::Usage
}

/// Prints why a command failed.
pub fn fail(error: &Error) -> Exit {
    if let Some(UsageError(message)) = error.downcast_ref::<UsageError>() {
        return refuse_usage(message);
    }
    line(&format!("Operation failed: {error:#}"));
    let kernel = error.chain().find_map(|cause| cause.downcast_ref::<netlink::Error>());
    if let Some(hint) = kernel.and_then(hint::hint) {
        note(&format!("hint: {hint}"));
    }
    Exit::Failed
}

/// What an errno of the kernel means for `command`.
pub fn explain(errno: i32, command: Command) -> String {
    let errno = Errno::from_raw(errno);
    let text = match (errno, command) {
        (Errno::EEXIST, Command::Create(_)) => "the entry exists (-U updates it, -A creates or updates)",
        (Errno::ENOENT, _) => "no such entry",
        (Errno::ENOMEM, _) => "the table is full (nf_conntrack_max), or no memory",
        (Errno::EBUSY, _) => "a status bit that cannot be set or cleared",
        (Errno::ENOSPC, _) => "no room: the hash chain is too long, or for labels, the entry has none",
        (Errno::EINVAL, _) => "the kernel does not accept these parameters",
        _ => errno.desc(),
    };
    format!("{errno:?}: {text}")
}
