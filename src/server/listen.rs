//! The sockets that the server listens on: its own, or those that systemd hands over.

use crate::{config::value::Listen, start_error::StartError};
use rustix::event::PollFd;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    env,
    fmt::{self, Display},
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

/// The peer address of all connections through a Unix socket; no other connection has it. They come from a proxy.
pub const UNIX_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// How many connections may wait to be accepted; the kernel's `somaxconn` may allow fewer.
const BACKLOG: i32 = 4096;

/// The name (`FileDescriptorName=` of a socket unit) of the socket for metrics and health.
const ADMIN: &str = "admin";

/// The sockets of a server.
pub struct Listeners {
    /// At least one.
    pub main: Vec<Listener>,
    pub admin: Option<Listener>,
    /// Whether systemd opened the sockets of `main`, instead of `LISTEN`.
    pub inherited: bool,
}

impl Listeners {
    /// Binds `listen` and `admin`, or takes the sockets that systemd opened instead (sd_listen_fds(3)): the one that is
    /// named `admin`, and all others for the doors.
    ///
    /// Call it before the process has other threads: it removes systemd's variables from the environment.
    pub fn open(listen: &[Listen], mode: u32, admin: Option<SocketAddr>) -> Result<Listeners, StartError> {
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
                listeners.main.push(listener.into());
            } else if listeners.admin.replace(listener.into()).is_some() {
                return Err(unusable(&"there is another that is named admin"));
            }
        }
        listeners.inherited = !listeners.main.is_empty();
        if !listeners.inherited {
            for one in listen {
                listeners.main.push(match one {
                    Listen::Tcp(address) => bind(*address, "LISTEN")?.into(),
                    Listen::Unix(path) => Listener::Unix(UnixSocket::bind(path, mode)?),
                });
            }
        }
        if let (None, Some(address)) = (&listeners.admin, admin) {
            listeners.admin = Some(bind(address, "ADMIN_LISTEN")?.into());
        }
        Ok(listeners)
    }
}

/// A listening socket.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

impl Listener {
    /// The next connection and its peer address. A connection through a Unix socket is served like any other stream; it
    /// has no delay to turn off.
    pub fn accept(&self) -> io::Result<(TcpStream, IpAddr)> {
        match self {
            Listener::Tcp(listener) => listener.accept().map(|(stream, peer)| (stream, peer.ip())),
            Listener::Unix(socket) => {
                let (stream, _) = socket.listener.accept()?;
                Ok((TcpStream::from(OwnedFd::from(stream)), UNIX_PEER))
            }
        }
    }

    pub fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.set_nonblocking(true),
            Listener::Unix(socket) => socket.listener.set_nonblocking(true),
        }
    }

    pub fn is_unix(&self) -> bool {
        matches!(self, Listener::Unix(_))
    }

    pub fn poll(&self, flags: rustix::event::PollFlags) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.fd(), flags)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(socket) => socket.listener.as_fd(),
        }
    }

    /// Its address, as the server reports it at the start.
    pub fn address(&self, encrypted: bool) -> io::Result<Address> {
        Ok(match self {
            Listener::Tcp(listener) => Address::Tcp(listener.local_addr()?, encrypted),
            Listener::Unix(socket) => Address::Unix(socket.path.clone()),
        })
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Listener {
        Listener::Tcp(listener)
    }
}

/// The address of a listener.
pub enum Address {
    /// With `true` if it speaks TLS.
    Tcp(SocketAddr, bool),
    Unix(PathBuf),
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address, false) => write!(f, "http://{address}"),
            Address::Tcp(address, true) => write!(f, "https://{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A Unix socket. Dropping it removes its file.
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The device and the inode of the file, so that the file of another server in the same place is not removed.
    file: (u64, u64),
}

impl UnixSocket {
    /// Binds a socket. Replaces one on which nobody listens any more: a killed server leaves it behind.
    fn bind(path: &Path, mode: u32) -> Result<UnixSocket, StartError> {
        UnixSocket::try_bind(path, mode).map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another path",
                io::ErrorKind::AlreadyExists => "; what stands there is no socket: remove it, or choose another path",
                io::ErrorKind::NotFound => "; there is no such directory",
                io::ErrorKind::PermissionDenied => "; this user may not write in that directory",
                _ => "",
            };
            StartError(format!("can't listen on LISTEN=unix:{}: {error}{advice}", path.display()))
        })
    }

    fn try_bind(path: &Path, mode: u32) -> io::Result<UnixSocket> {
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
            Ok(_) => match UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                Err(error) => return Err(error),
                Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            },
            Err(_) => {}
        }
        // As `UnixListener::bind`, but with our own backlog.
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)?;
        let meta = fs::symlink_metadata(path)?;
        Ok(UnixSocket { listener: socket.into(), path: path.to_owned(), file: (meta.dev(), meta.ino()) })
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
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
    // Otherwise a restart would have to wait for the TIME_WAIT of the last connections.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` accepts IPv4 too, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn a_unix_socket_takes_the_place_of_one_that_nobody_listens_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chat.sock");
        // Left behind, as by a killed server.
        drop(UnixListener::bind(&path).unwrap());
        let socket = UnixSocket::bind(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let StartError(taken) = UnixSocket::bind(&path, 0o600).err().unwrap();
        assert!(taken.contains("another program listens there"), "{taken}");
        drop(socket);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        let StartError(no_socket) = UnixSocket::bind(&path, 0o600).err().unwrap();
        assert!(no_socket.contains("is no socket") && path.exists(), "{no_socket}");
    }

    #[test]
    fn the_socket_of_another_server_is_not_taken_along() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chat.sock");
        let old = UnixSocket::bind(&path, 0o600).unwrap();
        // Renamed, not removed: the inode must not be used again.
        fs::rename(&path, directory.path().join("old.sock")).unwrap();
        let new = UnixSocket::bind(&path, 0o600).unwrap();
        drop(old);
        assert!(path.exists());
        drop(new);
        assert!(!path.exists());
    }

    #[test]
    fn a_busy_port_is_named_with_what_to_do() {
        let first = bind((Ipv4Addr::LOCALHOST, 0).into(), "LISTEN").unwrap();
        let address = first.local_addr().unwrap();
        let StartError(sentence) = bind(address, "LISTEN").unwrap_err();
        assert!(sentence.contains(&address.to_string()) && sentence.contains("choose another port"), "{sentence}");
    }

    #[test]
    fn an_address_of_all_interfaces_takes_both_protocols() {
        // A machine without IPv6 can't run this test.
        let Ok(listener) = try_bind((Ipv6Addr::UNSPECIFIED, 0).into()) else { return };
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    }
}
