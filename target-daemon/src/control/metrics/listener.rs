//! The metrics listener: a TCP socket for the HTTP server. It cannot change anything.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::routes::router;
use crate::control::RequestSender;
use crate::control::server::{Handle, serve};

/// Maximum number of connections; more wait in the kernel. Anyone in the network may
/// connect, and each may hold a whole answer.
const CONNECTIONS_MAX: usize = 8;

/// The listener cannot bind its address.
#[derive(Debug, thiserror::Error)]
#[error("{}. {}", self.what(), self.remedy())]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl BindError {
    /// The problem.
    pub fn what(&self) -> String {
        format!("cannot give metrics on {}: {}", self.address, self.source)
    }

    /// The remedy.
    pub fn remedy(&self) -> String {
        let address = self.address;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "Another process has port {}: give a free one (metrics in the section [service], --metrics), or stop \
                 that process (ss -ltnp names it)",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("No interface has the address {}: give one that is there, or 127.0.0.1", address.ip())
            }
            io::ErrorKind::PermissionDenied => {
                "Ports below 1024 need a right of their own: give a higher one".into()
            }
            _ => "Give another address (metrics in the section [service], --metrics), or none".into(),
        }
    }
}

/// A bound socket that does not answer yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    ///
    /// The problem with its remedy.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let socket = TcpListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self { socket })
    }

    /// The bound address, with the port that the kernel chose if 0 was given.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Starts answering clients, on its own thread.
    ///
    /// # Errors
    ///
    /// If the thread or its `epoll` cannot be created.
    pub fn start(self, sender: RequestSender) -> io::Result<Handle> {
        let listen = || tokio::net::TcpListener::from_std(self.socket);
        serve("xblade-metrics", listen, CONNECTIONS_MAX, router(sender))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_told_with_its_remedy() -> Result<(), Box<dyn std::error::Error>> {
        let first = Listener::bind("127.0.0.1:0".parse()?)?;
        let address = first.address()?;
        let error = Listener::bind(address).err().ok_or("bound twice")?.to_string();
        let (port, whole) = (format!("has port {}", address.port()), address.to_string());
        for part in [whole.as_str(), &port, "give a free one", "--metrics"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = Listener::bind("203.0.113.77:9464".parse()?).err().ok_or("bound")?.to_string();
        assert!(
            error.contains("203.0.113.77:9464") && error.contains("No interface has the address"),
            "{error}"
        );
        Ok(())
    }
}
