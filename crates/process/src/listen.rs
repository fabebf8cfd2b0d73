//! Ports: IPv6 and IPv4 on one socket where the host has both, and IPv4 alone where there is no IPv6.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;
/// `EAFNOSUPPORT` of Linux: what `socket()` says under `ipv6.disable=1`. The standard library has no kind for it.
const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;

/// Binds one port. `::` takes IPv4 too, and where there is no IPv6 the same port of IPv4 is taken instead.
///
/// # Errors
/// The system's, when the port is taken, not allowed, or the host has no address.
pub fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = (host, port).to_socket_addrs()?.next();
    let address = address.ok_or_else(|| io::Error::other("the host has no address"))?;
    let socket = open(address).or_else(|error| match instead(address, &error) {
        Some(v4) => open(v4),
        None => Err(error),
    })?;
    TcpListener::from_std(socket.into())
}

/// What to bind when an address can't be: every IPv4 address in place of every address, if there is no IPv6.
fn instead(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let is_without_v6 = error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
        || matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported);
    let is_every_address = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    (is_without_v6 && is_every_address).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;

    use super::{instead, listen};

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_every_address_becomes_every_ipv4_address_and_only_without_ipv6() {
        let (afnosupport, in_use) = (io::Error::from_raw_os_error(97), io::Error::from_raw_os_error(98));
        assert_eq!(instead(address("[::]:9092"), &afnosupport), Some(address("0.0.0.0:9092")));
        let not_available = io::Error::from_raw_os_error(99);
        assert_eq!(instead(address("[::]:9092"), &not_available), Some(address("0.0.0.0:9092")));
        assert_eq!(instead(address("[::]:9092"), &in_use), None);
        assert_eq!(instead(address("[::1]:9092"), &afnosupport), None);
        assert_eq!(instead(address("0.0.0.0:9092"), &afnosupport), None);
    }

    #[tokio::test]
    async fn every_address_is_reached_over_ipv4() {
        let socket = listen("::", 0).unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    }
}
