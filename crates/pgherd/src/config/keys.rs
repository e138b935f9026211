//! All sections and keys: the one table from which the file is checked and the sample, the schema, the reference page
//! and `config doc` are made.

mod control;
mod front;
mod node;
mod pool;

use crate::config::key::{Key, Section};

/// Every section, in the order of the sample file.
pub static SECTIONS: &[Section] = &[
    front::CLUSTER,
    front::SERVER,
    front::LISTEN,
    front::LISTENER,
    front::AUTH,
    front::USER,
    front::DATABASE,
    node::NODE,
    pool::POOL,
    pool::ROUTING,
    control::HEALTH,
    control::FAILOVER,
    control::API,
    control::WEB,
    control::METRICS,
    control::NOTIFY,
];

/// The section of this name.
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// Every key called so, with its section. `name` is a bare key (`max_pool_size`, which several sections have) or one with
/// its section in front (`pool.max_pool_size`). Old spellings find the new key.
pub fn find(name: &str) -> Vec<(&'static Section, &'static Key)> {
    let mut found = Vec::new();
    for section in SECTIONS {
        for key in section.keys {
            let full = name.strip_prefix(section.name).and_then(|rest| rest.strip_prefix('.'));
            let is = |spelling: &str| spelling == name || Some(spelling) == full;
            if is(key.name) || key.deprecated.iter().any(|old| is(old)) {
                found.push((section, key));
            }
        }
    }
    found
}
