//! The readers of SQL text: they end, they stay within the text, and a BEGIN kept for later is still the BEGIN that was read.

use pgherd_session::begin::{Control, control};
use pgherd_session::effect::effects;
use pgherd_session::tokens::{Token, Tokens};
use pgherd_wire::frontend::query_text;

pub(crate) fn run(data: &[u8]) {
    // As in the messages it comes from, a text ends at its NUL.
    let text = query_text(data);
    tokens(text);
    let _ = effects(text);
    if let Some(Control::Begin(begin)) = control(text) {
        // What is answered in the server's place and sent later must be the same statement.
        let Some(Control::Begin(sent)) = control(&begin.text) else { panic!("sends no BEGIN for {begin:?}") };
        assert_eq!((sent.read_only, sent.serializable), (begin.read_only, begin.serializable));
    }
}

fn tokens(text: &[u8]) {
    let mut tokens = Tokens::new(text);
    let mut left = text.len() + 1;
    loop {
        let before = tokens.rest().len();
        assert!(text.ends_with(tokens.rest()));
        let is_end = tokens.at_end();
        match tokens.next() {
            None => {
                assert!(is_end, "an end that at_end denies");
                return;
            }
            Some(Token::Opaque) => return,
            Some(Token::Word(slice) | Token::Quoted(slice) | Token::Other(slice)) => {
                let (all, part) = (text.as_ptr_range(), slice.as_ptr_range());
                assert!(all.start <= part.start && part.end <= all.end, "a token from outside the text");
            }
        }
        assert!(tokens.rest().len() < before, "no progress");
        left -= 1;
        assert!(left > 0, "more tokens than bytes");
    }
}
