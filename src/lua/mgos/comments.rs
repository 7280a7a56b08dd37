//! JSON with `//` and `/* */` comments, as the manual prints it.

/// Puts spaces in the place of comments, so that lines and columns of what is left stay what they are. Strings are left
/// alone.
///
/// # Errors
/// A block comment does not end: the line on which it begins, from 1.
pub(super) fn strip(text: &str) -> Result<String, usize> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (keep, len) = if rest.starts_with("//") {
            (false, rest.find('\n').unwrap_or(rest.len()))
        } else if let Some(block) = rest.strip_prefix("/*") {
            let end = block.find("*/").ok_or_else(|| 1 + out.matches('\n').count())?;
            (false, 2 + end + 2)
        } else if rest.starts_with('"') {
            (true, string_length(rest))
        } else {
            (true, 1) // a slash that is none of ours to judge
        };
        let (token, after) = rest.split_at(len);
        match keep {
            true => out.push_str(token),
            false => out.extend(token.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' })),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The length of the string literal at the start of `text`, quotes included; all of `text` if it does not end.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_spaces_and_lines_stay() {
        assert_eq!(strip("{} // a\n[]").unwrap(), "{}     \n[]");
        assert_eq!(strip("1/* a\nb */2").unwrap(), "1    \n    2");
        assert_eq!(strip("//\r\n1").unwrap(), "   \n1");
        assert_eq!(strip("1 // to the end").unwrap(), format!("1{}", " ".repeat(14)));
        assert_eq!(strip("/**/1/*/*/2").unwrap(), "    1     2");
        assert_eq!(strip("// \u{e4}\u{20ac}\n1").unwrap().len(), "// \u{e4}\u{20ac}\n1".len());
    }

    #[test]
    fn strings_are_left_alone() {
        for text in [
            r#"{"a": "// no comment", "b": "/* neither */"}"#,
            r#"{"a": "quote \" // still inside", "b\\": 1}"#,
            r#""http://\u00e4/\\""#,
            r#""does not end // here"#,
        ] {
            assert_eq!(strip(text).unwrap(), text);
        }
        assert_eq!(strip(r#""a\\" // b"#).unwrap(), r#""a\\"     "#);
        assert_eq!(strip(r#""a" /* "b */ "c""#).unwrap(), format!("\"a\"{}\"c\"", " ".repeat(10)));
    }

    #[test]
    fn a_block_that_does_not_end_is_an_error_with_its_line() {
        assert_eq!(strip("1\n\n /* 2\n3"), Err(3));
        assert_eq!(strip("/*/"), Err(1));
    }

    #[test]
    fn a_slash_alone_is_left_to_the_parser() {
        assert_eq!(strip("1 / 2").unwrap(), "1 / 2");
        assert_eq!(strip("/").unwrap(), "/");
    }
}
