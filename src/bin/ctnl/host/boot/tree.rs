//! The files of a host, which may be the tree of another one: symbolic links are resolved below its root, and a
//! file that is planned and not written yet can stand in for one that exists.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

use ctnl::host::Host;
use nix::libc::{ESRCH, O_NONBLOCK};

/// Most bytes of one file. Those that systems have are below 100 KiB.
const MAX_SIZE: u64 = 4 * 1024 * 1024;
/// Most names of one folder.
const MAX_NAMES: usize = 100_000;
/// Symbolic links that one path may lead through, as in the kernel (`MAXSYMLINKS` in include/linux/namei.h).
const MAX_LINKS: usize = 40;

/// A file that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Its absolute path on the host.
    pub path: String,
    /// Its content; `None` for a file that is to be removed.
    pub text: Option<String>,
}

/// A file or folder that exists and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its absolute path on the host.
    pub file: String,
    /// The error.
    pub why: String,
}

/// What is at a path.
enum Node {
    Missing,
    /// A symbolic link, with its target.
    Link(String),
    FileOrFolder,
}

/// The files below the root of a host.
#[derive(Debug)]
pub struct Tree<'a> {
    host: &'a Host,
    planned: &'a [PlannedFile],
    unreadable: RefCell<Vec<Unreadable>>,
}

impl<'a> Tree<'a> {
    pub fn new(host: &'a Host, planned: &'a [PlannedFile]) -> Self {
        Tree { host, planned, unreadable: RefCell::new(Vec::new()) }
    }

    /// What existed and could not be read so far, each once.
    pub fn unreadable(&self) -> Vec<Unreadable> {
        self.unreadable.borrow().clone()
    }

    /// The text of the regular file at `path`; `None` where there is none. What is not UTF-8 is replaced.
    pub fn text(&self, path: &str) -> Option<String> {
        let path = self.resolve(path)?;
        if let Some(planned) = self.planned(&path) {
            return planned.text.clone();
        }
        match read(&self.host.path(&path)) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => self.failed(&path, &error),
        }
    }

    /// The names in the folder at `path`, sorted by bytes; none where it does not exist.
    pub fn names(&self, path: &str) -> Vec<String> {
        let mut names = BTreeSet::new();
        let folder = self.resolve(path);
        if let Some(folder) = &folder {
            match list(&self.host.path(folder)) {
                Ok(listed) => names.extend(listed),
                Err(error) => self.failed(folder, &error).unwrap_or_default(),
            }
        }
        let folder = folder.unwrap_or_else(|| path.to_owned());
        for planned in self.planned {
            let (parent, name) = planned.path.rsplit_once('/').unwrap_or_default();
            if parent == folder && planned.text.is_some() {
                names.insert(name.to_owned());
            } else if parent == folder {
                names.remove(name);
            }
        }
        names.into_iter().collect()
    }

    /// Whether there is a file or folder at `path`.
    pub fn exists(&self, path: &str) -> bool {
        self.resolve(path).is_some()
    }

    /// Whether there is a file at `path` that somebody may execute.
    pub fn is_executable(&self, path: &str) -> bool {
        self.metadata(path).is_some_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    }

    /// When the file at `path` was changed; `None` where there is none, or it is not written yet.
    pub fn changed(&self, path: &str) -> Option<SystemTime> {
        self.metadata(path)?.modified().ok()
    }

    /// Whether there is a folder at `path`.
    pub fn is_folder(&self, path: &str) -> bool {
        self.metadata(path).is_some_and(|metadata| metadata.is_dir())
    }

    /// Whether the file at `path`, which is no link, begins with `#!`.
    pub fn is_script(&self, path: &str) -> bool {
        let mut begin = [0; 2];
        let opened = File::options().read(true).custom_flags(O_NONBLOCK).open(self.host.path(path));
        opened.and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == *b"#!"
    }

    fn metadata(&self, path: &str) -> Option<Metadata> {
        let path = self.resolve(path).filter(|path| self.planned(path).is_none())?;
        fs::symlink_metadata(self.host.path(&path)).ok()
    }

    /// The absolute path that `path` leads to, without symbolic links; `None` where nothing is there. An absolute
    /// link is followed below the root of the host. The target `/dev/null` need not exist.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut pending: Vec<String> = components(path).rev().map(str::to_owned).collect();
        let mut resolved: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                resolved.pop();
                continue;
            }
            resolved.push(name);
            let here = absolute(&resolved);
            let is_null = here == "/dev/null" || (here == "/dev" && pending == ["null"]);
            if is_null || self.planned(&here).is_some_and(|file| file.text.is_some()) {
                continue;
            }
            let node = match self.node(&here) {
                Ok(node) => node,
                Err(error) => return self.failed(&here, &error),
            };
            if let Node::Missing = node {
                return None;
            }
            if let Node::Link(target) = node {
                links += 1;
                if links > MAX_LINKS {
                    return self.failed(path, &io::Error::other("too many levels of symbolic links"));
                }
                resolved.pop();
                if target.starts_with('/') {
                    resolved.clear();
                }
                pending.extend(components(&target).rev().map(str::to_owned));
            }
        }
        Some(absolute(&resolved))
    }

    fn node(&self, path: &str) -> io::Result<Node> {
        if self.planned(path).is_some() {
            return Ok(Node::Missing);
        }
        let at = self.host.path(path);
        match fs::symlink_metadata(&at) {
            Ok(metadata) if metadata.is_symlink() => Ok(Node::Link(fs::read_link(&at)?.to_string_lossy().into_owned())),
            Ok(_) => Ok(Node::FileOrFolder),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                // A planned file may lie in a folder that does not exist yet.
                let inside = format!("{path}/");
                let leads_to_planned = self.planned.iter().any(|file| file.path.starts_with(&inside));
                Ok(if leads_to_planned { Node::FileOrFolder } else { Node::Missing })
            }
            Err(error) => Err(error),
        }
    }

    fn planned(&self, path: &str) -> Option<&PlannedFile> {
        self.planned.iter().rev().find(|file| file.path == path)
    }

    /// Notes that `file` cannot be read, unless it is missing.
    fn failed<T>(&self, file: &str, error: &io::Error) -> Option<T> {
        // ESRCH: a process that has ended while its files were read.
        let is_gone = error.raw_os_error() == Some(ESRCH);
        if !is_gone && !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
            let unreadable = Unreadable { file: file.to_owned(), why: error.to_string() };
            let mut all = self.unreadable.borrow_mut();
            if !all.contains(&unreadable) {
                all.push(unreadable);
            }
        }
        None
    }
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

