//! The settings between file and meaning: per section the values with where each came from.

use crate::config::key::{Key, Section};
use crate::config::secret::Secret;
use crate::config::settings::front::HostPort;
use crate::config::source::Place;
use crate::config::value::Value;
use std::path::PathBuf;
use std::time::Duration;

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: the default.
    Default,
    /// A file or the environment.
    Said(Place),
    /// It follows from another key.
    From(String),
}

/// One value and who said it.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Who said it.
    pub origin: Origin,
}

/// A `[section]` or one `[[section]]`.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Which section.
    pub section: &'static Section,
    /// Where its header stands.
    pub place: Place,
    /// One slot per key of the section, in its order; `None` = not given and without a default.
    slots: Vec<Option<Setting>>,
}

impl PartialEq for Instance {
    /// Equal when the values are; who said them, and in which line, does not count.
    fn eq(&self, other: &Instance) -> bool {
        let values = |i: &Instance| {
            i.slots.iter().map(|slot| slot.as_ref().map(|s| s.value.clone())).collect::<Vec<_>>()
        };
        self.section.name == other.section.name && values(self) == values(other)
    }
}

impl Instance {
    /// An instance in which nothing was said.
    pub fn new(section: &'static Section, place: Place) -> Instance {
        Instance { section, place, slots: vec![None; section.keys.len()] }
    }

    fn index(&self, key: &str) -> usize {
        let index = self.section.keys.iter().position(|k| k.name == key);
        // Keys are asked for by literals in this crate; the test `every_key_reaches_the_settings` walks them all.
        index.expect("the key is in the table")
    }

    /// The value of a key, if there is one.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.slots[self.index(key)].as_ref()
    }

    /// Sets a value.
    pub fn set(&mut self, key: &str, value: Value, origin: Origin) {
        let index = self.index(key);
        self.slots[index] = Some(Setting { value, origin });
    }

    /// Every key with its value, in the order of the table.
    pub fn each(&self) -> impl Iterator<Item = (&'static Key, Option<&Setting>)> {
        self.section.keys.iter().zip(self.slots.iter().map(Option::as_ref))
    }

    /// Where a key was said, or else where the section begins.
    pub fn place_of(&self, key: &str) -> Place {
        match self.get(key) {
            Some(Setting { origin: Origin::Said(place), .. }) => place.clone(),
            _ => self.place.clone(),
        }
    }

    /// True when somebody said it.
    pub fn said(&self, key: &str) -> bool {
        matches!(self.get(key), Some(Setting { origin: Origin::Said(_), .. }))
    }

    /// The value as the type its kind gives; `None` when not given.
    pub fn find<T: FromValue>(&self, key: &str) -> Option<T> {
        self.get(key).map(|setting| {
            T::from_value(&setting.value)
                .expect("the table's kind and the field's type agree, as the tests show")
        })
    }

    /// The value of a key that has a default or must be given. Call it only when reading found no error.
    pub fn want<T: FromValue>(&self, key: &str) -> T {
        self.find(key).expect("a key without a value was reported before")
    }

    /// How people call it: `[pool]`, `[[node]] pg1`.
    pub fn title(&self) -> String {
        match self.label() {
            Some(label) if !label.is_empty() => format!("{} {label}", self.section.header()),
            _ => self.section.header(),
        }
    }

    /// The name of an instance of a repeated section, when it has one.
    pub fn label(&self) -> Option<String> {
        match &self.get(self.section.repeated?)?.value {
            Value::Text(text) => Some(text.clone()),
            Value::Word(word) => Some((*word).to_string()),
            _ => None,
        }
    }
}

/// All instances, those of one section together, in the order of the table and then of the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    instances: Vec<Instance>,
}

impl Values {
    /// Adds an instance behind the others of its section.
    pub fn push(&mut self, instance: Instance) {
        self.instances.push(instance);
    }

    /// Drops every instance of this section.
    pub fn clear(&mut self, section: &str) {
        self.instances.retain(|instance| instance.section.name != section);
    }

    /// The instance of a section that is not repeated.
    pub fn single(&self, section: &str) -> &Instance {
        // Every single section is made before any file is read (see `walk::Walk::new`).
        self.instances.iter().find(|i| i.section.name == section).expect("single sections always exist")
    }

    /// The same, to change.
    pub fn single_mut(&mut self, section: &str) -> &mut Instance {
        self.instances.iter_mut().find(|i| i.section.name == section).expect("single sections always exist")
    }

    /// Instances of a section.
    pub fn each(&self, section: &str) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(move |i| i.section.name == section)
    }

    /// The same, to change.
    pub fn each_mut(&mut self, section: &str) -> impl Iterator<Item = &mut Instance> {
        self.instances.iter_mut().filter(move |i| i.section.name == section)
    }

    /// Every instance.
    pub fn all(&self) -> &[Instance] {
        &self.instances
    }

    /// Every instance, to change.
    pub fn all_mut(&mut self) -> &mut [Instance] {
        &mut self.instances
    }
}

/// A Rust type a [`Value`] can be.
pub trait FromValue: Sized {
    /// The value as this type, if its variant fits.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $result:expr),+ $(,)?) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value { $pattern => Some($result), _ => None }
            }
        })+
    };
}

from_value! {
    Duration: Value::Duration(Some(d)) => *d,
    Option<Duration>: Value::Duration(d) => *d,
    Option<u64>: Value::Bytes(n) => *n,
    u64: Value::Bytes(Some(n)) => *n,
    Option<u32>: Value::Int(n) => *n,
    bool: Value::Bool(b) => *b,
    String: Value::Text(text) => text.clone(),
    &'static str: Value::Word(word) => word,
    Vec<String>: Value::List(items) => items.clone(),
    Vec<u64>: Value::BytesList(items) => items.clone(),
    Option<HostPort>: Value::Address(address) => address.clone(),
    HostPort: Value::Address(Some(address)) => address.clone(),
    Option<PathBuf>: Value::Path(path) => path.clone(),
    Secret: Value::Secret(secret) => secret.clone(),
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Option<u32> {
        match value {
            Value::Int(Some(n)) | Value::Mode(n) => Some(*n),
            _ => None,
        }
    }
}
