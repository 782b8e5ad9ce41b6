use proptest::prelude::*;

use super::*;

/// 1 January 2020, as a date and as text.
const NOW: Duration = Duration::from_secs(1_577_836_800);
const DATE_NOW: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
const DAY_BEFORE: &str = "Tue, 31 Dec 2019 00:00:00 GMT";
const HOUR_AFTER: &str = "Wed, 01 Jan 2020 01:00:00 GMT";

fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn read(
    request: &[(&'static str, &str)],
    status: u16,
    answer: &[(&'static str, &str)],
) -> Option<ReuseTerms> {
    ReuseTerms::of(&Exchange {
        request: &fields(request),
        status: StatusCode::from_u16(status).unwrap(),
        answer: &fields(answer),
        now: SystemTime::UNIX_EPOCH + NOW,
    })
}

fn fresh(answer: &[(&'static str, &str)]) -> Option<u64> {
    read(&[], 200, answer).map(|terms| terms.fresh.as_secs())
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_lifetime_is_stated_by_the_most_specific_field() {
    let tag = ("etag", "\"a\"");
    let cc = "cache-control";
    let later = ("expires", HOUR_AFTER);
    assert_eq!(fresh(&[(cc, "max-age=5, s-maxage=7"), later]), Some(7));
    assert_eq!(fresh(&[(cc, "max-age=5"), later]), Some(5));
    assert_eq!(fresh(&[("date", DATE_NOW), later]), Some(3_600));
    assert_eq!(fresh(&[(cc, "max-age=5"), (cc, "max-age=3")]), Some(3));
    assert_eq!(fresh(&[(cc, "max-age=-5"), later, tag]), Some(0));
    assert_eq!(fresh(&[("expires", "0"), tag]), Some(0));
    assert_eq!(fresh(&[later, later, tag]), Some(0));
    assert_eq!(fresh(&[(cc, "x=\"max-age=9\", max-age=5")]), Some(5));
    assert_eq!(fresh(&[("last-modified", DAY_BEFORE)]), Some(8_640));
    assert_eq!(
        fresh(&[("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")]),
        Some(86_400)
    );
}

#[test]
fn cdn_cache_control_takes_the_place_of_the_other_fields() {
    let (cdn, cc) = ("cdn-cache-control", "cache-control");
    assert_eq!(fresh(&[(cdn, "max-age=5"), (cc, "no-store")]), Some(5));
    assert_eq!(fresh(&[(cdn, "no-store"), (cc, "max-age=5")]), None);
    assert_eq!(
        fresh(&[(cdn, "public"), ("expires", HOUR_AFTER), ("etag", "\"a\"")]),
        Some(0)
    );
    let surrogate = ("surrogate-control", "public, max-age=3");
    assert_eq!(fresh(&[surrogate, (cc, "max-age=5")]), Some(5));
    for forbids in ["private", "no-store"] {
        assert_eq!(fresh(&[surrogate, (cc, forbids)]), None, "{forbids}");
    }
    for ignored in ["", "max-age=5;x", "\u{e9}"] {
        assert_eq!(
            fresh(&[(cdn, ignored), (cc, "max-age=7")]),
            Some(7),
            "{ignored}"
        );
    }
}

#[test]
fn what_is_not_for_all_is_not_stored() {
    let cc = "cache-control";
    for said in [
        "no-store",
        "private, max-age=5",
        "private=\"x\", max-age=5",
        "private;max-age=5",
    ] {
        assert_eq!(fresh(&[(cc, said), ("etag", "\"a\"")]), None, "{said}");
    }
    let stored = |request: &[_], said: &str, more: (&'static str, &str)| {
        read(request, 200, &[(cc, said), more]).is_some()
    };
    let bearer = [("authorization", "Bearer x")];
    let (cookie, nothing) = (("set-cookie", "a=b"), ("x", "y"));
    for (said, with_authorization, with_cookie) in [
        ("max-age=5", false, false),
        ("max-age=5, must-revalidate", true, false),
        ("max-age=5, public", true, true),
        ("s-maxage=5", true, true),
    ] {
        assert!(stored(&[], said, nothing));
        assert_eq!(stored(&bearer, said, nothing), with_authorization, "{said}");
        assert_eq!(stored(&[], said, cookie), with_cookie, "{said}");
    }
}

#[test]
fn a_status_that_is_not_cacheable_by_default_needs_to_be_told_so() {
    let stored = |status, said| {
        read(
            &[],
            status,
            &[("cache-control", said), ("last-modified", DAY_BEFORE)],
        )
        .is_some()
    };
    assert!(stored(404, "x") && stored(204, "x") && stored(200, "x"));
    for status in [201, 302, 403, 500, 503, 599] {
        assert!(!stored(status, "x"), "{status}");
        assert!(
            stored(status, "max-age=5") && stored(status, "public"),
            "{status}"
        );
    }
    for status in [101, 206, 304, 416, 417] {
        assert!(!stored(status, "public, max-age=5"), "{status}");
    }
    assert!(!stored(599, "max-age=5, must-understand"));
    assert!(stored(404, "max-age=5, must-understand"));
}

#[test]
fn a_request_with_a_range_stores_a_whole_answer_alone() {
    let public = [("cache-control", "public, max-age=5")];
    let range = [("range", "bytes=9-")];
    assert!(read(&range, 200, &public).is_some());
    for status in [203, 206, 404, 416] {
        assert!(read(&range, status, &public).is_none(), "{status}");
    }
}

#[test]
fn an_answer_that_could_never_be_used_is_not_stored() {
    assert_eq!(fresh(&[]), None);
    assert_eq!(fresh(&[("cache-control", "max-age=0")]), None);
    assert_eq!(fresh(&[("cache-control", "no-cache, max-age=5")]), None);
    assert_eq!(fresh(&[("cache-control", "max-age=5"), ("age", "7")]), None);
    assert_eq!(
        fresh(&[("cache-control", "max-age=0"), ("etag", "\"a\"")]),
        Some(0)
    );
}

#[test]
fn the_age_is_the_greater_of_what_is_said_and_what_the_date_shows() {
    let age = |lines: &[_]| {
        let answer = [
            &[("etag", "\"a\""), ("cache-control", "max-age=99999")][..],
            lines,
        ]
        .concat();
        read(&[], 200, &answer).unwrap().age
    };
    assert_eq!(age(&[]), Duration::ZERO);
    assert_eq!(age(&[("age", "30"), ("date", DATE_NOW)]), seconds(30));
    assert_eq!(age(&[("age", "30"), ("date", DAY_BEFORE)]), seconds(86_399));
    assert_eq!(age(&[("date", HOUR_AFTER)]), Duration::ZERO);
    for unclear in ["-1", "1.0", "0, 0", "x", "1;x=2", ""] {
        assert_eq!(age(&[("age", unclear)]), AGE_UNKNOWN, "{unclear}");
    }
    assert_eq!(age(&[("age", "0"), ("age", "0")]), AGE_UNKNOWN);
}

const TERMS: ReuseTerms = ReuseTerms {
    fresh: seconds(10),
    age: Duration::ZERO,
    while_revalidate: seconds(5),
    if_error: seconds(20),
    must_revalidate: false,
    no_cache: false,
};

#[test]
fn a_stale_answer_is_used_only_within_what_was_granted() {
    let none = Wishes::default();
    assert_eq!(TERMS.usable(seconds(9), &none), Reusable::Fresh);
    assert_eq!(TERMS.usable(seconds(10), &none), Reusable::WhileRevalidate);
    assert_eq!(TERMS.usable(seconds(15), &none), Reusable::AfterValidation);
    assert!(TERMS.usable_after_error(seconds(29)) && !TERMS.usable_after_error(seconds(30)));
    let strict = ReuseTerms {
        must_revalidate: true,
        ..TERMS
    };
    assert_eq!(strict.usable(seconds(10), &none), Reusable::AfterValidation);
    assert!(!strict.usable_after_error(seconds(10)));
    let always = ReuseTerms {
        no_cache: true,
        ..TERMS
    };
    assert_eq!(
        always.usable(Duration::ZERO, &none),
        Reusable::AfterValidation
    );
    assert!(!always.usable_after_error(Duration::ZERO));
}

#[test]
fn a_request_narrows_and_widens_what_it_accepts() {
    let with = |change: fn(&mut Wishes)| {
        let mut wishes = Wishes::default();
        change(&mut wishes);
        wishes
    };
    let no_cache = with(|it| it.no_cache = true);
    assert_eq!(
        TERMS.usable(seconds(1), &no_cache),
        Reusable::AfterValidation
    );
    let young = with(|it| it.max_age = Some(seconds(3)));
    assert_eq!(TERMS.usable(seconds(3), &young), Reusable::Fresh);
    assert_eq!(TERMS.usable(seconds(4), &young), Reusable::AfterValidation);
    let lasting = with(|it| it.min_fresh = seconds(5));
    assert_eq!(TERMS.usable(seconds(5), &lasting), Reusable::Fresh);
    assert_eq!(
        TERMS.usable(seconds(6), &lasting),
        Reusable::AfterValidation
    );
    let patient = with(|it| it.max_stale = Some(seconds(30)));
    assert_eq!(TERMS.usable(seconds(40), &patient), Reusable::Stale);
    assert_eq!(
        TERMS.usable(seconds(41), &patient),
        Reusable::AfterValidation
    );
    let strict = ReuseTerms {
        must_revalidate: true,
        ..TERMS
    };
    assert_eq!(
        strict.usable(seconds(11), &patient),
        Reusable::AfterValidation
    );
}

#[test]
fn a_shared_lifetime_forbids_stale_answers_unless_they_are_granted() {
    let must = |said: &str| {
        read(&[], 200, &[("cache-control", said)])
            .unwrap()
            .must_revalidate
    };
    assert!(must("s-maxage=5") && must("max-age=5, proxy-revalidate"));
    assert!(!must("max-age=5") && !must("s-maxage=5, stale-if-error=5"));
    assert!(must("s-maxage=5, stale-if-error=5, must-revalidate"));
}

proptest! {
    #[test]
    fn an_older_answer_is_never_fresher(
        fresh in 0_u64..100, swr in 0_u64..100, age in 0_u64..300, more in 0_u64..300, most in 0_u64..300,
    ) {
        let terms = ReuseTerms { fresh: seconds(fresh), while_revalidate: seconds(swr), ..TERMS };
        let wishes = Wishes { max_age: Some(seconds(most)), ..Wishes::default() };
        let rank = |usable| match usable {
            Reusable::Fresh => 0,
            Reusable::Stale => 1,
            Reusable::WhileRevalidate => 2,
            Reusable::AfterValidation => 3,
        };
        let (young, old) = (terms.usable(seconds(age), &wishes), terms.usable(seconds(age + more), &wishes));
        prop_assert!(rank(young) <= rank(old));
        if age > most {
            prop_assert_eq!(young, Reusable::AfterValidation);
        }
    }

    #[test]
    fn no_text_of_an_answer_makes_a_private_one_shared(
        before in "[ -~]{0,20}", after in "[ -~]{0,20}", cookie: bool,
    ) {
        // As a member of its own, whatever else is in the line.
        prop_assume!(!before.contains('"'));
        let line = format!("{before},private,{after}");
        let mut answer = vec![("cache-control", &*line), ("etag", "\"a\"")];
        if cookie {
            answer.push(("set-cookie", "a=b"));
        }
        prop_assert!(read(&[], 200, &answer).is_none());
    }
}
