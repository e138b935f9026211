//! Server connections: connect, log in, check out, hand over, reset, retire
