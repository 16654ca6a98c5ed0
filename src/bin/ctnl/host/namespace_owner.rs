//! Who a network namespace belongs to, by its inode number, as the kernel writes it into its log: its name, and the
//! container of its processes by their cgroup.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;

use ctnl::host::Host;

use super::namespaces::{Name, Namespace, Namespaces, inode_of};

/// Most bytes of the name of a unit or a container that are shown.
const MAX_NAME: usize = 64;
/// Digits of an identifier of a container that its engine shows.
const SHORT_ID: usize = 12;
/// Digits of an identifier of a container.
const ID: usize = 64;
/// Characters of the UID of a pod.
const UID: usize = 36;

/// A network namespace that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceOwner {
    /// Its name, as in `--netns` and `--all-netns`.
    pub name: Name,
    /// What `--netns` takes for it; `None` where it has no name that is reachable.
    pub argument: Option<String>,
    /// The container or the unit of its process with the lowest id.
    pub container: Option<Container>,
}

impl fmt::Display for NamespaceOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        match &self.container {
            Some(container) => write!(f, ", {container}"),
            None => Ok(()),
        }
    }
}

/// What a process runs in, by its cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Container {
    /// A container of an engine.
    Container {
        /// The engine, where its name is in the cgroup.
        engine: Option<&'static str>,
        /// Its identifier or name.
        id: String,
        /// The UID of its Kubernetes pod.
        pod: Option<String>,
    },
    /// A unit of systemd.
    Unit(String),
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Container::Unit(name) => f.write_str(name),
            Container::Container { engine, id, pod } => {
                if let Some(engine) = engine {
                    write!(f, "{engine} ")?;
                }
                write!(f, "container {id}")?;
                pod.as_ref().map_or(Ok(()), |pod| write!(f, " of pod {pod}"))
            }
        }
    }
}

/// The owners of those of `inodes` that exist.
///
/// # Errors
/// /proc cannot be read.
pub fn owners(host: &Host, inodes: &BTreeSet<u64>) -> io::Result<BTreeMap<u64, NamespaceOwner>> {
    if inodes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut namespaces = Namespaces::new(host.proc());
    let found = namespaces.refresh()?.appeared.into_iter().filter(|namespace| inodes.contains(&namespace.inode));
    let processes = lowest_processes(host, inodes)?;
    let container = |namespace: &Namespace| {
        let pid = processes.get(&namespace.inode).filter(|_| namespace.name != Name::Host)?;
        container(&fs::read_to_string(host.proc().join(pid.to_string()).join("cgroup")).ok()?)
    };
    let owner = |namespace: Namespace| NamespaceOwner {
        argument: namespace.argument(),
        container: container(&namespace),
        name: namespace.name,
    };
    Ok(found.map(|namespace| (namespace.inode, owner(namespace))).collect())
}

/// The lowest process id in each of the namespaces: mostly the process that a container was started with.
fn lowest_processes(host: &Host, inodes: &BTreeSet<u64>) -> io::Result<BTreeMap<u64, u32>> {
    let mut lowest = BTreeMap::new();
    for entry in fs::read_dir(host.proc())? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Some(inode) = inode_of(&entry.path()).ok().filter(|inode| inodes.contains(inode)) else { continue };
        let known = lowest.entry(inode).or_insert(pid);
        *known = pid.min(*known);
    }
    Ok(lowest)
}

/// The container of a process with this /proc/PID/cgroup: of each hierarchy a line `NUMBER:CONTROLLERS:PATH`.
pub fn container(cgroup: &str) -> Option<Container> {
    let paths = || cgroup.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths().find_map(container_of_path).or_else(|| paths().find_map(unit_of_path).map(Container::Unit))
}

fn container_of_path(path: &str) -> Option<Container> {
    let parts = || path.split('/');
    let pod = parts().find_map(pod_of);
    let with_id = parts().rev().find_map(|part| {
        let (engine, id) = engine_and_id(part)?;
        let engine = engine.or_else(|| parts().any(|part| part == "docker").then_some("docker"));
        Some((engine, id.get(..SHORT_ID)?.to_owned()))
    });
    let (engine, id) = with_id.or_else(|| named(path))?;
    Some(Container::Container { engine, id, pod })
}

/// `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID`, `libpod-ID.scope`, or `ID` alone.
fn engine_and_id(part: &str) -> Option<(Option<&'static str>, &str)> {
    const ENGINES: [(&str, &str); 5] = [
        ("docker", "docker"),
        ("cri-containerd", "containerd"),
        ("crio", "cri-o"),
        ("libpod", "podman"),
        ("nerdctl", "nerdctl"),
    ];
    let part = part.strip_suffix(".scope").unwrap_or(part);
    // containerd without systemd: `SLICE:cri-containerd:ID`.
    let part = part.find("cri-containerd").and_then(|at| part.get(at..)).unwrap_or(part);
    let behind = |prefix: &str| part.strip_prefix(prefix)?.strip_prefix(['-', ':']);
    let known = ENGINES.iter().find_map(|(prefix, engine)| Some((Some(*engine), behind(prefix)?)));
    let (engine, id) = known.unwrap_or((None, part));
    (id.len() == ID && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((engine, id))
}

/// Containers that have a name: of LXC, and machines of systemd.
fn named(path: &str) -> Option<(Option<&'static str>, String)> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    while let Some(part) = parts.next() {
        let lxc = part.strip_prefix("lxc.payload.").or_else(|| (part == "lxc").then(|| parts.next()).flatten());
        if let Some(name) = lxc {
            return Some((Some("lxc"), shown(name)));
        }
        let machine = part.strip_prefix("machine-").and_then(|name| name.strip_suffix(".scope"));
        let machine = machine.or_else(|| part.strip_prefix("systemd-nspawn@")?.strip_suffix(".service"));
        if let Some(name) = machine {
            return Some((Some("systemd-nspawn"), shown(name)));
        }
    }
    None
}

