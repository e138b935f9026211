//! Request to intent to node; pure
