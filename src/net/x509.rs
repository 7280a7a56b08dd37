//! The few fields of a certificate that the path validation does not give away: it takes a trusted certificate for a name
//! and a key only, and its errors hold no more than the check that failed.
//!
//! Nothing here decides on its own that a certificate is good; what it reads only adds reasons to refuse one, or words to
//! a refusal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is read of a certificate.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// Seconds since 1970.
    pub(super) not_before: i64,
    /// Seconds since 1970.
    pub(super) not_after: i64,
    /// Issuer and subject are the same name.
    pub(super) self_issued: bool,
    /// It may sign certificates: CA in the basic constraints, or a root of version 1, which has no such field.
    pub(super) may_sign: bool,
    /// Common name of the issuer, for people.
    pub(super) issuer: Option<String>,
    /// Common name of the subject, for people.
    pub(super) subject: Option<String>,
    /// Subject public key info, whole.
    pub(super) public_key: &'a [u8],
    /// Length of the modulus, if the key is an RSA key.
    pub(super) rsa_bits: Option<usize>,
}

impl<'a> Fields<'a> {
    /// Reads a certificate (RFC 5280, section 4.1); none: it is malformed.
    pub(super) fn read(certificate: &'a [u8]) -> Option<Fields<'a>> {
        let mut outer = Der(Der(certificate).expect(SEQUENCE)?);
        let mut body = Der(outer.expect(SEQUENCE)?);
        let version = if body.peek() == Some(CONTEXT_0) { body.expect(CONTEXT_0)? } else { &[] };
        body.expect(INTEGER)?; // serial number
        body.expect(SEQUENCE)?; // signature algorithm
        let issuer = body.expect(SEQUENCE)?;
        let mut validity = Der(body.expect(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = body.expect(SEQUENCE)?;
        let public_key = body.whole(SEQUENCE)?;
        Some(Fields {
            not_before,
            not_after,
            self_issued: issuer == subject,
            may_sign: if version.is_empty() { issuer == subject } else { is_ca(body).unwrap_or(false) },
            issuer: common_name(issuer),
            subject: common_name(subject),
            public_key,
            rsa_bits: rsa_bits(public_key),
        })
    }

    /// Why the certificate is not valid now, if it is not.
    pub(super) fn out_of_date(&self, now: SystemTime) -> Option<OutOfDate> {
        let now = seconds(now);
        if now < self.not_before {
            Some(OutOfDate::NotYetValid(self.not_before))
        } else if now > self.not_after {
            Some(OutOfDate::Expired(self.not_after))
        } else {
            None
        }
    }
}

/// Today lies outside of a certificate's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutOfDate {
    /// It starts then (seconds since 1970).
    NotYetValid(i64),
    /// It ended then.
    Expired(i64),
}

impl std::fmt::Display for OutOfDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OutOfDate::NotYetValid(start) => write!(f, "not valid before {}", date(*start)),
            OutOfDate::Expired(end) => write!(f, "expired on {}", date(*end)),
        }
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    }
}

/// `2031-05-17 08:00:00 UTC`.
pub(super) fn date(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a day that is counted from 1970. Years are reckoned from March on, so that the leap day is a
/// year's last.
fn civil(days: i64) -> (i64, i64, i64) {
    let since = days + 719_468; // from 0000-03-01
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097)); // 400 years
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153; // March is 0
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// The reverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = (month + 9) % 12;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * shifted + 2) / 5 + day - 1 - 719_468
}

/// The CA flag of the basic constraints (RFC 5280, section 4.2.1.9), from what follows the public key.
fn is_ca(mut rest: Der<'_>) -> Option<bool> {
    while rest.peek() != Some(CONTEXT_3) {
        rest.any()?; // unique identifiers
    }
    let mut extensions = Der(Der(rest.expect(CONTEXT_3)?).expect(SEQUENCE)?);
    while !extensions.0.is_empty() {
        let mut extension = Der(extensions.expect(SEQUENCE)?);
        if extension.expect(OID)? != BASIC_CONSTRAINTS {
            continue;
        }
        if extension.peek() == Some(BOOLEAN) {
            extension.expect(BOOLEAN)?; // critical
        }
        let mut constraints = Der(Der(extension.expect(OCTET_STRING)?).expect(SEQUENCE)?);
        return Some(constraints.peek() == Some(BOOLEAN) && constraints.expect(BOOLEAN)? == [0xff]);
    }
    None
}

