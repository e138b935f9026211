//! Benchmarks that compare, count and explain
