//! What a client does, each with the proof that nobody stood in between.
use crate::soul::{Answer, Gone, Soul, close, parse, run, sync};
use crate::world::LOCKS;
use pgherd_tests::raw::{Raw, column, query, sqlstate};
use std::time::Duration;

const CHANNELS: u64 = 6;
const SETTINGS: [&str; 3] = ["my.tag", "application_name", "search_path"];

pub(crate) type Acted = Result<(), Gone>;

impl Soul {
    pub(crate) fn act(&mut self) -> Acted {
        // What it remembers is of this connection.
        self.raw()?;
        let what = self.dice.below(100);
        let (name, done) = match what {
            0..=9 => ("echo", self.echo()),
            10..=19 => ("pipeline", self.pipeline()),
            20..=29 => ("statement", self.statement()),
            30..=34 => ("prepare", self.prepare()),
            35..=46 => ("setting", self.setting()),
            47..=51 => ("temporary", self.temporary()),
            52..=58 => ("lock", self.lock()),
            59..=66 => ("channel", self.channel()),
            67..=70 => ("cancel", self.cancel()),
            71..=80 => ("transaction", self.transaction()),
            81..=84 => ("copy", self.copy()),
            85..=87 => ("large", self.large()),
            88..=91 => ("error", self.error()),
            92..=94 => ("timeout", self.timeout()),
            95..=96 => ("cursor", self.cursor()),
            97 => ("discard", self.discard()),
            _ => ("break off", self.break_off()),
        };
        self.world.count(name);
        done
    }

    fn echo(&mut self) -> Acted {
        let tag = self.tag();
        if let Some(found) = self.value(&format!("SELECT '{tag}'"))? {
            self.expect("an echo", &found, &tag);
        }
        Ok(())
    }

    /// Several units in one go, some of them in one batch; the answers come in order.
    fn pipeline(&mut self) -> Acted {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        let (rounds, text) = (1 + self.dice.below(3), self.tag());
        for _ in 0..rounds {
            for _ in 0..1 + self.dice.below(3) {
                let value = self.tag();
                bytes.extend(parse("", &format!("SELECT $1::text || '{text}'")));
                bytes.extend(run("", &value));
                expected.push(format!("{value}{text}"));
            }
            bytes.extend(sync());
        }
        match self.exchange(&bytes, usize::try_from(rounds).unwrap())? {
            Answer::Done(events) => {
                self.expect("a pipeline", &column(&events).join(","), &expected.join(","))
            }
            Answer::Failed(state) => self.excuse(&state, "a pipeline"),
        }
        Ok(())
    }

    /// All clients call theirs `s`.
    fn statement(&mut self) -> Acted {
        let old = self.memory.statements.get("s").cloned();
        let text = match old {
            Some(text) if self.dice.below(4) > 0 => text,
            _ => {
                let text = self.tag();
                let make = [close("s"), parse("s", &format!("SELECT '{text}' || $1::text")), sync()].concat();
                self.memory.statements.remove("s");
                if let Answer::Failed(state) = self.exchange(&make, 1)? {
                    return self.failed(&state, "a Parse");
                }
                self.memory.statements.insert("s", text.clone());
                text
            }
        };
        let value = self.tag();
        match self.exchange(&[run("s", &value), sync()].concat(), 1)? {
            Answer::Done(events) => {
                self.expect("a statement", &column(&events).join(","), &format!("{text}{value}"));
            }
            Answer::Failed(state) => self.excuse(&state, "a statement"),
        }
        Ok(())
    }

    fn prepare(&mut self) -> Acted {
        let Some(text) = self.memory.statements.get("p").cloned() else {
            let text = self.tag();
            if self.value(&format!("PREPARE p AS SELECT '{text}'"))?.is_some() {
                self.memory.statements.insert("p", text);
            }
            return Ok(());
        };
        for _ in 0..2 {
            if let Some(found) = self.value("EXECUTE p")? {
                self.expect("EXECUTE", &found, &text);
            }
        }
        if self.value("DEALLOCATE p")?.is_some() {
            self.memory.statements.remove("p");
        }
        Ok(())
    }

