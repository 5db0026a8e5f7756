//! Carries a connection between standard input and output and the agent, where a pod's ports cannot be forwarded.

use std::{io, net::Ipv4Addr};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, stdin, stdout},
    net::TcpStream,
};

/// Bytes that are carried at once.
const CHUNK: usize = 64 << 10;

/// Carries until the agent has closed the connection, or both sides have ended theirs.
pub async fn run() -> io::Result<()> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, ws_api::ssh::PORT)).await?;
    stream.set_nodelay(true)?;
    carry(stream, stdin(), stdout()).await
}

async fn carry(
    mut stream: TcpStream,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (source, sink) = stream.split();
    let back = copy(source, output);
    tokio::pin!(back);
    tokio::select! {
        // The agent's end ends the connection: a reader of standard input cannot be stopped and is not waited for.
        done = &mut back => done,
        done = copy(input, sink) => {
            done?;
            back.await
        }
    }
}

async fn copy(mut source: impl AsyncRead + Unpin, mut sink: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = source.read(&mut buffer).await?;
        let Some(data) = buffer.get(..length).filter(|data| !data.is_empty()) else { break };
        sink.write_all(data).await?;
        sink.flush().await?;
    }
    sink.shutdown().await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_end_of_the_input_is_passed_on_and_the_answer_still_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut agent, _) = listener.accept().await.unwrap();
        let answering = tokio::spawn(async move {
            let mut question = String::new();
            agent.read_to_string(&mut question).await.unwrap();
            agent.write_all(format!("you said {question}").as_bytes()).await.unwrap();
        });
        let mut answer = Vec::new();
        carry(stream, b"hello".as_slice(), &mut answer).await.unwrap();
        answering.await.unwrap();
        assert_eq!(answer, b"you said hello");
    }

    #[tokio::test]
    async fn it_ends_with_the_agent_even_if_the_input_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        drop(listener.accept().await.unwrap());
        let (input, _open) = tokio::io::duplex(1);
        carry(stream, input, Vec::new()).await.unwrap();
    }
}
