//! What a client does with rows: transactions, copies, large values, errors; and how it breaks off.
use crate::acts::Acted;
use crate::soul::{Answer, Memory, Soul, parse, run, sync};
use pgherd_tests::raw::{column, frame, query, sqlstate, tags};
use std::time::Duration;

impl Soul {
    pub(crate) fn transaction(&mut self) -> Acted {
        let (tag, commits) = (self.tag(), self.dice.below(3) > 0);
        let end = if commits { "COMMIT" } else { "ROLLBACK" };
        let insert = format!("INSERT INTO public.journal VALUES ({}, '{tag}')", self.number);
        let mut lost = false;
        for text in ["BEGIN", &insert, "SAVEPOINT a", &insert, "ROLLBACK TO a", end] {
            match self.simple(text)? {
                Answer::Done(_) => {}
                Answer::Failed(state) => {
                    self.excuse_in_block(&state, text, lost);
                    lost = true;
                }
            }
        }
        if lost {
            return self.value("ROLLBACK").map(drop);
        }
        let count = format!("SELECT count(*) FROM public.journal WHERE tag = '{tag}'");
        if let Some(found) = self.value(&count)? {
            self.expect(end, &found, if commits { "1" } else { "0" });
        }
        Ok(())
    }

    pub(crate) fn failed(&self, state: &str, doing: &str) -> Acted {
        self.excuse(state, doing);
        Ok(())
    }

    /// After the first error of a block others follow from it.
    pub(crate) fn excuse_in_block(&self, state: &str, doing: &str, lost: bool) {
        if !(lost && matches!(state, "25P02" | "3B001" | "25P01")) {
            self.excuse(state, doing);
        }
    }

    /// What it copies in it copies out, and nobody else's.
    pub(crate) fn copy(&mut self) -> Acted {
        let tag = self.tag();
        let rows: String = (0..50).map(|_| format!("{}\t{tag}\n", self.number)).collect();
        let data = [frame(b'd', rows.as_bytes()), frame(b'c', b"")].concat();
        if let Answer::Failed(state) =
            self.exchange(&[query("COPY public.journal FROM STDIN"), data].concat(), 1)?
        {
            return self.failed(&state, "COPY FROM");
        }
        let out = format!("COPY (SELECT tag FROM public.journal WHERE tag = '{tag}') TO STDOUT");
        match self.simple(&out)? {
            Answer::Done(events) => {
                let count = tags(&events).chars().filter(|tag| *tag == 'd').count();
                self.expect("COPY TO", &count.to_string(), "50");
            }
            Answer::Failed(state) => self.excuse(&state, "COPY TO"),
        }
        self.value(&format!("DELETE FROM public.journal WHERE who = {} AND tag = '{tag}'", self.number))
            .map(drop)
    }

    /// Megabytes, read slowly.
    pub(crate) fn large(&mut self) -> Acted {
        let tag = self.tag();
        self.send(&query(&format!("SELECT repeat('{tag}', 100000), pg_sleep(0.01)")))?;
        std::thread::sleep(Duration::from_millis(self.dice.below(100)));
        let events = self.hear()?;
        match &*sqlstate(&events) {
            "" if column(&events) == [tag.repeat(100_000)] => {}
            "" => self.breach("a large value came back changed"),
            state => self.excuse(state, "a large value"),
        }
        Ok(())
    }

    /// What follows an error in a batch is skipped, what follows the batch is not.
    pub(crate) fn error(&mut self) -> Acted {
        let (before, after) = (self.tag(), self.tag());
        let one = |text: &str| [parse("", text), run("", "")].concat();
        let bytes = [
            one(&format!("SELECT '{before}' || $1::text")),
            one("SELECT 1 / length($1::text)"),
            one("SELECT 'never'"),
            sync(),
            one(&format!("SELECT '{after}' || $1::text")),
            sync(),
        ];
        match self.exchange(&bytes.concat(), 2)? {
            Answer::Failed(state) if state == "22012" => {}
            Answer::Failed(state) => self.excuse(&state, "a failing batch"),
            Answer::Done(events) => self.breach(&format!("no error: {}", tags(&events))),
        }
        Ok(())
    }

    pub(crate) fn timeout(&mut self) -> Acted {
        if self.value("SET statement_timeout = '60ms'")?.is_none() {
            return Ok(());
        }
        match self.simple("SELECT pg_sleep(3)")? {
            Answer::Failed(state) if state == "57014" => self.world.count("timed out"),
            Answer::Failed(state) => self.excuse(&state, "a slow query"),
            Answer::Done(_) => self.breach("statement_timeout was not heeded"),
        }
        while self.value("RESET statement_timeout")?.is_none() {}
        Ok(())
    }

    pub(crate) fn cursor(&mut self) -> Acted {
        let (tag, hold) = (self.tag(), self.dice.below(4) == 0);
        let with = if hold { "WITH HOLD" } else { "" };
        let declare = format!("DECLARE c CURSOR {with} FOR SELECT '{tag}' FROM generate_series(1, 10)");
        let mut lost = false;
        for text in
            ["BEGIN", &declare, if hold { "COMMIT" } else { "FETCH 1 FROM c" }, "FETCH 2 FROM c", "CLOSE c"]
        {
            match self.simple(text)? {
                Answer::Done(events) if text == "FETCH 2 FROM c" => {
                    self.expect("FETCH", &column(&events).join(","), &format!("{tag},{tag}"));
                }
                Answer::Done(_) => {}
                Answer::Failed(state) => {
                    if !(lost && state == "34000") {
                        self.excuse_in_block(&state, text, lost);
                    }
                    lost = true;
                }
            }
        }
        self.value("ROLLBACK").map(drop)
    }

    pub(crate) fn discard(&mut self) -> Acted {
        if self.value("DISCARD ALL")?.is_some() {
            let names = std::mem::take(&mut self.memory.names);
            self.memory = Memory { names, ..Memory::default() };
        }
        Ok(())
    }

    /// Leaves in the middle of something, or with a goodbye.
    pub(crate) fn break_off(&mut self) -> Acted {
        let tag = self.tag();
        let bytes = match self.dice.below(6) {
            0 => query(&format!("SELECT '{tag}', pg_sleep(0.05)")),
            1 => query(&format!("SELECT '{tag}'"))[..9].to_vec(),
            2 => [parse("", &format!("SELECT '{tag}' || $1::text")), run("", &tag)].concat(),
            3 => query(&format!("BEGIN; INSERT INTO public.journal VALUES (-1, '{tag}')")),
            4 => [query("COPY public.journal FROM STDIN"), frame(b'd', format!("-1\t{tag}\n").as_bytes())]
                .concat(),
            _ => frame(b'X', b""),
        };
        self.send(&bytes)?;
        if self.dice.below(2) == 0 {
            std::thread::sleep(Duration::from_millis(self.dice.below(20)));
        }
        self.leave();
        Ok(())
    }

    /// What stands in its way is given up: the connection, and with it the server it may keep.
    pub(crate) fn make_room(&mut self) {
        if self.dice.below(40) == 0 {
            self.leave();
        }
    }
}
