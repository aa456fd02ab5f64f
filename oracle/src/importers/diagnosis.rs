//! What a file is that is not the CSV it is taken for, in words that say what to do about it.

/// What is said of JSON.
const JSON: &str = "JSON, or begins like it: `srnas bench import json` reads records";

/// What begins with these bytes.
const KINDS: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a zip archive, such as an Excel workbook (.xlsx): save the sheet as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls): save the sheet as CSV"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: decompress it, or compress it with gzip"),
    (b"\xfd7zXZ\x00", "compressed with xz: decompress it, or compress it with gzip"),
    (b"BZh91AY&SY", "compressed with bzip2: decompress it, or compress it with gzip"),
    (
        b"SQLite format 3\x00",
        "an SQLite database: `srnas bench import optuna` reads that of a study; of others, export the table as CSV",
    ),
    (b"\x89HDF", "an HDF5 file: export the table as CSV"),
    (b"\x80\x04\x95", "a Python pickle: write the table as CSV"),
    (b"\x80\x05\x95", "a Python pickle: write the table as CSV"),
    (b"{", JSON),
    (b"[{", JSON),
    (b"<!", "HTML, or begins like it: was a page saved in place of the file?"),
    (b"<html", "HTML, or begins like it: was a page saved in place of the file?"),
];

/// What the bytes are, if they are no text that can be read as CSV.
pub(super) fn no_text(bytes: &[u8]) -> Option<String> {
    let utf16 = |how: &str| Some(format!("it is UTF-16 text{how}; save it as UTF-8 (Excel: \"CSV UTF-8\")"));
    if bytes.starts_with(b"\xff\xfe\x00\x00") || bytes.starts_with(b"\x00\x00\xfe\xff") {
        return Some("it is UTF-32 text; save it as UTF-8".into());
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return utf16("");
    }
    // Before a bracket there may be a byte-order mark; words in a header begin with neither.
    let bare = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    if let Some((_, what)) =
        KINDS.iter().find(|(first, _)| bare.starts_with(first) || bytes.starts_with(first))
    {
        return Some(format!("it is {what}"));
    }
    if bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1") {
        return Some("it is a Parquet file: its name must end in .parquet".into());
    }
    let start = &bytes[..bytes.len().min(4096)];
    let nul_at = |parity: usize| start.iter().skip(parity).step_by(2).filter(|b| **b == 0).count();
    let (even, odd) = (nul_at(0), nul_at(1));
    // Every other byte of most letters is 0.
    if even.max(odd) > start.len() / 4 && even.min(odd) <= start.len() / 64 {
        return utf16(" without a mark");
    }
    bytes.iter().position(|b| *b == 0).map(|at| {
        let line = 1 + bytes[..at].iter().filter(|b| **b == b'\n').count();
        format!("line {line} has a NUL byte: it is no text, or it was damaged")
    })
}

/// What the first line is, if it is no header.
pub(super) fn no_header(text: &[u8], delimiter: u8) -> Option<String> {
    let mut lines = text.split(|b| matches!(b, b'\n' | b'\r')).filter(|line| !line.trim_ascii().is_empty());
    let first = lines.next()?;
    let shown = |line: &[u8]| {
        let text = String::from_utf8_lossy(line);
        let cut: String = text.chars().take(40).collect();
        if cut.len() < text.len() { format!("`{cut}…`") } else { format!("`{text}`") }
    };
    if first.len() == 5 && first[..4].eq_ignore_ascii_case(b"sep=") {
        let sign = char::from(first[4]);
        return Some(format!(
            "{} tells Excel what is between fields, and is no header: remove the line, and say `delimiter = \"{sign}\"` in the \
             descriptor",
            shown(first)
        ));
    }
    let comment = |line: &[u8]| line.starts_with(b"#") || line.starts_with(b"//") || line.starts_with(b"%");
    if !comment(first) {
        return None;
    }
    // A header may begin with such a sign too: then as many fields follow below.
    let fields = |line: &[u8]| 1 + line.iter().filter(|b| **b == delimiter).count();
    match lines.find(|line| !comment(line)) {
        Some(next) if fields(next) == fields(first) && fields(first) > 1 => None,
        _ => Some(format!(
            "{} is a comment before the header: the first line must be the names of the columns; remove what is above it",
            shown(first)
        )),
    }
}

