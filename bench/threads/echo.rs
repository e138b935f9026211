//! The server: answers every request at once, one blocking thread per connection.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// What PostgreSQL answers to a select of one number: RowDescription, DataRow, CommandComplete, ReadyForQuery.
pub(crate) const ANSWER: &[u8] =
    b"T\0\0\0\x21\0\x01?column?\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0\
    D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

/// What a client asks: a simple Query.
pub(crate) const REQUEST: &[u8] = b"Q\0\0\0\x0dSELECT 1\0";

/// Serves until it is killed.
pub(crate) fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    for connection in listener.incoming() {
        let connection = connection?;
        std::thread::spawn(move || answer(connection));
    }
    Ok(())
}

/// Ends when the relay leaves; there is nobody to tell about any other error.
fn answer(mut connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut request = [0; REQUEST.len()];
    loop {
        connection.read_exact(&mut request)?;
        connection.write_all(ANSWER)?;
    }
}
