//! Kernel modules and the order in which they can be loaded.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use ctnl_test_support::command::succeed;

/// What the cases use. A question mark: not every kernel has it.
const WANTED: &[&str] = &[
    "veth",
    "dummy?",
    "nfnetlink?",
    "inet_diag?",
    "tcp_diag?",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nfnetlink_cttimeout",
    "nf_conntrack_ftp",
    "nf_conntrack_sip",
    "nf_nat",
    "nf_tables",
    "nft_ct",
    "nft_nat",
    "nft_chain_nat",
    "nft_masq",
    "nft_redir",
    "nft_objref?",
    "nft_counter?",
    "nft_limit",
    "nft_log",
    "nft_reject_inet",
    "nft_synproxy",
    "nf_flow_table",
    "nf_flow_table_inet",
    "nf_flow_table_ipv4?",
    "nf_flow_table_ipv6?",
    "nft_flow_offload",
    "nf_log_syslog?",
    "udp_diag?",
    "tcp_diag?",
    "virtio_pci",
    "virtio_blk",
];

/// A module, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    pub name: String,
    pub bytes: Vec<u8>,
    /// The modules that it depends on.
    pub needs: Vec<String>,
}

/// The wanted modules of a kernel and all that they need, each after what it needs.
pub fn in_load_order(folder: &Path) -> Result<Vec<Module>> {
    let mut collection =
        Collection { files: HashMap::new(), built_in: built_in(folder)?, found: Vec::new(), busybox: "busybox" };
    collection.index(&folder.join("kernel"))?;
    for wanted in WANTED {
        let (name, is_optional) = wanted.strip_suffix('?').map_or((*wanted, false), |name| (name, true));
        if !is_optional || collection.files.contains_key(name) {
            collection.add(name)?;
        }
    }
    Ok(collection.found)
}

struct Collection {
    files: HashMap<String, PathBuf>,
    built_in: Vec<String>,
    found: Vec<Module>,
    busybox: &'static str,
}

impl Collection {
    fn index(&mut self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.index(&path)?;
            } else if let Some(name) = module_name(&path) {
                self.files.insert(name, path);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str) -> Result<()> {
        if self.found.iter().any(|module| module.name == name) || self.built_in.iter().any(|other| other == name) {
            return Ok(());
        }
        let path = self.files.get(name).with_context(|| format!("this kernel has no module {name}"))?;
        let bytes = read(path, self.busybox)?;
        let needs = needs(&bytes);
        for other in &needs {
            self.add(other)?;
        }
        self.found.push(Module { name: name.to_owned(), bytes, needs });
        Ok(())
    }
}

/// `nf_tables` of `…/nf_tables.ko.xz`.
fn module_name(path: &Path) -> Option<String> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn built_in(folder: &Path) -> Result<Vec<String>> {
    let path = folder.join("modules.builtin");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.lines().filter_map(|line| module_name(Path::new(line))).collect())
}

fn read(path: &Path, busybox: &str) -> Result<Vec<u8>> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => Ok(fs::read(path)?),
        Some("xz") => Ok(succeed(Command::new(busybox).args(["unxz", "-c"]).arg(path))?.stdout),
        _ => bail!("{}: compressed in a way that is not known here", path.display()),
    }
}

/// The module's own list, a string `depends=a,b` among its information.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let rest = module.get(start + KEY.len()..).unwrap_or_default();
    let list = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dependencies_of_a_module_are_read_from_its_file() {
        assert_eq!(needs(b"license=GPL\0depends=nf_conntrack,x-tables\0name=a\0"), ["nf_conntrack", "x_tables"]);
        assert_eq!(needs(b"license=GPL\0depends=\0name=a\0"), [""; 0]);
    }

    #[test]
    fn dependencies_are_loaded_first() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let kernel = folder.path().join("kernel/net");
        fs::create_dir_all(&kernel)?;
        fs::write(folder.path().join("modules.builtin"), "kernel/c.ko\n")?;
        fs::write(kernel.join("a.ko"), b"\0depends=b,c\0")?;
        fs::write(kernel.join("b.ko"), b"\0depends=\0")?;
        let built_in = built_in(folder.path())?;
        let mut collection = Collection { files: HashMap::new(), built_in, found: Vec::new(), busybox: "false" };
        collection.index(folder.path())?;
        collection.add("a")?;
        let names: Vec<&str> = collection.found.iter().map(|module| &*module.name).collect();
        assert_eq!(names, ["b", "a"]);
        assert!(collection.add("nowhere").is_err());
        Ok(())
    }
}
