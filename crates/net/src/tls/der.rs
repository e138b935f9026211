//! The few fields of an X.509 certificate (RFC 5280) that rustls does not show: its signature's hash, its common name, and
//! enough to accept version 1 certificates, which PostgreSQL's own instructions produce and `webpki` refuses.

use aws_lc_rs::digest;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// A certificate taken apart; all slices point into it. Algorithm identifiers are without their outer SEQUENCE header, as
/// rustls writes them.
#[derive(Debug)]
pub struct Certificate<'a> {
    /// What the issuer signed.
    pub signed: &'a [u8],
    /// Issuer's name.
    pub issuer: &'a [u8],
    /// First second of validity, in seconds since 1970.
    pub not_before: i64,
    /// Last second of validity, in seconds since 1970.
    pub not_after: i64,
    /// Subject's name.
    pub subject: &'a [u8],
    /// SubjectPublicKeyInfo with its header.
    pub key_info: &'a [u8],
    /// Algorithm identifier of the subject's key.
    pub key_algorithm: &'a [u8],
    /// The subject's key.
    pub key: &'a [u8],
    /// Contents of the extension list; empty in version 1.
    pub extensions: &'a [u8],
    /// Algorithm identifier of the signature.
    pub signature_algorithm: &'a [u8],
    /// The issuer's signature.
    pub signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Takes a DER certificate apart; `None` when it is not one.
    pub fn parse(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut outer = Reader(Reader(der).take(SEQUENCE)?);
        let (signed, tbs) = outer.take_whole(SEQUENCE)?;
        let signature_algorithm = outer.take(SEQUENCE)?;
        let signature = outer.bits()?;
        let mut tbs = Reader(tbs);
        if tbs.0.first() == Some(&0xa0) {
            tbs.take(0xa0)?;
        }
        tbs.take(INTEGER)?;
        tbs.take(SEQUENCE)?;
        let issuer = tbs.take(SEQUENCE)?;
        let mut validity = Reader(tbs.take(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = tbs.take(SEQUENCE)?;
        let (key_info, inner) = tbs.take_whole(SEQUENCE)?;
        let mut inner = Reader(inner);
        let key_algorithm = inner.take(SEQUENCE)?;
        let key = inner.bits()?;
        let mut extensions: &[u8] = &[];
        while let Some((tag, content)) = tbs.any() {
            if tag == 0xa3 {
                extensions = Reader(content).take(SEQUENCE)?;
            }
        }
        Some(Certificate {
            signed,
            issuer,
            not_before,
            not_after,
            subject,
            key_info,
            key_algorithm,
            key,
            extensions,
            signature_algorithm,
            signature,
        })
    }

    /// The first common name of the subject, when it is readable text.
    pub fn common_name(&self) -> Option<&'a str> {
        let mut names = Reader(self.subject);
        while let Some(set) = names.take(SET) {
            // Nearly always one, but a name may have several parts that count as one.
            let mut parts = Reader(set);
            while let Some(pair) = parts.take(SEQUENCE) {
                let mut pair = Reader(pair);
                if pair.take(OID)? == COMMON_NAME {
                    let (_kind, text) = pair.any()?;
                    return std::str::from_utf8(text).ok();
                }
            }
        }
        None
    }

    /// True when the certificate names a host or an address in its subject alternative names, so that its common name does not
    /// count (RFC 6125, section 6.4.4).
    pub fn has_alternative_host(&self) -> bool {
        const DNS_NAME: u8 = 0x82;
        const IP_ADDRESS: u8 = 0x87;
        let mut extensions = Reader(self.extensions);
        while let Some(extension) = extensions.take(SEQUENCE) {
            let mut fields = Reader(extension);
            if fields.take(OID) != Some(SUBJECT_ALT_NAME) {
                continue;
            }
            // An optional "critical" flag stands before the value.
            while let Some((tag, value)) = fields.any() {
                if tag == OCTET_STRING {
                    let mut names = Reader(Reader(value).take(SEQUENCE).unwrap_or_default());
                    return std::iter::from_fn(|| names.any())
                        .any(|(tag, _)| tag == DNS_NAME || tag == IP_ADDRESS);
                }
            }
        }
        false
    }
}

