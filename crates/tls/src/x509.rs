//! The little that is read of a certificate itself: whom it names, and until when it holds.
//!
//! Everything that trust depends on is rustls' work. This reads certificates which that has found good, and one's own;
//! whatever is not as RFC 5280 has it reads as nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const OBJECT_ID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// 2.5.4.3, encoded.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The common name of a certificate's subject: the last one, as etcd has it, if there are several.
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, subject) = validity_and_subject(certificate)?;
    let mut name = None;
    let mut sets = Reader(subject);
    while let Some(set) = sets.take(SET) {
        let mut attributes = Reader(set);
        while let Some(attribute) = attributes.take(SEQUENCE) {
            let mut attribute = Reader(attribute);
            if attribute.take(OBJECT_ID)? == COMMON_NAME {
                let (tag, value) = attribute.next()?;
                let is_text = matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
                name = is_text.then(|| std::str::from_utf8(value).ok()).flatten();
            }
        }
    }
    name.filter(|name| !name.is_empty()).map(String::from)
}

/// When a certificate ends.
pub(crate) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let (validity, _) = validity_and_subject(certificate)?;
    let mut validity = Reader(validity);
    validity.next()?;
    match validity.next()? {
        (UTC_TIME, text) => {
            let year = number(text.get(..2)?)?;
            // RFC 5280, section 4.1.2.5.1.
            let century = if year < 50 { 2000 } else { 1900 };
            time(century + year, text.get(2..)?)
        }
        (GENERALIZED_TIME, text) => time(number(text.get(..4)?)?, text.get(4..)?),
        _ => None,
    }
}

fn validity_and_subject(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let signed = Reader(certificate).take(SEQUENCE)?;
    let mut fields = Reader(Reader(signed).take(SEQUENCE)?);
    let (first, _) = fields.next()?;
    if first == VERSION {
        let _serial = fields.next()?;
    }
    let _algorithm = fields.take(SEQUENCE)?;
    let _issuer = fields.take(SEQUENCE)?;
    Some((fields.take(SEQUENCE)?, fields.take(SEQUENCE)?))
}

/// `MMDDHHMMSSZ` of a year.
fn time(year: u64, rest: &[u8]) -> Option<SystemTime> {
    let two = |at: usize| number(rest.get(at..at + 2)?);
    let (month, day, hour, minute, second) = (two(0)?, two(2)?, two(4)?, two(6)?, two(8)?);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let leap_day = u64::from(month > 2 && is_leap(year));
    let days = years + BEFORE[month as usize - 1] + leap_day + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads elements of DER, one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag and what is in it.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            // More than four bytes of length is no certificate that anybody has read.
            0x81..=0x84 => {
                let (bytes, behind) = rest.split_at_checked(usize::from(first - 0x80))?;
                rest = behind;
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(names: &[&str], ends: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "people");
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.not_after = date_time_ymd(ends.0, ends.1, ends.2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_whom_it_names() {
        assert_eq!(common_name(&certificate(&["ada"], (2030, 1, 1))).as_deref(), Some("ada"));
        assert_eq!(common_name(&certificate(&["Ä d"], (2030, 1, 1))).as_deref(), Some("Ä d"));
        assert_eq!(common_name(&certificate(&[], (2030, 1, 1))), None);
        assert_eq!(common_name(&certificate(&[""], (2030, 1, 1))), None);
    }

    #[test]
    fn a_certificate_says_when_it_ends() {
        for (date, seconds) in [
            ((1970, 1, 2), 86_400),
            ((2000, 3, 1), 951_868_800),
            ((2024, 2, 29), 1_709_164_800),
            ((2049, 12, 31), 2_524_521_600),
            // From 2050 on the time is written in the longer form.
            ((2100, 3, 1), 4_107_542_400),
        ] {
            let ends = not_after(&certificate(&["ada"], date));
            assert_eq!(ends, Some(UNIX_EPOCH + Duration::from_secs(seconds)), "{date:?}");
        }
    }

    #[test]
    fn no_part_of_a_certificate_and_no_changed_byte_is_more_than_nothing() {
        let whole = certificate(&["ada"], (2030, 1, 1));
        for cut in 0..whole.len() {
            assert_eq!(common_name(&whole[..cut]), None, "{cut}");
        }
        for at in 0..whole.len() {
            for change in [0x80, 0xff, 0x01] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                // Only that it ends in an answer is claimed here.
                let _ = (common_name(&changed), not_after(&changed));
            }
        }
    }
}