/// The last common name in a distinguished name, with what a terminal could take for a command escaped.
fn common_name(name: &[u8]) -> Option<String> {
    let mut parts = Der(name);
    let mut found = None;
    while let Some(part) = parts.expect(SET) {
        let mut attribute = Der(Der(part).expect(SEQUENCE)?);
        if attribute.expect(OID)? == COMMON_NAME {
            let (_, text) = attribute.any()?;
            found = Some(String::from_utf8_lossy(text).escape_debug().to_string());
        }
    }
    found
}

fn rsa_bits(public_key: &[u8]) -> Option<usize> {
    let mut info = Der(Der(public_key).expect(SEQUENCE)?);
    if Der(info.expect(SEQUENCE)?).expect(OID)? != RSA_ENCRYPTION {
        return None;
    }
    let (unused, key) = info.expect(BIT_STRING)?.split_first()?;
    let modulus = Der(Der(key).expect(SEQUENCE)?).expect(INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    (*unused == 0).then(|| (modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// A reader of DER: definite lengths, one-byte tags.
#[derive(Clone, Copy, Debug)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: its tag and its contents.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if length >= 0x80 {
            let bytes = length & 0x7f;
            if bytes == 0 || bytes > 4 {
                return None;
            }
            let digits;
            (digits, rest) = rest.split_at_checked(bytes)?;
            length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        }
        let contents;
        (contents, self.0) = rest.split_at_checked(length)?;
        Some((tag, contents))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, contents)| contents)
    }

    /// The next element with its tag and length.
    fn whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        self.expect(tag)?;
        Some(&before[..before.len() - self.0.len()])
    }

    /// A date (RFC 5280, section 4.1.2.5): `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.any()?;
        let digits = text.strip_suffix(b"Z")?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let two = |at: usize| i64::from(digits[at] - b'0') * 10 + i64::from(digits[at + 1] - b'0');
        let (year, at) = match (tag, digits.len()) {
            (UTC_TIME, 12) => (if two(0) < 50 { 2000 + two(0) } else { 1900 + two(0) }, 2),
            (GENERALIZED_TIME, 14) => (two(0) * 100 + two(2), 4),
            _ => return None,
        };
        let day = days(year, two(at), two(at + 2));
        // a date that does not exist would be counted as another one
        (civil(day) == (year, two(at), two(at + 2))).then_some(())?;
        Some(day * 86_400 + two(at + 4) * 3600 + two(at + 6) * 60 + two(at + 8))
    }
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_3: u8 = 0xa3;

/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// The entry for fuzzing: a certificate of any bytes is read or not, and what is read can be shown.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Some(fields) = Fields::read(data) else { return };
    for now in [UNIX_EPOCH, UNIX_EPOCH + Duration::from_secs(1 << 40)] {
        let _ = fields.out_of_date(now).map(|why| why.to_string());
    }
    assert!(fields.public_key.len() <= data.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_agree() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (-631_152_000, "1950-01-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(date(seconds), text);
        }
        for day in (-30_000..120_000).step_by(7) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn times_are_read_as_the_standard_says() {
        fn time(tag: u8, text: &[u8]) -> Option<i64> {
            let element = [&[tag, text.len() as u8], text].concat();
            Der(&element).time()
        }
        assert_eq!(time(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(time(UTC_TIME, b"491231235959Z").map(date).unwrap(), "2049-12-31 23:59:59 UTC");
        assert_eq!(time(UTC_TIME, b"500101000000Z").map(date).unwrap(), "1950-01-01 00:00:00 UTC");
        assert_eq!(time(GENERALIZED_TIME, b"20500101000000Z").map(date).unwrap(), "2050-01-01 00:00:00 UTC");
        for bad in
            [b"700101000000+".as_slice(), b"7001010000Z", b"701301000000Z", b"700230000000Z", b"", b"Z"]
        {
            assert_eq!(time(UTC_TIME, bad), None, "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(time(GENERALIZED_TIME, b"700101000000Z"), None);
    }

    #[test]
    fn elements_never_reach_beyond_the_input() {
        for bad in
            [&[][..], &[0x30], &[0x30, 0x01], &[0x30, 0x80], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x82, 1]]
        {
            assert!(Der(bad).any().is_none(), "{bad:?}");
            assert!(Fields::read(bad).is_none());
        }
        assert_eq!(Der(&[0x04, 0x81, 0x01, 7]).any(), Some((OCTET_STRING, &[7][..])));
    }
}
