//! Rows by what an operator calls them: their id, or their name. Pure.

use crate::storage::StorageError;
use crate::storage::bucket::is_valid_name;

/// Digits of an id.
const ID_DIGITS: usize = 32;

/// Returns the row that has an id, or else a name. Clients with an admin key choose names: none stands in the place
/// of another row's id.
pub(super) fn by_id_or_name<T>(
    mut all: Vec<T>,
    given: &str,
    id_and_name: impl Fn(&T) -> [&str; 2],
) -> Option<T> {
    let with = |which: usize| all.iter().position(|row| id_and_name(row)[which] == given);
    let found = with(0).or_else(|| with(1))?;
    Some(all.swap_remove(found))
}

/// Whether a new bucket or repository can have a name.
pub(crate) fn check_name(name: &str) -> Result<(), StorageError> {
    let why = if !is_valid_name(name) {
        "name: expected 3 to 63 lower-case letters, digits, dots and hyphens"
    } else if is_like_id(name) {
        "name: 32 hexadecimal digits are an id"
    } else {
        return Ok(());
    };
    Err(StorageError::Invalid(why.to_owned()))
}

fn is_like_id(name: &str) -> bool {
    name.len() == ID_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_stand_in_the_place_of_an_id() {
        for all in [
            [["id-1", "id-2"], ["id-2", "data"]],
            [["id-2", "data"], ["id-1", "id-2"]],
        ] {
            let id_of = |given: &str| {
                let found = by_id_or_name(all.to_vec(), given, |row| *row);
                found.map(|[id, _]| id)
            };
            assert_eq!(id_of("id-2"), Some("id-2"));
            assert_eq!(id_of("id-1"), Some("id-1"));
            assert_eq!(id_of("data"), Some("id-2"));
            assert_eq!(id_of("absent"), None);
        }
    }

    #[test]
    fn a_new_name_is_none_of_an_id() {
        let id = "01a21f2a7c0e7d3f8b5a90c1d2e3457e";
        for (name, is_free) in [
            (id, false),
            (&id[1..], true),
            ("01a21f2a-7c0e-7d3f-8b5a-90c1d2e3457e", true),
            ("z1a21f2a7c0e7d3f8b5a90c1d2e3457e", true),
            ("no", false),
        ] {
            assert_eq!(check_name(name).is_ok(), is_free, "{name}");
        }
    }
}
