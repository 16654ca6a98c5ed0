//! conntrack(8) 1.4.9 with its own libraries, which this machine's are too old for.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use ctnl_test_support::apt;

const SUITE: &str = "unstable";
const VERSION: &str = "conntrack v1.4.9 (conntrack-tools)";

/// Where the program is unpacked.
struct Original {
    loader: PathBuf,
    libraries: PathBuf,
    program: PathBuf,
}

static ORIGINAL: OnceLock<Original> = OnceLock::new();

/// Fetches and unpacks it, where that has not been done.
pub fn fetch() -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conntrack-1.4.9");
    if !folder.exists() {
        eprintln!("fetching conntrack from {SUITE}");
        let new = folder.with_extension(format!("new-{}", std::process::id()));
        let _ = fs::remove_dir_all(&new);
        let is_part = |name: &str| name == "conntrack" || name.starts_with("lib");
        apt::unpack(SUITE, "conntrack", is_part, &new)?;
        check(&find(&new.join("root"))?)?;
        if let Err(error) = fs::rename(&new, &folder) {
            // Another run was faster.
            fs::remove_dir_all(&new)?;
            anyhow::ensure!(folder.exists(), error);
        }
    }
    let original = find(&folder.join("root"))?;
    check(&original).with_context(|| format!("remove {} to fetch it again", folder.display()))?;
    let _ = ORIGINAL.set(original);
    Ok(())
}

fn find(root: &Path) -> Result<Original> {
    let folders = fs::read_dir(root.join("usr/lib"))?.flatten().map(|entry| entry.path());
    for libraries in folders {
        let files = fs::read_dir(&libraries).into_iter().flatten().flatten();
        let is_loader = |file: &fs::DirEntry| file.file_name().to_string_lossy().starts_with("ld-linux");
        if let Some(loader) = files.into_iter().find(is_loader) {
            return Ok(Original { loader: loader.path(), libraries, program: root.join("usr/sbin/conntrack") });
        }
    }
    bail!("no dynamic loader below {}", root.display())
}

fn check(original: &Original) -> Result<()> {
    let output = original.command(&[]).arg("--version").output()?;
    let version = String::from_utf8_lossy(&output.stdout);
    if version.trim() != VERSION {
        bail!("the tables of cases are those of {VERSION}, and {SUITE} has now: {}", version.trim());
    }
    Ok(())
}

impl Original {
    /// The program, run by `wrapper`.
    fn command(&self, wrapper: &[&str]) -> Command {
        let mut words = wrapper.iter().map(Path::new).chain([self.loader.as_path()]);
        let mut command = Command::new(words.next().expect("the loader at least"));
        command.args(words).arg("--library-path").arg(&self.libraries);
        command.args(["--argv0", "conntrack"]).arg(&self.program).env_clear().env("LC_ALL", "C");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}

fn original() -> &'static Original {
    ORIGINAL.get().expect("main has fetched it")
}

/// It, in the calling thread's namespace.
pub fn command() -> Command {
    original().command(&[])
}

/// It, without a right to do anything in this network namespace: it parses its arguments and fails.
pub fn powerless() -> Command {
    original().command(&["unshare", "--user", "--map-root-user"])
}

/// Runs `command` with `input`.
pub fn run(command: &mut Command, input: &str) -> Output {
    let stdio = || Stdio::piped();
    let mut child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().expect("the program starts");
    // It may end without reading all of it.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("its end")
}
