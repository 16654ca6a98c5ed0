//! Connections between the hosts.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ctnl::model::{L4, Protocol, Tuple};
use nix::sys::socket::{setsockopt, sockopt};

use crate::net::{INSIDE, INSIDE6, Net, OUTSIDE, OUTSIDE6};

/// Longer than any exchange takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A TCP connection from inside to outside.
pub struct Tcp {
    pub client: TcpStream,
    pub server: TcpStream,
}

impl Tcp {
    /// Opens one over IPv4.
    pub fn open(net: &Net<'_>) -> Self {
        Self::to(net, OUTSIDE.into())
    }

    /// Opens one over IPv6.
    pub fn open6(net: &Net<'_>) -> Self {
        Self::to(net, OUTSIDE6.into())
    }

    fn to(net: &Net<'_>, address: IpAddr) -> Self {
        let listener = listen(net, address);
        let port = listener.local_addr().expect("address").port();
        Self::through(net, &listener, SocketAddr::new(address, port))
    }

    /// Opens one to `target`, which ends at `listener`.
    pub fn through(net: &Net<'_>, listener: &TcpListener, target: SocketAddr) -> Self {
        let connect = || TcpStream::connect_timeout(&target, TIMEOUT).expect("connect");
        let client = net.inside.run(connect);
        let (server, _) = listener.accept().expect("accept");
        for socket in [&client, &server] {
            socket.set_nodelay(true).expect("nodelay");
            socket.set_read_timeout(Some(TIMEOUT)).expect("timeout");
        }
        Tcp { client, server }
    }

    /// Opens one to a server with a small receive buffer, so that its window soon closes.
    pub fn open_narrow(net: &Net<'_>) -> Self {
        let listener = listen(net, OUTSIDE.into());
        // Accepted sockets inherit it.
        setsockopt(&listener, sockopt::RcvBuf, &4096).expect("receive buffer");
        let target = listener.local_addr().expect("address");
        Self::through(net, &listener, target)
    }

    /// A byte each way; both must arrive.
    pub fn exchange(&mut self) {
        self.client.write_all(b"?").expect("send");
        self.server.read_exact(&mut [0]).expect("receive");
        self.server.write_all(b"!").expect("answer");
        self.client.read_exact(&mut [0]).expect("receive the answer");
    }

    /// A byte each way on every one.
    pub fn exchange_all<const N: usize>(connections: [&mut Self; N]) {
        connections.into_iter().for_each(Self::exchange);
    }

    /// Sends until the window is closed.
    pub fn send_until_full(&mut self) {
        self.client.set_nonblocking(true).expect("nonblocking");
        let mut idle_rounds = 0;
        // The window closes only when the segments in flight have arrived.
        while idle_rounds < 20 {
            match self.client.write(&[0; 8192]) {
                Ok(_) => idle_rounds = 0,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    idle_rounds += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => panic!("send: {error}"),
            }
        }
    }

    /// Enables keepalives of the client, one each second.
    pub fn keep_alive(&self) {
        setsockopt(&self.client, sockopt::TcpKeepIdle, &1).expect("idle");
        setsockopt(&self.client, sockopt::TcpKeepInterval, &1).expect("interval");
        setsockopt(&self.client, sockopt::TcpKeepCount, &100).expect("count");
        setsockopt(&self.client, sockopt::KeepAlive, &true).expect("keepalive");
    }

    /// The entry's original tuple.
    pub fn tuple(&self) -> Tuple {
        let (client, server) = self.client.local_addr().and_then(|a| Ok((a, self.client.peer_addr()?))).expect("names");
        tuple(Protocol::Tcp, client, server)
    }

    /// `SSH_CONNECTION` as sshd on the server would set it.
    pub fn as_ssh_connection(&self) -> String {
        let (client, server) = (self.server.peer_addr().expect("name"), self.server.local_addr().expect("name"));
        format!("{} {} {} {}", client.ip(), client.port(), server.ip(), server.port())
    }
}

/// Two UDP sockets, inside and outside.
pub struct Udp {
    pub client: UdpSocket,
    pub server: UdpSocket,
}

impl Udp {
    pub fn open(net: &Net<'_>) -> Self {
        Self::between(net, INSIDE.into(), OUTSIDE.into())
    }

    pub fn open6(net: &Net<'_>) -> Self {
        Self::between(net, INSIDE6.into(), OUTSIDE6.into())
    }

    fn between(net: &Net<'_>, inside: IpAddr, outside: IpAddr) -> Self {
        let client = net.inside.run(|| UdpSocket::bind((inside, 0)).expect("bind"));
        let server = net.outside.run(|| UdpSocket::bind((outside, 0)).expect("bind"));
        client.connect(server.local_addr().expect("name")).expect("connect");
        server.set_read_timeout(Some(TIMEOUT)).expect("timeout");
        client.set_read_timeout(Some(TIMEOUT)).expect("timeout");
        Udp { client, server }
    }

    pub fn send_one_way(&self) {
        self.client.send(b"?").expect("send");
        self.server.recv(&mut [0]).expect("receive");
    }

    /// A datagram each way.
    pub fn exchange(&self) {
        self.client.send(b"?").expect("send");
        let (_, from) = self.server.recv_from(&mut [0]).expect("receive");
        self.server.send_to(b"!", from).expect("answer");
        self.client.recv(&mut [0]).expect("receive the answer");
    }

    pub fn tuple(&self) -> Tuple {
        let (client, server) = self.client.local_addr().and_then(|a| Ok((a, self.client.peer_addr()?))).expect("names");
        tuple(Protocol::Udp, client, server)
    }
}

/// A listener on any port of `address`, outside.
pub fn listen(net: &Net<'_>, address: IpAddr) -> TcpListener {
    net.outside.run(|| TcpListener::bind((address, 0)).expect("listen"))
}

fn tuple(protocol: Protocol, client: SocketAddr, server: SocketAddr) -> Tuple {
    let l4 = L4::Ports { src: client.port(), dst: server.port() };
    Tuple { src: client.ip(), dst: server.ip(), protocol, l4, zone: None, has_unknown_part: false }
}
