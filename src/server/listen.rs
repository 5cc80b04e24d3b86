//! The sockets that the server listens on: its own, or those that systemd hands over.

use crate::start_error::StartError;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    env,
    fmt::Display,
    io,
    net::{SocketAddr, TcpListener},
};

/// Connections that may wait to be accepted; the kernel's `somaxconn` may allow fewer.
const BACKLOG: i32 = 4096;

/// The name (`FileDescriptorName=` of a socket unit) of a socket for metrics and health.
const ADMIN: &str = "admin";

/// The sockets of a server.
pub struct Listeners {
    /// At least one.
    pub main: Vec<TcpListener>,
    pub admin: Option<TcpListener>,
    /// Whether systemd has opened those of `main` in the place of `LISTEN`.
    pub inherited: bool,
}

impl Listeners {
    /// Binds `listen` and `admin`, or takes over the sockets that systemd has opened in their place
    /// (`sd_listen_fds(3)`): the one that is named `admin`, and all others for the doors.
    ///
    /// Must be called before there are other threads: it removes what systemd has put into the environment.
    pub fn open(listen: SocketAddr, admin: Option<SocketAddr>) -> Result<Listeners, StartError> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut inherited = listenfd::ListenFd::from_env();
        let mut listeners = Listeners { main: Vec::new(), admin: None, inherited: false };
        for index in 0..inherited.len() {
            let unusable = |why: &dyn Display| {
                StartError(format!("socket {} of those that systemd hands over can't be used: {why}", index + 1))
            };
            let Some(listener) = inherited.take_tcp_listener(index).map_err(|error| unusable(&error))? else {
                continue;
            };
            if names.get(index) != Some(&ADMIN) {
                listeners.main.push(listener);
            } else if listeners.admin.replace(listener).is_some() {
                return Err(unusable(&"there is another that is named admin"));
            }
        }
        listeners.inherited = !listeners.main.is_empty();
        if !listeners.inherited {
            listeners.main.push(bind(listen, "LISTEN")?);
        }
        if let (None, Some(address)) = (&listeners.admin, admin) {
            listeners.admin = Some(bind(address, "ADMIN_LISTEN")?);
        }
        Ok(listeners)
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
