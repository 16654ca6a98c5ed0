//! Packages of another suite of Debian, from apt: fetched, checked and unpacked.
//!
//! apt runs with a configuration, lists and caches of its own, so the machine's are
//! neither used nor touched; what it downloads it checks with the machine's keys.

mod sources;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{lines, succeed};

pub use sources::derived;

/// Fetches the packages that `package` of `suite` is made of, and unpacks them into `folder/root`. `is_part`
/// chooses from it and all that it depends on. Returns that folder.
pub fn unpack(suite: &str, package: &str, is_part: impl Fn(&str) -> bool, folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    fs::create_dir_all(&root)?;
    let apt = Apt::new(folder, suite)?;
    apt.unpack(package, is_part, &root).with_context(|| {
        format!(
            "fetch {package} of Debian's suite {suite} with apt, from the mirror that this machine uses: it has to be \
             reachable (see apt-get update) and to have that suite"
        )
    })?;
    Ok(root)
}

/// apt with nothing of the machine's but its mirror and keys.
struct Apt {
    folder: PathBuf,
    configuration: PathBuf,
}

impl Apt {
    fn new(folder: &Path, suite: &str) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        for name in ["lists/partial", "archives/partial", "sources", "empty"] {
            fs::create_dir_all(folder.join(name))?;
        }
        fs::write(folder.join("status"), "")?;
        fs::write(folder.join("sources/suite.sources"), derived(Path::new("/etc/apt"), suite)?)?;
        let configuration = folder.join("apt.conf");
        fs::write(&configuration, configured(&folder))?;
        Ok(Apt { folder, configuration })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.configuration).current_dir(self.folder.join("archives")).env("LC_ALL", "C");
        command
    }

    fn unpack(&self, package: &str, is_part: impl Fn(&str) -> bool, root: &Path) -> Result<()> {
        succeed(self.command("apt-get").args(["-q", "update"]))?;
        let mut packages = self.dependencies(package)?;
        packages.retain(|name| is_part(name));
        if packages.is_empty() {
            bail!("{package} is made of no package that is known here");
        }
        succeed(self.command("apt-get").args(["-q", "download"]).args(packages))?;
        for archive in fs::read_dir(self.folder.join("archives"))?.flatten().map(|entry| entry.path()) {
            if archive.extension() == Some(OsStr::new("deb")) {
                succeed(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(root))?;
                fs::remove_file(archive)?;
            }
        }
        Ok(())
    }

    /// `package`, and the packages that it depends on.
    fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        const DEPENDS_ONLY: [&str; 7] = [
            "depends",
            "--recurse",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
        ];
        let mut found = lines(self.command("apt-cache").args(DEPENDS_ONLY).arg("--no-enhances").arg(package))?;
        // A package is a line of its own; below it, indented, is what it depends on.
        found.retain(|line| line.starts_with(|first: char| first.is_ascii_alphanumeric()));
        Ok(found)
    }
}

/// Hooks of the machine are cleared: they would work on its own caches.
fn configured(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n\
         Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"{folder}/sources\";\n\
         Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"{folder}/empty\";\n\
         Dir::State \"{folder}\";\nDir::State::lists \"{folder}/lists\";\nDir::State::status \"{folder}/status\";\n\
         Dir::Cache \"{folder}\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n\
         APT::Update::Error-Mode \"any\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n"
    )
}
