//! One pass over the tokens of a statement, with what must be remembered on the way.

use super::Context;
use super::word;
use crate::builtin;
use crate::digest::{self, Reason, Taint};
use crate::rule::Rule;
use crate::verdict::{Class, Verdict};
use pgherd_sql::keyword::{Group, Keyword};
use pgherd_sql::lexer::Lexer;
use pgherd_sql::name::Name;
use pgherd_sql::token::{Kind, Token};
use pgherd_sql::unicode;

/// Parentheses deeper than this are counted but not remembered.
const DEEPEST: usize = 64;

/// Longest name that is not cut (NAMEDATALEN - 1).
const LONGEST_NAME: usize = 63;

/// What stood before a parenthesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opener {
    /// A call, or something else that has a value or rows.
    Call,
    /// The beginning of an item in FROM, such as a sub-select.
    Group,
    /// Anything else.
    Other,
}

/// What must be remembered of a token that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) kind: Kind,
    /// None for keywords after a dot, which are names there.
    keyword: Option<Keyword>,
    /// For closing parentheses, what stood before the opening one.
    opener: Opener,
}

impl Seen {
    /// Stands for what is before the first token.
    const NOTHING: Seen = Seen { kind: Kind::Semicolon, keyword: None, opener: Opener::Other };

    pub(super) fn is(&self, keyword: Keyword) -> bool {
        self.keyword == Some(keyword)
    }

    /// A name that is no keyword.
    fn is_plain_name(&self) -> bool {
        self.keyword.is_none() && matches!(self.kind, Kind::Word | Kind::Quoted)
    }
}

/// Where a text is read, and what was found in its current statement.
pub(super) struct Walk<'a> {
    pub(super) lexer: Lexer<'a>,
    pub(super) context: &'a Context<'a>,
    pub(super) verdict: Verdict,
    /// A hint vouches for volatile functions.
    relaxed: bool,
    /// The statement is planned, not executed.
    pub(super) planned: bool,
    /// INSERT and the like are commands wherever they stand, not names of columns.
    pub(super) commands: bool,
    /// What naming the temporary schema means.
    pub(super) temporary: Class,
    last: Seen,
    pub(super) before: Seen,
    /// The last name, and its fold.
    pub(super) named: (Token, u32),
    depth: usize,
    /// Depths at which a WITH list is open, as bits.
    lists: u64,
    openers: [Opener; DEEPEST],
}

