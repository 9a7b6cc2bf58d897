//! The helpers themselves: a proxy that does not cut, or a server that does not die, would make
//! every test that relies on it worthless.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{io, time::Duration};

use haul_tests::{
    proxy::{Mode, Proxy},
    servers::Server,
    wait::{SOON, eventually, soon},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::spawn_blocking,
    time::timeout,
};

/// A server that sends back what it gets.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn say(stream: &mut TcpStream) -> io::Result<u8> {
    stream.write_all(b"x").await?;
    soon("the echo", stream.read_u8()).await
}

async fn connected() -> (Proxy, TcpStream) {
    let proxy = Proxy::to(&echo().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut stream).await.unwrap(), b'x');
    (proxy, stream)
}

#[tokio::test]
async fn a_proxy_resets_open_connections_and_lets_new_ones_pass_after_a_cut() {
    let (proxy, mut stream) = connected().await;
    proxy.cut().await;
    let error = say(&mut stream).await.unwrap_err().kind();
    assert!(
        matches!(
            error,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ),
        "{error}"
    );
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut stream).await.unwrap(), b'x');
}

#[tokio::test]
async fn a_proxy_refuses_and_comes_back_on_its_port() {
    let (proxy, mut stream) = connected().await;
    proxy.set(Mode::Refuse);
    assert!(say(&mut stream).await.is_err());
    let refused = eventually("a refusal", SOON, || async {
        TcpStream::connect(proxy.address())
            .await
            .map_or_else(Ok, Err)
    })
    .await;
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    proxy.set(Mode::Pass);
    let mut stream = eventually("a connection", SOON, || TcpStream::connect(proxy.address())).await;
    assert_eq!(say(&mut stream).await.unwrap(), b'x');
}

#[tokio::test]
async fn a_proxy_accepts_and_closes() {
    let (proxy, _stream) = connected().await;
    proxy.set(Mode::Close);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(soon("the end", stream.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_black_hole_takes_bytes_and_gives_nothing() {
    for mode in [Mode::BlackHole, Mode::Deaf, Mode::Mute] {
        let (proxy, mut stream) = connected().await;
        proxy.set(mode);
        stream.write_all(b"y").await.unwrap();
        let silence = timeout(Duration::from_millis(300), stream.read_u8()).await;
        assert!(silence.is_err(), "{mode:?}: {silence:?}");
        proxy.set(Mode::Pass);
        assert_eq!(say(&mut stream).await.unwrap(), b'x', "{mode:?}");
    }
}

#[tokio::test]
async fn a_delay_delays_both_ways() {
    let (proxy, mut stream) = connected().await;
    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let from = std::time::Instant::now();
    say(&mut stream).await.unwrap();
    assert!(from.elapsed() >= Duration::from_millis(200));
}

async fn ping(server: &Server) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server.address()).await?;
    stream.write_all(b"GET key\r\n").await?;
    let mut answer = vec![0; 64];
    let read = timeout(Duration::from_millis(500), stream.read(&mut answer)).await??;
    answer.truncate(read);
    Ok(answer)
}

#[tokio::test]
async fn a_private_redis_keeps_port_and_data_across_a_stop_and_dies_when_killed() {
    let mut server = spawn_blocking(|| Server::redis(&["maxmemory=50mb"]))
        .await
        .unwrap();
    let address = server.address();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"SET key value\r\n").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    server.stop();
    assert!(ping(&server).await.is_err());
    server.start();
    assert_eq!(server.address(), address);
    assert_eq!(ping(&server).await.unwrap(), b"$5\r\nvalue\r\n");
    server.pause();
    assert!(ping(&server).await.is_err(), "frozen");
    server.resume();
    assert!(ping(&server).await.is_ok());
    server.kill();
    assert!(ping(&server).await.is_err());
}

#[tokio::test]
async fn a_private_rabbitmq_starts_again_after_a_kill() {
    let connect = |server: &Server| {
        let url = server.url();
        async move { lapin::Connection::connect(&url, Default::default()).await }
    };
    let mut server = spawn_blocking(|| Server::rabbitmq(&["consumer_timeout=5000"]))
        .await
        .unwrap();
    let connection = connect(&server).await.unwrap();
    server.kill();
    eventually("the connection to break", SOON, || async {
        if connection.status().connected() {
            Err("connected")
        } else {
            Ok(())
        }
    })
    .await;
    assert!(connect(&server).await.is_err());
    let server = spawn_blocking(move || {
        server.start();
        server
    });
    assert!(connect(&server.await.unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_virtual_host_is_made_and_deleted() {
    let host = spawn_blocking(haul_tests::backends::virtual_host)
        .await
        .unwrap();
    let url = host.url();
    let connection = lapin::Connection::connect(&url, Default::default())
        .await
        .unwrap();
    connection.close(200, "done".into()).await.unwrap();
    spawn_blocking(move || drop(host)).await.unwrap();
    assert!(
        lapin::Connection::connect(&url, Default::default())
            .await
            .is_err()
    );
}
