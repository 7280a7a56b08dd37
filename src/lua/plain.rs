//! Arguments as they lie on the stack of Lua, for the short ways of `hot`: looked at once, without a reference to be given
//! back, and only taken for what they are. A number that serves as a string, and all that is wrong, is for
//! [`args`](super::args).

use std::ops::RangeInclusive;

/// An argument, or a field of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Plain<'a> {
    Nil,
    Boolean(bool),
    Number(f64),
    String(&'a [u8]),
    Function,
    Other,
}

impl<'a> Plain<'a> {
    /// 0, 1 or a boolean.
    pub(crate) fn flag(self) -> Option<bool> {
        match self {
            Plain::Boolean(flag) => Some(flag),
            Plain::Number(0.0) => Some(false),
            Plain::Number(1.0) => Some(true),
            _ => None,
        }
    }

    /// A whole number.
    pub(crate) fn integer(self, range: RangeInclusive<i64>) -> Option<i64> {
        match self {
            // so far they are all exact
            Plain::Number(number) if number.abs() < (1u64 << 53) as f64 && number.fract() == 0.0 => {
                Some(number as i64).filter(|number| range.contains(number))
            }
            _ => None,
        }
    }

    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Plain::String(bytes) => Some(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_one_that_has_no_fraction_and_is_exact() {
        let integer = |number| Plain::Number(number).integer(-1..=i64::MAX);
        assert_eq!((integer(0.0), integer(-1.0), integer(65535.0)), (Some(0), Some(-1), Some(65535)));
        for number in [0.5, -2.0, 1e300, f64::INFINITY, f64::NAN] {
            assert_eq!(integer(number), None, "{number}");
        }
        assert_eq!(Plain::String(b"1").integer(0..=1), None);
    }

    #[test]
    fn a_flag_is_a_boolean_or_0_or_1() {
        for (value, flag) in [
            (Plain::Boolean(true), Some(true)),
            (Plain::Number(0.0), Some(false)),
            (Plain::Number(1.0), Some(true)),
            (Plain::Number(2.0), None),
            (Plain::Nil, None),
            (Plain::String(b"1"), None),
        ] {
            assert_eq!(value.flag(), flag, "{value:?}");
        }
    }
}