fn absolute(components: &[String]) -> String {
    format!("/{}", components.join("/"))
}

/// Reads a regular file. A FIFO would wait for a writer, and a device need not end.
fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(io::Error::other("larger than 4 MiB"));
    }
    Ok(bytes)
}

fn list(path: &PathBuf) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        if names.len() == MAX_NAMES {
            return Err(io::Error::other("more than 100000 names"));
        }
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use ctnl::clock::Clock;

    use super::*;

    fn host_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = Host::at(root.path(), Clock::system());
        (root, host)
    }

    #[test]
    fn a_link_is_followed_below_the_root_and_never_above_it() {
        let (root, host) = host_with(&[("/etc/sysctl.conf", "inside"), ("/usr/lib/x/a", "a")]);
        let link = |target: &str, at: &str| symlink(target, root.path().join(at)).unwrap();
        link("/etc/sysctl.conf", "etc/absolute");
        link("../../../../etc/sysctl.conf", "etc/upwards");
        link("usr/lib", "lib");
        link("/dev/null", "etc/masked");
        link("loop", "etc/loop");
        let tree = Tree::new(&host, &[]);
        assert_eq!(tree.text("/etc/absolute").as_deref(), Some("inside"));
        assert_eq!(tree.text("/etc/upwards").as_deref(), Some("inside"));
        assert_eq!(tree.resolve("/lib/x/a").as_deref(), Some("/usr/lib/x/a"));
        assert_eq!(tree.resolve("/etc/masked").as_deref(), Some("/dev/null"));
        assert_eq!((tree.resolve("/etc/loop"), tree.resolve("/no/such")), (None, None));
        let loops = Unreadable { file: "/etc/loop".into(), why: "too many levels of symbolic links".into() };
        assert_eq!(tree.unreadable(), [loops]);
    }

    #[test]
    fn a_planned_file_is_read_and_listed_before_it_is_written() {
        let (_root, host) = host_with(&[("/etc/a/1.conf", "old"), ("/etc/a/2.conf", "two")]);
        let file = |path: &str, text: Option<&str>| PlannedFile { path: path.into(), text: text.map(Into::into) };
        let planned =
            [file("/etc/a/1.conf", Some("new")), file("/etc/a/2.conf", None), file("/etc/b/3.conf", Some("three"))];
        let tree = Tree::new(&host, &planned);
        assert_eq!(tree.text("/etc/a/1.conf").as_deref(), Some("new"));
        assert_eq!((tree.text("/etc/a/2.conf"), tree.exists("/etc/a/2.conf")), (None, false));
        assert_eq!(tree.text("/etc/b/3.conf").as_deref(), Some("three"));
        assert_eq!(tree.names("/etc/a"), ["1.conf"]);
        assert_eq!(tree.names("/etc/b"), ["3.conf"]);
        assert_eq!(tree.unreadable(), []);
    }

    #[test]
    fn what_exists_and_cannot_be_read_is_reported_once() {
        let (root, host) = host_with(&[]);
        nix::unistd::mkfifo(&root.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(root.path().join("folder")).unwrap();
        let tree = Tree::new(&host, &[]);
        for _ in 0..2 {
            assert_eq!((tree.text("/fifo"), tree.text("/folder"), tree.text("/missing")), (None, None, None));
        }
        let files: Vec<_> = tree.unreadable().into_iter().map(|unreadable| unreadable.file).collect();
        assert_eq!(files, ["/fifo", "/folder"]);
    }
}
