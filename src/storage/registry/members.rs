//! The buckets that a repository names, and whether it can have them and its policy: pure.

use std::collections::{HashMap, HashSet};

use crate::storage::{BucketRow, RepositoryPolicy};

/// Members of a repository at most.
const MEMBERS_MAX: usize = 32;
/// Rules of a repository at most: each is looked at by every write.
const RULES_MAX: usize = 100;
/// The longest key.
const PREFIX_BYTES_MAX: usize = 1_024;
/// Characters of an unknown name that are shown again.
const NAME_SHOWN_MAX: usize = 64;

/// Returns members and policy with the names of buckets in place of their ids: rows have names. What is the id of one
/// bucket is not the name of another.
pub(super) fn by_name(
    all: &[BucketRow],
    members: &[String],
    policy: &RepositoryPolicy,
) -> (Vec<String>, RepositoryPolicy) {
    let names = all.iter().map(|it| (&*it.id, &*it.declared.name));
    renamed(&names.collect(), members, policy)
}

/// Returns members and policy of a row with the ids of buckets in place of their names.
pub(super) fn by_id(
    all: &[BucketRow],
    members: &[String],
    policy: &RepositoryPolicy,
) -> (Vec<String>, RepositoryPolicy) {
    let ids = all.iter().map(|it| (&*it.declared.name, &*it.id));
    renamed(&ids.collect(), members, policy)
}

fn renamed(
    names: &HashMap<&str, &str>,
    members: &[String],
    policy: &RepositoryPolicy,
) -> (Vec<String>, RepositoryPolicy) {
    let name = |given: &String| match names.get(&**given) {
        Some(name) => (*name).to_owned(),
        None => given.clone(),
    };
    let mut policy = policy.clone();
    if let Some(mirror) = &mut policy.mirror {
        mirror.to = name(&mirror.to);
    }
    for rule in &mut policy.rules {
        rule.members = rule.members.iter().map(name).collect();
    }
    (members.iter().map(name).collect(), policy)
}

/// Returns the mirror of a policy, and how many buckets it and the members are.
pub(super) fn used<'a>(members: &[String], policy: &'a RepositoryPolicy) -> (Option<&'a str>, i64) {
    let mirror = policy.mirror.as_ref().map(|mirror| &*mirror.to);
    let used = members.len() + usize::from(mirror.is_some());
    (mirror, i64::try_from(used).unwrap_or(i64::MAX))
}

/// Whether members and policy, both with the names of buckets, can be used.
///
/// # Errors
/// Says what cannot, and names the field.
pub(super) fn check_policy(
    all: &[BucketRow],
    members: &[String],
    policy: &RepositoryPolicy,
) -> Result<(), String> {
    let refused = |why: String| Err(why);
    if members.is_empty() || members.len() > MEMBERS_MAX {
        return refused(format!(
            "buckets: a repository has 1 to {MEMBERS_MAX} members"
        ));
    }
    let is_known = |name: &String| all.iter().any(|it| it.declared.name == *name);
    if let Some(missing) = members.iter().find(|member| !is_known(member)) {
        let shown: String = missing.chars().take(NAME_SHOWN_MAX).collect();
        return refused(format!("buckets: there is no bucket `{shown}`"));
    }
    if let Some(mirror) = &policy.mirror {
        mirror.suits(members)?;
        let Some(to) = all.iter().find(|it| it.declared.name == mirror.to) else {
            let shown: String = mirror.to.chars().take(NAME_SHOWN_MAX).collect();
            return refused(format!("mirror: there is no bucket `{shown}`"));
        };
        if to.draining {
            return refused(format!("mirror: `{}` is drained", mirror.to));
        }
    }
    let mut seen = HashSet::new();
    if let Some(twice) = members.iter().find(|member| !seen.insert(*member)) {
        return refused(format!("buckets: `{twice}` is there twice"));
    }
    if policy.rules.len() > RULES_MAX {
        return refused(format!("rules: a repository has {RULES_MAX} rules at most"));
    }
    let is_prefix = |prefix: &str| prefix.len() <= PREFIX_BYTES_MAX && !prefix.contains('\0');
    if policy.rules.iter().any(|rule| !is_prefix(&rule.prefix)) {
        return refused("rules: a prefix is not one of any key".to_owned());
    }
    let mut seen = HashSet::new();
    let mut prefixes = policy.rules.iter().map(|rule| &rule.prefix);
    if let Some(twice) = prefixes.find(|prefix| !seen.insert(*prefix)) {
        let shown: String = twice.chars().take(NAME_SHOWN_MAX).collect();
        return refused(format!("rules: the prefix `{shown}` is there twice"));
    }
    policy.suits(members)?;
    let mut named = policy.rules.iter().flat_map(|rule| &rule.members);
    if let Some(other) = named.find(|name| !members.contains(name)) {
        let shown: String = other.chars().take(NAME_SHOWN_MAX).collect();
        return refused(format!("rules: one names `{shown}`, which is not a member"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Provider;

    fn bucket(id: &str, name: &str) -> BucketRow {
        let mut row = BucketRow::sample(Provider::File, "file:///srv");
        row.id = id.to_owned();
        row.declared.name = name.to_owned();
        row
    }

    fn policy(json: &str) -> RepositoryPolicy {
        serde_json::from_str(json).unwrap()
    }

    fn texts(given: &[&str]) -> Vec<String> {
        given.iter().map(|&it| it.to_owned()).collect()
    }

    #[test]
    fn buckets_are_named_by_their_ids_too() {
        let all = [bucket("id-1", "hot"), bucket("id-2", "cold")];
        let given = policy(
            r#"{"mirror": {"to": "id-2"}, "rules": [{"prefix": "a", "write": "credit", "members": ["id-1"]}]}"#,
        );
        let (members, by_names) = by_name(&all, &texts(&["id-1"]), &given);
        assert_eq!(members, ["hot"]);
        assert_eq!(by_names.rules[0].members, ["hot"]);
        assert_eq!(used(&members, &by_names), (Some("cold"), 2));
        assert_eq!(check_policy(&all, &members, &by_names), Ok(()));
        // A name and an id of one bucket name it twice, also as its own mirror.
        let given = policy(r#"{"mirror": {"to": "id-1"}}"#);
        let (members, by_names) = by_name(&all, &texts(&["hot"]), &given);
        assert!(check_policy(&all, &members, &by_names).is_err());
        let (members, by_names) =
            by_name(&all, &texts(&["hot", "id-1"]), &RepositoryPolicy::default());
        assert!(check_policy(&all, &members, &by_names).is_err());
    }

    #[test]
    fn an_id_of_a_bucket_is_not_the_name_of_another() {
        let all = [bucket("cold", "hot"), bucket("id-2", "cold")];
        let given = policy(
            r#"{"mirror": {"to": "cold"}, "rules": [{"prefix": "a", "write": "credit", "members": ["cold"]}]}"#,
        );
        let (members, by_names) = by_name(&all, &texts(&["cold", "absent"]), &given);
        assert_eq!(members, ["hot", "absent"]);
        assert_eq!(by_names.rules[0].members, ["hot"]);
        assert_eq!(used(&members, &by_names).0, Some("hot"));
        // What a row has is still the bucket of that name, also when something else is changed.
        let (members, by_ids) = by_id(&all, &texts(&["cold"]), &given);
        let (members, unchanged) = by_name(&all, &members, &by_ids);
        assert_eq!(members, ["cold"]);
        assert_eq!(unchanged.rules[0].members, ["cold"]);
        assert_eq!(used(&members, &unchanged).0, Some("cold"));
    }
}
