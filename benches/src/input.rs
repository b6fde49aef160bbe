//! The input of the load driver: one entity per AS that originates prefixes in the Internet table.
//!
//! Two CSV formats are read, told apart by their header line, which has to stand before the rows:
//!
//! | header | a row says |
//! | --- | --- |
//! | `prefix,origin_as` | this AS originates this IPv4 or IPv6 prefix |
//! | `origin_as,ipv4_prefixes,ipv6_prefixes` | this AS originates so many prefixes of each family |
//!
//! Either may be compressed with zstd. Lines end in LF or CRLF; empty lines and lines that begin
//! with `#` are skipped. A header may come again, so files that were joined with `cat` are fine.
//! Counts of one AS add up over rows and files; every row counts, a repeated prefix too.
//!
//! A prefix whose host bits are set (`10.0.0.1/8`) is an error, not something to repair silently:
//! it may be a wrong length as well as a wrong address. Nothing that a file contains makes this
//! module panic, and what it reads or unpacks is bounded by 256 MiB a file.

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The most that is read from one file, and the most it may unpack to: some fifteen whole tables.
const LIMIT: usize = 256 << 20;
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
const PREFIX_HEADER: &str = "prefix,origin_as";
const DIGEST_HEADER: &str = "origin_as,ipv4_prefixes,ipv6_prefixes";
const SHOWN_CHARS: usize = 80;

/// The digest that is built into the program; `benches/data/README.md` says where it comes from.
const DIGEST: &[u8] = include_bytes!("../data/origin-as.csv.zst");

/// An AS and how many prefixes it originates, in each address family.
///
/// Each count fits 32 bits; a sum over many origins need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The AS number, never 0.
    pub asn: u32,
    /// Number of IPv4 prefixes; may be 0.
    pub ipv4_prefixes: u32,
    /// Number of IPv6 prefixes; may be 0.
    pub ipv6_prefixes: u32,
}

/// Why an input was refused: which file, which line where there is one, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputError {
    file: String,
    /// Number (from 1) and text of the offending line.
    line: Option<(usize, String)>,
    what: String,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match &self.line {
            Some((number, text)) => write!(f, ", line {number}: {}; it reads: {text}", self.what),
            None => write!(f, ": {}", self.what),
        }
    }
}

impl Error for InputError {}

type Origins = BTreeMap<u32, Origin>;

/// The built-in input: 91,065 origins of 564,580 IPv4 and 167,903 IPv6 prefixes, sorted by AS
/// number.
pub fn default_input() -> Vec<Origin> {
    parse("built-in origin-as.csv.zst", DIGEST).expect("a unit test reads this very digest")
}

/// Reads the files at `paths` and adds them up; sorted by AS number, each AS once.
///
/// # Errors
///
/// No path is given; a file cannot be read, is larger than 256 MiB or is refused as by [`parse`].
pub fn read(paths: &[PathBuf]) -> Result<Vec<Origin>, InputError> {
    if paths.is_empty() {
        return Err(whole("input", "no file is given; name at least one CSV file"));
    }
    let mut origins = Origins::new();
    for path in paths {
        let name = path.to_string_lossy();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LIMIT as u64 + 1).read_to_end(&mut bytes))
            .map_err(|e| whole(&name, format!("cannot be read: {e}")))?;
        add_file(&mut origins, &name, &bytes)?;
    }
    Ok(origins.into_values().collect())
}

/// Reads one file that is in memory; sorted by AS number, each AS once. Errors call it `name`.
///
/// # Errors
///
/// A broken zstd frame; more than 256 MiB; bytes that are not UTF-8; a row before the header, or no
/// row at all; a row with other columns than its header, a malformed prefix, an AS number outside 1
/// to 4294967295, or a count that takes the sum of its AS past 4294967295.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Origin>, InputError> {
    let mut origins = Origins::new();
    add_file(&mut origins, name, bytes)?;
    Ok(origins.into_values().collect())
}