/// The `tls-server-end-point` channel binding of a certificate (RFC 5929, section 4.1): its hash by the hash function of its own
/// signature, SHA-256 in place of MD5 and SHA-1. `None` when the signature algorithm names no hash we know.
pub fn end_point(der: &[u8]) -> Option<Box<[u8]>> {
    let certificate = Certificate::parse(der)?;
    let mut algorithm = Reader(certificate.signature_algorithm);
    let id = algorithm.take(OID)?;
    let hash = match id {
        // 1.2.840.113549.1.1.x: RSA with MD5, SHA-1, PSS, SHA-256, SHA-384, SHA-512.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last] => match last {
            4 | 5 | 11 => &digest::SHA256,
            10 => pss_hash(algorithm.take(SEQUENCE)?)?,
            12 => &digest::SHA384,
            13 => &digest::SHA512,
            _ => return None,
        },
        // 1.2.840.10045.4.1 and 4.3.x: ECDSA with SHA-1, SHA-256, SHA-384, SHA-512.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02] => {
            &digest::SHA256
        }
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03] => &digest::SHA384,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04] => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(hash, der).as_ref().into())
}

/// The hash in RSASSA-PSS parameters (RFC 4055, section 3.1); its default is SHA-1, which counts as SHA-256 here.
fn pss_hash(parameters: &[u8]) -> Option<&'static digest::Algorithm> {
    let Some(hash) = Reader(parameters).take(0xa0) else { return Some(&digest::SHA256) };
    match Reader(Reader(hash).take(SEQUENCE)?).take(OID)? {
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 1] => Some(&digest::SHA256),
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 2] => Some(&digest::SHA384),
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 3] => Some(&digest::SHA512),
        _ => None,
    }
}

/// Reads DER elements off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element's tag and content.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, _, content) = self.element()?;
        Some((tag, content))
    }

    /// The next element's content; `None`, and nothing consumed, when its tag is another one.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        Some(self.take_whole(tag)?.1)
    }

    /// As [`Reader::take`], with the header in the first slice.
    fn take_whole(&mut self, tag: u8) -> Option<(&'a [u8], &'a [u8])> {
        if self.0.first() != Some(&tag) {
            return None;
        }
        let (_, whole, content) = self.element()?;
        Some((whole, content))
    }

    /// A bit string of whole bytes.
    fn bits(&mut self) -> Option<&'a [u8]> {
        match self.take(BIT_STRING)?.split_first()? {
            (0, bits) => Some(bits),
            _ => None,
        }
    }

    fn element(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, &first) = (self.0.first()?, self.0.get(1)?);
        let (header, length) = if first < 0x80 {
            (2, usize::from(first))
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return None;
            }
            let bytes = self.0.get(2..2 + count)?;
            (2 + count, bytes.iter().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte)))
        };
        let end = header.checked_add(length)?;
        let whole = self.0.get(..end)?;
        self.0 = self.0.get(end..)?;
        Some((tag, whole, whole.get(header..)?))
    }

    /// A point in time, in seconds since 1970 (RFC 5280, section 4.1.2.5).
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.any()?;
        let digits = text.strip_suffix(b"Z")?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = |part: &[u8]| part.iter().fold(0i64, |sum, &digit| sum * 10 + i64::from(digit - b'0'));
        let (year, rest) = match (tag, digits.len()) {
            (UTC_TIME, 12) => match number(&digits[..2]) {
                short @ 0..50 => (2000 + short, &digits[2..]),
                short => (1900 + short, &digits[2..]),
            },
            (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
            _ => return None,
        };
        let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
        Some(days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second)
    }
}

/// Days from 1970-01-01 in the Gregorian calendar; years run from March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let in_year = (153 * from_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_the_calendar() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 2, 29), 11_016);
        assert_eq!(days_since_1970(2026, 11, 20), 20_777);
    }

    #[test]
    fn reads_both_kinds_of_time() {
        let short = [&[UTC_TIME, 13][..], b"261120000001Z"].concat();
        let long = [&[GENERALIZED_TIME, 15][..], b"20261120000001Z"].concat();
        assert_eq!(Reader(&short).time(), Some(20_777 * 86400 + 1));
        assert_eq!(Reader(&long).time(), Reader(&short).time());
    }

    proptest! {
        #[test]
        fn garbage_is_no_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Certificate::parse(&bytes).is_none());
            prop_assert!(end_point(&bytes).is_none());
        }

        #[test]
        fn damage_never_panics(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
            let issued = rcgen::generate_simple_self_signed(["db.example".to_string()]).expect("rcgen");
            let mut der = issued.cert.der().to_vec();
            let length = der.len();
            der[at % length] = byte;
            der.truncate(length - cut % length);
            if let Some(parsed) = Certificate::parse(&der) {
                let _ = (parsed.common_name(), parsed.has_alternative_host());
            }
            let _ = end_point(&der);
        }
    }
}
