//! The fields of a form before its file, as `s3s` separates them.

use std::ops::Range;

/// The beginning of a form whose file has begun.
pub(super) struct Fields<'a> {
    /// The names of the fields, and where their values are.
    pub(super) values: Vec<(&'a str, Range<usize>)>,
    /// The name of the file, which may be empty.
    pub(super) filename: &'a str,
    /// Where the part begins that is the file.
    pub(super) file: usize,
}

impl<'a> Fields<'a> {
    /// None until the head of the file is there, and if a part is malformed.
    pub(super) fn of(text: &'a str, boundary: &str) -> Option<Self> {
        let first = format!("--{boundary}\r\n");
        let between = format!("\r\n--{boundary}\r\n");
        let mut part = text.find(&first)? + first.len();
        let mut values = Vec::new();
        loop {
            let end = text[part..].find(&between).map(|at| part + at);
            let (head, _) = text[part..end.unwrap_or(text.len())].split_once("\r\n\r\n")?;
            let (name, filename) = head.split("\r\n").filter_map(named).last()?;
            if name.eq_ignore_ascii_case("file") {
                return Some(Self {
                    values,
                    filename,
                    file: part,
                });
            }
            let value = part + head.len() + "\r\n\r\n".len();
            values.push((name, value..end?));
            part = end? + between.len();
        }
    }
}

/// The name of a part and that of its file, if a line of its head says them.
fn named(line: &str) -> Option<(&str, &str)> {
    let (header, disposition) = line.split_once(':')?;
    if !header.eq_ignore_ascii_case("content-disposition") || line.contains('\n') {
        return None;
    }
    let named = disposition.trim().strip_prefix("form-data; name=\"")?;
    let (name, rest) = named.split_once('"')?;
    let filename = rest.strip_prefix("; filename=\"");
    let filename = filename.and_then(|it| it.split_once('"'));
    Some((name, filename.map_or("", |(filename, _)| filename)))
}