fn add_file(origins: &mut Origins, name: &str, bytes: &[u8]) -> Result<(), InputError> {
    if bytes.len() > LIMIT {
        return Err(whole(name, too_large(LIMIT)));
    }
    let unpacked;
    let text = if bytes.starts_with(ZSTD_MAGIC) {
        unpacked = unpack(bytes, LIMIT).map_err(|what| whole(name, what))?;
        &unpacked
    } else {
        bytes
    };
    let text = text.strip_prefix(UTF8_MARK).unwrap_or(text);
    let (mut row, mut rows): (Option<Row>, usize) = (None, 0);
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let bad = |what: String| InputError {
            file: escaped(name),
            line: Some((index + 1, shown(String::from_utf8_lossy(line).trim_end()))),
            what,
        };
        let Ok(line) = str::from_utf8(line) else {
            return Err(bad("not UTF-8; give CSV text, plain or compressed with zstd".into()));
        };
        match (line.trim(), row) {
            ("", _) => {}
            (line, _) if line.starts_with('#') => {}
            (PREFIX_HEADER, _) => row = Some(prefix_row),
            (DIGEST_HEADER, _) => row = Some(digest_row),
            (_, None) => {
                let headers = format!("\"{PREFIX_HEADER}\" or \"{DIGEST_HEADER}\"");
                return Err(bad(format!("no header line yet; begin the file with {headers}")));
            }
            (line, Some(row)) => {
                row(line).and_then(|origin| add(origins, origin)).map_err(bad)?;
                rows += 1;
            }
        }
    }
    if rows == 0 {
        return Err(whole(name, "holds no row; leave the file out or fill it"));
    }
    Ok(())
}

/// Unpacks zstd frames, one after the other, to at most `limit` bytes.
fn unpack(mut bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let broken = |e: &dyn fmt::Display| {
        format!("broken zstd data ({e}); test it with \"zstd -t\" and fetch or make it anew")
    };
    let mut out = Vec::new();
    let mut decoder = FrameDecoder::new();
    while !bytes.is_empty() {
        let room = (limit - out.len()) as u64;
        StreamingDecoder::new_with_decoder(&mut bytes, &mut decoder)
            .map_err(|e| broken(&e))?
            .take(room + 1)
            .read_to_end(&mut out)
            .map_err(|e| broken(&e))?;
        if out.len() > limit {
            return Err(too_large(limit));
        }
        // The decoder computes the checksum but leaves the comparison to its caller.
        let stored = decoder.get_checksum_from_data();
        if stored.is_some() && stored != decoder.get_calculated_checksum() {
            return Err(broken(&"wrong checksum"));
        }
    }
    Ok(out)
}

fn add(origins: &mut Origins, new: Origin) -> Result<(), String> {
    let none = Origin { asn: new.asn, ipv4_prefixes: 0, ipv6_prefixes: 0 };
    let sum = origins.entry(new.asn).or_insert(none);
    let ipv4_prefixes = sum.ipv4_prefixes.checked_add(new.ipv4_prefixes);
    let ipv6_prefixes = sum.ipv6_prefixes.checked_add(new.ipv6_prefixes);
    let (Some(ipv4_prefixes), Some(ipv6_prefixes)) = (ipv4_prefixes, ipv6_prefixes) else {
        return Err(format!("AS {} gets more than {} prefixes of a family", new.asn, u32::MAX));
    };
    *sum = Origin { asn: new.asn, ipv4_prefixes, ipv6_prefixes };
    Ok(())
}

/// What reads a row of one of the two formats.
type Row = fn(&str) -> Result<Origin, String>;

fn prefix_row(line: &str) -> Result<Origin, String> {
    let [prefix, asn] = columns(line)?;
    let is_ipv4 = check_prefix(prefix)?;
    let (ipv4_prefixes, ipv6_prefixes) = if is_ipv4 { (1, 0) } else { (0, 1) };
    Ok(Origin { asn: as_number(asn)?, ipv4_prefixes, ipv6_prefixes })
}

