//! A short exchange of our own with a server nobody else uses: send simple queries, read to ReadyForQuery.

use crate::server::Server;
use bytes::{Buf, BufMut, BytesMut};
use pgherd_net::transport::Transport;
use pgherd_wire::backend::{Fields, Status, columns, parameter_status, tag};
use pgherd_wire::frame::{HEADER_LEN, header};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// Why the exchange failed; the server must not be used again unless it was [`Failed::Refused`].
#[derive(Debug)]
pub enum Failed {
    /// No answer in time.
    Timeout,
    /// The connection broke.
    Io(io::Error),
    /// The answer makes no sense.
    Protocol,
    /// The server answered with an error (its ErrorResponse body) and is ready for more.
    Refused(Box<[u8]>),
}

/// Names and values of settings, as a server reports them.
pub type Parameters = Vec<(Box<[u8]>, Box<[u8]>)>;

/// What the server told while it answered.
#[derive(Debug, Default)]
pub struct Answer {
    /// Settings it reported.
    pub parameters: Parameters,
    /// Rows, when they were asked for: columns as text.
    pub rows: Vec<Row>,
}

/// Columns of one row, as text.
pub type Row = Vec<Option<Box<str>>>;

/// Sends `sql` as one simple query and reads until the server is ready and idle.
///
/// # Errors
/// [`Failed`].
pub async fn simple(transport: &mut Transport, sql: &[u8], within: Duration) -> Result<Answer, Failed> {
    let mut out = BytesMut::new();
    pgherd_wire::write::query(&mut out, sql);
    exchange(transport, &out, within, 0).await
}

/// The same, and keeps the rows of the answer: at most so many bytes of them.
///
/// # Errors
/// [`Failed`]; [`Failed::Protocol`] also when there are more.
pub async fn rows(
    transport: &mut Transport,
    sql: &[u8],
    within: Duration,
    most: usize,
) -> Result<Vec<Row>, Failed> {
    let mut out = BytesMut::new();
    pgherd_wire::write::query(&mut out, sql);
    Ok(exchange(transport, &out, within, most).await?.rows)
}

/// Reads the answer to a query that was sent already.
///
/// # Errors
/// [`Failed`].
pub(crate) async fn answer(transport: &mut Transport, within: Duration) -> Result<Answer, Failed> {
    tokio::time::timeout(within, read_answer(transport, 0)).await.unwrap_or(Err(Failed::Timeout))
}

/// Runs `sql`, one statement with one parameter of any type, by the extended protocol, and keeps its rows: at most so many bytes of
/// them. The parameter is text and never part of the statement.
///
/// # Errors
/// [`Failed`]; [`Failed::Protocol`] also when there are more, or when either text holds a zero byte.
pub async fn bound(
    transport: &mut Transport,
    sql: &[u8],
    parameter: &[u8],
    within: Duration,
    most: usize,
) -> Result<Vec<Row>, Failed> {
    use pgherd_wire::write;
    if sql.contains(&0) || parameter.contains(&0) {
        return Err(Failed::Protocol);
    }
    let mut out = BytesMut::new();
    // No parameter type is given: the server finds it.
    write::parse(&mut out, b"", &[sql, b"\0\0\0"].concat());
    write::frame(&mut out, b'B', |out| {
        // Portal and statement without a name; one parameter, all in text, and so are the results.
        out.put_slice(b"\0\0\0\0\0\x01");
        out.put_u32(u32::try_from(parameter.len()).unwrap_or(u32::MAX));
        out.put_slice(parameter);
        out.put_slice(b"\0\0");
    });
    write::frame(&mut out, b'E', |out| out.put_slice(b"\0\0\0\0\0"));
    write::sync(&mut out);
    Ok(exchange(transport, &out, within, most).await?.rows)
}