/// Where a quote opens that is never closed: an offset into the text. The rest of the file would be one field.
pub(super) fn unclosed_quote(text: &[u8], delimiter: u8) -> Option<usize> {
    #[derive(PartialEq)]
    enum At {
        /// A quote here opens one.
        Start,
        Field,
        Quoted(usize),
        /// The quote ends, or is the first of two that stand for one.
        Quote(usize),
    }
    let mut at = At::Start;
    for (i, &byte) in text.iter().enumerate() {
        let ends = byte == delimiter || matches!(byte, b'\n' | b'\r');
        at = match at {
            At::Start if byte == b'"' => At::Quoted(i),
            At::Quoted(open) if byte == b'"' => At::Quote(open),
            At::Quote(open) if byte == b'"' => At::Quoted(open),
            At::Quoted(open) => At::Quoted(open),
            _ if ends => At::Start,
            _ => At::Field,
        };
    }
    match at {
        At::Quoted(open) => Some(open),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_named() {
        let utf16 = |text: &str, big: bool| -> Vec<u8> {
            let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
            text.encode_utf16().flat_map(bytes).collect()
        };
        for text in ["\u{feff}op,acc\nconv,1\n", "op,größe\nconv,1\n", "op;acc\r\n"] {
            for big in [false, true] {
                assert!(no_text(&utf16(text, big)).unwrap().contains("it is UTF-16 text"), "{text}");
            }
        }
        assert!(no_text(b"\xff\xfe\x00\x00o\x00\x00\x00").unwrap().contains("UTF-32"));
        assert!(no_text(b"PK\x03\x04...").unwrap().contains("Excel workbook"));
        assert!(no_text(b"\x28\xb5\x2f\xfd..").unwrap().contains("zstd"));
        assert!(no_text(b"\n <!DOCTYPE html>").unwrap().contains("HTML"));
        assert!(no_text(b"[{\"op\": 1}]").unwrap().contains("JSON"));
        assert_eq!(
            no_text(b"a,b\n1,\0\n").unwrap(),
            "line 2 has a NUL byte: it is no text, or it was damaged"
        );
        assert_eq!(no_text("\u{feff}größe,b\n1,2\n".as_bytes()), None);
        assert_eq!(no_text(b""), None);
    }

    #[test]
    fn a_comment_before_the_header_is_told_from_a_header() {
        let said = |text: &str| no_header(text.as_bytes(), b',');
        assert!(
            said("# made by us, in May\nop,acc,x\n").unwrap().contains("`# made by us, in May` is a comment")
        );
        assert!(said("\n// notes\n// more\nop,acc\n").unwrap().contains("a comment before the header"));
        assert!(said("# only this").unwrap().contains("a comment"));
        assert!(said("sep=;\nop;acc\n").unwrap().contains("`delimiter = \";\"`"));
        assert_eq!(said("#op,acc\nconv,1\n"), None);
        assert_eq!(said("op,acc\n# conv,1\n"), None);
        assert_eq!(said(""), None);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_found_where_it_opens() {
        let open = |text: &str| unclosed_quote(text.as_bytes(), b',');
        assert_eq!(open("a,b\n\"x,1\ny,2\n"), Some(4));
        assert_eq!(open("a,b\n1,\"x\"\"\n"), Some(6));
        for closed in
            ["a,b\n\"x,\n\"\"y\",2\n", "a,b\n5\",2\n", "a,b\n x \"y,2\n", "\"a\"\"\"", "", "a,\"b\"x\"\n"]
        {
            assert_eq!(open(closed), None, "{closed}");
        }
    }
}