fn digest_row(line: &str) -> Result<Origin, String> {
    let [asn, ipv4, ipv6] = columns(line)?;
    let (ipv4_prefixes, ipv6_prefixes) = (number("count", ipv4)?, number("count", ipv6)?);
    Ok(Origin { asn: as_number(asn)?, ipv4_prefixes, ipv6_prefixes })
}

fn columns<const N: usize>(line: &str) -> Result<[&str; N], String> {
    let found = line.split(',').count();
    let columns: Vec<&str> = line.splitn(N + 1, ',').collect();
    columns.try_into().map_err(|_| format!("the header names {N} columns, this row has {found}"))
}

/// Whether a well-formed prefix is one of IPv4.
fn check_prefix(prefix: &str) -> Result<bool, String> {
    let Some((address, length)) = prefix.split_once('/') else {
        return Err(format!("\"{}\" has no length; write ADDRESS/LENGTH", shown(prefix)));
    };
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("\"{}\" is neither an IPv4 nor an IPv6 address", shown(address)))?;
    let length = number("prefix length", length)?;
    // An IPv4 address is put at the top, so that a length means the same for both families.
    let (bits, longest) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    if length > longest {
        return Err(format!("prefix length {length} is too long; here {longest} is the longest"));
    }
    let host_bits = bits & u128::MAX.checked_shr(length).unwrap_or(0);
    if host_bits != 0 {
        let network = bits - host_bits;
        let network: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::from_bits((network >> 96) as u32).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(network).into(),
        };
        return Err(format!(
            "host bits are set in {address}/{length}; write {network}/{length} if that is meant"
        ));
    }
    Ok(address.is_ipv4())
}

fn as_number(text: &str) -> Result<u32, String> {
    match number("AS number", text)? {
        0 => Err("AS number 0 is reserved and originates nothing; remove the row".into()),
        asn => Ok(asn),
    }
}

fn number(what: &str, text: &str) -> Result<u32, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{what} \"{}\" is not made of digits alone", shown(text)));
    }
    text.parse().map_err(|_| format!("{what} {} is more than {}", shown(text), u32::MAX))
}

fn too_large(limit: usize) -> String {
    format!("more than {limit} bytes, packed or unpacked; split it into several files")
}

fn whole(name: &str, what: impl Into<String>) -> InputError {
    InputError { file: escaped(name), line: None, what: what.into() }
}

/// The beginning of foreign text, as it may stand in a message.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => escaped(&text[..end]) + "…",
        None => escaped(text),
    }
}