/// The UID in `kubepods-burstable-podUID.slice`, in which systemd has `_` for `-`, or in `podUID`.
fn pod_of(part: &str) -> Option<String> {
    // containerd without systemd: `SLICE:cri-containerd:ID`.
    let part = part.split(':').next().unwrap_or(part);
    let part = part.strip_suffix(".slice").unwrap_or(part);
    let of_slice = || part.strip_prefix("kubepods")?.rsplit_once("-pod").map(|(_, uid)| uid);
    let uid = part.strip_prefix("pod").or_else(of_slice)?.replace('_', "-");
    (uid.len() == UID && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')).then_some(uid)
}

fn unit_of_path(path: &str) -> Option<String> {
    path.split('/').rev().find(|part| part.ends_with(".service")).map(shown)
}

fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use ctnl::clock::Clock;

    use super::*;

    const HEX: &str = "3f2a9c1d5e7b3f2a9c1d5e7b3f2a9c1d5e7b3f2a9c1d5e7b3f2a9c1d5e7b3f2a";
    const POD: &str = "4d1f2c5a-9f7c-4a6e-8d3b-0a1b2c3d4e5f";

    #[test]
    fn the_cgroup_of_every_engine_names_the_container_and_its_pod() {
        let uid = POD.replace('-', "_");
        for (cgroup, expected) in [
            (format!("0::/system.slice/docker-{HEX}.scope"), "docker container 3f2a9c1d5e7b".to_owned()),
            (
                format!("12:pids:/docker/{HEX}\n0::/system.slice/containerd.service"),
                "docker container 3f2a9c1d5e7b".to_owned(),
            ),
            (
                format!(
                    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-{HEX}.scope"
                ),
                format!("containerd container 3f2a9c1d5e7b of pod {POD}"),
            ),
            (
                format!("0::/kubepods.slice/kubepods-pod{uid}.slice/crio-{HEX}.scope/container"),
                format!("cri-o container 3f2a9c1d5e7b of pod {POD}"),
            ),
            (format!("4:memory:/kubepods/besteffort/pod{POD}/{HEX}"), format!("container 3f2a9c1d5e7b of pod {POD}")),
            (
                format!("0::/kubepods-besteffort-pod{uid}.slice:cri-containerd:{HEX}"),
                format!("containerd container 3f2a9c1d5e7b of pod {POD}"),
            ),
            (
                format!("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{HEX}.scope/container"),
                "podman container 3f2a9c1d5e7b".to_owned(),
            ),
            ("0::/lxc.payload.web/system.slice/nginx.service".to_owned(), "lxc container web".to_owned()),
            ("4:cpu:/lxc/web".to_owned(), "lxc container web".to_owned()),
            ("0::/machine.slice/machine-web.scope/payload".to_owned(), "systemd-nspawn container web".to_owned()),
            (
                "0::/machine.slice/systemd-nspawn@web.service/payload".to_owned(),
                "systemd-nspawn container web".to_owned(),
            ),
            ("0::/system.slice/openvpn-server@x.service".to_owned(), "openvpn-server@x.service".to_owned()),
        ] {
            assert_eq!(container(&cgroup).unwrap().to_string(), expected, "{cgroup}");
        }
        for cgroup in
            ["", "0::/", "0::/user.slice/user-0.slice/session-3.scope", "x", "0::/kubepods/podx", "0::/docker/\u{e4}"]
        {
            assert_eq!(container(cgroup), None, "{cgroup}");
        }
    }

    #[test]
    fn a_namespace_of_this_host_is_found_by_its_number() {
        let host = Host::at("/", Clock::system());
        let own = inode_of(Path::new("/proc/self")).unwrap();
        let found = owners(&host, &[own, 1].into()).unwrap();
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [own], "1 is not the number of a namespace");
        assert!(owners(&Host::at("/nonexistent", Clock::system()), &[own].into()).is_err());
        assert_eq!(owners(&Host::at("/nonexistent", Clock::system()), &BTreeSet::new()).unwrap().len(), 0);
    }

    #[test]
    fn a_namespace_is_shown_with_its_container() {
        let container = Some(Container::Unit("x.service".to_owned()));
        let owner = NamespaceOwner { name: Name::Named("blue".to_owned()), argument: None, container };
        assert_eq!(owner.to_string(), "blue, x.service");
        let owner = NamespaceOwner {
            name: Name::Process { pid: 7, comm: "nginx".to_owned() },
            argument: None,
            container: None,
        };
        assert_eq!(owner.to_string(), "pid:7(nginx)");
    }
}
