//! What a person types: the subcommands, one file each.
pub mod demo;
