//! The words of SQL, read as PostgreSQL reads them.
//!
//! One lexer for everybody who looks into a statement: what a token is, and where it ends, is decided here and nowhere
//! else, as in PostgreSQL's `scan.l` (documentation, chapter 4.1). It knows no grammar. Invariants: any bytes give an
//! answer, never a panic; each token lies within the text and after the one before it; what PostgreSQL would refuse to
//! lex ends in an error token, after which there is nothing; nothing here allocates.
pub mod keyword;
pub mod lexer;
pub mod literal;
pub mod name;
pub mod number;
pub mod token;
pub mod unicode;
pub mod wordlist;
