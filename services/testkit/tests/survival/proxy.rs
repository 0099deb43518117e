//! The proxy itself, against a socket that answers in capitals.

use std::time::Duration;

use bugstream_testkit::proxy::{Mode, Proxy};
use bugstream_testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(30);

/// A proxy before a server that echoes.
async fn before_an_echo() -> (Proxy, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut echoes = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            echoes.spawn(async move {
                let (mut from, mut to) = stream.into_split();
                _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    (Proxy::start(target).await.unwrap(), tasks)
}

async fn exchange(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn it_passes_cuts_and_refuses() {
    let (proxy, _echo) = before_an_echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut stream, b"one").await.unwrap(), b"one");
    assert_eq!((proxy.open(), proxy.accepted(), proxy.passed()), (1, 1, 6));
    proxy.cut();
    assert!(exchange(&mut stream, b"two").await.is_err());
    wait::until_true("the connection is gone", SOON, async || proxy.open() == 0).await;
    proxy.set(Mode::Refuse);
    // The reset may be there before the connection is looked at, or after.
    let refused = async { exchange(&mut TcpStream::connect(proxy.address()).await?, b"three").await };
    assert!(refused.await.is_err());
    proxy.set(Mode::Pass);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut stream, b"four").await.unwrap(), b"four");
}

#[tokio::test]
async fn a_half_of_a_stream_arrives_and_then_an_error() {
    let (proxy, _echo) = before_an_echo().await;
    proxy.set(Mode::Halve(5));
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut stream, b"12345").await.unwrap(), b"12345");
    let more = exchange(&mut stream, b"6").await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn a_stream_goes_on_with_each_ration() {
    let (proxy, _echo) = before_an_echo().await;
    proxy.set(Mode::Ration(3));
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"12345").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer[..3]).await.unwrap();
    let more = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut answer[3..])).await;
    assert!(more.is_err(), "the rest waits: {more:?}");
    proxy.set(Mode::Ration(2));
    stream.read_exact(&mut answer[3..]).await.unwrap();
    assert_eq!(&answer, b"12345");
}

#[tokio::test]
async fn a_stream_waits_at_a_text_and_others_go_on() {
    let (proxy, _echo) = before_an_echo().await;
    let mut one = TcpStream::connect(proxy.address()).await.unwrap();
    let mut other = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(Mode::HoldAt("stop"));
    assert_eq!(exchange(&mut one, b"go").await.unwrap(), b"go");
    one.write_all(b"and stop here").await.unwrap();
    wait::until_true("it is held", SOON, async || proxy.held() == 1).await;
    assert_eq!(exchange(&mut other, b"go").await.unwrap(), b"go");
    proxy.set(Mode::Ration(4));
    let mut answer = [0; 4];
    one.read_exact(&mut answer).await.unwrap();
    assert_eq!(
        (&answer, proxy.held()),
        (b"and ", 0),
        "the piece went on, and its answer by the new mode"
    );
}

#[tokio::test]
async fn a_cut_takes_what_is_held_with_it() {
    let (proxy, _echo) = before_an_echo().await;
    proxy.set(Mode::HoldAt("stop"));
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"stop here").await.unwrap();
    wait::until_true("it is held", SOON, async || proxy.held() == 1).await;
    proxy.cut();
    proxy.set(Mode::Pass);
    assert!(stream.read_exact(&mut [0; 9]).await.is_err());
    assert_eq!(proxy.passed(), 0);
}

#[tokio::test]
async fn what_a_black_hole_held_back_arrives_later_and_a_delay_is_one() {
    let (proxy, _echo) = before_an_echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(Mode::Blackhole);
    let held = tokio::time::timeout(Duration::from_millis(200), exchange(&mut stream, b"held")).await;
    assert!(held.is_err(), "nothing comes and nothing breaks: {held:?}");
    proxy.set(Mode::Pass);
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"held");
    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let begin = tokio::time::Instant::now();
    assert_eq!(exchange(&mut stream, b"late").await.unwrap(), b"late");
    assert!(begin.elapsed() >= Duration::from_millis(200), "there and back");
}
