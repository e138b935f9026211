//! From a settings file, the environment and the defaults to one [`settings::Settings`].
//!
//! [`keys`] is the one table of all keys. [`mod@file`] reads (by [`walk`], [`overlay`], [`secrets`], [`check`]),
//! [`resolve`] gives meaning, [`reload`] compares; [`doc`], [`sample`], [`schema`] and [`show`] are made from the same table.
pub mod check;
pub mod doc;
pub mod environment;
pub mod expand;
pub mod fault;
pub mod file;
pub mod include;
pub mod key;
pub mod keys;
pub mod nearest;
pub mod overlay;
pub mod reload;
pub mod resolve;
pub mod sample;
pub mod schema;
pub mod secret;
pub mod secrets;
pub mod settings;
pub mod show;
pub mod source;
pub mod unit;
pub mod url;
pub mod value;
pub mod values;
pub mod walk;
pub mod words;