/// Foreign text without what could steer a terminal.
fn escaped(text: &str) -> String {
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    const PREFIXES: &str = "prefix,origin_as\n10.0.0.0/8,64500\n2001:db8::/32,7\n0.0.0.0/0,64500\n\
                            ::/0,7\n192.0.2.1/32,7\n::1/128,4294967295\n";
    const COUNTS: &str =
        "origin_as,ipv4_prefixes,ipv6_prefixes\n64500,2,0\n7,1,1\n7,0,1\n4294967295,0,1\n";

    fn origin(asn: u32, ipv4_prefixes: u32, ipv6_prefixes: u32) -> Origin {
        Origin { asn, ipv4_prefixes, ipv6_prefixes }
    }

    fn sample() -> Vec<Origin> {
        vec![origin(7, 1, 2), origin(64500, 2, 0), origin(u32::MAX, 0, 1)]
    }

    fn pack(text: &str) -> Vec<u8> {
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    }

    /// Asserts that `bytes` are refused at this line with a message that contains `what`.
    #[track_caller]
    fn refused(bytes: impl AsRef<[u8]>, line: usize, what: &str) {
        let error = parse("some.csv", bytes.as_ref()).unwrap_err();
        let found = error.line.as_ref().map_or(0, |line| line.0);
        let text = error.to_string();
        assert!(found == line && text.starts_with("some.csv") && text.contains(what), "{text}");
    }

    #[test]
    fn the_built_in_input_is_whole() {
        let input = default_input();
        assert_eq!(input.len(), 91_065);
        assert!(input.is_sorted_by(|a, b| a.asn < b.asn));
        assert_eq!(input.iter().map(|o| u64::from(o.ipv4_prefixes)).sum::<u64>(), 564_580);
        assert_eq!(input.iter().map(|o| u64::from(o.ipv6_prefixes)).sum::<u64>(), 167_903);
        assert_eq!(input[0], origin(1, 56, 1));
    }

    #[test]
    fn all_forms_of_a_file_mean_the_same() {
        for text in [PREFIXES, COUNTS] {
            let odd = format!("\u{feff}# a note\n\n{text}  \n#\n").replace('\n', "\r\n");
            for text in [text, text.trim_end(), &odd] {
                assert_eq!(parse("plain", text.as_bytes()), Ok(sample()));
                assert_eq!(parse("packed", &pack(text)), Ok(sample()));
            }
        }
    }

    #[test]
    fn files_rows_and_frames_add_up() {
        let sum = vec![origin(7, 2, 4), origin(64500, 4, 0), origin(u32::MAX, 0, 2)];
        assert_eq!(parse("joined", format!("{PREFIXES}{COUNTS}").as_bytes()), Ok(sum.clone()));
        assert_eq!(parse("frames", &[pack(PREFIXES), pack(COUNTS)].concat()), Ok(sum.clone()));

        let folder = std::env::temp_dir().join(format!("rtm-input-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let paths = [folder.join("prefixes.csv"), folder.join("digest.csv.zst")];
        std::fs::write(&paths[0], PREFIXES).unwrap();
        std::fs::write(&paths[1], pack(COUNTS)).unwrap();
        let (both, of_folder) = (read(&paths), read(std::slice::from_ref(&folder)));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(both, Ok(sum));
        assert!(of_folder.unwrap_err().to_string().contains("cannot be read"));
        assert!(read(&paths).unwrap_err().to_string().contains("prefixes.csv: cannot be read"));
        assert!(read(&[]).unwrap_err().to_string().contains("no file is given"));
    }

    #[test]
    fn a_bad_file_is_refused() {
        for empty in ["", "\r\n", "# nothing\n", PREFIX_HEADER, DIGEST_HEADER] {
            refused(empty, 0, "holds no row");
            refused(pack(empty), 0, "holds no row");
        }
        refused("\n10.0.0.0/8,7\n", 2, "no header line yet");
        refused("prefix;origin_as\n", 1, "no header line yet");
        refused(b"prefix,origin_as\n10.0.0.0/8,7\n\xff\n", 3, "not UTF-8");
        refused(b"\x1f\x8b\x08\x00", 1, "not UTF-8");
    }

    #[test]
    fn a_bad_row_is_refused() {
        for (row, what) in [
            ("10.0.0.0/8", "2 columns, this row has 1"),
            ("10.0.0.0/8,7,", "2 columns, this row has 3"),
            ("10.0.0.0,7", "has no length"),
            ("10.0.0/8,7", "\"10.0.0\" is neither"),
            ("\"10.0.0.0/8\",7", "is neither"),
            ("fe80::1%eth0/128,7", "is neither"),
            ("10.0.0.0/33,7", "prefix length 33 is too long; here 32 is"),
            ("::/129,7", "here 128 is"),
            ("::/+8,7", "prefix length \"+8\" is not made of digits"),
            ("::/,7", "prefix length \"\" is not"),
            ("10.1.2.3/8,7", "write 10.0.0.0/8 if"),
            ("2001:db8::1/32,7", "write 2001:db8::/32 if"),
            ("1.0.0.0/0,7", "write 0.0.0.0/0 if"),
            ("10.0.0.0/8,0", "AS number 0"),
            ("10.0.0.0/8,AS7", "AS number \"AS7\" is not"),
            ("10.0.0.0/8,-7", "AS number \"-7\" is not"),
            ("10.0.0.0/8,", "AS number \"\" is not"),
            ("10.0.0.0/8,4294967296", "AS number 4294967296 is more than 4294967295"),
        ] {
            refused(format!("{PREFIX_HEADER}\r\n#\r\n::/0,7\r\n{row}\r\n"), 4, what);
        }
        for (row, what) in [
            ("7,1", "3 columns, this row has 2"),
            ("0,1,1", "AS number 0"),
            ("4294967296,1,1", "AS number 4294967296"),
            ("7,x,1", "count \"x\" is not"),
            ("7,1,4294967296", "count 4294967296 is more"),
            ("7,4294967295,0", "AS 7 gets more than 4294967295 prefixes"),
            ("7,0,4294967295", "AS 7 gets more than 4294967295 prefixes"),
        ] {
            refused(format!("{DIGEST_HEADER}\n7,1,1\n{row}\n"), 3, what);
        }
    }

    #[test]
    fn a_message_shows_the_line_short_and_harmless() {
        let error = parse("a\x1bb", b"prefix,origin_as\n\x07\xe2\x80\xae'\"x\r\n").unwrap_err();
        let text = error.to_string();
        let expected =
            r#"a\u{1b}b, line 2: the header names 2 columns, this row has 1; it reads: "#;
        assert_eq!(text, expected.to_owned() + r#"\u{7}\u{202e}'"x"#);
        let path = "long/".repeat(100);
        let text = parse(&path, "é".repeat(10_000).as_bytes()).unwrap_err().to_string();
        assert!(text.starts_with(&format!("{path}, line 1: no header")), "{text}");
        assert!(text.ends_with(&format!("reads: {}…", "é".repeat(80))), "{text}");
    }

    #[test]
    fn broken_zstd_is_refused() {
        let good = pack(PREFIXES);
        assert!((0..good.len()).all(|end| parse("cut", &good[..end]).is_err()));
        refused(&DIGEST[..DIGEST.len() / 2], 0, "broken zstd");
        refused(&good[..good.len() - 1], 0, "broken zstd");
        refused([&good, &b"rest"[..]].concat(), 0, "broken zstd");
        let mut wrong_sum = good.clone();
        *wrong_sum.last_mut().unwrap() ^= 1;
        refused(wrong_sum, 0, "wrong checksum");
        assert_eq!(unpack(&good, PREFIXES.len()), Ok(PREFIXES.as_bytes().to_vec()));
        assert!(unpack(&good, PREFIXES.len() - 1).unwrap_err().contains("more than"));
        assert!(unpack(&good.repeat(2), PREFIXES.len()).unwrap_err().contains("more than"));
    }

    #[test]
    fn no_mutated_file_makes_it_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as usize % below
        };
        let files = [PREFIXES.into(), COUNTS.into(), pack(PREFIXES), pack(&PREFIXES.repeat(20))];
        for round in 0..8_000 {
            let mut bytes: Vec<u8> = files[round % files.len()].clone();
            for _ in 0..=random(4) {
                let (at, byte) = (random(bytes.len()), random(256) as u8);
                match random(4) {
                    0 => drop(bytes.remove(at)),
                    1 => bytes.insert(at, b",/:.\r\n09"[random(8)]),
                    2 => bytes[at] ^= 1 << random(8),
                    _ => bytes[at] = byte,
                }
            }
            if let Ok(origins) = parse("mutated", &bytes) {
                assert!(origins[0].asn > 0 && origins.is_sorted_by(|a, b| a.asn < b.asn));
            }
        }
    }
}