    fn setting(&mut self) -> Acted {
        let name = SETTINGS[usize::try_from(self.dice.below(3)).unwrap()];
        match self.dice.below(6) {
            0..=2 => {
                let value = self.tag();
                if name == "application_name" {
                    self.memory.names.insert(value.clone());
                }
                let value = if name == "search_path" { value.replace(['<', '>'], "") } else { value };
                if self.value(&format!("SET {name} = '{value}'"))?.is_some() {
                    self.memory.settings.insert(name, value);
                }
            }
            3 => {
                let value = self.tag();
                if name == "application_name" {
                    self.memory.names.insert(value.clone());
                }
                let text = format!("BEGIN; SET {name} = '{value}'; ROLLBACK");
                self.value(&text)?;
            }
            4 if name == "my.tag" => {
                let reset = self.value("RESET my.tag")?;
                self.memory.settings.extend(reset.map(|_| (name, String::new())));
            }
            _ => {}
        }
        if let Some(value) = self.memory.settings.get(name).cloned()
            && let Some(found) = self.value(&format!("SELECT current_setting('{name}', true)"))?
        {
            let found = if name == "search_path" { found.replace('"', "") } else { found };
            self.expect(name, &found, &value);
        }
        Ok(())
    }

    fn temporary(&mut self) -> Acted {
        match self.memory.temporary.clone() {
            None => {
                let tag = self.tag();
                if self.value(&format!("CREATE TEMP TABLE mine AS SELECT '{tag}'::text AS tag"))?.is_some() {
                    self.memory.temporary = Some(tag);
                }
            }
            Some(tag) => {
                if let Some(found) = self.value("SELECT tag FROM pg_temp.mine")? {
                    self.expect("a temporary table", &found, &tag);
                }
                if self.dice.below(3) > 0 && self.value("DROP TABLE pg_temp.mine")?.is_some() {
                    self.memory.temporary = None;
                }
            }
        }
        Ok(())
    }

    /// A lock that somebody else gets while its owner is told that it still has it was lost.
    fn lock(&mut self) -> Acted {
        let lock = usize::try_from(self.dice.below(LOCKS as u64)).unwrap();
        let held = self.memory.locks.get(&lock).copied();
        if let Some(token) = held {
            let still = self.world.still_has(lock, token);
            self.memory.locks.remove(&lock);
            if let Some(found) = self.value(&format!("SELECT pg_advisory_unlock({lock})"))? {
                self.expect("giving a lock back", &found, "t");
                if !still {
                    self.breach("somebody else got a lock that was held");
                }
            }
        } else if self.value(&format!("SELECT pg_try_advisory_lock({lock})"))?.as_deref() == Some("t") {
            let token = self.world.took(lock);
            self.memory.locks.insert(lock, token);
        }
        Ok(())
    }

    fn channel(&mut self) -> Acted {
        let channel = format!("c{}", self.dice.below(CHANNELS));
        match self.dice.below(8) {
            0..=1 => {
                self.memory.channels.insert(channel.clone());
                self.value(&format!("LISTEN {channel}")).map(drop)
            }
            2..=3 => {
                if self.value("UNLISTEN *")?.is_some() {
                    self.memory.channels.clear();
                    self.memory.heard.clear();
                }
                Ok(())
            }
            _ => self.notify(&channel),
        }
    }

    /// Its own notification comes back, if it listens.
    fn notify(&mut self, channel: &str) -> Acted {
        let (kills, payload) = (self.world.kills(), format!("{}{channel}", self.tag()));
        let listens = self.memory.channels.contains(channel);
        if self.value(&format!("NOTIFY {channel}, '{payload}'"))?.is_none() || !listens {
            return Ok(());
        }
        for _ in 0..50 {
            if self.memory.heard.iter().any(|(_, heard)| *heard == payload) {
                self.memory.heard.clear();
                self.world.count("own notifications");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
            self.value("SELECT 1")?;
        }
        if self.world.kills() == kills && self.memory.channels.contains(channel) {
            self.breach(&format!("{payload} never came"));
        }
        Ok(())
    }

    /// A cancel request hits what is asked for now, or nothing.
    fn cancel(&mut self) -> Acted {
        let (key, port) = (self.key()?, self.world.port);
        self.send(&query("SELECT pg_sleep(0.2)"))?;
        std::thread::sleep(Duration::from_millis(self.dice.below(150)));
        let request = [&16_u32.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), &key].concat();
        if let Ok(mut raw) = Raw::open(port)
            && raw.send(&request).is_ok()
        {
            // Answered by nothing but the end.
            raw.until_ready();
        }
        let state = sqlstate(&self.hear()?);
        match &*state {
            "" => {}
            "57014" => self.world.count("cancelled"),
            other => self.excuse(other, "a cancelled query"),
        }
        Ok(())
    }
}
