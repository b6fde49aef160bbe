//! The CSV reader of rtm-load, against a second reader that is written another way, and against itself.

use crate::input::{Origin, parse};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Reads the bytes as a file.
pub fn run(bytes: &[u8]) {
    let found = parse("fuzz", bytes);
    if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        if let Ok(origins) = found {
            check(&origins);
        }
        return;
    }
    let expected = read(bytes);
    match (&found, &expected) {
        (Ok(found), Some(expected)) => assert_eq!(found, expected, "DIVERGENCE: what was read"),
        (Err(error), None) => check_message(&error.to_string(), bytes),
        (Ok(_), None) => panic!("DIVERGENCE: read, and should be refused"),
        (Err(error), Some(_)) => panic!("DIVERGENCE: refused: {error}"),
    }
    let Ok(origins) = found else { return };
    check(&origins);

    let digest = written(&origins);
    assert_eq!(parse("digest", digest.as_bytes()).as_ref(), Ok(&origins), "DIVERGENCE: its digest");
    let crlf: Vec<u8> = bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
    assert_eq!(parse("CRLF", &crlf).as_ref(), Ok(&origins), "DIVERGENCE: lines that end in CRLF");
    let doubled = [digest.as_bytes(), digest.as_bytes()].concat();
    let add = |count: u32| count.checked_mul(2);
    let sum: Option<Vec<Origin>> = origins
        .iter()
        .map(|origin| {
            let (v4, v6) = (add(origin.ipv4_prefixes)?, add(origin.ipv6_prefixes)?);
            Some(Origin { asn: origin.asn, ipv4_prefixes: v4, ipv6_prefixes: v6 })
        })
        .collect();
    assert_eq!(parse("twice", &doubled).ok(), sum, "DIVERGENCE: the same twice");
}

fn check(origins: &[Origin]) {
    assert!(!origins.is_empty() && origins[0].asn != 0, "DIVERGENCE: AS 0, or none");
    assert!(origins.is_sorted_by(|a, b| a.asn < b.asn), "DIVERGENCE: not sorted, or not unique");
}

/// A message names its file, shows nothing that steers a terminal, and ends.
fn check_message(message: &str, bytes: &[u8]) {
    assert!(message.starts_with("fuzz"), "DIVERGENCE: a message without its file: {message}");
    let harmless = |c: char| !c.is_control();
    assert!(message.chars().all(harmless), "DIVERGENCE: a message that steers: {message:?}");
    assert!(message.len() < 4000, "DIVERGENCE: a message of {} bytes", message.len());
    if let Some((_, rest)) = message.split_once(", line ") {
        let line: usize = rest.split(':').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let lines = bytes.split(|byte| *byte == b'\n').count();
        assert!((1..=lines).contains(&line), "DIVERGENCE: line {line} of {lines}");
    }
}

fn written(origins: &[Origin]) -> String {
    let mut text = "origin_as,ipv4_prefixes,ipv6_prefixes\n".to_owned();
    for Origin { asn, ipv4_prefixes, ipv6_prefixes } in origins {
        text += &format!("{asn},{ipv4_prefixes},{ipv6_prefixes}\n");
    }
    text
}

// --- The second reader ---

/// The origins of a plain file; `None`: it is to be refused.
fn read(bytes: &[u8]) -> Option<Vec<Origin>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut sums = BTreeMap::<u32, [u64; 2]>::new();
    let mut rows = None;
    let mut any = false;
    for line in text.split('\n').map(str::trim) {
        let columns: Vec<&str> = line.split(',').collect();
        match (line, &rows) {
            ("prefix,origin_as", _) => rows = Some(2),
            ("origin_as,ipv4_prefixes,ipv6_prefixes", _) => rows = Some(3),
            (line, _) if line.is_empty() || line.as_bytes()[0] == b'#' => {}
            (_, Some(number)) if columns.len() == *number => {
                let (asn, counts) = match columns[..] {
                    [prefix, asn] => (asn, if is_v4(prefix)? { [1, 0] } else { [0, 1] }),
                    _ => (columns[0], [decimal(columns[1])?, decimal(columns[2])?]),
                };
                let asn = decimal(asn).filter(|asn| *asn != 0)?;
                let sum = sums.entry(asn as u32).or_default();
                for (sum, count) in sum.iter_mut().zip(counts) {
                    *sum += count;
                    if *sum >> 32 != 0 {
                        return None;
                    }
                }
                any = true;
            }
            _ => return None,
        }
    }
    let origin = |(asn, [v4, v6]): (u32, [u64; 2])| Origin {
        asn,
        ipv4_prefixes: v4 as u32,
        ipv6_prefixes: v6 as u32,
    };
    any.then(|| sums.into_iter().map(origin).collect())
}

/// A number of 32 bits.
fn decimal(text: &str) -> Option<u64> {
    let mut number = (!text.is_empty()).then_some(0_u64)?;
    for byte in text.bytes() {
        let digit = (byte as char).to_digit(10)?;
        number = number * 10 + u64::from(digit);
        if number >> 32 != 0 {
            return None;
        }
    }
    Some(number)
}

/// Whether a prefix without host bits is one of IPv4.
fn is_v4(prefix: &str) -> Option<bool> {
    let mut parts = prefix.splitn(2, '/');
    let (address, length) = (parts.next()?, decimal(parts.next()?)?);
    let octets = match address.parse().ok()? {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut bits = octets.iter().flat_map(|octet| (0..8).map(move |bit| octet >> (7 - bit) & 1));
    let fits = length <= octets.len() as u64 * 8;
    let plain = bits.by_ref().skip(length as usize).all(|bit| bit == 0);
    (fits && (plain || defect("HostBitsUnseen"))).then_some(octets.len() == 4)
}

/// Whether this reader is to be wrong there, so that the comparison can be seen to fail.
fn defect(name: &str) -> bool {
    cfg!(rtm_broken) && std::env::var("RTM_MUTANT").is_ok_and(|mutant| mutant == name)
}
