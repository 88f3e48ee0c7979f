//! Plain HTTP: GET for probes and metrics, POST for the JSON gateway.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer's status and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 is well.
    pub status: u16,
    /// What it says.
    pub body: String,
}

/// Asks for `path`. An answer that does not come within the given time, or is none of HTTP, is an error.
pub async fn get(address: SocketAddr, path: &str, within: Duration) -> io::Result<Answer> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}"), "", within).await
}

/// Sends `body` to `path`; otherwise as [`get`].
pub async fn post(
    address: SocketAddr,
    path: &str,
    body: &str,
    within: Duration,
) -> io::Result<Answer> {
    let bytes = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {bytes}");
    ask(address, &head, body, within).await
}

async fn ask(address: SocketAddr, head: &str, body: &str, within: Duration) -> io::Result<Answer> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("{head}\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(within, ask)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer"))??;
    read(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its answer is not HTTP"))
}

fn read(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body_and_anything_else_is_none() {
        let body = || "no leader\n".to_owned();
        let answer = read("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nno leader\n");
        assert_eq!(answer, Some(Answer { status: 503, body: body() }));
        for nonsense in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
            assert_eq!(read(nonsense), None, "{nonsense:?}");
        }
    }
}
