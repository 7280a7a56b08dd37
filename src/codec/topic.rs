//! Topic names and topic filters (MQTT 3.1.1, 4.7): which are legal, and which filter matches which name.

use super::error::TopicError;

/// The longest topic name or filter in bytes \[MQTT-4.7.3-3\].
pub const MAX_TOPIC: usize = 65_535;

/// A topic name that may stand in a PUBLISH or a will: checked when made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks a name: see [`check_name`].
    pub fn new(name: &'a str) -> Result<TopicName<'a>, TopicError> {
        check_name(name).map(|()| TopicName(name))
    }

    /// The name.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// A topic filter that may stand in a SUBSCRIBE or UNSUBSCRIBE: checked when made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a>(&'a str);

impl<'a> TopicFilter<'a> {
    /// Checks a filter: see [`check_filter`].
    pub fn new(filter: &'a str) -> Result<TopicFilter<'a>, TopicError> {
        check_filter(filter).map(|()| TopicFilter(filter))
    }

    /// The filter.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether a message of this topic name is meant: see [`matches()`].
    pub fn matches(self, name: &str) -> bool {
        matches(self.0, name)
    }

    /// Of a shared subscription, `$share/<group>/<filter>`: its group and its filter.
    pub fn shared(self) -> Option<(&'a str, &'a str)> {
        shared(self.0)
    }
}

/// Whether a string is a topic name: 1 to 65535 bytes, without U+0000 and without wildcards.
#[inline]
pub fn check_name(name: &str) -> Result<(), TopicError> {
    if is_simple(name.as_bytes()) && name.len().wrapping_sub(1) < MAX_TOPIC {
        Ok(())
    } else {
        check_name_fully(name)
    }
}

/// Whether a string is a topic filter: 1 to 65535 bytes without U+0000, `#` only as the whole last level, `+` only as a
/// whole level; and if it starts with `$share/`, then a group without wildcards and a filter follow.
pub fn check_filter(filter: &str) -> Result<(), TopicError> {
    if filter.is_empty() {
        return Err(TopicError::Empty);
    }
    if filter.len() > MAX_TOPIC {
        return Err(TopicError::TooLong);
    }
    if filter.contains('\0') {
        return Err(TopicError::Nul);
    }
    let levels = match filter.strip_prefix(SHARE) {
        None => filter,
        Some(rest) => match rest.split_once('/') {
            Some((group, filter))
                if !group.is_empty() && !group.contains(['+', '#']) && !filter.is_empty() =>
            {
                filter
            }
            _ => return Err(TopicError::Share),
        },
    };
    let mut levels = levels.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(TopicError::MultiLevel);
        }
        if level.contains('+') && level != "+" {
            return Err(TopicError::SingleLevel);
        }
    }
    Ok(())
}

