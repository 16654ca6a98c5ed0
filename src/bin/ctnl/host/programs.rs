//! Finds an installed program, and prepares to run it as root: by its absolute path, without the environment.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ctnl::host::Host;

/// Searched after `PATH`, which often has no sbin for a user who is not root, and for cron.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"];

/// Finds `name` in the folders of `path` (`PATH`) and in those where programs are installed. A folder that is relative
/// is left out: this runs as root, in a folder that may belong to somebody else.
pub fn find(host: &Host, path: &str, name: &str) -> Option<PathBuf> {
    let folders = path.split(':').chain(FOLDERS).filter(|folder| folder.starts_with('/'));
    let mut paths = folders.map(|folder| host.path(folder).join(name));
    paths.find(|path| is_executable(path))
}

/// Runs `program` in the root folder with a fixed `PATH` and no other environment, without input; what it prints is
/// read.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", FOLDERS.join(":")).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use ctnl::clock::Clock;

    use super::*;

    #[test]
    fn a_program_in_a_relative_folder_is_not_found() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path(), Clock::system());
        for (folder, found) in [("here", None), ("sbin", Some(root.path().join("sbin/x")))] {
            let program = root.path().join(folder).join("x");
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(&program, "").unwrap();
            assert_eq!(find(&host, ".:here:", "x"), None, "it cannot be executed");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(find(&host, ".:here:", "x"), found);
        }
    }
}
