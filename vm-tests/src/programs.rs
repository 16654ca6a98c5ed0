//! The static programs of the guest: ctnl, the project's own tests, and the cases.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Where each was built.
#[derive(Debug)]
pub struct Programs {
    pub ctnl: PathBuf,
    pub guest: PathBuf,
    pub kernel_tests: PathBuf,
    pub peer_tests: PathBuf,
}

/// Builds all of them: as README builds ctnl for another host, with the profile `vm`.
pub fn build(project: &Path) -> Result<Programs> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let host = host()?;
    if host != TARGET {
        bail!("vm-tests runs on {TARGET}; this compiler builds for {host}");
    }
    eprintln!("building ctnl, its tests and the guest, static");
    // In one go: the same libraries with the same features.
    let what = ["-p", "ctnl", "-p", "vm-tests", "--features", "ctnl/peer-tests"];
    let which = ["--bin", "ctnl", "--bin", "guest", "--test", "kernel", "--test", "peers"];
    let built = cargo(project, &[&["build"][..], &what, &which].concat())?;
    let find = |name: &str| {
        let artifact = built.iter().find(|artifact| artifact.target.name == name);
        artifact.and_then(|artifact| artifact.executable.clone()).with_context(|| format!("cargo built no {name}"))
    };
    Ok(Programs {
        ctnl: find("ctnl")?,
        guest: find("guest")?,
        kernel_tests: find("kernel")?,
        peer_tests: find("peers")?,
    })
}

/// Cargo's message about a built file.
#[derive(Debug, Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

fn cargo(project: &Path, arguments: &[&str]) -> Result<Vec<Artifact>> {
    const OPTIONS: [&str; 5] =
        ["--profile", "vm", "--target", "x86_64-unknown-linux-gnu", "--message-format=json-render-diagnostics"];
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).args(OPTIONS).current_dir(project).stderr(Stdio::inherit());
    // The initramfs has no C library for the first process.
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    let output = command.output().context("run cargo")?;
    if !output.status.success() {
        bail!("cargo {}: {}", arguments.join(" "), output.status);
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    Ok(artifacts.filter(|artifact| artifact.target.kind.iter().any(|kind| kind == "bin" || kind == "test")).collect())
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}
