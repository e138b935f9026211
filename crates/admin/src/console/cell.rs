//! Values in tables, and how they look on the wire.

use bytes::{BufMut, BytesMut};
use std::borrow::Cow;

/// The type of a column; those that PgBouncer's tables have, so that drivers make the same of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text`.
    Text,
    /// `int4`.
    Int4,
    /// `int8`.
    Int8,
    /// `numeric`; whole numbers only.
    Numeric,
    /// `bytea`.
    Bytea,
}

impl Kind {
    /// Its OID (`pg_type.dat`).
    pub fn oid(self) -> u32 {
        match self {
            Kind::Text => 25,
            Kind::Int4 => 23,
            Kind::Int8 => 20,
            Kind::Numeric => 1700,
            Kind::Bytea => 17,
        }
    }

    /// Its length in bytes as `pg_type` has it, -1 for a variable one.
    pub fn size(self) -> i16 {
        match self {
            Kind::Int4 => 4,
            Kind::Int8 => 8,
            Kind::Text | Kind::Numeric | Kind::Bytea => -1,
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// For text.
    Text(Cow<'static, str>),
    /// For the three kinds of numbers. What is too large for the column's type is told as its largest number.
    Number(i64),
}

impl Cell {
    /// A text.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Cell {
        Cell::Text(text.into())
    }

    /// A text, or NULL.
    pub fn maybe(text: Option<impl Into<Cow<'static, str>>>) -> Cell {
        text.map_or(Cell::Null, Cell::text)
    }

    /// A number that cannot be negative.
    pub fn count(number: impl TryInto<i64>) -> Cell {
        Cell::Number(number.try_into().unwrap_or(i64::MAX))
    }

    /// Appends it as a DataRow holds it: length and bytes (documentation, chapter 55.7).
    pub fn write(&self, kind: Kind, binary: bool, out: &mut BytesMut) {
        let at = out.len();
        out.put_i32(-1);
        match self {
            Cell::Null => return,
            Cell::Text(text) => out.put_slice(text.as_bytes()),
            Cell::Number(number) => write_number(*number, kind, binary, out),
        }
        let length = i32::try_from(out.len() - at - 4).unwrap_or(i32::MAX);
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn write_number(number: i64, kind: Kind, binary: bool, out: &mut BytesMut) {
    let small = i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX });
    match (kind, binary) {
        (Kind::Int4, true) => out.put_i32(small),
        (Kind::Int8, true) => out.put_i64(number),
        (Kind::Numeric, true) => write_numeric(number, out),
        (Kind::Int4, false) => out.put_slice(small.to_string().as_bytes()),
        (Kind::Int8 | Kind::Numeric, false) | (Kind::Text | Kind::Bytea, _) => {
            out.put_slice(number.to_string().as_bytes());
        }
    }
}

/// `numeric_send`: number of digits to the base 10000, weight of the first, sign, decimals, digits.
fn write_numeric(number: i64, out: &mut BytesMut) {
    const BASE: u64 = 10_000;
    const NEGATIVE: u16 = 0x4000;
    let mut digits = [0u16; 5];
    let (mut rest, mut from) = (number.unsigned_abs(), digits.len());
    while rest > 0 && from > 0 {
        from -= 1;
        digits[from] = (rest % BASE) as u16;
        rest /= BASE;
    }
    let digits = &digits[from..];
    let weight = digits.len().saturating_sub(1) as u16;
    out.put_u16(digits.len() as u16);
    out.put_u16(weight);
    out.put_u16(if number < 0 { NEGATIVE } else { 0 });
    out.put_u16(0);
    digits.iter().for_each(|digit| out.put_u16(*digit));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(cell: &Cell, kind: Kind, binary: bool) -> Vec<u8> {
        let mut out = BytesMut::new();
        cell.write(kind, binary, &mut out);
        let (length, bytes) = out.split_first_chunk::<4>().unwrap();
        assert_eq!(i32::from_be_bytes(*length), if *cell == Cell::Null { -1 } else { bytes.len() as i32 });
        bytes.to_vec()
    }

    #[test]
    fn numbers_have_two_forms() {
        let number = Cell::Number(-70_000);
        for kind in [Kind::Int4, Kind::Int8, Kind::Numeric] {
            assert_eq!(written(&number, kind, false), b"-70000");
        }
        assert_eq!(written(&number, Kind::Int4, true), (-70_000i32).to_be_bytes());
        assert_eq!(written(&number, Kind::Int8, true), (-70_000i64).to_be_bytes());
        // As PostgreSQL 15 sends it: select (-70000)::numeric.
        assert_eq!(written(&number, Kind::Numeric, true), [0, 2, 0, 1, 0x40, 0, 0, 0, 0, 7, 0, 0]);
        assert_eq!(written(&Cell::Number(0), Kind::Numeric, true), [0; 8]);
        assert_eq!(written(&Cell::Number(i64::MAX), Kind::Numeric, true)[..4], [0, 5, 0, 4]);
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(written(&Cell::Number(1 << 40), Kind::Int4, false), b"2147483647");
        assert_eq!(written(&Cell::count(u64::MAX), Kind::Int8, false), i64::MAX.to_string().as_bytes());
        assert_eq!(written(&Cell::Null, Kind::Text, true), b"");
    }
}
