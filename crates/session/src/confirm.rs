//! What a command has done to the session, told by its tag.

use crate::effect::{Assignment, Effect};
use crate::machine::Machine;
use crate::params::{Settings, Value};
use crate::pin::Pin;

impl Machine {
    /// A command completed: what it did to the session.
    pub(crate) fn confirm(&mut self, tag: &[u8]) {
        if let Some(head) = self.owed.head().filter(|head| head.closes && head.single) {
            head.settled = matches!(tag, b"COMMIT" | b"ROLLBACK" | b"PREPARE TRANSACTION");
        }
        match tag {
            b"ROLLBACK" => self.rolled_back = true,
            // What was changed until now stays, whatever comes.
            b"COMMIT" | b"PREPARE TRANSACTION" if self.before.is_some() => {
                self.mixed |= self.rolled_back;
                self.before = None;
            }
            b"SET" | b"RESET" | b"DISCARD ALL" | b"DEALLOCATE" | b"DEALLOCATE ALL" => {
                self.confirm_effect(tag)
            }
            b"COMMIT PREPARED" => self.texts.retire_all(),
            _ if is_definition(tag) => {
                self.texts.retire_all();
                self.redefined = true;
            }
            b"LISTEN" | b"LOAD" | b"PREPARE" | b"DECLARE CURSOR" | b"DO" => self.confirm_effect(tag),
            b"SELECT 1" if self.is_config() => self.confirm_effect(tag),
            _ => {}
        }
    }

    /// The request is a `set_config` that is followed.
    fn is_config(&mut self) -> bool {
        let effects = self.owed.head().and_then(|head| head.effects.as_ref());
        effects.is_some_and(|effects| matches!(effects.list.front(), Some(Effect::Config(..))))
    }

    fn confirm_effect(&mut self, tag: &[u8]) {
        let effect = self.owed.head().and_then(|head| head.effects.as_mut()?.list.pop_front());
        self.touched |= !matches!(tag, b"PREPARE" | b"DEALLOCATE" | b"DEALLOCATE ALL");
        if let Some(server) = self.server.as_mut().filter(|_| tag == b"LOAD") {
            server.loaded = true;
        }
        match (tag, effect) {
            (b"SET" | b"RESET" | b"DO" | b"DECLARE CURSOR", _) if self.unproven => {
                self.pin_for(Pin::Unprovable)
            }
            (b"SET", Some(Effect::Set(name, value))) => match self.settings.set(&name, &value) {
                Some(_) => {
                    self.change(|settings| settings.set(&name, &value).unwrap_or_else(|| settings.clone()))
                }
                None => self.pin_for(Pin::Settings),
            },
            (b"SET", Some(Effect::SetAll(all))) => self.change(|settings| {
                let set = |settings: Settings, (name, value): &Assignment| {
                    settings.with(name, Some(Value::Sql(value.clone())))
                };
                all.iter().fold(settings.clone(), set)
            }),
            (b"SELECT 1", Some(Effect::Config(name, value))) => {
                self.change(|settings| settings.with(&name, Some(Value::Text(value.clone()))))
            }
            (b"SET" | b"DECLARE CURSOR" | b"DO", Some(Effect::Scoped)) => {}
            (b"SET" | b"RESET", Some(Effect::Reset(Some(name)))) => self.reset(&name),
            (b"RESET", Some(Effect::Reset(None))) => self.reset_all(),
            (b"DISCARD ALL", _) => self.discard_all(),
            (b"DEALLOCATE ALL", _) => self.forget_statements(),
            (b"DEALLOCATE", Some(Effect::Deallocate(Some(name)))) => self.confirm_taken(&name),
            (b"DEALLOCATE", _) => {}
            (b"PREPARE", _) if self.confirm_given() => {}
            (_, Some(Effect::Pins(pin))) => self.pin_for(pin),
            (b"LISTEN", _) => self.pin_for(Pin::Listen),
            (b"LOAD", _) => self.pin_for(Pin::Load),
            (b"PREPARE", _) => self.pin_for(Pin::SqlPrepare),
            (b"SET" | b"RESET", _) => self.pin_for(Pin::Settings),
            _ => self.pin_for(Pin::Unprovable),
        }
    }

    /// All statements are gone but those whose Parse is still on its way. The unnamed one is none of them.
    pub(crate) fn forget_statements(&mut self) {
        let coming: Vec<&[u8]> = self.owed.iter().filter_map(|owed| owed.undo.named()).collect();
        self.names.keep_only(|name| coming.contains(&name));
        self.has_real = false;
        if let Some(server) = self.server.as_mut() {
            server.forget_all();
        }
    }
}

/// After such a command a text may mean something else than before.
fn is_definition(tag: &[u8]) -> bool {
    let first = tag.split(|b| *b == b' ').next();
    matches!(first, Some(b"CREATE" | b"ALTER" | b"DROP"))
}