/// Whether a message with the topic name `topic` is meant by `filter`. Both must be legal. A filter that starts with a
/// wildcard does not match names that start with `$` \[MQTT-4.7.2-1\]; of `$share/<group>/<filter>` only the last part
/// counts.
pub fn matches(filter: &str, topic: &str) -> bool {
    let filter = shared(filter).map_or(filter, |(_, filter)| filter);
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = topic.split('/');
    for level in filter.split('/') {
        match (level, names.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// The group and the filter of `$share/<group>/<filter>`.
pub fn shared(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix(SHARE)?.split_once('/')
}

/// [`check_name`] for the bytes that stand in a packet, which may be no UTF-8 either.
#[inline]
pub fn check_name_bytes(name: &[u8]) -> Result<(), TopicError> {
    if is_simple(name) && name.len().wrapping_sub(1) < MAX_TOPIC {
        Ok(())
    } else {
        check_name_fully(std::str::from_utf8(name).map_err(|_| TopicError::Utf8)?)
    }
}

/// [`check_name`] for the names that its fast path does not know to be right.
#[cold]
fn check_name_fully(name: &str) -> Result<(), TopicError> {
    if name.is_empty() {
        Err(TopicError::Empty)
    } else if name.len() > MAX_TOPIC {
        Err(TopicError::TooLong)
    } else if name.contains('\0') {
        Err(TopicError::Nul)
    } else if name.contains(['+', '#']) {
        Err(TopicError::Wildcard)
    } else {
        Ok(())
    }
}

/// Whether bytes are ASCII without 0, `+` and `#`, as nearly all topic names are. Eight bytes at a time: the topic of
/// every message in either direction passes here.
#[inline]
fn is_simple(bytes: &[u8]) -> bool {
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    if let Some(last) = bytes.last_chunk() {
        // The last word overlaps the one before it, instead of a loop over what is left.
        let (words, _) = bytes.as_chunks();
        words.iter().fold(specials(word(last)), |found, bytes| found | specials(word(bytes))) == 0
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        specials(half(first) | half(last) << 32) == 0
    } else {
        bytes.iter().all(|byte| byte.is_ascii() && !matches!(byte, 0 | b'+' | b'#'))
    }
}

/// Not 0 if one of eight bytes is 0, `+`, `#` or not ASCII.
#[inline]
fn specials(word: u64) -> u64 {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    // The high bit of each byte tells; adding 7F sets it in every ASCII byte but 0. Carries come out of bytes that are
    // not ASCII only, and those are found anyway. `+` (2B) and `#` (23) differ in one bit, which is masked out.
    let not_zero = word.wrapping_add(each(0x7F));
    let not_wildcard = ((word & each(!0x08)) ^ each(0x23)).wrapping_add(each(0x7F));
    (word | !(not_zero & not_wildcard)) & each(0x80)
}

/// How a filter of a shared subscription starts. MQTT 5 defined them; many brokers serve them to 3.1.1 clients too.
const SHARE: &str = "$share/";

/// The entry for fuzzing: two strings with a line feed between them, as filter and as name. Where both are legal,
/// matching agrees with the plainest way to say it.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    fn matches_levels(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, name @ ..]) => matches_levels(filter, name),
            ([level, filter @ ..], [same, name @ ..]) if level == same => matches_levels(filter, name),
            _ => false,
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (filter, name) = text.split_once('\n').unwrap_or((text, text));
    assert_eq!(check_name(name), check_name_bytes(name.as_bytes()));
    if check_name(name).is_ok() && !name.starts_with(SHARE) {
        assert_eq!((check_filter(name), matches(name, name)), (Ok(()), true), "a name matches itself");
    }
    if check_filter(filter).is_err() || check_name(name).is_err() {
        return;
    }
    let inner = shared(filter).map_or(filter, |(_, filter)| filter);
    let split = |text| -> Vec<&str> { str::split(text, '/').collect() };
    let hidden = name.starts_with('$') && inner.starts_with(['+', '#']);
    let expected = !hidden && matches_levels(&split(inner), &split(name));
    assert_eq!(matches(filter, name), expected, "{filter} {name}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name through each of the two checks, which share a fast path but not its exceptions.
    fn name(name: &str) -> Result<(), TopicError> {
        let result = check_name(name);
        assert_eq!(check_name_bytes(name.as_bytes()), result, "{name:?}");
        assert_eq!(TopicName::new(name).map(TopicName::as_str), result.map(|()| name));
        result
    }

    #[test]
    fn ordinary_names_are_legal() {
        for legal in
            ["a", "/", "//", "a/b", "/a", "a/", " ", "Räume/Küche/溫度/🌡", "$SYS/x", "\u{1}", "a/$share/*?"]
        {
            assert_eq!(name(legal), Ok(()), "{legal:?}");
        }
    }

    #[test]
    fn mqtt_4_7_3_1_names_and_filters_have_at_least_one_character() {
        assert_eq!(name(""), Err(TopicError::Empty));
        assert_eq!(check_filter(""), Err(TopicError::Empty));
    }

    #[test]
    fn mqtt_4_7_3_2_and_mqtt_1_5_3_2_names_and_filters_have_no_u_0000() {
        for nul in ["\0", "a\0b", "eight ch\0", "\u{e9}\0"] {
            assert_eq!(name(nul), Err(TopicError::Nul), "{nul:?}");
            assert_eq!(check_filter(nul), Err(TopicError::Nul), "{nul:?}");
        }
    }

    #[test]
    fn mqtt_4_7_3_3_names_and_filters_have_at_most_65535_bytes() {
        for character in ["a", "ä"] {
            let just = character.repeat(65_535 / character.len());
            assert_eq!((name(&just), check_filter(&just)), (Ok(()), Ok(())));
            let above = just + "aa";
            assert_eq!(
                (name(&above), check_filter(&above)),
                (Err(TopicError::TooLong), Err(TopicError::TooLong))
            );
        }
    }

    #[test]
    fn mqtt_4_7_1_1_and_mqtt_3_3_2_2_names_have_no_wildcards() {
        for wildcard in ["#", "+", "a/#", "a/+/b", "a+b", "a#", "ä/+"] {
            assert_eq!(name(wildcard), Err(TopicError::Wildcard), "{wildcard:?}");
        }
    }

    #[test]
    fn mqtt_1_5_3_1_names_are_utf_8_without_surrogates() {
        let broken: [&[u8]; 6] = [
            b"\xFF\xFE",
            b"\xED\xA0\x80",     // U+D800, a surrogate
            b"\xED\xBF\xBF",     // U+DFFF
            b"\xC0\x80",         // U+0000 in two bytes
            b"a/b/c/d/\xE2\x82", // cut short
            b"\xF4\x90\x80\x80", // beyond U+10FFFF
        ];
        for broken in broken {
            assert_eq!(check_name_bytes(broken), Err(TopicError::Utf8), "{broken:02x?}");
        }
    }

    #[test]
    fn every_special_byte_is_found_at_every_place_of_names_of_every_length() {
        for length in 1..40 {
            let plain = vec![b'a'; length];
            assert_eq!(check_name_bytes(&plain), Ok(()));
            for at in 0..length {
                for byte in 0..=255 {
                    let mut bytes = plain.clone();
                    bytes[at] = byte;
                    let expected = match byte {
                        0 => Err(TopicError::Nul),
                        b'+' | b'#' => Err(TopicError::Wildcard),
                        0x80.. => Err(TopicError::Utf8),
                        _ => Ok(()),
                    };
                    assert_eq!(check_name_bytes(&bytes), expected, "{byte:02x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn mqtt_4_7_1_2_the_number_sign_stands_alone_in_the_last_level() {
        for legal in ["#", "a/#", "/#", "+/#", "a/+/#"] {
            assert_eq!(check_filter(legal), Ok(()), "{legal}");
        }
        for illegal in ["a#", "#a", "a/#/b", "#/", "#/#", "a/b#", "##", "a/+#"] {
            assert_eq!(check_filter(illegal), Err(TopicError::MultiLevel), "{illegal}");
        }
    }

    #[test]
    fn mqtt_4_7_1_3_the_plus_sign_fills_a_whole_level() {
        for legal in ["+", "/+", "+/", "+/+", "a/+", "+/a", "a/+/b", "+/tennis/#"] {
            assert_eq!(check_filter(legal), Ok(()), "{legal}");
        }
        for illegal in ["a+", "+a", "a+/b", "a/b+", "++", "a/+b/c"] {
            assert_eq!(check_filter(illegal), Err(TopicError::SingleLevel), "{illegal}");
        }
    }

    #[test]
    fn shared_subscriptions_have_a_group_and_a_filter() {
        for (legal, group, filter) in
            [("$share/g/a", "g", "a"), ("$share/g/+/#", "g", "+/#"), ("$share/my group//", "my group", "/")]
        {
            let checked = TopicFilter::new(legal).expect(legal);
            assert_eq!((checked.shared(), checked.as_str()), (Some((group, filter)), legal));
        }
        for illegal in
            ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#/a", "$share/g#/a"]
        {
            assert_eq!(TopicFilter::new(illegal), Err(TopicError::Share), "{illegal}");
        }
        assert_eq!(check_filter("$share/g/a#"), Err(TopicError::MultiLevel));
        assert_eq!(check_filter("$share/g/a+"), Err(TopicError::SingleLevel));
        // Ordinary filters that only look alike.
        assert_eq!((check_filter("$share"), shared("$share")), (Ok(()), None));
        assert_eq!((check_filter("$shared/g/a"), shared("$shared/g/a")), (Ok(()), None));
    }

    #[test]
    fn filters_match_the_names_of_the_standard_s_examples_and_of_common_mistakes() {
        const TABLE: &[(&str, &[&str], &[&str])] = &[
            // (filter, names that it matches, names that it does not)
            ("a", &["a"], &["b", "A", "aa", "a/", "/a", "a/b", "ä"]),
            ("a/b", &["a/b"], &["a", "a/b/", "a/b/c", "a//b", "a/B"]),
            ("/", &["/"], &["a", "//", "a/", "/a"]),
            ("#", &["a", "/", "a/b", "/a", "a/b/c/"], &["$SYS", "$SYS/a", "$"]),
            (
                "sport/tennis/player1/#",
                &[
                    "sport/tennis/player1",
                    "sport/tennis/player1/ranking",
                    "sport/tennis/player1/score/wimbledon",
                ],
                &["sport/tennis/player2", "sport/tennis", "sport/tennis/player10"],
            ),
            ("sport/#", &["sport", "sport/", "sport/a/b"], &["sports", "/sport"]),
            ("/#", &["/", "/a", "/a/b"], &["a", "a/b"]),
            (
                "sport/tennis/+",
                &["sport/tennis/player1", "sport/tennis/"],
                &["sport/tennis/player1/ranking", "sport/tennis"],
            ),
            ("sport/+", &["sport/", "sport/a"], &["sport", "sport/a/b"]),
            ("+", &["a", "finance"], &["/finance", "a/", "$SYS"]),
            ("+/+", &["/finance", "a/b", "/"], &["finance", "a/b/c", "$SYS/a"]),
            ("/+", &["/finance", "/"], &["finance", "a/finance"]),
            ("+/monitor/Clients", &["a/monitor/Clients"], &["$SYS/monitor/Clients"]),
            ("+/#", &["a", "a/b", "/"], &["$SYS", "$SYS/a"]),
            ("a/+/c", &["a/b/c", "a//c", "a/$b/c"], &["a/c", "a/b/d", "a/b/c/d"]),
            ("a/+/#", &["a/b", "a/b/c", "a/"], &["a", "b/b"]),
            ("$SYS/#", &["$SYS", "$SYS/", "$SYS/broker/load"], &["SYS", "$SYSTEM"]),
            ("$SYS/monitor/+", &["$SYS/monitor/Clients"], &["$SYS/monitor/Clients/x"]),
            ("$share/g/a/+", &["a/b"], &["a", "$share/g/a/b", "g/a/b"]),
            ("$share/g/#", &["a", "a/b"], &["$SYS/a", "$share/g/a"]),
            ("$share/g/$SYS/#", &["$SYS/a"], &["a"]),
            ("$share/g//a", &["/a"], &["a"]),
        ];
        for (filter, yes, no) in TABLE {
            let filter = TopicFilter::new(filter).expect(filter);
            for topic in *yes {
                assert!(filter.matches(topic), "{filter:?} must match {topic}");
            }
            for topic in *no {
                assert!(!filter.matches(topic), "{filter:?} must not match {topic}");
            }
        }
    }

    #[test]
    fn mqtt_4_7_2_1_a_leading_wildcard_does_not_match_a_leading_dollar() {
        for filter in ["#", "+", "+/#", "+/broker", "$share/g/#", "$share/g/+/broker"] {
            assert!(!matches(filter, "$SYS/broker"), "{filter}");
        }
    }
}
