//! Views of what clients send: on any bytes they answer, and what they see can be written back to the same bytes.

use bytes::BytesMut;
use pgherd_wire::frame::HEADER_LEN;
use pgherd_wire::frontend::{BindNames, Parse, Target, max_frame, query_text};
use pgherd_wire::write;

pub(crate) fn run(body: &[u8]) {
    if let Some(&tag) = body.first() {
        assert!(max_frame(tag).is_none_or(|limit| limit >= HEADER_LEN));
    }
    let text = query_text(body);
    assert!(body.starts_with(text) && !(text.contains(&0) && body.contains(&0)));
    parse(body);
    bind(body);
    target(body);
}

fn parse(body: &[u8]) {
    let Some(view) = Parse::view(body) else { return };
    assert!(!view.name.contains(&0) && !view.query.contains(&0));
    assert!(view.rest.starts_with(view.query));
    let mut written = BytesMut::new();
    write::parse(&mut written, view.name, view.rest);
    assert_eq!(&written[HEADER_LEN..], body);
    // A message that is cut is not the same message.
    assert_eq!(Parse::view(&body[..body.len() - 1]), None);
}

fn bind(body: &[u8]) {
    let Some(view) = BindNames::view(body) else { return };
    let mut written = BytesMut::new();
    write::bind_front(&mut written, view.portal, view.statement, body.len() - view.len);
    assert_eq!(&written[HEADER_LEN..], &body[..view.len]);
    // The front is enough: what follows changes nothing.
    assert_eq!(BindNames::view(&body[..view.len]), Some(view));
    assert_eq!(BindNames::view(&body[..view.len - 1]), None);
}

fn target(body: &[u8]) {
    let Some(Target::Statement(name)) = Target::view(body) else { return };
    for author in [write::describe_statement, write::close_statement] {
        let mut written = BytesMut::new();
        author(&mut written, name);
        assert_eq!(&written[HEADER_LEN..], body);
    }
}