impl<'a> Walk<'a> {
    pub(super) fn new(lexer: Lexer<'a>, context: &'a Context<'a>, relaxed: bool) -> Walk<'a> {
        Walk {
            lexer,
            context,
            verdict: Verdict::new(Class::Read, Rule::Reads, 0),
            relaxed,
            planned: false,
            commands: false,
            temporary: Class::Write,
            last: Seen::NOTHING,
            before: Seen::NOTHING,
            named: (Token { kind: Kind::Semicolon, start: 0, end: 0 }, 0),
            depth: 0,
            lists: 0,
            openers: [Opener::Other; DEEPEST],
        }
    }

    /// Forgets the last statement.
    pub(super) fn begin(&mut self, start: usize) {
        self.verdict = Verdict::new(Class::Read, Rule::Reads, start);
        (self.planned, self.commands, self.temporary) = (false, false, Class::Write);
        self.restart();
    }

    /// The next token begins a statement inside the statement.
    pub(super) fn restart(&mut self) {
        (self.last, self.before) = (Seen::NOTHING, Seen::NOTHING);
        (self.depth, self.lists) = (0, 0);
    }

    pub(super) fn raise(&mut self, class: Class, rule: Rule, at: usize) {
        self.verdict.raise(class, rule, at);
    }

    /// Reads to the end of the statement, its semicolon included; says where it ended.
    pub(super) fn until_end(&mut self) -> usize {
        while let Some(token) = self.lexer.next() {
            if token.kind == Kind::Semicolon {
                if self.depth > 0 {
                    self.raise(Class::Error, Rule::Unbalanced, token.start);
                }
                return token.start;
            }
            self.step(token);
        }
        if self.depth > 0 {
            self.raise(Class::Error, Rule::Unbalanced, self.lexer.at());
        }
        self.lexer.at()
    }

    /// Reads to the parenthesis that closes the one just read.
    pub(super) fn until_close(&mut self) {
        self.restart();
        loop {
            match self.lexer.peek() {
                Some(token) if token.kind == Kind::Semicolon => {
                    return self.raise(Class::Error, Rule::Unbalanced, token.start);
                }
                Some(token) => {
                    self.lexer.next();
                    if token.kind == Kind::Close && self.depth == 0 {
                        return;
                    }
                    self.step(token);
                }
                None => return self.raise(Class::Error, Rule::Unbalanced, self.lexer.at()),
            }
        }
    }

    fn step(&mut self, token: Token) {
        let mut seen = Seen { kind: token.kind, ..Seen::NOTHING };
        match token.kind {
            Kind::Word => seen.keyword = self.word(token),
            Kind::Quoted => {
                if let Some(name) = self.lexer.name(token) {
                    let fold = name.fold();
                    self.named = (token, fold);
                    self.name(name, fold, token);
                }
            }
            Kind::UnicodeQuoted => self.unicode_name(token),
            Kind::Open => self.open(),
            Kind::Close => seen.opener = self.close(token),
            Kind::Operator if self.context.digest.taints_operator(token.of(self.lexer.text())) => {
                self.raise(Class::Write, Rule::TaintedOperator, token.start);
            }
            Kind::Dollar => self.verdict.speaks_of_commit |= speaks_of_commit(token.of(self.lexer.text())),
            Kind::Error => self.raise(Class::Error, Rule::Unreadable, token.start),
            _ => {}
        }
        (self.before, self.last) = (self.last, seen);
    }

    /// Says which keyword it is.
    fn word(&mut self, token: Token) -> Option<Keyword> {
        let name = Name::word(token.of(self.lexer.text()));
        let fold = name.fold();
        self.named = (token, fold);
        let keyword = if self.last.kind == Kind::Dot { None } else { Keyword::of(name, fold) };
        if let Some(keyword) = keyword {
            // After AS any keyword is a label.
            if !self.last.is(word::AS) {
                self.keyword(keyword, token);
            }
            if keyword.group() == Group::Reserved {
                return Some(keyword);
            }
        }
        self.name(name, fold, token);
        keyword
    }

    fn keyword(&mut self, keyword: Keyword, token: Token) {
        match keyword {
            word::INTO => {
                let class = if into_temporary(self.lexer) { Class::Pin } else { Class::Write };
                self.raise(class, Rule::Into, token.start);
            }
            word::FOR if locks_rows(self.lexer) => self.raise(Class::Write, Rule::RowLock, token.start),
            word::WITH => {
                self.commands = true;
                // Elsewhere it belongs to something else: WITH ORDINALITY, WITH TIES, WITH UNIQUE KEYS.
                if matches!(self.last.kind, Kind::Semicolon | Kind::Open) && self.depth < DEEPEST {
                    self.lists |= 1 << self.depth;
                }
            }
            word::SELECT | word::VALUES | word::TABLE => self.end_list(),
            word::INSERT | word::UPDATE | word::DELETE | word::MERGE => {
                self.end_list();
                if self.commands {
                    self.raise(Class::Write, Rule::DataChange, token.start);
                }
            }
            _ => {}
        }
    }

    fn end_list(&mut self) {
        if self.depth < DEEPEST {
            self.lists &= !(1 << self.depth);
        }
    }

    /// Looks at a name, whatever it stands for: that of something tainted is enough.
    pub(super) fn name(&mut self, name: Name<'_>, fold: u32, token: Token) {
        let digest = self.context.digest;
        if name.length() > LONGEST_NAME {
            self.raise(Class::Write, Rule::OddName, token.start);
        } else if name.is_foreign() {
            if digest.may_taint_foreign(name.length()) {
                self.raise(Class::Write, Rule::OddName, token.start);
            }
        } else if let Some(taint) = digest.taint(name, fold)
            && !self.excuses(taint)
        {
            let rule = match taint.kind {
                digest::Kind::Function => Rule::TaintedFunction,
                digest::Kind::Relation => Rule::TaintedRelation,
                digest::Kind::Type => Rule::TaintedType,
            };
            self.raise(Class::Write, rule, token.start);
        } else if builtin::is_denied(name, fold) {
            self.raise(Class::Write, Rule::NodeName, token.start);
        } else if builtin::is_temporary_schema(name) {
            self.raise(self.temporary, Rule::Temporary, token.start);
        } else if name.is(COMMIT_SETTING) {
            self.verdict.speaks_of_commit = true;
        }
    }

    /// A function that is only declared volatile may be planned anywhere, and run where somebody vouches for it.
    fn excuses(&self, taint: Taint) -> bool {
        (self.planned || self.relaxed)
            && taint.kind == digest::Kind::Function
            && taint.reason == Reason::Volatile
    }

    /// `U&"..."`: looked at like any name once it is decoded, but never called.
    fn unicode_name(&mut self, token: Token) {
        let mut buffer = [0; LONGEST_NAME];
        let decoded = unicode::decode(self.lexer, token, &mut buffer);
        let plain = decoded.filter(|(_, after)| after.peek().is_none_or(|next| next.kind != Kind::Open));
        match plain.and_then(|(bytes, _)| Name::decoded(bytes)) {
            Some(name) => self.name(name, name.fold(), token),
            None => {
                self.verdict.speaks_of_commit = true;
                self.raise(Class::Write, Rule::OddName, token.start);
            }
        }
    }

    fn open(&mut self) {
        let opener = self.opener();
        // After the last CTE the query itself, in parentheses.
        if self.last.kind == Kind::Close {
            self.end_list();
        }
        if let Some(slot) = self.openers.get_mut(self.depth) {
            *slot = opener;
        }
        self.depth += 1;
        if self.depth < DEEPEST {
            self.lists &= !(1 << self.depth);
        }
    }

    /// Says what stood before the parenthesis that is closed.
    fn close(&mut self, token: Token) -> Opener {
        let Some(depth) = self.depth.checked_sub(1) else {
            self.raise(Class::Error, Rule::Unbalanced, token.start);
            return Opener::Other;
        };
        self.depth = depth;
        self.openers.get(depth).copied().unwrap_or(Opener::Other)
    }

    /// What the parenthesis just read opens; a call is looked at.
    fn opener(&mut self) -> Opener {
        match self.last.kind {
            Kind::Comma | Kind::Open => Opener::Group,
            Kind::Word | Kind::Quoted if self.is_column_list() => Opener::Other,
            Kind::Word | Kind::Quoted => match self.last.keyword {
                Some(keyword) => self.after_keyword(keyword),
                None => self.call(),
            },
            Kind::UnicodeQuoted => Opener::Call,
            _ => Opener::Other,
        }
    }

    /// `name (` where the name is that of a CTE or an alias, followed by names of columns, or that of a type after `::`.
    fn is_column_list(&self) -> bool {
        let in_list = self.depth < DEEPEST && self.lists & (1 << self.depth) != 0;
        match self.before.kind {
            Kind::Cast => true,
            Kind::Comma => in_list,
            Kind::Close => self.last.is_plain_name() && self.before.opener != Opener::Other,
            Kind::Word | Kind::Quoted => {
                let before = &self.before;
                before.is(word::AS)
                    || (in_list && (before.is(word::WITH) || before.is(word::RECURSIVE)))
                    || (self.last.is_plain_name() && (before.is_plain_name() || before.is(word::ORDINALITY)))
            }
            _ => false,
        }
    }

    /// A keyword before a parenthesis: part of the syntax, or a legal name of a function.
    fn after_keyword(&mut self, keyword: Keyword) -> Opener {
        use word::{
            BY, COLUMNS, CONTENT, CUBE, DOCUMENT, ESCAPE, FILTER, FIRST, FROM, GROUPS, ILIKE, JOIN, KEY,
            LATERAL, LIKE, MATERIALIZED, NESTED, NEXT, OPERATOR, OVER, PASSING, RANGE, REPEATABLE, ROLLUP,
            ROWS, SECOND, SETS, SYSTEM, TABLESAMPLE, VALUE, VARYING, ZONE,
        };
        match keyword {
            FROM | JOIN | LATERAL => Opener::Group,
            OVER | FILTER if self.before.kind == Kind::Close => Opener::Call,
            SYSTEM if self.before.is(TABLESAMPLE) => Opener::Other,
            BY | COLUMNS | CONTENT | CUBE | DOCUMENT | ESCAPE | FIRST | GROUPS | ILIKE | KEY | LIKE
            | MATERIALIZED | NESTED | NEXT | PASSING | RANGE | REPEATABLE | ROLLUP | ROWS | SECOND | SETS
            | VALUE | VARYING | ZONE => Opener::Other,
            OPERATOR if names_operator(self.lexer) => Opener::Other,
            _ => match keyword.group() {
                Group::Unreserved | Group::TypeOrFunction => self.call(),
                Group::ColumnName => Opener::Call,
                Group::Reserved if keyword.word() == "group" => Opener::Call,
                Group::Reserved => Opener::Other,
            },
        }
    }
}

/// The setting behind which an acknowledged commit may not be flushed yet.
const COMMIT_SETTING: &[u8] = b"synchronous_commit";

/// True if the body of a dollar quote names the setting.
fn speaks_of_commit(body: &[u8]) -> bool {
    memchr::memchr2_iter(b's', b'S', body).any(|at| {
        body.get(at..at + COMMIT_SETTING.len()).is_some_and(|part| part.eq_ignore_ascii_case(COMMIT_SETTING))
    })
}

/// After FOR: a lock on rows.
fn locks_rows(mut lexer: Lexer<'_>) -> bool {
    if lexer.accept("no") {
        return lexer.accept("key") && lexer.accept("update");
    }
    lexer.accept("update") || lexer.accept("share") || (lexer.accept("key") && lexer.accept("share"))
}

/// After INTO: a temporary table.
fn into_temporary(mut lexer: Lexer<'_>) -> bool {
    let _ = lexer.accept("local") || lexer.accept("global");
    lexer.accept("temp") || lexer.accept("temporary") || {
        let name = lexer.peek().and_then(|token| lexer.name(token));
        name.is_some_and(builtin::is_temporary_schema)
    }
}

/// After `OPERATOR (`: the symbol of an operator, with schemas before it.
fn names_operator(mut lexer: Lexer<'_>) -> bool {
    while lexer.peek().is_some_and(|token| token.is_name() || token.kind == Kind::Dot) {
        lexer.next();
    }
    lexer.accept_kind(Kind::Operator) && lexer.accept_kind(Kind::Close)
}
