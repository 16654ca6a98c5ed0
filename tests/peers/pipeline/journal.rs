//! systemd's journald, in a mount namespace with a `/run` of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Folder, Running, Traffic, account, finished, until};
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::PATH;

tests![the_journal_gets_every_event_although_journald_is_restarted_in_mid_stream];

const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";

const BEGIN: &str = r#"
mount -t tmpfs none /run
mkdir -p /run/systemd/journal /run/log/journal
mount --bind "$FOLDER/socket" /run/systemd/journal
mount --bind "$FOLDER/log" /run/log/journal
mount --bind "$FOLDER/machine-id" /etc/machine-id
exec /usr/lib/systemd/systemd-journald
"#;

struct Journald<'a> {
    folder: &'a Folder,
    process: Option<Child>,
}

impl<'a> Journald<'a> {
    fn start(folder: &'a Folder) -> Self {
        for name in ["socket", "log"] {
            fs::create_dir_all(folder.path(name)).expect("a folder");
        }
        fs::write(folder.path("machine-id"), "0123456789abcdef0123456789abcdef\n").expect("a number");
        assert!(Path::new(JOURNALD).exists(), "no {JOURNALD}: apt-get install systemd");
        let mut journald = Journald { folder, process: None };
        journald.start_again();
        journald
    }

    fn start_again(&mut self) {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", BEGIN]).env_clear().env("PATH", PATH);
        command.env("FOLDER", self.folder.path(""));
        self.process = Some(command.spawn().expect("unshare"));
        until("socket of the journal", || self.socket().exists());
    }

    fn socket(&self) -> PathBuf {
        self.folder.path("socket/socket")
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGTERM).expect("journald");
            process.wait().expect("journald");
            let _ = fs::remove_file(self.socket());
        }
    }

    /// Messages by number, as journalctl reads them.
    fn messages(&self) -> BTreeMap<u64, String> {
        let mut command = Command::new("journalctl");
        command.args(["--no-pager", "-q", "-o", "json", "-t", "ctnl", "-D"]).arg(self.folder.path("log"));
        let output = command.output().expect("journalctl cannot be started: apt-get install systemd");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut messages = BTreeMap::new();
        for line in String::from_utf8(output.stdout).expect("UTF-8").lines() {
            let entry: Value = serde_json::from_str(line).expect("JSON");
            let text = |key: &str| entry[key].as_str().unwrap_or_else(|| panic!("{key}: {line}")).to_owned();
            assert_eq!((text("PRIORITY"), text("_TRANSPORT")), ("5".into(), "journal".into()), "{line}");
            let earlier = messages.insert(text("CTNL_SEQ").parse().expect("a number"), text("MESSAGE"));
            assert!(earlier.is_none_or(|earlier| earlier == text("MESSAGE")), "{line}");
        }
        messages
    }
}

impl Drop for Journald<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

fn the_journal_gets_every_event_although_journald_is_restarted_in_mid_stream(netns: &TestNetns) {
    let folder = Folder::new();
    let mut journald = Journald::start(&folder);
    let (file, spool) = (folder.spec("file", "lines"), folder.text("spool"));
    let journal = format!("journald:{}", journald.socket().display());
    let arguments =
        ["--no-seed", "--to", &file, "--to", &journal, "--spool", &spool, "--syslog-priority", "local0.notice"];
    let running = Running::start(netns, &arguments);
    let mut traffic = Traffic::new(netns, folder.path("lines"));
    traffic.make(10);
    until("messages", || journald.messages().len() > 500);
    journald.end();
    traffic.make(10);
    journald.start_again();
    traffic.make(10);
    until("messages again", || journald.messages().len() > 3000);
    running.stop();
    let written = finished(&folder.path("lines"));
    assert_eq!(account(&written), (3000, 0));
    let messages = journald.messages();
    assert!(messages.keys().copied().eq(1..=written.len() as u64), "{} of {}", messages.len(), written.len());
    assert!(messages.values().eq(written.iter()));
}
