//! The keywords of PostgreSQL 15 to 18, with the group that says what else each may be (documentation, appendix C).

use crate::name::Name;
use crate::wordlist::WordList;

/// How far a keyword may be used as a name without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// As any name.
    Unreserved,
    /// As a column or table, not as a function or type.
    ColumnName,
    /// As a function or type, not as a column or table.
    TypeOrFunction,
    /// Only as a label after AS, and after a dot.
    Reserved,
}

/// One of the keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Keyword(u16);

const COUNT: usize = 495;

/// All keywords, those of one group together.
static WORDS: WordList<COUNT, 2048> = WordList::new(concat!(
    include_str!("keyword/unreserved.txt"),
    include_str!("keyword/column_name.txt"),
    include_str!("keyword/type_or_function.txt"),
    include_str!("keyword/reserved.txt"),
));

const UNRESERVED: u16 = lines(include_str!("keyword/unreserved.txt"));
const COLUMN_NAME: u16 = UNRESERVED + lines(include_str!("keyword/column_name.txt"));
const TYPE_OR_FUNCTION: u16 = COLUMN_NAME + lines(include_str!("keyword/type_or_function.txt"));

const fn lines(text: &str) -> u16 {
    let (bytes, mut at, mut count) = (text.as_bytes(), 0, 0);
    while at < bytes.len() {
        count += (bytes[at] == b'\n') as u16;
        at += 1;
    }
    count
}

impl Keyword {
    /// The keyword that `word`, an identifier without quotes, is. `fold` is the word's [`Name::fold`].
    pub fn of(word: Name<'_>, fold: u32) -> Option<Keyword> {
        WORDS.find(word, fold).map(|index| Keyword(index as u16))
    }

    /// The keyword that is spelled so, in lower case. For constants: what is no keyword does not compile.
    pub const fn named(word: &str) -> Keyword {
        const TEXT: &[u8] = concat!(
            include_str!("keyword/unreserved.txt"),
            include_str!("keyword/column_name.txt"),
            include_str!("keyword/type_or_function.txt"),
            include_str!("keyword/reserved.txt"),
        )
        .as_bytes();
        let word = word.as_bytes();
        let (mut start, mut index) = (0, 0);
        while start < TEXT.len() {
            let mut same = 0;
            while same < word.len() && TEXT[start + same] == word[same] {
                same += 1;
            }
            if same == word.len() && TEXT[start + same] == b'\n' {
                return Keyword(index);
            }
            while TEXT[start] != b'\n' {
                start += 1;
            }
            start += 1;
            index += 1;
        }
        panic!("not a keyword")
    }

    /// What else it may be.
    pub fn group(self) -> Group {
        match self.0 {
            index if index < UNRESERVED => Group::Unreserved,
            index if index < COLUMN_NAME => Group::ColumnName,
            index if index < TYPE_OR_FUNCTION => Group::TypeOrFunction,
            _ => Group::Reserved,
        }
    }

    /// Its spelling, in lower case.
    pub fn word(self) -> &'static str {
        WORDS.word(usize::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyword(word: &str) -> Option<Keyword> {
        let name = Name::word(word.as_bytes());
        Keyword::of(name, name.fold())
    }

    #[test]
    fn every_keyword_is_found() {
        let words: Vec<_> = WORDS.words().collect();
        for word in &words {
            assert_eq!(keyword(word).map(Keyword::word), Some(*word));
            assert_eq!(keyword(&word.to_uppercase()), keyword(word));
            assert_eq!(keyword(&format!("{word}x")).filter(|other| Some(*other) == keyword(word)), None);
        }
        let mut sorted = words.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), COUNT, "a word stands twice");
    }

    #[test]
    fn groups_are_those_of_the_documentation() {
        for (word, group) in [
            ("abort", Group::Unreserved),
            ("operator", Group::Unreserved),
            ("coalesce", Group::ColumnName),
            ("varchar", Group::ColumnName),
            ("left", Group::TypeOrFunction),
            ("tablesample", Group::TypeOrFunction),
            ("into", Group::Reserved),
            ("with", Group::Reserved),
        ] {
            assert_eq!(keyword(word).map(Keyword::group), Some(group), "{word}");
        }
        for word in ["", "nextval", "foo", "selec", "selects"] {
            assert_eq!(keyword(word), None, "{word}");
        }
    }

    #[test]
    fn constants_name_what_is_read() {
        const FIRST: Keyword = Keyword::named("abort");
        const SELECT: Keyword = Keyword::named("select");
        assert_eq!(keyword("ABORT"), Some(FIRST));
        assert_eq!(keyword("Select"), Some(SELECT));
    }
}