async fn exchange(
    transport: &mut Transport,
    request: &[u8],
    within: Duration,
    most: usize,
) -> Result<Answer, Failed> {
    let run = async {
        transport.write_all(request).await.map_err(Failed::Io)?;
        transport.flush().await.map_err(Failed::Io)?;
        read_answer(transport, most).await
    };
    tokio::time::timeout(within, run).await.unwrap_or(Err(Failed::Timeout))
}

async fn read_answer(transport: &mut Transport, mut most: usize) -> Result<Answer, Failed> {
    let (mut buffer, mut answer, mut refused) = (BytesMut::with_capacity(1024), Answer::default(), None);
    loop {
        while let Some(frame) = header(&buffer).map_err(|_| Failed::Protocol)? {
            if frame.total > MAX_ANSWER {
                return Err(Failed::Protocol);
            }
            if buffer.len() < frame.total {
                break;
            }
            let body = &buffer[HEADER_LEN..frame.total];
            match frame.tag {
                tag::ERROR if Fields::view(body).is_fatal() => {
                    return Err(Failed::Io(io::ErrorKind::ConnectionReset.into()));
                }
                tag::ERROR => refused = Some(body.into()),
                tag::PARAMETER_STATUS => {
                    let (name, value) = parameter_status(body).ok_or(Failed::Protocol)?;
                    answer.parameters.push((name.into(), value.into()));
                }
                tag::DATA_ROW if most > 0 => {
                    most = most.checked_sub(frame.total).ok_or(Failed::Protocol)?;
                    let columns = columns(body).ok_or(Failed::Protocol)?;
                    let text = |column: &[u8]| String::from_utf8_lossy(column).into();
                    answer.rows.push(columns.into_iter().map(|column| column.map(text)).collect());
                }
                tag::READY => {
                    let idle = Status::view(body) == Some(Status::Idle) && buffer.len() == frame.total;
                    return match refused {
                        _ if !idle => Err(Failed::Protocol),
                        Some(error) => Err(Failed::Refused(error)),
                        None => Ok(answer),
                    };
                }
                _ => {}
            }
            buffer.advance(frame.total);
        }
        if transport.read_buf(&mut buffer).await.map_err(Failed::Io)? == 0 {
            return Err(Failed::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Time a server has to show that it lives.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks a server that was idle for long whether it lives: a Sync, which changes nothing, where even an empty query would destroy the unnamed statement.
pub async fn check<B>(server: &mut Server<B>) -> bool {
    let mut out = BytesMut::new();
    pgherd_wire::write::sync(&mut out);
    exchange(&mut server.transport, &out, CHECK_TIMEOUT, 0).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a server answers to a question with a parameter, as bytes.
    fn told(answer: &[u8]) -> (Result<Vec<Row>, Failed>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            far.write_all(answer).await.expect("room");
            far.shutdown().await.expect("open");
            let mut transport = Transport::pipe(near);
            let rows = bound(&mut transport, b"SELECT $1", b"x'y", Duration::from_secs(5), 100).await;
            drop(transport);
            let mut asked = Vec::new();
            far.read_to_end(&mut asked).await.expect("open");
            (rows, asked)
        })
    }

    #[test]
    fn a_parameter_goes_beside_the_statement() {
        let (rows, asked) =
            told(b"1\0\0\0\x042\0\0\0\x04D\0\0\0\x0b\0\x01\0\0\0\x01aC\0\0\0\x08S 1\0Z\0\0\0\x05I");
        assert_eq!(rows.expect("an answer"), [vec![Some("a".into())]]);
        let expected = b"P\0\0\0\x11\0SELECT $1\0\0\0B\0\0\0\x13\0\0\0\0\0\x01\0\0\0\x03x'y\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";
        assert_eq!(asked, expected);
    }

    proptest! {
        #[test]
        fn a_server_that_talks_nonsense_is_left(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            row in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let _ = told(&noise);
            let mut framed = BytesMut::new();
            pgherd_wire::write::frame(&mut framed, b'D', |out| out.put_slice(&row));
            framed.put_slice(b"Z\0\0\0\x05I");
            let _ = told(&framed);
        }
    }
}
