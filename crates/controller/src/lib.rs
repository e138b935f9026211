//! Eyes and hands of failover: probes, publishing, journal
