//! Namespaces with names, and the events that are made in them.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::{AddAssign, ControlFlow};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ctnl::model::{Flow, L4, Protocol, Status, Tuple};
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, DumpRequest, Outcome, Target};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Beside that of the soak test itself.
const NAMED: usize = 4;
const FOLDER: &str = "/run/netns";
/// Far longer than it takes to find a new namespace.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What was sent.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sent {
    pub events: u64,
    /// How many namespaces were made and removed again meanwhile.
    pub namespaces: u64,
}

impl AddAssign for Sent {
    fn add_assign(&mut self, other: Sent) {
        self.events += other.events;
        self.namespaces += other.namespaces;
    }
}

/// All namespaces, the soak test's own first.
pub struct Namespaces {
    all: Vec<Namespace>,
    short_lived: u32,
}

struct Namespace {
    name: Option<String>,
    connection: Connection,
    netlink_sockets: PathBuf,
    /// Keeps the thread whose /proc shows the sockets of the namespace.
    _thread: Option<std::sync::mpsc::Sender<()>>,
}

impl Namespaces {
    /// Makes them, in a `/run/netns` of this mount namespace's own.
    pub fn create() -> Result<Self> {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .context("make the mounts private")?;
        mount(Some("none"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).context("mount /run")?;
        fs::create_dir(FOLDER).context("make /run/netns")?;
        let mut all = vec![Namespace::own()?];
        for number in 0..NAMED {
            all.push(Namespace::create(&format!("soak{number}"))?);
        }
        Ok(Namespaces { all, short_lived: 0 })
    }

    /// Waits until a program has subscribed in each of them.
    pub fn wait_for_subscriptions(&self) -> Result<()> {
        self.all.iter().try_for_each(Namespace::wait_for_subscription)
    }

    /// Creates and deletes some hundred entries, in a namespace by turns. Returns the number of events.
    pub fn make_events(&mut self, round: u32) -> Result<Sent> {
        let count = self.all.len() as u32;
        let at = usize::try_from(round % count).unwrap_or(0);
        let namespace = self.all.get_mut(at).context("a namespace")?;
        let events = namespace.create_and_delete(100 + round.wrapping_mul(131) % 400, round)?;
        thread::sleep(Duration::from_millis(100 + u64::from(round.wrapping_mul(37) % 300)));
        Ok(Sent { events, namespaces: 0 })
    }

    /// Makes a namespace, events in it once the program has subscribed there, and removes it.
    pub fn of_short_life(&mut self) -> Result<Sent> {
        self.short_lived += 1;
        let mut namespace = Namespace::create(&format!("short{}", self.short_lived))?;
        namespace.wait_for_subscription()?;
        // What exists for less may have no lines (docs/events.md).
        thread::sleep(Duration::from_secs(2));
        let events = namespace.create_and_delete(300, self.short_lived)?;
        Ok(Sent { events, namespaces: 1 })
    }
}

impl Namespace {
    fn own() -> Result<Self> {
        set_events(Path::new("/proc/sys"))?;
        let connection = Connection::open(&Netns::Current)?;
        Ok(Namespace { name: None, connection, netlink_sockets: "/proc/self/net/netlink".into(), _thread: None })
    }

    /// A new one, mounted as ip-netns(8) does.
    fn create(name: &str) -> Result<Self> {
        let (made, result) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let path = Path::new(FOLDER).join(name);
        File::create(&path).with_context(|| format!("create {}", path.display()))?;
        thread::spawn(move || {
            // The receiver waits for the result below.
            let _ = made.send(enter_new(&path));
            // Until the sender is dropped.
            let _ = ended.recv();
        });
        let (connection, netlink_sockets) = result.recv().context("the thread of the namespace")??;
        Ok(Namespace { name: Some(name.to_owned()), connection, netlink_sockets, _thread: Some(end) })
    }

    fn wait_for_subscription(&self) -> Result<()> {
        let begin = Instant::now();
        while !has_subscriber(&self.netlink_sockets)? {
            let name = self.name.as_deref().unwrap_or("the own namespace");
            ensure!(begin.elapsed() < TIMEOUT, "nobody subscribed to the events of {name} within {TIMEOUT:?}");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Returns the number of events.
    fn create_and_delete(&mut self, count: u32, seed: u32) -> Result<u64> {
        let flows: Vec<Flow> = (0..count).map(|number| flow(seed, number)).collect();
        let mut created = Outcome::default();
        table::create(&mut self.connection, &flows, &mut created)?;
        ensure!(created.done == flows.len() as u64, "create entries: {created:?}");
        let mut targets = Vec::new();
        table::dump(&mut self.connection, DumpRequest::default(), |flow| {
            targets.extend(Target::of(flow));
            ControlFlow::Continue(())
        })?;
        let mut deleted = Outcome::default();
        table::delete(&mut self.connection, &targets, &mut deleted)?;
        if deleted.done != created.done {
            bail!("{} entries created, {deleted:?}", created.done);
        }
        Ok(created.done + deleted.done)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        let path = Path::new(FOLDER).join(name);
        // What is left goes with the mount namespace.
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&path);
    }
}

/// Moves the calling thread into a new namespace, and gives it a name.
fn enter_new(path: &Path) -> Result<(Connection, PathBuf)> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
    mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("mount {}", path.display()))?;
    set_events(Path::new("/proc/sys"))?;
    let sockets = fs::canonicalize("/proc/thread-self").context("read /proc/thread-self")?.join("net/netlink");
    Ok((Connection::open(&Netns::Current)?, sockets))
}

fn set_events(sysctls: &Path) -> Result<()> {
    let path = sysctls.join("net/netfilter/nf_conntrack_events");
    fs::write(&path, "1").with_context(|| format!("write {}", path.display()))
}

/// Whether a netfilter socket has joined a multicast group.
fn has_subscriber(sockets: &Path) -> Result<bool> {
    let text = fs::read_to_string(sockets).with_context(|| format!("read {}", sockets.display()))?;
    Ok(text.lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words.as_slice(), [_, "12", _, groups, ..] if u32::from_str_radix(groups, 16).is_ok_and(|all| all != 0))
    }))
}

fn flow(seed: u32, number: u32) -> Flow {
    let [_, _, high, low] = seed.to_be_bytes();
    let src = IpAddr::from(Ipv4Addr::new(10, 1, high, low));
    let l4 = L4::Ports { src: 1024 + u16::try_from(number).unwrap_or(0), dst: 53 };
    let orig = Tuple {
        src,
        dst: Ipv4Addr::new(198, 18, 0, 1).into(),
        protocol: Protocol::Udp,
        l4,
        zone: None,
        has_unknown_part: false,
    };
    let mut flow = Flow::new(orig, orig.inverse());
    flow.timeout = Some(600);
    flow.status = Status::SeenReply | Status::Assured | Status::Confirmed;
    flow
}
