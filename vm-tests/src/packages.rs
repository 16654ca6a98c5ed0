//! A suite's kernel, from apt: fetched, checked and unpacked, once.
//!
//! apt runs with a configuration, lists and caches of its own, so the machine's are
//! neither used nor touched; what it downloads it checks with the machine's keys.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::kernels::Kernel;
use crate::run::{lines, succeed};
use crate::sources;

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub struct Image {
    /// `6.12.107+deb13-cloud-amd64`.
    pub release: String,
    pub vmlinuz: PathBuf,
    /// `…/lib/modules/RELEASE`.
    pub modules: PathBuf,
}

/// Packages that make up a kernel: later suites ship image, modules and their list apart.
const PARTS: [&str; 4] = ["linux-image-", "linux-binary-", "linux-modules-", "linux-base-"];

/// The kernel's files below `cache`; fetched where they are not there, or where
/// `refresh` is set.
pub fn fetch(kernel: &Kernel, cache: &Path, refresh: bool) -> Result<Image> {
    let folder = cache.join(format!("{}-{}", kernel.suite, kernel.package));
    let (root, unpacked) = (folder.join("root"), folder.join("complete"));
    if refresh || !unpacked.exists() {
        eprintln!("fetching {} from {}", kernel.package, kernel.suite);
        // What is here stays until there is another.
        let new = folder.with_extension("new");
        let _ = fs::remove_dir_all(&new);
        fs::create_dir_all(new.join("root"))?;
        let apt = Apt::new(&new, &kernel.suite)?;
        apt.unpack(&kernel.package, &new.join("root")).with_context(|| {
            format!(
                "fetch {} of Debian's suite {} with apt, from the mirror that this machine uses: it has to be \
                 reachable (see apt-get update) and to have that suite",
                kernel.package, kernel.suite
            )
        })?;
        image(&new.join("root"))?;
        fs::write(new.join("complete"), "")?;
        let _ = fs::remove_dir_all(&folder);
        fs::rename(&new, &folder)?;
    }
    image(&root)
}

/// The kernel among the files below `root`.
fn image(root: &Path) -> Result<Image> {
    let parents = [root.join("lib/modules"), root.join("usr/lib/modules")];
    let Some(modules) =
        parents.iter().flat_map(|parent| entries(parent)).find(|path| path.join("modules.builtin").exists())
    else {
        bail!("no modules below {}", root.display());
    };
    let release = modules.file_name().and_then(OsStr::to_str).context("a release")?.to_owned();
    let places = [root.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
    let vmlinuz = places.into_iter().find(|path| path.exists()).with_context(|| format!("no vmlinuz of {release}"))?;
    Ok(Image { release, vmlinuz, modules })
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
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
        fs::write(folder.join("sources/suite.sources"), sources::derived(Path::new("/etc/apt"), suite)?)?;
        let configuration = folder.join("apt.conf");
        fs::write(&configuration, configured(&folder))?;
        Ok(Apt { folder, configuration })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.configuration).current_dir(self.folder.join("archives")).env("LC_ALL", "C");
        command
    }

    /// Fetches the packages of `package` and unpacks them into `root`.
    fn unpack(&self, package: &str, root: &Path) -> Result<()> {
        succeed(self.command("apt-get").args(["-q", "update"]))?;
        let packages = self.parts(package)?;
        succeed(self.command("apt-get").args(["-q", "download"]).args(packages))?;
        for archive in entries(&self.folder.join("archives")) {
            if archive.extension() == Some(OsStr::new("deb")) {
                succeed(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(root))?;
                fs::remove_file(archive)?;
            }
        }
        Ok(())
    }

    /// The packages of the kernel that `package` depends on.
    fn parts(&self, package: &str) -> Result<Vec<String>> {
        const DEPENDS_ONLY: [&str; 7] = [
            "depends",
            "--recurse",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
        ];
        let found = lines(self.command("apt-cache").args(DEPENDS_ONLY).arg("--no-enhances").arg(package))?;
        let is_part = |line: &String| PARTS.iter().any(|part| line.starts_with(part));
        let parts: Vec<String> = found.into_iter().filter(is_part).collect();
        if parts.is_empty() {
            bail!("{package} depends on no kernel");
        }
        Ok(parts)
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
