//! The formats of `pubf`: JSON with `%` conversions, in the manner of the frozen library.
//!
//! | conversion | takes | gives |
//! | --- | --- | --- |
//! | `%d` `%i` `%u` | integer | a number |
//! | `%f` `%g` | number | a number |
//! | `%s` | string | its text: as it is, or escaped where it stands between quotes |
//! | `%Q` | string or nil | a quoted string, or null |
//! | `%B` | boolean | true or false |
//! | `%H` `%V` | string of any bytes | a quoted string, hexadecimal or base64 |
//! | `%M` | function | what it returns, as JSON |
//! | `%%` | nothing | % |
//!
//! Flags, width and precision are those of printf (`*` takes an integer), length modifiers are passed over. A bare word
//! before a colon is quoted.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// Where conversions take their values from, one after the other. An error is a message that names the argument.
pub(super) trait Values {
    type Error;
    /// An error about the format, or about how a value stands in it.
    fn wrong(&self, text: String) -> Self::Error;
    fn integer(&mut self) -> Result<i64, Self::Error>;
    fn number(&mut self) -> Result<f64, Self::Error>;
    fn boolean(&mut self) -> Result<bool, Self::Error>;
    fn text(&mut self) -> Result<String, Self::Error>;
    fn text_or_nil(&mut self) -> Result<Option<String>, Self::Error>;
    fn bytes(&mut self) -> Result<Vec<u8>, Self::Error>;
    /// What a function returns.
    fn result(&mut self) -> Result<Value, Self::Error>;
}

/// Fills a format with values.
///
/// # Errors
/// The format is none, a value is not what a conversion takes, or the result is not JSON.
pub(super) fn format<V: Values>(format: &str, values: &mut V) -> Result<String, V::Error> {
    let mut out = String::with_capacity(2 * format.len());
    let mut rest = format.chars().peekable();
    let mut quoted = false;
    while let Some(c) = rest.next() {
        match c {
            '%' => convert(&mut out, &mut rest, quoted, values)?,
            '\\' if quoted => {
                out.push(c);
                out.extend(rest.next());
            }
            '"' => {
                quoted = !quoted;
                out.push(c);
            }
            _ if quoted => out.push(c),
            c if is_word_start(c) => word(&mut out, c, &mut rest),
            // a number's exponent is no word
            c if c.is_ascii_digit() => {
                out.push(c);
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '.') {
                    out.push(c);
                }
            }
            c => out.push(c),
        }
    }
    match serde_json::from_str::<Value>(&out) {
        Ok(_) => Ok(out),
        Err(error) => Err(values.wrong(format!("the result is not JSON: {error}"))),
    }
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

/// A bare word: a key if a colon follows, otherwise true, false, null or a mistake.
fn word(out: &mut String, first: char, rest: &mut Peekable<Chars<'_>>) {
    let mut word = String::from(first);
    while let Some(c) = rest.next_if(|c| is_word_start(*c) || c.is_ascii_digit()) {
        word.push(c);
    }
    let mut space = String::new();
    while let Some(c) = rest.next_if(|c| c.is_ascii_whitespace()) {
        space.push(c);
    }
    if rest.peek() == Some(&':') {
        out.extend(["\"", &word, "\""]);
    } else {
        out.push_str(&word);
    }
    out.push_str(&space);
}

/// What stands between `%` and the letter.
#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// More than this is taken for a mistake.
const MOST: i64 = 1000;

