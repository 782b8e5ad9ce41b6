use http::Method;

use super::*;
use crate::http::Query;

const OPEN: SqlPlace<'_> = SqlPlace {
    method: &Method::GET,
    template: "/x/{id}",
    is_open: true,
};
const CLOSED: SqlPlace<'_> = SqlPlace {
    is_open: false,
    ..OPEN
};

fn compile(
    place: SqlPlace<'_>,
    settings: &[(&str, &str)],
    role: Option<(&str, &[&str])>,
) -> Result<Option<LocalSettings>, LocalSettingsError> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let config = SqlConfig {
        status: http::StatusCode::OK,
        statement: String::new(),
        single: false,
        body_strings: Vec::new(),
        settings: settings.iter().map(owned).collect(),
        role: role.map(|(role, _)| role.to_owned()),
        roles: role.map(|(_, roles)| roles.iter().map(ToString::to_string).collect()),
        page: None,
    };
    LocalSettings::compile(place, &config)
}

fn compiled(settings: &[(&str, &str)], role: Option<(&str, &[&str])>) -> LocalSettings {
    compile(CLOSED, settings, role).unwrap().unwrap()
}

/// What a request with a query and claims sets: the values, and the role.
fn bound(
    local: &LocalSettings,
    query: &str,
    claims: &str,
) -> Result<(Vec<String>, Option<String>), String> {
    let query = Query::parse(query).unwrap();
    let claims = serde_json::from_str(claims).unwrap();
    let request = RequestValues {
        path: &[("id".to_owned(), "7".to_owned())],
        query: &query,
        body: None,
        claims: Some(&claims),
        headers: &http::HeaderMap::new(),
    };
    let bound = local.bind(&request).map_err(|error| error.to_string())?;
    let shown = |value: &Argument<'_>| value.shown().unwrap_or("NULL").to_owned();
    Ok((
        bound.values.iter().map(shown).collect(),
        bound.role.map(str::to_owned),
    ))
}

#[test]
fn an_endpoint_without_settings_and_role_needs_no_transaction() {
    assert!(compile(OPEN, &[], None).unwrap().is_none());
}

#[test]
fn settings_that_change_what_a_statement_is_are_refused() {
    for name in [
        "role",
        "ROLE",
        "session_authorization",
        "Search_Path",
        "transaction_read_only",
        "default_transaction_read_only",
        "log_statement",
        "client_encoding",
    ] {
        let error = compile(OPEN, &[(name, "x")], None).unwrap_err();
        assert_eq!((error.key, error.value.as_str()), ("settings", name));
        assert!(matches!(error.why, Why::Reserved), "{name}");
    }
    assert!(compile(OPEN, &[("app.role", "x"), ("app.log_x", "y")], None).is_ok());
}

#[test]
fn a_name_is_an_identifier_or_several_joined_by_dots() {
    let long = "a".repeat(64);
    for name in [
        "", ".", "a.", ".a", "a b", "a'b", "1a", "a.1b", "a;b", "ä", "a\\", &long,
    ] {
        let error = compile(OPEN, &[(name, "x")], None).unwrap_err();
        assert!(matches!(error.why, Why::Name), "{name}");
    }
    let twice = compile(OPEN, &[("a.b", "x"), ("A.b", "y")], None).unwrap_err();
    assert!(matches!(twice.why, Why::Repeated));
}

#[test]
fn a_value_is_one_parameter_that_requests_have_or_a_text() {
    for value in [
        ":claims.",
        ":cookie.a",
        ":claims.sub ",
        "user :claims.sub",
        ":path.id:query.a",
        "::text",
        "a\0b",
    ] {
        let error = compile(CLOSED, &[("app.a", value)], None).unwrap_err();
        assert!(matches!(error.why, Why::Value), "{value}");
    }
    for (place, value) in [
        (OPEN, ":claims.sub"),
        (CLOSED, ":path.other"),
        (CLOSED, ":body.a"),
    ] {
        let error = compile(place, &[("app.a", value)], None).unwrap_err();
        assert!(matches!(error.why, Why::Parameter(_)), "{value}");
    }
    for value in [
        "",
        "eu: west",
        "08:15",
        ":query.a",
        ":header.X-Tenant",
        ":path.id",
    ] {
        assert!(compile(OPEN, &[("app.a", value)], None).is_ok(), "{value}");
    }
}

#[test]
fn a_role_is_one_claim_with_the_list_of_what_it_may_be() {
    let refused = |role, roles: Option<&[&str]>| {
        let config = SqlConfig {
            status: http::StatusCode::OK,
            statement: String::new(),
            single: false,
            body_strings: Vec::new(),
            settings: Vec::new(),
            role: Option::<&str>::map(role, str::to_owned),
            roles: roles.map(|roles| roles.iter().map(ToString::to_string).collect()),
            page: None,
        };
        LocalSettings::compile(CLOSED, &config).unwrap_err().key
    };
    let claim = Some(":claims.role");
    assert_eq!(refused(claim, None), "role");
    assert_eq!(refused(None, Some(&["a"])), "roles");
    for role in [":query.role", ":header.role", "web_user", ":claims."] {
        assert_eq!(refused(Some(role), Some(&["a"])), "role", "{role}");
    }
    let long = "a".repeat(64);
    for roles in [&[][..], &["a", "none"], &[""], &["a\0"], &[&long]] {
        assert_eq!(refused(claim, Some(roles)), "roles", "{roles:?}");
    }
    let open = compile(OPEN, &[], Some((":claims.role", &["a"])));
    assert_eq!(open.unwrap_err().key, "role");
}

#[test]
fn only_exactly_a_listed_string_is_a_role() {
    let local = compiled(&[], Some((":claims.role", &["web_user", "5", "[]"])));
    let role = |claims: &str| bound(&local, "", claims).map(|(_, role)| role.unwrap());
    assert_eq!(role(r#"{"role": "web_user"}"#).unwrap(), "web_user");
    assert_eq!(role(r#"{"role": "web\u005fuser"}"#).unwrap(), "web_user");
    for claims in [
        "{}",
        r#"{"role": null}"#,
        r#"{"role": 5}"#,
        r#"{"role": []}"#,
        r#"{"role": ["web_user"]}"#,
        r#"{"role": "Web_User"}"#,
        r#"{"role": "web_user "}"#,
        r#"{"role": "none"}"#,
        r#"{"role": ""}"#,
        r#"{"role": "postgres"}"#,
    ] {
        let error = role(claims).unwrap_err();
        assert!(error.contains("does not name a role"), "{claims}: {error}");
    }
}

#[test]
fn values_are_bound_as_text_and_absent_ones_as_the_empty_string_or_not_at_all() {
    let local = compiled(
        &[
            ("app.fixed", "it's"),
            ("app.q", ":query.q"),
            ("app.user", ":claims.sub"),
            ("statement_timeout", ":query.t"),
        ],
        None,
    );
    assert_eq!(local.text.matches("set_config").count(), 4);
    assert!(!local.text.contains("it's"), "{}", local.text);
    let values = |query, claims| bound(&local, query, claims).unwrap().0;
    assert_eq!(
        values("", r#"{"sub": "'; drop table x; --"}"#),
        ["it's", "", "'; drop table x; --", "NULL"]
    );
    assert_eq!(
        values("q=1&t=5s", r#"{"sub": {"a": [1, true]}}"#),
        ["it's", "1", r#"{"a": [1, true]}"#, "5s"]
    );
    assert!(bound(&local, "q=%00", "{}").is_err());
}
