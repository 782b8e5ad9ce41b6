//! What a request is owed, made once from its path, its headers and its method.
//!
//! Everything downstream uses this decision. Which node can keep the promise is not decided here:
//! that depends on the nodes' state.

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Method};

use super::cache_control::{NO_CACHE, PRIVATE_NO_CACHE};
use super::directives::directives;
use crate::{NO_STORE_PRIVATE, Reuse, Row, is_no_transform, varies_by_client};
use tidegate_model::{Consistency, RequestToken};

/// States how fresh the answer to one request must be, and which caches may store it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The effective consistency: the stricter of floor and header, strong for unsafe methods.
    pub consistency: Consistency,
    /// What the client has seen; a floor under any level.
    pub token: RequestToken,
    /// Whether the client stated a level or carried a token.
    pub stated: bool,
    /// The `Cache-Control` of a successful answer.
    pub cache_control: HeaderValue,
    /// Whether a shared cache may store a 200 answer.
    pub shared_cacheable: bool,
    /// Whether the answer varies by `X-Consistency` and `X-Consistency-Token`: shared caches may
    /// store answers of this path, even if not this one.
    pub vary: bool,
    /// Whether the application's own caching fields reach the client, and decide what is stored.
    pub own_rules: bool,
    /// Whether the row or the application forbids to change the bytes of the answer.
    pub no_transform: bool,
    /// Whether the answer's token travels in a cookie as well.
    pub session_cookie: bool,
}

impl Decision {
    /// Decides for a request whose normalised path the row covers.
    ///
    /// Without a row the path is strong and never stored.
    pub fn new(
        row: Option<&Row>,
        header: Option<Consistency>,
        token: RequestToken,
        method: &Method,
    ) -> Self {
        let stated = header.is_some() || token.is_present();
        let storable = row.filter(|_| matches!(*method, Method::GET | Method::HEAD) && !stated);
        Self {
            consistency: consistency(row, header, token, method),
            token,
            stated,
            cache_control: storable
                .map_or(&NO_STORE_PRIVATE, |row| row.cache_control().header())
                .clone(),
            shared_cacheable: storable.is_some_and(Row::is_shared_cacheable),
            vary: row.is_some_and(Row::is_shared_cacheable),
            own_rules: row.is_some_and(|row| row.cache_control().is_application()) && !stated,
            no_transform: row.is_some_and(|row| row.cache_control().is_no_transform()),
            session_cookie: row.is_some_and(Row::session_cookie),
        }
    }

    /// The same for an answer that may depend on the client: no other client may receive it.
    #[must_use]
    pub fn for_this_client(self) -> Self {
        Self {
            cache_control: NO_STORE_PRIVATE.clone(),
            shared_cacheable: false,
            ..self
        }
    }

    /// The same for a request whose answer may depend on its client. A row that says `private` goes on
    /// deciding how long the client itself keeps it.
    #[must_use]
    pub fn for_one_client(self) -> Self {
        let row = self.cache_control.to_str().unwrap_or_default();
        let is_private = directives(row).any(|it| it.is("private") && it.is_bare());
        match is_private {
            true => self,
            false => self.for_this_client(),
        }
    }

    /// The same for an answer that no application makes.
    #[must_use]
    pub fn without_own_rules(self) -> Self {
        Self {
            own_rules: false,
            ..self
        }
    }

    /// The same after an application has answered: its caching headers restrict what the row
    /// allows, and never extend it.
    #[must_use]
    pub fn restricted_by(self, answer: &HeaderMap, now: SystemTime) -> Self {
        if self.own_rules {
            return self;
        }
        let no_transform = self.no_transform || is_no_transform(answer);
        let is_one_clients = self.shared_cacheable && varies_by_client(answer);
        let decision = Self {
            no_transform,
            ..self
        };
        match Reuse::of(answer, now) {
            Reuse::Forbidden => decision.for_this_client(),
            _ if is_one_clients => decision.for_this_client(),
            Reuse::AfterValidation => decision.after_validation(),
            Reuse::AsDeclared => decision,
        }
    }

