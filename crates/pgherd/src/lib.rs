//! The binary's own floor: command line, settings, and the wiring of all other crates.
//!
//! `config` turns a settings file, the environment and the command line into one passive tree of values
//! ([`config::settings::Settings`]); `cli` is what a person types; `app` puts the crates together and runs them.
//! Deliberately absent: any policy. What to pool, where to route and when to fail over is decided on lower floors.
pub mod app;
pub mod cli;
pub mod config;
