//! A suite's kernel, from apt: fetched, checked and unpacked, once.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ctnl_test_support::apt;

use crate::kernels::Kernel;

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
        let is_part = |name: &str| PARTS.iter().any(|part| name.starts_with(part));
        image(&apt::unpack(&kernel.suite, &kernel.package, is_part, &new)?)?;
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
