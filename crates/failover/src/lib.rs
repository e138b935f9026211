//! From observations to actions; pure
