//! An initramfs that loads nf_conntrack by the options that it had when it was made.
//!
//! It is not opened. That it loads the module is known where its configuration names it; that its copy of the options is an
//! old one, by the times of the files.

use super::file_line::FileLine;
use super::tree::Tree;

const MODULE: &str = "nf_conntrack";

/// A program that makes an initramfs: its files, the folder with more of them, and the command that makes it anew.
struct Maker {
    files: &'static [&'static str],
    folder: &'static str,
    /// The word that a line with modules has; none where a line is a module.
    variable: Option<&'static str>,
    command: &'static str,
}

const MAKERS: [Maker; 3] = [
    Maker {
        files: &["/etc/initramfs-tools/modules"],
        folder: "/usr/share/initramfs-tools/modules.d",
        variable: None,
        command: "update-initramfs -u",
    },
    Maker {
        files: &["/etc/dracut.conf"],
        folder: "/etc/dracut.conf.d",
        variable: Some("drivers"),
        command: "dracut -f",
    },
    Maker {
        files: &["/etc/mkinitcpio.conf"],
        folder: "/etc/mkinitcpio.conf.d",
        variable: Some("MODULES"),
        command: "mkinitcpio -P",
    },
];

/// An initramfs that loads nf_conntrack, and is older than files with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldInitramfs {
    /// Its path.
    pub image: String,
    /// The line that puts the module into it.
    pub loads: FileLine,
    /// The files with options that are newer.
    pub newer: Vec<String>,
    /// The command that makes it anew.
    pub command: &'static str,
}

/// That of the running kernel, or of the tree, where one of the `options` is newer.
pub fn find(tree: &Tree<'_>, options: &[String]) -> Option<OldInitramfs> {
    let (loads, command) = MAKERS.iter().find_map(|maker| Some((line_of(tree, maker)?, maker.command)))?;
    let image = image(tree)?;
    let made = tree.changed(&image)?;
    // A file that is planned is newer than everything.
    let is_newer = |file: &&String| tree.changed(file).is_none_or(|changed| changed > made);
    let newer: Vec<_> = options.iter().filter(is_newer).cloned().collect();
    (!newer.is_empty()).then_some(OldInitramfs { image, loads, newer, command })
}

fn line_of(tree: &Tree<'_>, maker: &Maker) -> Option<FileLine> {
    let parts = tree.names(maker.folder).into_iter().map(|name| format!("{}/{name}", maker.folder));
    maker.files.iter().map(|file| (*file).to_owned()).chain(parts).find_map(|file| {
        let text = tree.text(&file)?;
        let found = text.lines().zip(1..).find(|(line, _)| has_module(line, maker.variable));
        found.map(|(text, line)| FileLine { file: file.clone(), line, what: text.trim().to_owned() })
    })
}

fn has_module(line: &str, variable: Option<&str>) -> bool {
    let line = line.split('#').next().unwrap_or_default();
    let is_separator = |c: char| c.is_whitespace() || "\"'()=+".contains(c);
    // `omit_drivers` leaves it out.
    let is_list = variable.is_none_or(|variable| line.contains(variable) && !line.contains("omit"));
    is_list && line.split(is_separator).any(|word| word == MODULE)
}

fn image(tree: &Tree<'_>) -> Option<String> {
    let release = tree.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let names = [format!("initrd.img-{}", release.trim()), format!("initramfs-{}.img", release.trim())];
    let names = names.into_iter().chain(["initramfs-linux.img".to_owned()]);
    names.map(|name| format!("/boot/{name}")).find(|path| tree.exists(path))
}
