//! Reading and writing sysctls and files of the boot. The only part of `tune` that touches them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use ctnl::host::Host;
use ctnl::netlink::Netns;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};

use super::change::Place;
use super::setting::Setting;

/// The parameter of the module by which kernels before 4.7 alone let the buckets be changed.
const HASHSIZE: &str = "/sys/module/nf_conntrack/parameters/hashsize";
/// Largest file of the boot that is read.
const MOST_BYTES: u64 = 1024 * 1024;

/// What can be read and written.
pub trait Places {
    /// What is there; `None` where there is no such file.
    fn read(&mut self, place: Place) -> io::Result<Option<String>>;

    /// Writes it; `None` removes the file.
    fn write(&mut self, place: Place, content: Option<&str>) -> io::Result<()>;

    /// Whether a value that was read back is what becomes of the one that was written.
    fn is_accepted(&self, place: Place, written: Option<&str>, read: Option<&str>) -> bool {
        written == read || place == Place::Sysctl(Setting::Buckets) && is_rounded_up(written, read)
    }
}

/// Buckets are rounded up to whole pages, of 64 KiB at most (`nf_ct_alloc_hashtable` in net/netfilter/nf_conntrack_core.c).
fn is_rounded_up(written: Option<&str>, read: Option<&str>) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    match (number(written), number(read)) {
        (Some(written), Some(read)) => read >= written && read - written < 65_536 / 4,
        _ => false,
    }
}

/// The places of a host, and of a network namespace.
#[derive(Debug)]
pub struct HostPlaces {
    host: Host,
    netns: Netns,
}

impl HostPlaces {
    /// The places of `host`; its sysctls are those of `netns`, which is to be pinned.
    pub fn new(host: &Host, netns: Netns) -> Self {
        HostPlaces { host: host.clone(), netns }
    }

    /// Whether the setting can be opened for writing; nothing is written.
    pub fn check_writable(&self, setting: Setting) -> io::Result<()> {
        let opened = self.inside(|host| open_sysctl(host, &setting.path(), OpenOptions::new().write(true)).map(drop));
        match opened {
            Err(error) if setting == Setting::Buckets && is_denied(&error) => {
                // Where the maximum is read-only, too, this is not the first namespace.
                self.check_writable(Setting::Max).map_err(|_| error)?;
                open_sysctl(&self.host, HASHSIZE, OpenOptions::new().write(true)).map(drop)
            }
            opened => opened,
        }
    }

    fn inside<T: Send>(&self, work: impl FnOnce(&Host) -> io::Result<T> + Send) -> io::Result<T> {
        let host = &self.host;
        self.netns.run(|| work(host)).map_err(io::Error::other)?
    }

    fn write_sysctl(&self, setting: Setting, text: &str) -> io::Result<()> {
        let written = self.inside(|host| write_existing(host, &setting.path(), text));
        match written {
            Err(error) if setting == Setting::Buckets && is_denied(&error) => {
                // That of the sysctl, where this one is not allowed either.
                write_existing(&self.host, HASHSIZE, text).map_err(|_| error)
            }
            written => written,
        }
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// A sysctl takes a value in one write.
fn write_existing(host: &Host, path: &str, text: &str) -> io::Result<()> {
    let mut file = open_sysctl(host, path, OpenOptions::new().write(true))?;
    if !is_live(host) {
        file.set_len(0)?;
    }
    file.write_all(format!("{text}\n").as_bytes())
}

fn is_live(host: &Host) -> bool {
    host.root() == Path::new("/")
}

/// Opens a sysctl. In a tree that does not run, no symbolic link leads out of it, and what is opened is a file of its own and
/// no setting of the running kernel, as a link or a bind mount makes it.
fn open_sysctl(host: &Host, path: &str, options: &mut OpenOptions) -> io::Result<File> {
    if is_live(host) {
        return options.open(host.path(path));
    }
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()));
    let path = file_in_root(host, path)?;
    if fs::symlink_metadata(&path)?.is_symlink() {
        return refuse("it is a symbolic link");
    }
    let file = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    match fstatfs(&file)?.filesystem_type() {
        PROC_SUPER_MAGIC | SYSFS_MAGIC => refuse("it is a setting of the running kernel and not of this tree"),
        _ if !file.metadata()?.is_file() => refuse("it is no regular file"),
        _ => Ok(file),
    }
}

