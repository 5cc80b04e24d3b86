//! TLS for tests: certificates made with `openssl`, and a tunnel, so that every client here can speak it.

use crate::{PATIENCE, eventually};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

/// A certificate for `localhost` and 127.0.0.1 that signs itself, and its key, in files.
#[derive(Clone)]
pub struct Certified {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certified {
    /// Makes both in `dir`, with names that begin with `name`.
    #[track_caller]
    pub fn make(dir: &Path, name: &str) -> Certified {
        Certified::valid_for(dir, name, 90)
    }

    /// The same, valid for `days` from now.
    #[track_caller]
    pub fn valid_for(dir: &Path, name: &str, days: i32) -> Certified {
        let (certificate, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        openssl(
            Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
                .args(["-subj", &format!("/CN={name}"), "-days", &days.to_string()])
                .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
                // Or it would be an authority, which is no server.
                .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
                .arg(&key)
                .arg("-out")
                .arg(&certificate),
        );
        Certified { certificate, key }
    }

    /// Puts this certificate and key into the place of others, as a renewal does.
    #[track_caller]
    pub fn replace(&self, other: &Certified) {
        std::fs::copy(&self.certificate, &other.certificate).expect("the certificate can be replaced");
        std::fs::copy(&self.key, &other.key).expect("the key can be replaced");
    }

    /// What a client needs to trust this certificate and no other.
    #[track_caller]
    pub fn trusted(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(&self.certificate).expect("a certificate");
        roots.add(certificate).expect("a root");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Else a client that comes back would not look at the certificate again.
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}

/// Runs `openssl` to its end, and fails the test if it fails.
#[track_caller]
pub fn openssl(command: &mut Command) {
    let output = command.output().expect("openssl can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An encrypted connection after its handshake.
pub type Encrypted = rustls::StreamOwned<ClientConnection, TcpStream>;

/// Shakes hands; `Err` is why that failed.
pub fn shake_hands(server: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Encrypted> {
    shake_hands_from(Ipv4Addr::LOCALHOST.into(), server, config)
}

/// The same from another address of this machine.
pub fn shake_hands_from(client: IpAddr, server: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Encrypted> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(server), socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((client, 0)).into())?;
    socket.connect(&server.into())?;
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    Ok(Encrypted::new(tls, socket))
}

/// Listens in the clear and encrypts what comes, to a server: whoever connects to `address` speaks TLS with it.
pub struct Tunnel {
    pub address: SocketAddr,
}

impl Tunnel {
    #[track_caller]
    pub fn to(server: SocketAddr, config: Arc<ClientConfig>) -> Tunnel {
        Tunnel::from(Ipv4Addr::LOCALHOST.into(), server, config)
    }

    /// The same, for a client that seems to have another address of this machine.
    #[track_caller]
    pub fn from(client: IpAddr, server: SocketAddr, config: Arc<ClientConfig>) -> Tunnel {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for plain in listener.incoming().map_while(Result::ok) {
                plain.set_nodelay(true).expect("no delay");
                // A handshake that fails closes the plain side, too.
                if let Ok(encrypted) = shake_hands_from(client, server, &config) {
                    carry(plain, encrypted);
                }
            }
        });
        Tunnel { address }
    }
}

/// Carries bytes in both directions, each on a thread that blocks; so who doesn't read is felt at the other end.
fn carry(plain: TcpStream, encrypted: Encrypted) {
    let (tls, socket) = encrypted.into_parts();
    socket.set_read_timeout(None).expect("no read time-out");
    let tls = Arc::new(Mutex::new(tls));
    let parts = |plain: &TcpStream, socket: &TcpStream| {
        (plain.try_clone().expect("a socket"), socket.try_clone().expect("a socket"), tls.clone())
    };
    let (mut from_plain, to_socket, sealing) = parts(&plain, &socket);
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        loop {
            let length = from_plain.read(&mut chunk).unwrap_or(0);
            let mut tls = sealing.lock().expect("no thread panics");
            match length {
                0 => tls.send_close_notify(),
                length => tls.writer().write_all(&chunk[..length]).expect("the buffer is empty"),
            }
            while tls.wants_write() {
                if tls.write_tls(&mut &to_socket).is_err() {
                    return;
                }
            }
            if length == 0 {
                let _ = to_socket.shutdown(Shutdown::Write);
                return;
            }
        }
    });
    let (mut to_plain, mut from_socket, opening) = parts(&plain, &socket);
    thread::spawn(move || {
        let mut sealed = [0; 4096];
        loop {
            let length = from_socket.read(&mut sealed).unwrap_or(0);
            let mut rest = &sealed[..length];
            let (mut opened, mut ended) = (Vec::new(), length == 0);
            while !rest.is_empty() {
                let mut tls = opening.lock().expect("no thread panics");
                tls.read_tls(&mut rest).expect("bytes in memory");
                match tls.process_new_packets() {
                    Ok(state) => ended |= state.peer_has_closed(),
                    Err(_) => ended = true,
                }
                // Ends with an error: nothing more at the moment.
                let _ = tls.reader().read_to_end(&mut opened);
            }
            if to_plain.write_all(&opened).is_err() || ended {
                let _ = to_plain.shutdown(Shutdown::Write);
                return;
            }
        }
    });
}

/// Waits until new connections to `server` are shown `certificate`.
#[track_caller]
pub fn shown_soon(server: SocketAddr, certified: &Certified) {
    let config = certified.trusted();
    eventually("the server shows the certificate", || shake_hands(server, &config).is_ok());
}
