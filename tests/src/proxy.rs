//! A TCP proxy that misbehaves on request: what networks do to connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

/// What happens to connections, those that are open included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Everything passes, this much later in each direction.
    Delay(Duration),
    /// Open connections are reset; new ones too, as soon as they are made.
    Reset,
    /// Open connections are reset; new ones are refused: nobody listens.
    Refuse,
    /// Open connections are closed; new ones are accepted, then closed.
    Close,
    /// Bytes are taken and go nowhere, in both directions; connections stay open.
    BlackHole,
    /// What clients send goes nowhere; what the server sends passes.
    Deaf,
    /// What the server sends goes nowhere; what clients send passes.
    Mute,
}

/// Listens on a port of its own and forwards to a server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy towards `upstream` (`127.0.0.1:5672`), passing everything.
    pub async fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        let accepting = tokio::spawn(accept(listener, upstream.to_owned(), modes));
        Self {
            address,
            mode: Arc::new(mode),
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what happens, from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Resets every open connection, and lets new ones pass.
    pub async fn cut(&self) {
        self.set(Mode::Reset);
        // Each connection watches the mode: it has seen this one once it is gone.
        let open = || async {
            let watching = self.mode.receiver_count();
            if watching == 1 { Ok(()) } else { Err(watching) }
        };
        crate::wait::eventually("connections to be cut", crate::wait::SOON, open).await;
        self.set(Mode::Pass);
    }
}

async fn accept(listener: TcpListener, upstream: String, mut modes: watch::Receiver<Mode>) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    loop {
        let mode = *modes.borrow_and_update();
        if mode == Mode::Refuse {
            drop(listener.take());
            if modes.changed().await.is_err() {
                return;
            }
            continue;
        }
        let listening = match listener.take() {
            Some(listening) => listening,
            None => TcpListener::bind(address).await.unwrap(),
        };
        tokio::select! {
            accepted = listening.accept() => {
                let (client, _) = accepted.unwrap();
                tokio::spawn(carry(client, upstream.clone(), modes.clone()));
            }
            changed = modes.changed() => if changed.is_err() { return },
        }
        listener = Some(listening);
    }
}

/// Carries one connection until a side or the mode ends it.
async fn carry(mut client: TcpStream, upstream: String, mut modes: watch::Receiver<Mode>) {
    let mode = *modes.borrow();
    let server = match mode {
        Mode::Close => return,
        Mode::Reset | Mode::Refuse => None,
        _ => TcpStream::connect(&upstream).await.ok(),
    };
    let Some(mut server) = server else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let (up, down) = (modes.clone(), modes.clone());
        tokio::select! {
            // Either side is gone: so is the other.
            () = pump(from_client, to_server, up, Mode::Deaf) => Mode::Close,
            () = pump(from_server, to_client, down, Mode::Mute) => Mode::Close,
            mode = ending(&mut modes) => mode,
        }
    };
    if ended != Mode::Close {
        // RST instead of FIN.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Waits for a mode that ends connections.
async fn ending(modes: &mut watch::Receiver<Mode>) -> Mode {
    let ends = |mode: &Mode| matches!(mode, Mode::Reset | Mode::Refuse | Mode::Close);
    modes.wait_for(ends).await.map_or(Mode::Close, |mode| *mode)
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    modes: watch::Receiver<Mode>,
    loss: Mode,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = match from.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let mode = *modes.borrow();
        if let Mode::Delay(wait) = mode {
            tokio::time::sleep(wait).await;
        }
        if mode == Mode::BlackHole || mode == loss {
            continue;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
