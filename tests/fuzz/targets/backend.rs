//! Views of what servers send: on any bytes they answer, and what they see lies within what they were given.

use bytes::BytesMut;
use pgherd_wire::backend::{Fields, Status, command_tag, parameter_status};
use pgherd_wire::frame::HEADER_LEN;
use pgherd_wire::write;

pub(crate) fn run(body: &[u8]) {
    if let Some(status) = Status::view(body) {
        assert_eq!(body, [status.byte()]);
    }
    if let Some((name, value)) = parameter_status(body) {
        let mut written = BytesMut::new();
        write::parameter_status(&mut written, name, value);
        assert_eq!(&written[HEADER_LEN..], body);
    }
    assert!(body.starts_with(command_tag(body)));
    let fields = Fields::view(body);
    for kind in 0..=u8::MAX {
        if let Some(value) = fields.get(kind) {
            assert!(kind != 0 && !value.contains(&0));
            let field = [&[kind], value, &[0]].concat();
            assert!(body.windows(field.len()).any(|window| window == field), "a field that is not there");
        }
    }
    assert!(fields.sqlstate().is_none_or(|state| fields.get(b'C') == Some(state)));
    let _ = fields.is_fatal();
}
