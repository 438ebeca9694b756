use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// How many connections are made from one address: fewer than a system has
/// ports for them (ip_local_port_range, usually 28,232).
const PER_ADDRESS: usize = 20_000;

/// A connection that does not block, and that may be on its way still.
pub(crate) struct Connecting {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) is_connected: bool,
}

/// Begins the connection of that number. Those beyond [`PER_ADDRESS`] come from
/// another loopback address, so that the ports suffice.
pub(crate) fn connect(to: SocketAddr, number: usize) -> io::Result<Connecting> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source(to.ip(), number) {
        // Else the ports of closed connections cannot be had again for a minute.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    let is_connected = match socket.connect(&to.into()) {
        Ok(()) => true,
        Err(error) if is_on_its_way(&error) => false,
        Err(error) => return Err(error),
    };
    Ok(Connecting {
        stream: socket.into(),
        is_connected,
    })
}

#[cfg(unix)]
fn is_on_its_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

#[cfg(not(unix))]
fn is_on_its_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Where it comes from, if the system is not to choose: only Linux answers to
/// all of 127.0.0.0/8 without being told.
fn source(to: IpAddr, number: usize) -> Option<Ipv4Addr> {
    let IpAddr::V4(to) = to else { return None };
    let block = u16::try_from(number / PER_ADDRESS).ok()?;
    if block == 0 || !to.is_loopback() || cfg!(not(target_os = "linux")) {
        return None;
    }
    let [high, low] = block.to_be_bytes();
    Some(Ipv4Addr::new(127, 1, high, low))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn many_connections_come_from_several_addresses() {
        let check = |to: &str, number: usize, expected: Option<[u8; 4]>| {
            let found = source(to.parse().unwrap(), number);
            assert_eq!(found, expected.map(Ipv4Addr::from), "{to} {number}");
        };
        check("127.0.0.1", 0, None);
        check("127.0.0.1", 19_999, None);
        check("127.0.0.1", 20_000, Some([127, 1, 0, 1]));
        check("127.0.0.1", 40_000, Some([127, 1, 0, 2]));
        check("127.0.0.1", 20_000 * 256, Some([127, 1, 1, 0]));
        check("192.0.2.1", 20_000, None);
        check("::1", 20_000, None);
    }

    #[test]
    fn a_connection_arrives_whatever_its_number() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        for number in [0, PER_ADDRESS] {
            let connecting = connect(to, number).unwrap();
            let (_, from) = listener.accept().unwrap();
            assert_eq!(from, connecting.stream.local_addr().unwrap());
            let chosen = source(to.ip(), number).map(IpAddr::V4);
            assert_eq!(from.ip(), chosen.unwrap_or(to.ip()));
        }
    }
}
