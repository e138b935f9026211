//! TLS material: read from PEM files, swapped on reload.
