//! A fixed list of words that is built while compiling and asked without allocating.

use crate::name::Name;

/// At most this many words in a list.
const MOST: usize = u16::MAX as usize;

/// `WORDS` words, one a line, found through `SLOTS` places (a power of two, at least twice as many).
#[derive(Debug)]
pub struct WordList<const WORDS: usize, const SLOTS: usize> {
    text: &'static [u8],
    ends: [u32; WORDS],
    /// Index of a word plus one; 0 is empty.
    slots: [u16; SLOTS],
}

impl<const WORDS: usize, const SLOTS: usize> WordList<WORDS, SLOTS> {
    /// Builds the list from text with one word a line, nothing else. For statics: a wrong text does not compile.
    pub const fn new(text: &'static str) -> Self {
        let text = text.as_bytes();
        assert!(
            WORDS < MOST && SLOTS.is_power_of_two() && SLOTS >= 2 * WORDS,
            "too few slots, or too many words"
        );
        let (mut ends, mut slots) = ([0; WORDS], [0; SLOTS]);
        let (mut start, mut at, mut count) = (0, 0, 0);
        while at < text.len() {
            if text[at] == b'\n' {
                assert!(count < WORDS && at > start, "the number of words is wrong, or a line is empty");
                ends[count] = at as u32;
                count += 1;
                let mut slot = fold_part(text, start, at) as usize & (SLOTS - 1);
                while slots[slot] != 0 {
                    slot = (slot + 1) & (SLOTS - 1);
                }
                slots[slot] = count as u16;
                start = at + 1;
            }
            at += 1;
        }
        assert!(count == WORDS, "the number of words is wrong");
        WordList { text, ends, slots }
    }

    /// The place of `name` in the list, if it is there. `fold` is the name's [`Name::fold`].
    pub fn find(&self, name: Name<'_>, fold: u32) -> Option<usize> {
        let mut slot = fold as usize & (SLOTS - 1);
        loop {
            let index = usize::from(*self.slots.get(slot)?).checked_sub(1)?;
            if name.is(self.bytes(index)) {
                return Some(index);
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
    }

    /// True if `name` is in the list.
    pub fn has(&self, name: Name<'_>) -> bool {
        self.find(name, name.fold()).is_some()
    }

    /// The word at `index`; empty beyond the end.
    pub fn word(&self, index: usize) -> &'static str {
        std::str::from_utf8(self.bytes(index)).unwrap_or_default()
    }

    /// All words, in the order of the text.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        (0..WORDS).map(|index| self.word(index))
    }

    fn bytes(&self, index: usize) -> &'static [u8] {
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).map_or(0, |end| *end as usize + 1) };
        let end = self.ends.get(index).map_or(start, |end| *end as usize);
        self.text.get(start..end).unwrap_or_default()
    }
}

/// A number for a name, the same for all spellings that differ only in the case of ASCII letters.
pub fn fold(bytes: &[u8]) -> u32 {
    bytes.iter().fold(BASIS, |hash, byte| mix(hash, *byte))
}

/// [`fold`] of bytes that come one by one.
pub fn fold_bytes(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(BASIS, mix)
}

const BASIS: u32 = 0x811c_9dc5;

/// One step of FNV-1a over a byte with its case bit set.
const fn mix(hash: u32, byte: u8) -> u32 {
    let hash = (hash ^ (byte | 0x20) as u32).wrapping_mul(0x0100_0193);
    hash ^ (hash >> 15)
}

const fn fold_part(text: &[u8], start: usize, end: usize) -> u32 {
    let (mut hash, mut at) = (BASIS, start);
    while at < end {
        hash = mix(hash, text[at]);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    static LIST: WordList<3, 8> = WordList::new("one\ntwo_2\nthree\n");

    #[test]
    fn finds_what_it_holds() {
        for (index, word) in ["one", "two_2", "three"].into_iter().enumerate() {
            let name = Name::word(word.as_bytes());
            assert_eq!(LIST.find(name, name.fold()), Some(index));
            assert_eq!(LIST.word(index), word);
        }
        for word in ["", "four", "on", "ones", "two", "threeee"] {
            assert!(!LIST.has(Name::word(word.as_bytes())), "{word}");
        }
        assert!(LIST.has(Name::word(b"TWO_2")));
        assert_eq!(LIST.words().count(), 3);
        assert_eq!(LIST.word(3), "");
    }
}
