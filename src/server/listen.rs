//! The sockets that the server listens on: its own, or those that systemd hands over.

use crate::start_error::StartError;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// Connections that may wait to be accepted; the kernel's `somaxconn` may allow fewer.
const BACKLOG: i32 = 4096;

/// The sockets of a server.
pub struct Listeners {
    pub main: TcpListener,
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds `listen` and `admin`, or takes over the sockets that systemd has opened in their place, in that order
    /// (`sd_listen_fds(3)`).
    ///
    /// Must be called before there are other threads: it removes what systemd has put into the environment.
    pub fn open(listen: SocketAddr, admin: Option<SocketAddr>) -> Result<Listeners, StartError> {
        let mut inherited = listenfd::ListenFd::from_env();
        let mut take = |index, name| match inherited.take_tcp_listener(index) {
            Ok(listener) => Ok(listener),
            Err(error) => {
                Err(StartError(format!("the socket that systemd hands over for {name} can't be used: {error}")))
            }
        };
        let main = take(0, "LISTEN")?;
        let inherited_admin = take(1, "ADMIN_LISTEN")?;
        Ok(Listeners {
            main: main.map_or_else(|| bind(listen, "LISTEN"), Ok)?,
            admin: match (inherited_admin, admin) {
                (Some(listener), _) => Some(listener),
                (None, Some(address)) => Some(bind(address, "ADMIN_LISTEN")?),
                (None, None) => None,
            },
        })
    }
}

fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, StartError> {
    try_bind(address).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another port",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
            io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
            _ => "",
        };
        StartError(format!("can't listen on {setting}={address}: {error}{advice}"))
    })
}

fn try_bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Else a restart would have to wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    #[test]
    fn a_busy_port_is_named_with_what_to_do() {
        let first = bind((Ipv4Addr::LOCALHOST, 0).into(), "LISTEN").unwrap();
        let address = first.local_addr().unwrap();
        let StartError(sentence) = bind(address, "LISTEN").unwrap_err();
        assert!(sentence.contains(&address.to_string()) && sentence.contains("choose another port"), "{sentence}");
    }

    #[test]
    fn an_address_of_all_interfaces_takes_both_protocols() {
        // A machine without IPv6 has nothing to show here.
        let Ok(listener) = try_bind((Ipv6Addr::UNSPECIFIED, 0).into()) else { return };
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    }
}
