//! `ctnl top` in tmux(1), a real terminal, driven by its keys.

use std::path::PathBuf;
use std::process::Command;

use ctnl_test_support::harness::{TestNetns, entry, program, tests, udp};
use ctnl_test_support::net::PATH;
use ctnl_test_support::running::until;

tests![
    a_screen_is_resized_filtered_looked_into_and_deleted_from_in_tmux_and_leaves_the_terminal_intact,
    a_terminal_without_colour_and_utf_8_shows_neither_and_another_one_has_both
];

/// `count` UDP entries of the source 10.1.0.`last`.
fn of_source(netns: &TestNetns, last: u8, count: u16) {
    let flows = (1..=count).map(|port| {
        let mut orig = udp(port, 53).orig;
        orig.src = [10, 1, 0, last].into();
        entry(orig)
    });
    netns.create(&flows.collect::<Vec<_>>());
}

/// A server of tmux with one window, in which a shell runs. It ends when it is dropped.
struct Tmux {
    folder: tempfile::TempDir,
}

impl Tmux {
    /// Starts it in the calling thread's namespace.
    fn start(width: u16, height: u16, environment: &[(&str, &str)]) -> Self {
        let tmux = Tmux { folder: tempfile::tempdir().unwrap() };
        std::fs::write(tmux.configuration(), "set -g status off\nset -g default-terminal screen-256color\n").unwrap();
        let (width, height) = (width.to_string(), height.to_string());
        let mut command = tmux.command();
        command.args(["-u", "new-session", "-d", "-x", &width, "-y", &height]);
        for (name, value) in environment {
            command.args(["-e", &format!("{name}={value}")]);
        }
        command.args(["env", "PS1=ready> ", "sh"]);
        let output = command.output().expect("tmux cannot be started: apt-get install tmux");
        assert!(output.status.success(), "{output:?}");
        tmux.wait_for("ready>");
        tmux
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("tmux.conf")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color");
        command.arg("-S").arg(self.folder.path().join("socket")).arg("-f").arg(self.configuration());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types `text`.
    fn type_in(&self, text: &str) {
        self.run(&["send-keys", "-l", text]);
    }

    /// Presses keys by their names.
    fn press(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    /// What is on the screen, with the sequences of its colours if `with_colours`.
    fn screen(&self, with_colours: bool) -> String {
        self.run(if with_colours { &["capture-pane", "-p", "-e"] } else { &["capture-pane", "-p"] })
    }

    #[track_caller]
    fn wait_until(&self, what: &str, is_shown: impl Fn(&str) -> bool) {
        until(|| is_shown(&self.screen(false)), || format!("no {what} in:\n{}", self.screen(false)));
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen| screen.contains(text));
    }

    /// Changes the size, and waits until the last line of the screen has the keys.
    #[track_caller]
    fn resize(&self, width: usize, height: usize) {
        self.run(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
        self.wait_until("keys in the last line", |screen| {
            let lines: Vec<&str> = screen.lines().collect();
            let fits = lines.iter().all(|line| line.chars().count() <= width);
            fits && lines.get(height - 1).is_some_and(|line| line.starts_with("? help"))
        });
    }

    /// The modes of the terminal, while the shell waits for a line.
    fn modes(&self) -> String {
        self.type_in("echo modes:$(stty -g):end");
        self.press(&["Enter"]);
        let mut modes = String::new();
        let mut find = || {
            let screen = self.screen(false);
            let joined: String = screen.split('\n').collect();
            let found = joined.rsplit_once("modes:").and_then(|(_, rest)| rest.split_once(":end"));
            modes = found.map(|(modes, _)| modes.to_owned()).unwrap_or_default();
            !modes.is_empty() && !modes.contains('$')
        };
        until(&mut find, || format!("no modes in {}", self.screen(false)));
        modes
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
    }
}

fn a_screen_is_resized_filtered_looked_into_and_deleted_from_in_tmux_and_leaves_the_terminal_intact(netns: &TestNetns) {
    of_source(netns, 1, 29);
    of_source(netns, 3, 1);
    for (width, height) in [(80, 24), (200, 50)] {
        of_source(netns, 2, 89);
        let tmux = Tmux::start(width, height, &[("LC_ALL", "C.UTF-8")]);
        let before = tmux.modes();
        tmux.type_in(&format!("{} top --interval 1", program()));
        tmux.press(&["Enter"]);
        tmux.wait_for("10.1.0.2");
        for (width, height) in [(40, 10), (200, 50), (width.into(), height.into())] {
            tmux.resize(width, height);
        }
        // A field, and a value of the rows; an error keeps the text.
        tmux.type_in("/sr");
        tmux.wait_for("/sr");
        tmux.press(&["Tab"]);
        tmux.type_in(" 10.1");
        tmux.press(&["Tab"]);
        tmux.wait_for("10.1.0.1 10.1.0.2 10.1.0.3");
        tmux.type_in("2 and dprot 53");
        tmux.press(&["Enter"]);
        tmux.wait_for("did you mean dport?");
        tmux.press(&["BSpace"; 6]);
        tmux.type_in("ort 53");
        tmux.press(&["Enter"]);
        tmux.wait_for("filter src 10.1.0.2 and dport = 53: 89 matched");
        // Its flows, the fields of one, and back.
        tmux.press(&["Enter"]);
        tmux.wait_for(" -> 192.0.2.1:53");
        tmux.press(&["Enter"]);
        tmux.wait_for("Up Down: scroll");
        tmux.wait_for("family           ipv4");
        tmux.press(&["Escape"]);
        tmux.wait_for("? help");
        tmux.press(&["Escape"]);
        tmux.wait_for("ENTRIES");
        tmux.wait_for("filter src 10.1.0.2 and dport = 53: 89 matched");
        // The group, through the preview.
        tmux.type_in("k");
        tmux.wait_for("DELETE: preview first");
        tmux.press(&["Enter"]);
        tmux.wait_for("Delete 89 of 119 entries");
        assert_eq!(netns.dump().len(), 119);
        tmux.type_in("y");
        tmux.press(&["Enter"]);
        tmux.wait_for("89 deleted");
        tmux.wait_for("Press a key");
        tmux.press(&["Space"]);
        tmux.wait_for("nothing matches the filter");
        assert_eq!(netns.dump().len(), 30);
        tmux.type_in("q");
        tmux.wait_for("ready>");
        tmux.wait_until("the screen of the shell", |screen| !screen.contains("nothing matches"));
        assert_eq!(tmux.modes(), before);
        // The alternate screen is left, and the cursor is shown.
        assert_eq!(tmux.run(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).trim(), "0 1");
    }
}

fn a_terminal_without_colour_and_utf_8_shows_neither_and_another_one_has_both(netns: &TestNetns) {
    of_source(netns, 1, 29);
    for (environment, is_plain) in [
        (&[("LC_ALL", "C"), ("NO_COLOR", "1")][..], true),
        (&[("LC_ALL", "C"), ("TERM", "vt220")], true),
        (&[("LC_ALL", "C.UTF-8")], false),
    ] {
        let tmux = Tmux::start(80, 24, &[]);
        let words = environment.iter().map(|(name, value)| format!("{name}={value} ")).collect::<String>();
        tmux.type_in(&format!("{words}{} top --interval 1", program()));
        tmux.press(&["Enter"]);
        tmux.wait_for("10.1.0.1");
        let (screen, coloured) = (tmux.screen(false), tmux.screen(true));
        assert_eq!(screen.is_ascii(), is_plain, "{screen}");
        let has_colour = ["[31m", "[32m", "[33m", "38;5;"].iter().any(|colour| coloured.contains(colour));
        assert_eq!(has_colour, !is_plain, "{coloured:?}");
        // Bold and reverse remain.
        assert!(coloured.contains("\x1b[7m") && coloured.contains("\x1b[1m"), "{coloured:?}");
        tmux.type_in("q");
        tmux.wait_for("ready>");
    }
}
