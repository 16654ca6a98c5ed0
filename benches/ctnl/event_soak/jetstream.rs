//! A nats-server with JetStream, killed and started again.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ctnl_test_support::net::PATH;

use super::received::Received;
use crate::print;

const PORT: u16 = 4222;
const SUBJECT: &str = "ctnl.soak";
const TIMEOUT: Duration = Duration::from_secs(60);

/// The server; killed when it is dropped.
pub struct JetStream {
    configuration: PathBuf,
    log: PathBuf,
    server: Option<Child>,
}

impl JetStream {
    /// Starts it and makes a stream. `None` where nats-server is not installed, which is printed, or where this
    /// benchmark was built without the feature `nats`.
    pub fn start(folder: &Path) -> Result<Option<Self>> {
        let is_installed =
            Command::new("nats-server").env("PATH", PATH).arg("--version").stdout(Stdio::null()).status();
        if !cfg!(feature = "nats") || is_installed.is_err() {
            print::result("!! without --to nats: nats-server is not installed, or the feature `nats` is off");
            return Ok(None);
        }
        let (configuration, log) = (folder.join("nats.conf"), folder.join("nats.log"));
        let store = folder.join("nats").display().to_string();
        let text = format!("listen: \"127.0.0.1:{PORT}\"\njetstream {{ store_dir: {store:?} }}\n");
        fs::write(&configuration, text).context("write the configuration of nats-server")?;
        let mut jetstream = JetStream { configuration, log, server: None };
        jetstream.recover()?;
        client::make_stream()?;
        Ok(Some(jetstream))
    }

    /// The argument of `--to`.
    pub fn sink(&self) -> String {
        format!("nats:nats://127.0.0.1:{PORT}/{SUBJECT}")
    }

    /// Kills the server, or starts it again.
    pub fn disturb(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => kill(server),
            None => self.recover(),
        }
    }

    /// Starts the server unless it runs.
    pub fn recover(&mut self) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log).context("open the log of nats-server")?;
        let mut command = Command::new("nats-server");
        command.env("PATH", PATH).arg("-c").arg(&self.configuration).stdin(Stdio::null()).stdout(Stdio::null());
        self.server = Some(command.stderr(log).spawn().context("start nats-server")?);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", PORT)).is_err() {
            ensure!(begin.elapsed() < TIMEOUT, "nats-server does not listen: see {}", self.log.display());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Everything that the stream has stored.
    pub fn received(&self) -> Result<Received> {
        let mut received = Received::default();
        client::read(|line| received.add(line))?;
        Ok(received)
    }
}

fn kill(mut server: Child) -> Result<()> {
    server.kill().context("kill nats-server")?;
    server.wait().map(drop).context("wait for nats-server")
}

impl Drop for JetStream {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // It goes with its PID namespace.
            let _ = kill(server);
        }
    }
}

#[cfg(feature = "nats")]
mod client {
    use std::time::Duration;

    use anyhow::{Context as _, Result};
    use async_nats::jetstream::consumer::{AckPolicy, pull};
    use async_nats::jetstream::stream::{Config, StorageType};
    use async_nats::jetstream::{self, Context};
    use futures_util::StreamExt;
    use tokio::runtime::Builder;

    use super::{PORT, SUBJECT};

    const STREAM: &str = "SOAK";

    fn run<T>(work: impl AsyncFnOnce(Context) -> Result<T>) -> Result<T> {
        let runtime = Builder::new_current_thread().enable_all().build().context("a tokio runtime")?;
        runtime.block_on(async {
            let client = async_nats::connect(format!("127.0.0.1:{PORT}")).await.context("connect to nats-server")?;
            work(jetstream::new(client)).await
        })
    }

    pub fn make_stream() -> Result<()> {
        run(async |context| {
            let config = Config {
                name: STREAM.into(),
                subjects: vec![SUBJECT.into()],
                storage: StorageType::File,
                ..Config::default()
            };
            context.create_stream(config).await.map(drop).context("make a stream")
        })
    }

    pub fn read(mut each: impl FnMut(&[u8])) -> Result<()> {
        run(async |context| {
            let stream = context.get_stream(STREAM).await.context("find the stream")?;
            let mut left = stream.cached_info().state.messages;
            let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
            let consumer = stream.create_consumer(config).await.context("make a consumer")?;
            let mut messages = consumer.messages().await.context("read the stream")?;
            while left > 0 {
                let next = tokio::time::timeout(Duration::from_secs(20), messages.next()).await;
                let message = next.context("a message")?.context("an end of the stream")?.context("a message")?;
                each(&message.payload);
                left -= 1;
            }
            Ok(())
        })
    }
}

#[cfg(not(feature = "nats"))]
mod client {
    use anyhow::{Result, bail};

    pub fn make_stream() -> Result<()> {
        bail!("built without the feature `nats`")
    }

    pub fn read(_: impl FnMut(&[u8])) -> Result<()> {
        bail!("built without the feature `nats`")
    }
}