fn convert<V: Values>(
    out: &mut String,
    rest: &mut Peekable<Chars<'_>>,
    quoted: bool,
    values: &mut V,
) -> Result<(), V::Error> {
    let mut spec = Spec::default();
    while let Some(flag) = rest.next_if(|c| "-+ 0#".contains(*c)) {
        match flag {
            '-' => spec.left = true,
            '+' => spec.plus = true,
            ' ' => spec.space = true,
            '0' => spec.zero = true,
            _ => spec.alternate = true,
        }
    }
    let width = size(rest, values)?.unwrap_or(0);
    spec.left |= width < 0;
    spec.width = width.unsigned_abs() as usize;
    if rest.next_if_eq(&'.').is_some() {
        // a negative one counts as none
        spec.precision = usize::try_from(size(rest, values)?.unwrap_or(0)).ok();
    }
    while rest.next_if(|c| "hlLzjt".contains(*c)).is_some() {}
    match rest.next() {
        Some('d' | 'i') => {
            let value = values.integer()?;
            spec.put_number(out, value < 0, spec.digits(value.unsigned_abs()), spec.precision.is_none());
        }
        Some('u') => {
            let value = values.integer()?;
            let value = u64::try_from(value)
                .map_err(|_| values.wrong(format!("%u: no negative number expected, got {value}")))?;
            spec.put_number(out, false, spec.digits(value), spec.precision.is_none());
        }
        Some(letter @ ('f' | 'g')) => {
            let value = values.number()?;
            if !value.is_finite() {
                return Err(values.wrong(format!("%{letter}: JSON has no {value}")));
            }
            let digits = match letter {
                'f' => format!("{:.*}", spec.precision.unwrap_or(6), value.abs()),
                _ => general(value.abs(), spec.precision.unwrap_or(6), spec.alternate),
            };
            spec.put_number(out, value.is_sign_negative(), digits, true);
        }
        Some('s') => {
            let text = spec.cut(values.text()?);
            let text = if quoted { escaped(&text) } else { text };
            spec.put(out, &text);
        }
        Some('Q') => match values.text_or_nil()? {
            Some(text) => spec.put(out, &format!("\"{}\"", escaped(&spec.cut(text)))),
            None => spec.put(out, "null"),
        },
        Some('B') => spec.put(out, if values.boolean()? { "true" } else { "false" }),
        Some('H') => {
            let hex: String = values.bytes()?.iter().map(|byte| format!("{byte:02x}")).collect();
            spec.put(out, &format!("\"{hex}\""));
        }
        Some('V') => spec.put(out, &format!("\"{}\"", base64(&values.bytes()?))),
        Some('M') => spec.put(out, &values.result()?.to_string()),
        Some('%') => out.push('%'),
        Some(other) => {
            let text = format!("%{other}: one of d, i, u, f, g, s, Q, B, H, V, M, % expected after %");
            return Err(values.wrong(text));
        }
        None => return Err(values.wrong("the format ends in the middle of a conversion".to_owned())),
    }
    Ok(())
}

/// A width or a precision: digits, or `*` and a value.
fn size<V: Values>(rest: &mut Peekable<Chars<'_>>, values: &mut V) -> Result<Option<i64>, V::Error> {
    let size = if rest.next_if_eq(&'*').is_some() {
        Some(values.integer()?)
    } else {
        let mut size = None;
        while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
            rest.next();
            size = Some((size.unwrap_or(0) * 10 + i64::from(digit)).min(MOST + 1));
        }
        size
    };
    match size {
        Some(size) if size.abs() > MOST => {
            Err(values.wrong(format!("a width or precision of at most {MOST} expected")))
        }
        size => Ok(size),
    }
}

impl Spec {
    /// Digits of an integer, at least as many as the precision says.
    fn digits(&self, value: u64) -> String {
        format!("{value:0width$}", width = self.precision.unwrap_or(1))
    }

    fn put_number(&self, out: &mut String, negative: bool, digits: String, may_fill: bool) {
        let sign = match negative {
            true => "-",
            false if self.plus => "+",
            false if self.space => " ",
            false => "",
        };
        let missing = self.width.saturating_sub(sign.len() + digits.len());
        if self.zero && !self.left && may_fill {
            out.extend([sign, &"0".repeat(missing), &digits]);
        } else {
            self.put(out, &format!("{sign}{digits}"));
        }
    }

    /// Fills up to the width with spaces.
    fn put(&self, out: &mut String, text: &str) {
        let missing = " ".repeat(self.width.saturating_sub(text.chars().count()));
        if self.left { out.extend([text, &missing]) } else { out.extend([&*missing, text]) }
    }

    /// At most as many characters as the precision says.
    fn cut(&self, text: String) -> String {
        match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text,
        }
    }
}

