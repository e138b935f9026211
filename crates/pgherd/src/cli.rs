//! The subcommands, one file each: arguments, what is printed, the exit code.
pub mod demo;
