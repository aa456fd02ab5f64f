//! CSV files as people have them: compressed, with byte-order marks, with every kind of fault.

use flate2::{Compression, write::GzEncoder};
use srnas_oracle::importers::csv::{CsvError, CsvTable};
use std::{error::Error, fs, io::Write};
use tempfile::TempDir;

fn read(bytes: &[u8]) -> Result<CsvTable, CsvError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("table.csv");
    fs::write(&path, bytes).unwrap();
    CsvTable::read(&path)
}

/// The error with its causes, less the folder.
fn refusal(result: Result<impl std::fmt::Debug, CsvError>) -> String {
    let error = result.expect_err("this is to be refused");
    let cause = error.source().map(|c| format!(": {c}")).unwrap_or_default();
    let text = format!("{error}{cause}");
    text[text.find("table.csv").unwrap()..].to_string()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(text).unwrap();
    gz.finish().unwrap()
}

const TEXT: &str = "index,name,acc\n0,a,1.5\n1,b,\n2,\"c,d\", nan \n";

#[test]
fn plain_compressed_marked_and_crlf_read_the_same() {
    let crlf = TEXT.replace('\n', "\r\n");
    let marked = format!("\u{feff}{TEXT}");
    let members = [gzip(b"index,name,acc\n0,a,1.5\n"), gzip(b"1,b,\n2,\"c,d\",nan\n")].concat();
    for bytes in
        [TEXT.as_bytes().to_vec(), crlf.into_bytes(), marked.into_bytes(), gzip(TEXT.as_bytes()), members]
    {
        let table = read(&bytes).unwrap();
        assert_eq!(table.rows(), 3);
        let (index, name, acc) =
            (table.column("index").unwrap(), table.column("name").unwrap(), table.column("acc").unwrap());
        assert_eq!([0, 1, 2].map(|r| index.index(r, 3).unwrap()), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|r| name.text(r)), ["a", "b", "c,d"]);
        assert_eq!(acc.number(0).unwrap(), 1.5);
        assert!(acc.number(1).unwrap().is_nan() && acc.number(2).unwrap().is_nan());
        assert_eq!([0, 1, 2].map(|r| acc.line(r)), [2, 3, 4]);
    }
}

#[test]
fn wrong_values_are_named_by_line_and_column() {
    let table = read(b"index,acc\n0,1\n-1,1e400\n2,one\n").unwrap();
    let (index, acc) = (table.column("index").unwrap(), table.column("acc").unwrap());
    assert_eq!(
        refusal(index.index(1, 3)),
        "table.csv:3: column 1, `index`: `-1` is not a whole number from 0 to 2"
    );
    assert!(refusal(index.index(2, 2)).contains("`2` is not a whole number from 0 to 1"));
    assert_eq!(refusal(acc.number(1)), "table.csv:3: column 2, `acc`: `1e400` is not finite");
    assert_eq!(refusal(acc.number(2)), "table.csv:4: column 2, `acc`: `one` is not a number");
}

#[test]
fn wrong_files_are_named_by_line() {
    assert_eq!(
        refusal(read(b"")),
        "table.csv is empty: a header line with the names of the columns is missing"
    );
    assert_eq!(refusal(read(b"a,b\n1,2\n3\n")), "table.csv:3: 1 fields where the header has 2");
    assert_eq!(refusal(read(b"a,b\n1,2\n3,4,5\n")), "table.csv:3: 3 fields where the header has 2");
    assert_eq!(refusal(read(b"a,b\r\n1,2\r\n\r\n3\r\n")), "table.csv:4: 1 fields where the header has 2");
    assert_eq!(refusal(read(b"a,b,a\n")), "table.csv:1: column `a` occurs twice");
    assert_eq!(
        refusal(read(b"a,b\n1,\xff\n")),
        "table.csv:2: field 2 is not UTF-8 text; save the file as UTF-8"
    );
}

#[test]
fn a_missing_column_or_row_is_named() {
    let table = read(TEXT.as_bytes()).unwrap();
    assert_eq!(refusal(table.column("indx")), "table.csv has no column `indx`; did you mean `index`?");
    assert!(table.expect_rows(3).is_ok());
    assert!(refusal(table.expect_rows(4)).starts_with("table.csv has 3 rows instead of 4"));
}

#[test]
fn a_compressed_file_cut_anywhere_is_refused() {
    let whole = gzip(TEXT.as_bytes());
    for length in 2..whole.len() {
        assert!(matches!(read(&whole[..length]), Err(CsvError::Read { .. })), "cut to {length}");
    }
    let mut damaged = whole.clone();
    damaged[whole.len() - 6] ^= 1; // of the checksum
    assert!(matches!(read(&damaged), Err(CsvError::Read { .. })));
}
