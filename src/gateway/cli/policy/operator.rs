//! The name of the operator who runs a command, as others are shown it.

use nix::unistd::{User, gethostname, getuid};
use tidegate_model::{Environment, printable};

/// Longest name, in characters.
pub(super) const NAME_MAX: usize = 100;

/// Returns the user's name: that of the session, else of the process.
pub(super) fn user(environment: &Environment) -> String {
    let session = environment.get("USER").map(bounded);
    let session = session.filter(|it| !it.is_empty());
    session.unwrap_or_else(|| {
        let uid = getuid();
        let known = User::from_uid(uid).ok().flatten();
        let known = known.map(|it| bounded(&it.name));
        let known = known.filter(|it| !it.is_empty());
        known.unwrap_or_else(|| format!("uid {uid}"))
    })
}

/// Returns the user and the host: where a rollout is led, its process can be looked for.
pub(super) fn operator(environment: &Environment) -> String {
    let host = gethostname().unwrap_or_default();
    let host = bounded(&host.to_string_lossy());
    let user = user(environment);
    match host.is_empty() {
        true => user,
        false => format!("{user}@{host}"),
    }
}

fn bounded(name: &str) -> String {
    printable(name).chars().take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(user: &str) -> Environment {
        Environment::from_pairs([("USER", user)])
    }

    #[test]
    fn without_a_name_of_the_session_the_process_has_one_and_none_is_long_or_obeyed() {
        assert_eq!(user(&environment("ada")), "ada");
        assert!(!user(&environment("")).is_empty());
        let long = user(&environment(&"\u{1b}x".repeat(200)));
        assert_eq!(long.chars().count(), NAME_MAX);
        assert!(!long.contains('\u{1b}'));
        let named = operator(&environment("ada"));
        assert!(named.starts_with("ada@") || named == "ada", "{named}");
    }
}
