//! From a settings file, the environment and the defaults to one [`settings::Settings`].
pub mod secret;
pub mod settings;
pub mod words;
