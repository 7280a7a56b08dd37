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
pub(super) fn check_name_bytes(name: &[u8]) -> Result<(), TopicError> {
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
