//! A small address database in MaxMind's format, for the tests of this crate and of the binary.

/// Writes a database of IPv4 networks of 8 bits, each with its country, latitude and longitude, in the
/// format of <https://maxmind.github.io/MaxMind-DB/>: the search tree, 16 zeros, the records, the metadata.
pub(crate) fn address_database(networks: &[(u8, &str, f64, f64)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut offsets = Vec::new();
    for (_, country, latitude, longitude) in networks {
        offsets.push(data.len() as u32);
        map(&mut data, 2);
        text(&mut data, "country");
        map(&mut data, 1);
        text(&mut data, "iso_code");
        text(&mut data, country);
        text(&mut data, "location");
        map(&mut data, 2);
        for (name, degrees) in [("latitude", latitude), ("longitude", longitude)] {
            text(&mut data, name);
            data.push(0b011_01000);
            data.extend(degrees.to_be_bytes());
        }
    }
    let (nodes, missing) = tree(networks, &offsets);
    let mut bytes = Vec::new();
    for pair in &nodes {
        for record in pair {
            let record = record.unwrap_or(missing);
            bytes.extend(&record.to_be_bytes()[1..]);
        }
    }
    bytes.extend([0; 16]);
    bytes.extend(data);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    map(&mut bytes, 9);
    for (name, value) in [
        ("node_count", nodes.len() as u32),
        ("record_size", 24),
        ("ip_version", 4),
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
    ] {
        text(&mut bytes, name);
        if name == "node_count" {
            bytes.push(0b110_00100);
            bytes.extend(value.to_be_bytes());
        } else {
            bytes.push(0b101_00010);
            bytes.extend((value as u16).to_be_bytes());
        }
    }
    text(&mut bytes, "build_epoch");
    bytes.extend([8, 2]);
    bytes.extend(1_700_000_000_u64.to_be_bytes());
    text(&mut bytes, "database_type");
    text(&mut bytes, "Test");
    text(&mut bytes, "languages");
    bytes.extend([1, 4]);
    text(&mut bytes, "en");
    text(&mut bytes, "description");
    map(&mut bytes, 1);
    text(&mut bytes, "en");
    text(&mut bytes, "Test");
    bytes
}

/// Returns the search tree over the first eight bits; what is absent is the number of nodes.
fn tree(networks: &[(u8, &str, f64, f64)], offsets: &[u32]) -> (Vec<[Option<u32>; 2]>, u32) {
    let mut nodes: Vec<[Option<u32>; 2]> = vec![[None; 2]];
    for (first, ..) in networks {
        let mut at = 0;
        for bit in (1..8).rev() {
            let side = usize::from((first >> bit) & 1);
            at = match nodes[at][side] {
                Some(next) => next as usize,
                None => {
                    nodes.push([None; 2]);
                    let next = nodes.len() - 1;
                    nodes[at][side] = Some(next as u32);
                    next
                }
            };
        }
    }
    let count = nodes.len() as u32;
    for ((first, ..), offset) in networks.iter().zip(offsets) {
        let mut at = 0;
        for bit in (1..8).rev() {
            at = nodes[at][usize::from((first >> bit) & 1)].unwrap() as usize;
        }
        nodes[at][usize::from(first & 1)] = Some(count + 16 + offset);
    }
    (nodes, count)
}

fn map(bytes: &mut Vec<u8>, pairs: u8) {
    bytes.push(0b111_00000 | pairs);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(0b010_00000 | u8::try_from(text.len()).unwrap());
    bytes.extend(text.as_bytes());
}
