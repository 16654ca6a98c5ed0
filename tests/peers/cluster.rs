//! A cluster of nats-servers on the loopback interface of the test's own namespace, and the
//! contents of its stream.

use std::fs::{self, File};
use std::future::Future;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, Info, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, ServerAddr};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use ctnl_test_support::net::{PATH, ip};

pub const STREAM: &str = "EVENTS";
pub const SUBJECT: &str = "ctnl.events";

/// Far longer than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(60);

fn client_port(node: usize) -> u16 {
    4220 + u16::try_from(node).expect("few nodes")
}

/// Servers that can be killed and restarted.
pub struct Cluster {
    directory: TempDir,
    nodes: Vec<Option<Child>>,
    extra: &'static str,
}

impl Cluster {
    /// Starts servers with JetStream. Call it once per namespace: the ports are fixed.
    pub fn start(count: usize) -> Self {
        let jetstream = "jetstream { store_dir: $STORE, max_mem: 64MB, max_file: 1GB }";
        Cluster::with(count, jetstream)
    }

    /// Starts servers with these lines in their configuration.
    pub fn with(count: usize, extra: &'static str) -> Self {
        ip("link set lo up");
        let directory = tempfile::tempdir().expect("a directory");
        let mut cluster = Cluster { directory, nodes: (0..count).map(|_| None).collect(), extra };
        (0..count).for_each(|node| cluster.restart(node));
        cluster
    }

