//! Console, REST, page, metrics over HTTP