    fn after_validation(self) -> Self {
        let row = self.cache_control.to_str().unwrap_or_default();
        if directives(row).any(|it| it.is("no-store")) {
            return self;
        }
        let cache_control = match self.shared_cacheable {
            true => &NO_CACHE,
            false => &PRIVATE_NO_CACHE,
        };
        Self {
            cache_control: cache_control.clone(),
            ..self
        }
    }
}

fn consistency(
    row: Option<&Row>,
    header: Option<Consistency>,
    token: RequestToken,
    method: &Method,
) -> Consistency {
    if !method.is_safe() {
        return Consistency::STRONG;
    }
    let floor = row.map_or(Consistency::STRONG, Row::floor);
    match header {
        Some(header) => floor.stricter(header),
        None if token.is_present() && floor == Consistency::EVENTUAL => Consistency::SESSION,
        None => floor,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::PolicyRow;
    use crate::PolicyTable;
    use tidegate_model::{Lsn, SystemId, Timeline, WalPosition};

    const PUBLIC: &str = "public, max-age=300";
    const TOKEN: RequestToken = RequestToken::Verified(WalPosition {
        system: SystemId(1),
        timeline: Timeline(1),
        lsn: Lsn(1),
    });

    fn row(floor: Consistency) -> Row {
        let cache_control = (floor == Consistency::EVENTUAL).then(|| PUBLIC.to_owned());
        let row = PolicyRow {
            path: "/x".to_owned(),
            consistency: floor,
            cache_control,
            session_cookie: false,
            rate_limit: None,
            cors: None,
            place: tidegate_model::Place::Name("test"),
        };
        PolicyTable::build(&[row])
            .unwrap()
            .lookup("/x")
            .unwrap()
            .clone()
    }

    fn get(floor: Consistency, header: Option<Consistency>, token: RequestToken) -> Decision {
        Decision::new(Some(&row(floor)), header, token, &Method::GET)
    }

    #[test]
    fn a_request_that_states_nothing_gets_the_row() {
        let decision = get(Consistency::EVENTUAL, None, RequestToken::None);
        assert_eq!(decision.consistency, Consistency::EVENTUAL);
        assert_eq!(decision.cache_control, PUBLIC);
        assert!(decision.shared_cacheable && decision.vary && !decision.stated);
    }

    #[test]
    fn a_header_raises_the_floor_and_never_lowers_it() {
        let bounded = Consistency::bounded(Duration::from_secs(2));
        for (floor, header, effective) in [
            (
                Consistency::EVENTUAL,
                Consistency::STRONG,
                Consistency::STRONG,
            ),
            (Consistency::EVENTUAL, bounded, bounded),
            (
                Consistency::STRONG,
                Consistency::EVENTUAL,
                Consistency::STRONG,
            ),
            (bounded, Consistency::EVENTUAL, bounded),
        ] {
            let decision = get(floor, Some(header), RequestToken::None);
            assert_eq!(decision.consistency, effective);
        }
    }

    #[test]
    fn an_answer_to_a_stated_level_or_token_is_never_stored() {
        for (header, token) in [
            (Some(Consistency::EVENTUAL), RequestToken::None),
            (None, TOKEN),
            (None, RequestToken::Unverifiable),
        ] {
            let decision = get(Consistency::EVENTUAL, header, token);
            assert_eq!(decision.cache_control, NO_STORE_PRIVATE);
            assert!(decision.stated && !decision.shared_cacheable);
            assert!(decision.vary, "the answers without a statement are stored");
        }
    }

    #[test]
    fn a_token_alone_makes_an_eventual_path_session() {
        for token in [TOKEN, RequestToken::Unverifiable] {
            let decision = get(Consistency::EVENTUAL, None, token);
            assert_eq!(decision.consistency, Consistency::SESSION);
            assert_eq!(decision.token, token);
        }
    }

    #[test]
    fn a_token_counts_under_a_stated_level_without_changing_it() {
        let decision = get(Consistency::EVENTUAL, Some(Consistency::EVENTUAL), TOKEN);
        assert_eq!(decision.consistency, Consistency::EVENTUAL);
        assert_eq!(decision.token, TOKEN);
    }

    #[test]
    fn a_token_alone_leaves_a_stricter_floor_as_it_is() {
        let bounded = Consistency::bounded(Duration::from_secs(2));
        for floor in [bounded, Consistency::SESSION, Consistency::STRONG] {
            assert_eq!(get(floor, None, TOKEN).consistency, floor);
        }
    }

    #[test]
    fn an_unsafe_method_is_strong_and_never_stored() {
        let row = row(Consistency::EVENTUAL);
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let header = Some(Consistency::EVENTUAL);
            for header in [None, header] {
                let decision = Decision::new(Some(&row), header, RequestToken::None, &method);
                assert_eq!(decision.consistency, Consistency::STRONG);
                assert_eq!(decision.cache_control, NO_STORE_PRIVATE);
                assert!(!decision.shared_cacheable);
            }
        }
    }

    #[test]
    fn an_application_restricts_the_row_and_never_extends_it() {
        for (row, said, expected) in [
            (PUBLIC, ("cache-control", "max-age=9000"), PUBLIC),
            (PUBLIC, ("cache-control", "private"), "no-store, private"),
            (
                PUBLIC,
                ("cache-control", "no-cache"),
                "no-cache, max-age=0, must-revalidate",
            ),
            (PUBLIC, ("vary", "Cookie"), "no-store, private"),
            (
                "private, max-age=9",
                ("cache-control", "no-store"),
                "no-store, private",
            ),
            (
                "private, max-age=9",
                ("cache-control", "max-age=0"),
                "private, no-cache, max-age=0, must-revalidate",
            ),
            (
                "private, max-age=9",
                ("vary", "Cookie"),
                "private, max-age=9",
            ),
            (
                "max-age=9, no-store",
                ("cache-control", "no-cache"),
                "max-age=9, no-store",
            ),
        ] {
            let decision = get(Consistency::EVENTUAL, None, RequestToken::None);
            let decision = Decision {
                cache_control: HeaderValue::from_static(row),
                shared_cacheable: row == PUBLIC,
                ..decision
            };
            let (name, value) = said;
            let answer = HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]);
            let decision = decision.restricted_by(&answer, SystemTime::UNIX_EPOCH);
            assert_eq!(decision.cache_control, expected, "{row}: {said:?}");
            assert_eq!(
                decision.shared_cacheable,
                row == PUBLIC && expected != NO_STORE_PRIVATE
            );
        }
    }

    #[test]
    fn one_clients_answer_keeps_a_private_row_and_no_other() {
        for (row, expected) in [
            ("private, max-age=60", "private, max-age=60"),
            (PUBLIC, "no-store, private"),
            ("max-age=60", "no-store, private"),
            ("private=\"x\", max-age=60", "no-store, private"),
        ] {
            let decision = get(Consistency::EVENTUAL, None, RequestToken::None);
            let decision = Decision {
                cache_control: HeaderValue::from_static(row),
                shared_cacheable: row == PUBLIC,
                ..decision
            };
            let decision = decision.for_one_client();
            assert_eq!(decision.cache_control, expected, "{row}");
            assert!(!decision.shared_cacheable);
        }
    }

    #[test]
    fn a_path_without_a_row_is_strong_and_never_stored() {
        let decision = Decision::new(None, None, RequestToken::None, &Method::GET);
        assert_eq!(decision.consistency, Consistency::STRONG);
        assert_eq!(decision.cache_control, NO_STORE_PRIVATE);
        assert!(!decision.shared_cacheable && !decision.vary);
    }
}
