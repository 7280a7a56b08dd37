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

    /// Whether a message of this topic name is meant: see [`matches`].
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
    if is_plain(name.as_bytes()) && name.len().wrapping_sub(1) < MAX_TOPIC {
        Ok(())
    } else {
        Err(name_error(name.as_bytes()))
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

/// The topic name that stands in a packet: as [`check_name`], but from bytes.
#[inline]
pub(super) fn decode_name(bytes: &[u8]) -> Result<&str, TopicError> {
    match std::str::from_utf8(bytes) {
        Ok(name) if is_plain(bytes) && !bytes.is_empty() => Ok(name),
        Ok(_) => Err(name_error(bytes)),
        Err(_) => Err(TopicError::Utf8),
    }
}

/// Whether bytes contain neither 0 nor `+` nor `#`. Those never are a part of a longer UTF-8 sequence, so no decoding is
/// needed. Eight bytes at a time: topics are checked for every message in both directions.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<8>() {
        let (words, _) = bytes.as_chunks::<8>();
        // The last word overlaps the one before it, instead of a loop over what is left.
        let mut special = specials(*last);
        for word in words {
            special |= specials(*word);
        }
        return special == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let ([a, b, c, d], [e, f, g, h]) = (*first, *last);
        return specials([a, b, c, d, e, f, g, h]) == 0;
    }
    bytes.iter().all(|byte| !matches!(byte, 0 | b'+' | b'#'))
}

/// Not 0 if one of eight bytes is 0, `+` or `#`.
#[inline]
fn specials(word: [u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Has its high bit set where a byte is 0 (and perhaps in bytes above such a one).
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word & (ONES << 7)
    }
    let word = u64::from_le_bytes(word);
    // `+` is 2B and `#` is 23: alike but for one bit.
    zeros(word) | zeros((word & !(ONES * 0x08)) ^ (ONES * 0x23))
}

/// Says what is wrong with a name that is no topic name.
#[cold]
fn name_error(name: &[u8]) -> TopicError {
    if name.is_empty() {
        TopicError::Empty
    } else if name.len() > MAX_TOPIC {
        TopicError::TooLong
    } else if name.contains(&0) {
        TopicError::Nul
    } else {
        TopicError::Wildcard
    }
}

/// How a filter of a shared subscription starts. MQTT 5 defined them; many brokers serve them to 3.1.1 clients too.
const SHARE: &str = "$share/";