fn read_sysctl(host: &Host, path: &str) -> io::Result<String> {
    let mut text = String::new();
    open_sysctl(host, path, OpenOptions::new().read(true))?.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

impl Places for HostPlaces {
    fn read(&mut self, place: Place) -> io::Result<Option<String>> {
        let read = match place {
            Place::Sysctl(setting) => self.inside(|host| read_sysctl(host, &setting.path())),
            Place::File(path) => file_in_root(&self.host, path).and_then(|path| read_file(&path)),
        };
        match read {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, place: Place, content: Option<&str>) -> io::Result<()> {
        match (place, content) {
            (Place::Sysctl(setting), Some(text)) => self.write_sysctl(setting, text),
            (Place::Sysctl(_), None) => Err(io::Error::new(io::ErrorKind::InvalidInput, "a sysctl cannot be removed")),
            (Place::File(path), content) => {
                create_folder(&self.host, path)?;
                let path = file_in_root(&self.host, path)?;
                replace(&path, content)
            }
        }
    }
}

/// The path of a file below the root. One that leads out of it over a symbolic link is refused.
fn file_in_root(host: &Host, path: &str) -> io::Result<PathBuf> {
    let found = host.path(path);
    let (Some(folder), Some(name)) = (found.parent(), found.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    Ok(inside_root(host.root(), folder)?.join(name))
}

/// `folder` without symbolic links.
///
/// # Errors
/// One leads out of `root`.
pub fn inside_root(root: &Path, folder: &Path) -> io::Result<PathBuf> {
    let (folder, root) = (fs::canonicalize(folder)?, fs::canonicalize(root)?);
    if folder.starts_with(&root) {
        return Ok(folder);
    }
    let text = format!("a symbolic link leads out of {}, to {}", root.display(), folder.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Creates the folder of a file, but none above the root.
fn create_folder(host: &Host, path: &str) -> io::Result<()> {
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let etc = host.path("/etc");
    for folder in [etc, host.path(folder)] {
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => {
                created?;
                // Whatever the umask: what reads it at boot need not be root.
                fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
                folder.parent().map_or(Ok(()), sync_folder)?;
            }
        }
        inside_root(host.root(), &folder)?;
    }
    Ok(())
}

fn read_file(path: &Path) -> io::Result<String> {
    let metadata = fs::symlink_metadata(path)?;
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()));
    match metadata {
        found if found.is_symlink() => refuse("it is a symbolic link, which would be replaced"),
        found if !found.is_file() => refuse("it is no regular file"),
        found if found.len() > MOST_BYTES => refuse("it is larger than 1 MiB"),
        _ => fs::read_to_string(path),
    }
}

/// Replaces the file as a whole: a temporary file beside it, synchronised, renamed, and the folder synchronised. Mode and
/// owner of an existing file are kept.
fn replace(path: &Path, content: Option<&str>) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let Some(content) = content else {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        return sync_folder(folder);
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // A name that nothing reads at boot: sysctl.d, modprobe.d and modules-load.d read `*.conf`.
    let temporary = folder.join(format!(".{name}.new-{}", std::process::id()));
    let written = write_new(&temporary, content, fs::symlink_metadata(path).ok())
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(folder));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, content: &str, like: Option<fs::Metadata>) -> io::Result<()> {
    // Of a process with this id that was killed.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())?;
    if let Some(like) = &like {
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(like.map_or(0o644, |like| like.mode() & 0o7777)))?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // A file system that has nothing to synchronise.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use ctnl::clock::Clock;

    use super::super::change::SYSCTL_CONF;
    use super::*;

    fn at(root: &Path) -> HostPlaces {
        HostPlaces::new(&Host::at(root, Clock::system()), Netns::Current)
    }

    const FILE: Place = Place::File(SYSCTL_CONF);

    #[test]
    fn a_file_is_replaced_as_a_whole_keeps_its_mode_and_leaves_no_temporary_file() {
        let root = tempfile::tempdir().unwrap();
        let mut places = at(root.path());
        assert_eq!(places.read(FILE).unwrap(), None);
        places.write(FILE, Some("a\n")).unwrap();
        let path = root.path().join("etc/sysctl.d/90-ctnl.conf");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        places.write(FILE, Some("b\n")).unwrap();
        assert_eq!(places.read(FILE).unwrap().as_deref(), Some("b\n"));
        let after = fs::metadata(&path).unwrap();
        assert!(after.mode() & 0o777 == 0o640 && after.ino() != inode);
        places.write(FILE, None).unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_out_of_the_root_is_refused_and_so_is_a_file_that_is_a_link() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(root.path().join("etc")).unwrap();
        symlink(other.path(), root.path().join("etc/sysctl.d")).unwrap();
        let mut places = at(root.path());
        let error = places.write(FILE, Some("a")).unwrap_err().to_string();
        assert!(error.contains("leads out of"), "{error}");
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
        let whole = tempfile::tempdir().unwrap();
        symlink(other.path(), whole.path().join("etc")).unwrap();
        assert!(at(whole.path()).write(FILE, Some("a")).is_err());
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
        fs::remove_file(root.path().join("etc/sysctl.d")).unwrap();
        fs::create_dir(root.path().join("etc/sysctl.d")).unwrap();
        symlink("/dev/null", root.path().join("etc/sysctl.d/90-ctnl.conf")).unwrap();
        assert!(places.read(FILE).unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn a_sysctl_that_does_not_exist_is_not_created() {
        let root = tempfile::tempdir().unwrap();
        let mut places = at(root.path());
        let max = Place::Sysctl(Setting::Max);
        assert_eq!(places.read(max).unwrap(), None);
        assert!(places.write(max, Some("1")).is_err() && !root.path().join("proc").exists());
    }

    #[test]
    fn a_sysctl_of_a_tree_that_is_a_link_or_of_the_running_kernel_is_neither_read_nor_written() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let max = Place::Sysctl(Setting::Max);
        let outside = other.path().join("nf_conntrack_max");
        fs::write(&outside, "1\n").unwrap();
        let folder = root.path().join("proc/sys/net/netfilter");
        let refused = |why: &str| {
            let mut places = at(root.path());
            let errors = [
                places.read(max).unwrap_err(),
                places.write(max, Some("2")).unwrap_err(),
                places.check_writable(Setting::Max).unwrap_err(),
            ];
            errors.iter().for_each(|error| assert!(error.to_string().contains(why), "{error}"));
            assert_eq!(fs::read_to_string(&outside).unwrap(), "1\n");
        };
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        symlink(other.path(), &folder).unwrap();
        refused("leads out of");
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        symlink(&outside, folder.join("nf_conntrack_max")).unwrap();
        refused("symbolic link");
        // As a bind mount makes it; a file that is read alone.
        let root = Host::at("/proc", Clock::system());
        let error = open_sysctl(&root, "/sys/kernel/ostype", OpenOptions::new().read(true)).unwrap_err().to_string();
        assert!(error.contains("of the running kernel"), "{error}");
    }

    #[test]
    fn only_buckets_may_be_read_back_rounded_up() {
        let root = tempfile::tempdir().unwrap();
        let places = at(root.path());
        let accepted = |setting, read| places.is_accepted(Place::Sysctl(setting), Some("1000"), Some(read));
        assert!(accepted(Setting::Buckets, "1024") && accepted(Setting::Buckets, "1000"));
        assert!(!accepted(Setting::Buckets, "512") && !accepted(Setting::Buckets, "262144"));
        assert!(!accepted(Setting::Max, "1024"));
    }
}
