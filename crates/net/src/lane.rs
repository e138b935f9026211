//! One direction of a relay.
