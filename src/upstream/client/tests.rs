use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{JoinHandle, spawn};

use futures_util::future::FutureExt;
use http::Method;
use http_body_util::{BodyExt, Either, Empty};
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::Duration;

use super::*;

/// How a server treats one connection.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// It answers once and closes.
    AnswersOnce,
    /// It answers once, and closes when it has read the next request.
    DropsTheSecond,
    /// It answers once, and the next request with the rest of that answer before the own one.
    Mixes,
    /// It closes when it has read a request.
    Drops,
    /// It answers in no HTTP.
    Babbles,
}

/// A server of one connection after the other. It returns how many requests it has read.
struct Server {
    uri: String,
    closed: mpsc::Receiver<()>,
    served: JoinHandle<usize>,
}

impl Server {
    fn start(manners: Vec<Manner>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let (sender, closed) = mpsc::channel();
        let served = spawn(move || {
            let serve = |manner| {
                let read = serve(&mut listener.accept().unwrap().0, manner);
                sender.send(()).unwrap();
                read
            };
            manners.into_iter().map(serve).sum()
        });
        Self {
            uri,
            closed,
            served,
        }
    }
}

fn serve(socket: &mut TcpStream, manner: Manner) -> usize {
    let read = |socket: &mut TcpStream| usize::from(socket.read(&mut [0; 4096]).unwrap() > 0);
    let mut requests = read(socket);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let rest = b"rest\r\n\r\n";
    match manner {
        Manner::Drops => {}
        Manner::Babbles => socket.write_all(rest).unwrap(),
        Manner::AnswersOnce | Manner::DropsTheSecond | Manner::Mixes => {
            socket.write_all(answer).unwrap();
        }
    }
    if matches!(manner, Manner::DropsTheSecond | Manner::Mixes) {
        requests += read(socket);
    }
    if manner == Manner::Mixes {
        socket.write_all(&[&rest[..], answer].concat()).unwrap();
    }
    requests
}

fn client(server: &Server) -> Client {
    client_of(&server.uri)
}

fn client_of(uri: &str) -> Client {
    let connector = Connector::new(Duration::from_secs(5), RootCertStore::empty());
    Client::new(connector.unwrap(), uri.parse().unwrap())
}

async fn send(client: &Client, method: &Method, uri: &str) -> Result<(), ClientError> {
    let request = || {
        let request = Request::builder().method(method).uri(uri);
        request.body(Either::Left(Empty::new())).unwrap()
    };
    let answer = client.send(request, || method.is_safe()).await?;
    answer.into_body().collect().await.unwrap();
    Ok(())
}

/// Nothing else runs on this thread while it waits for the server, so the client may not have
/// seen the end of the connection when it sends.
#[tokio::test(flavor = "current_thread")]
async fn a_safe_request_just_after_the_end_of_a_kept_connection_goes_over_a_new_one() {
    let server = Server::start(vec![Manner::AnswersOnce; 2]);
    let client = client(&server);
    for _ in 0..2 {
        send(&client, &Method::GET, &server.uri).await.unwrap();
        server.closed.recv().unwrap();
    }
    assert_eq!(server.served.join().unwrap(), 2);
}

#[tokio::test]
async fn a_safe_request_that_meets_the_end_of_a_kept_connection_is_sent_again() {
    let server = Server::start(vec![Manner::DropsTheSecond, Manner::AnswersOnce]);
    let client = client(&server);
    for _ in 0..2 {
        send(&client, &Method::GET, &server.uri).await.unwrap();
    }
    assert_eq!(server.served.join().unwrap(), 3);
}

#[tokio::test]
async fn a_safe_request_that_meets_the_rest_of_an_earlier_answer_is_sent_again() {
    let server = Server::start(vec![Manner::Mixes, Manner::AnswersOnce]);
    let client = client(&server);
    for _ in 0..2 {
        send(&client, &Method::GET, &server.uri).await.unwrap();
    }
    assert_eq!(server.served.join().unwrap(), 3);
}

#[tokio::test]
async fn an_unsafe_request_that_was_sent_is_not_sent_again() {
    for manner in [Manner::DropsTheSecond, Manner::Mixes] {
        let server = Server::start(vec![manner]);
        let client = client(&server);
        send(&client, &Method::GET, &server.uri).await.unwrap();
        let error = send(&client, &Method::POST, &server.uri).await.unwrap_err();
        assert!(!error.is_unsent(), "{error:?}");
        assert_eq!(server.served.join().unwrap(), 2);
    }
}

/// The server's queue of new connections is full, as that of a server with few places is after a burst.
#[tokio::test]
async fn a_request_that_cannot_connect_goes_over_the_first_connection_that_becomes_free() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let uri = format!("http://{address}/");
    let client = client_of(&uri);

    let mut first = Box::pin(send(&client, &Method::GET, &uri));
    let mut node = tokio::select! {
        _ = &mut first => unreachable!("it is not answered"),
        accepted = listener.accept() => accepted.unwrap().0,
    };
    let filler = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut second = Box::pin(send(&client, &Method::POST, &uri));
    assert!((&mut second).now_or_never().is_none());
    let answers = async {
        for _ in 0..2 {
            assert!(node.read(&mut [0; 4096]).await.unwrap() > 0);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            node.write_all(answer).await.unwrap();
        }
    };
    let (first, second, ()) = tokio::join!(first, second, answers);
    first.and(second).unwrap();

    // The other connection serves a later request, once there is room for it.
    drop(filler);
    listener.accept().await.unwrap();
    let _other = listener.accept().await.unwrap();
    assert!(client.links.take().is_ok());
    if let Err(mut freed) = client.links.take() {
        assert!(freed.link().await.is_some());
    }
}

#[tokio::test]
async fn a_new_connection_without_an_answer_is_a_failure() {
    for manner in [Manner::Drops, Manner::Babbles] {
        let server = Server::start(vec![manner]);
        let error = send(&client(&server), &Method::GET, &server.uri)
            .await
            .unwrap_err();
        assert!(!error.is_unsent(), "{error:?}");
        assert_eq!(server.served.join().unwrap(), 1);
    }
}
