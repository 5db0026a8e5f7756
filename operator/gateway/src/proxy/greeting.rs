//! What a connection to the proxy port begins with if it is an agent's: see [`TOKEN_MARK`].

use std::io;

use tokio::{io::AsyncReadExt as _, net::TcpStream};
use ws_api::gateway::TOKEN_MARK;
use ws_ssh::token::{self, Token};

/// Takes what shows that an agent is talking off the connection's beginning, if that is how it begins.
pub async fn token(stream: &mut TcpStream) -> io::Result<Option<Token>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if first != [TOKEN_MARK] {
        return Ok(None);
    }
    let mut greeting = [0; 1 + token::LENGTH];
    stream.read_exact(&mut greeting).await?;
    let [_, bytes @ ..] = greeting;
    Ok(Some(Token::from_bytes(bytes)))
}