    /// Starts a server with its earlier store.
    pub fn restart(&mut self, node: usize) {
        let (file, log) = (self.path(&format!("n{node}.conf")), self.path(&format!("n{node}.log")));
        fs::write(&file, self.configuration(node)).expect("write the configuration");
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new("nats-server");
        command.env_clear().env("PATH", PATH).args(["-c", &file]).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().expect("a log")).stderr(log).spawn();
        let child = child.expect("nats-server cannot be started: apt-get install nats-server");
        assert!(self.nodes[node].replace(child).is_none(), "it runs already");
    }

    fn configuration(&self, node: usize) -> String {
        let store = self.path(&format!("n{node}"));
        let routes: Vec<String> =
            (0..self.nodes.len()).map(|node| format!("nats-route://127.0.0.1:{}", 6220 + node)).collect();
        let cluster = format!("cluster {{ name: c, listen: \"127.0.0.1:{}\", routes: {routes:?} }}", 6220 + node);
        format!(
            "server_name: n{node}\nlisten: \"127.0.0.1:{}\"\n{}\n{}\n",
            client_port(node),
            self.extra.replace("$STORE", &format!("\"{store}\"")),
            if self.nodes.len() > 1 { &cluster } else { "" },
        )
    }

    /// kill -9.
    pub fn kill(&mut self, node: usize) {
        let mut child = self.nodes[node].take().expect("a server that runs");
        child.kill().expect("kill");
        child.wait().expect("its end");
    }

    /// Copies the store of a server that is stopped to `to`, or from there with `back`.
    pub fn copy_store(&self, node: usize, to: &Path, back: bool) {
        assert!(self.nodes[node].is_none(), "it runs");
        let store = PathBuf::from(self.path(&format!("n{node}")));
        let (from, to) = if back { (to, &*store) } else { (&*store, to) };
        let _ = fs::remove_dir_all(to);
        let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
        assert!(copied.success());
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// All servers, as in an argument of `nats:`.
    pub fn servers(&self) -> String {
        let servers: Vec<String> =
            (0..self.nodes.len()).map(|node| format!("nats://127.0.0.1:{}", client_port(node))).collect();
        servers.join(",")
    }

    /// Waits until every server accepts connections.
    pub fn wait_until_it_listens(&self) {
        let start = Instant::now();
        for node in 0..self.nodes.len() {
            while TcpStream::connect(("127.0.0.1", client_port(node))).is_err() {
                assert!(start.elapsed() < TIMEOUT, "n{node} does not listen");
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Connects a client.
    pub fn client(&self) -> Client {
        self.client_with(ConnectOptions::new())
    }

    /// Connects a client with a login.
    pub fn client_as(&self, user: &str, password: &str) -> Client {
        self.client_with(ConnectOptions::with_user_and_password(user.into(), password.into()))
    }

    /// Connects a client with these options.
    pub fn client_with(&self, options: ConnectOptions) -> Client {
        self.wait_until_it_listens();
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let servers: Vec<ServerAddr> =
            self.servers().split(',').map(|server| server.parse().expect("a server")).collect();
        let context = runtime.block_on(async { jetstream::new(options.connect(servers).await.expect("connect")) });
        Client { runtime, context }
    }
}

impl Drop for Cluster {
    /// Stops the servers, and prints their logs if the test failed.
    fn drop(&mut self) {
        for (node, child) in self.nodes.iter_mut().enumerate() {
            if let Some(mut child) = child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
            if thread::panicking() {
                let log = self.directory.path().join(format!("n{node}.log"));
                let log = fs::read_to_string(log).unwrap_or_default();
                let from = log.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
                eprintln!("--- n{node}\n{}", &log[from..]);
            }
        }
    }
}

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub payload: String,
    pub id: String,
}

/// A client of the cluster beside the one under test.
pub struct Client {
    runtime: Runtime,
    context: Context,
}

impl Client {
    /// Repeats a request until it succeeds.
    fn retry<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(&self, mut request: impl FnMut() -> F) -> T {
        let start = Instant::now();
        loop {
            match self.runtime.block_on(request()) {
                Ok(done) => return done,
                Err(error) => assert!(start.elapsed() < TIMEOUT, "{error:?}"),
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Creates the stream.
    pub fn make_stream(&self, replicas: usize, change: impl Fn(&mut Config)) {
        let mut config = Config {
            name: STREAM.into(),
            subjects: vec![SUBJECT.into()],
            num_replicas: replicas,
            storage: StorageType::File,
            ..Config::default()
        };
        change(&mut config);
        self.retry(|| self.context.create_stream(config.clone()));
    }

    /// Deletes the stream.
    pub fn delete_stream(&self) {
        self.retry(|| self.context.delete_stream(STREAM));
    }

    /// Removes every message of the stream.
    pub fn purge_stream(&self) {
        self.retry(|| async {
            let stream = self.context.get_stream(STREAM).await.map_err(|error| error.to_string())?;
            stream.purge().await.map_err(|error| error.to_string())
        });
    }

    /// Publishes a message to the stream.
    pub fn publish(&self, id: &str, payload: &str) {
        self.retry(|| async {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-Msg-Id", id);
            let published = self.context.publish_with_headers(SUBJECT, headers, payload.to_owned().into()).await;
            published.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())
        });
    }

    /// The stream's state, from its leader.
    fn info(&self) -> Info {
        self.retry(|| async { self.context.get_stream(STREAM).await.map(|stream| stream.cached_info().clone()) })
    }

    /// Waits until the stream has a leader and all replicas are current. Returns the leader.
    pub fn leader(&self) -> usize {
        let start = Instant::now();
        loop {
            let cluster = self.info().cluster.expect("a cluster");
            if let Some(leader) = &cluster.leader
                && cluster.replicas.iter().all(|replica| replica.current && !replica.offline)
            {
                return leader.trim_start_matches('n').parse().expect("a node");
            }
            assert!(start.elapsed() < TIMEOUT, "{cluster:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The number of messages in the stream, once it exists.
    pub fn count(&self) -> u64 {
        self.info().state.messages
    }

    /// Every message of the stream, in order.
    pub fn messages(&self) -> Vec<Stored> {
        let all = usize::try_from(self.count()).expect("a number");
        self.retry(|| async {
            let stream = self.context.get_stream(STREAM).await?;
            let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
            let consumer = stream.create_consumer(config).await?;
            let mut stored = Vec::with_capacity(all);
            while stored.len() < all {
                let mut batch = consumer.fetch().max_messages(1000.min(all - stored.len())).messages().await?;
                while let Some(message) = batch.next().await {
                    stored.push(stored_message(&message?.message));
                }
            }
            Ok::<_, async_nats::Error>(stored)
        })
    }
}

fn stored_message(message: &async_nats::Message) -> Stored {
    let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
    Stored {
        payload: String::from_utf8(message.payload.to_vec()).expect("UTF-8"),
        id: id.map(ToString::to_string).unwrap_or_default(),
    }
}