/// `%g` of a number that is not negative: the shorter of `%e` and `%f`, without zeros at the end unless `alternate`.
fn general(value: f64, precision: usize, alternate: bool) -> String {
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("written by {:e}");
    let exponent: i32 = exponent.parse().expect("written by {:e}");
    let trimmed = |digits: &str| match digits.contains('.') && !alternate {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
    } else {
        trimmed(&format!("{value:.*}", (precision as i32 - 1 - exponent) as usize))
    }
}

/// The inside of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index| u32::from(chunk.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) & 63;
            out.push(if digit <= chunk.len() { DIGITS[index as usize].into() } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Values of a test, in their order.
    #[derive(Clone, Debug)]
    enum Given {
        Integer(i64),
        Number(f64),
        Boolean(bool),
        Text(&'static str),
        Nil,
        Bytes(&'static [u8]),
        Returned(Value),
    }
    use Given::*;

    struct List<'a>(std::slice::Iter<'a, Given>);

    impl Values for List<'_> {
        type Error = String;
        fn wrong(&self, text: String) -> String {
            text
        }
        fn integer(&mut self) -> Result<i64, String> {
            match self.0.next() {
                Some(Integer(value)) => Ok(*value),
                other => Err(format!("integer expected, got {other:?}")),
            }
        }
        fn number(&mut self) -> Result<f64, String> {
            match self.0.next() {
                Some(Number(value)) => Ok(*value),
                other => Err(format!("number expected, got {other:?}")),
            }
        }
        fn boolean(&mut self) -> Result<bool, String> {
            match self.0.next() {
                Some(Boolean(value)) => Ok(*value),
                other => Err(format!("boolean expected, got {other:?}")),
            }
        }
        fn text(&mut self) -> Result<String, String> {
            match self.0.next() {
                Some(Text(value)) => Ok((*value).to_owned()),
                other => Err(format!("string expected, got {other:?}")),
            }
        }
        fn text_or_nil(&mut self) -> Result<Option<String>, String> {
            match self.0.next() {
                Some(Text(value)) => Ok(Some((*value).to_owned())),
                Some(Nil) => Ok(None),
                other => Err(format!("string or nil expected, got {other:?}")),
            }
        }
        fn bytes(&mut self) -> Result<Vec<u8>, String> {
            match self.0.next() {
                Some(Bytes(value)) => Ok(value.to_vec()),
                other => Err(format!("bytes expected, got {other:?}")),
            }
        }
        fn result(&mut self) -> Result<Value, String> {
            match self.0.next() {
                Some(Returned(value)) => Ok(value.clone()),
                other => Err(format!("function expected, got {other:?}")),
            }
        }
    }

    fn filled(format: &str, values: &[Given]) -> Result<String, String> {
        super::format(format, &mut List(values.iter()))
    }

    fn assert_filled(format: &str, values: &[Given], expected: &str) {
        assert_eq!(filled(format, values).as_deref(), Ok(expected), "{format}");
    }

    #[test]
    fn keys_are_quoted_as_needed_and_words_elsewhere_are_left() {
        assert_filled("{a: 1, \"b\": 2, _c3 : true}", &[], r#"{"a": 1, "b": 2, "_c3" : true}"#);
        assert_filled("{a: null, b:[false, 1e5, -2.5E+3]}", &[], r#"{"a": null, "b":[false, 1e5, -2.5E+3]}"#);
        assert_filled(r#"{a: "word: \" b: %%"}"#, &[], r#"{"a": "word: \" b: %"}"#);
        assert_filled("{true: {null: 1}}", &[], r#"{"true": {"null": 1}}"#);
        assert_filled("{a:%d}", &[Integer(1)], r#"{"a":1}"#);
    }

    #[test]
    fn integers_and_their_flags() {
        assert_filled("[%d, %i, %u]", &[Integer(-5), Integer(0), Integer(7)], "[-5, 0, 7]");
        assert_filled(
            "[%ld, %lld, %lu, %hhd]",
            &[Integer(1), Integer(2), Integer(3), Integer(4)],
            "[1, 2, 3, 4]",
        );
        assert_filled("[%4d,%-4d]", &[Integer(7), Integer(7)], "[   7,7   ]");
        assert_filled(
            r#""%04d %+d % d %.3d %*d""#,
            &[Integer(-7), Integer(7), Integer(7), Integer(7), Integer(3), Integer(1)],
            r#""-007 +7  7 007   1""#,
        );
        assert_filled("%d", &[Integer(i64::MIN)], "-9223372036854775808");
        assert_eq!(filled("%u", &[Integer(-1)]), Err("%u: no negative number expected, got -1".into()));
    }

    #[test]
    fn floats_are_those_of_printf() {
        let cases = [
            ("%f", 21.5, "21.500000"),
            ("%.2f", 2.675, "2.67"),
            ("%.0f", 0.5, "0"),
            ("%08.2f", -3.125, "-0003.12"),
            ("%g", 0.0001, "0.0001"),
            ("%g", 0.00001, "1e-05"),
            ("%g", 100_000.0, "100000"),
            ("%g", 1_000_000.0, "1e+06"),
            ("%g", 0.1, "0.1"),
            ("%.17g", 0.1, "0.10000000000000001"),
            ("%.3g", 1234.0, "1.23e+03"),
            ("%g", 999_999.5, "1e+06"),
            ("%g", 0.0, "0"),
            ("%#g", 1.0, "1.00000"),
            ("%.0g", 55.0, "6e+01"),
            ("%g", 1e300, "1e+300"),
        ];
        for (format, value, expected) in cases {
            let text = format!("\"{format}\"");
            assert_filled(&text, &[Number(value)], &format!("\"{expected}\""));
        }
        for value in [f64::NAN, f64::INFINITY] {
            assert!(filled("%f", &[Number(value)]).unwrap_err().starts_with("%f: JSON has no "));
        }
    }

    #[test]
    fn strings_are_escaped_where_they_stand_between_quotes() {
        assert_filled("{a: %Q}", &[Text("he said \"hi\"\n")], r#"{"a": "he said \"hi\"\n"}"#);
        assert_filled("{a: %Q}", &[Nil], r#"{"a": null}"#);
        assert_filled(r#"{a: "x %s y"}"#, &[Text("\"},{\\")], r#"{"a": "x \"},{\\ y"}"#);
        assert_filled("{a: %s}", &[Text("[1,2]")], r#"{"a": [1,2]}"#);
        assert_filled("[%.2Q, %.*Q]", &[Text("äbc"), Integer(1), Text("xyz")], r#"["äb", "x"]"#);
        assert_filled(r#""%-4s|%4s|%.1s""#, &[Text("ab"), Text("ab"), Text("ab")], r#""ab  |  ab|a""#);
    }

    #[test]
    fn booleans_bytes_and_values() {
        assert_filled("[%B, %B]", &[Boolean(true), Boolean(false)], "[true, false]");
        assert_filled("[%H, %H]", &[Bytes(b"\x00\xff\x10"), Bytes(b"")], r#"["00ff10", ""]"#);
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (b"\xfb\xff\xfe", "+//+"),
        ] {
            assert_filled("%V", &[Bytes(bytes)], &format!("\"{expected}\""));
        }
        assert_filled("{a: %M}", &[Returned(json!({"x": [1, "y"]}))], r#"{"a": {"x":[1,"y"]}}"#);
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        for (format, values) in [
            ("{a: %s}", vec![Text("no")]),
            ("{a: b}", vec![]),
            ("{a: %d", vec![Integer(1)]),
            ("", vec![]),
            ("{a: \"%Q\"}", vec![Text("x")]),
            ("%+d", vec![Integer(1)]),
            ("{} {}", vec![]),
        ] {
            let error = filled(format, &values).unwrap_err();
            assert!(error.starts_with("the result is not JSON: "), "{format}: {error}");
        }
    }

    #[test]
    fn a_wrong_format_or_value_is_an_error() {
        for (format, expected) in [
            ("%x", "%x: one of d, i, u"),
            ("%", "the format ends in the middle"),
            ("%5", "the format ends in the middle"),
            ("%1001d", "a width or precision of at most 1000"),
            ("%99999999999999999999d", "a width or precision of at most 1000"),
            ("%d", "integer expected"),
            ("%s", "string expected"),
            ("%B", "boolean expected"),
            ("%M", "function expected"),
        ] {
            let error = filled(format, &[]).unwrap_err();
            assert!(error.starts_with(expected), "{format}: {error}");
        }
    }
}
