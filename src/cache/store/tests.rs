//! The store and its flights, without requests.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use tidegate_policy::Lifetime;

const ENTERED: FlightScope = FlightScope::Entered;

type TestCache = Arc<ResponseCache<(), &'static str>>;

fn cache(bytes_max: usize, entry_bytes_max: usize) -> TestCache {
    let settings = CacheSettings {
        bytes_max,
        entry_bytes_max,
    };
    Arc::new(ResponseCache::new(&settings).unwrap())
}

fn key(path: &str) -> CacheKey {
    CacheKey::new(1, path, []).unwrap()
}

fn entry(bytes: usize, staleness: Option<u64>) -> Arc<Entry<()>> {
    let lifetime = Lifetime {
        fresh: Duration::from_secs(60),
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
    };
    let staleness = staleness.map(Duration::from_secs);
    let body = vec![b'x'; bytes];
    Arc::new(Entry::new(&body, (), lifetime, Instant::now(), staleness))
}

fn leader(cache: &TestCache, path: &str) -> Leader<(), &'static str> {
    match cache.join(&key(path), ENTERED, None) {
        Joined::Leader(leader) => leader,
        Joined::Follower(_) | Joined::Stored(_) => panic!("{path} is being fetched or stored"),
    }
}

fn follower(cache: &TestCache, path: &str) -> Follower<&'static str> {
    match cache.join(&key(path), ENTERED, None) {
        Joined::Follower(follower) => follower,
        Joined::Leader(_) | Joined::Stored(_) => panic!("{path} is not being fetched"),
    }
}

#[test]
fn what_another_region_has_handed_on_waits_for_no_flight_that_may_be_handed_on() {
    let cache = cache(1 << 20, 1 << 10);
    let join = |scope| cache.join(&key("/a"), scope, None);
    let Joined::Leader(entered) = join(ENTERED) else {
        panic!("a flight is under way");
    };
    let Joined::Leader(handed_on) = join(FlightScope::HandedOn) else {
        panic!("it waits for the other flight");
    };
    assert!(matches!(join(FlightScope::HandedOn), Joined::Follower(_)));
    // Either one's answer is stored, and a purge forgets both.
    assert!(handed_on.store(&entry(10, Some(0)), Instant::now()));
    assert_eq!(cache.purge("/a"), 1);
    for leader in [entered, handed_on] {
        assert!(!leader.store(&entry(10, Some(0)), Instant::now()));
    }
}

#[tokio::test]
async fn one_leads_and_all_others_are_told() {
    let cache = cache(1 << 20, 1 << 10);
    let leader = leader(&cache, "/a");
    let followers = [
        leader.follower(),
        follower(&cache, "/a"),
        follower(&cache, "/a"),
    ];
    let other = super::tests::leader(&cache, "/b");
    assert!(leader.store(&entry(10, Some(0)), Instant::now()));
    leader.end_with("landed");
    for follower in followers {
        assert_eq!(follower.outcome().await, Some("landed"));
    }
    assert!(matches!(
        cache.join(&key("/a"), ENTERED, None),
        Joined::Stored(_)
    ));
    drop(other);
}

#[tokio::test]
async fn a_leader_that_is_dropped_tells_its_followers_and_makes_room_for_another() {
    let cache = cache(1 << 20, 1 << 10);
    let first = leader(&cache, "/a");
    let waiting = follower(&cache, "/a");
    drop(first);
    assert_eq!(waiting.outcome().await, None);
    let second = leader(&cache, "/a");
    second.end_with("again");
}

#[test]
fn what_was_seen_stale_is_fetched_once_and_what_is_newer_is_not() {
    let cache = cache(1 << 20, 1 << 10);
    let first = leader(&cache, "/a");
    let old = entry(1, Some(0));
    first.store(&old, Instant::now());
    first.end_with("old");
    let refresh = cache
        .refresh(&key("/a"), ENTERED, &old)
        .expect("no other refresh is under way");
    assert!(
        cache.refresh(&key("/a"), ENTERED, &old).is_none(),
        "a refresh is already under way"
    );
    refresh.store(&entry(2, Some(0)), Instant::now());
    refresh.end_with("new");
    assert!(
        cache.refresh(&key("/a"), ENTERED, &old).is_none(),
        "it has already been refreshed"
    );
}

#[test]
fn a_flight_that_was_purged_stores_nothing_and_ends_no_other() {
    let cache = cache(1 << 20, 1 << 10);
    let purged = leader(&cache, "/a");
    assert_eq!(cache.purge("/"), 0);
    let second = leader(&cache, "/a");
    assert!(!purged.store(&entry(1, Some(0)), Instant::now()));
    assert!(second.store(&entry(1, Some(0)), Instant::now()));
    purged.forget();
    purged.end_with("too late");
    assert!(cache.get(&key("/a")).is_some());
    assert!(matches!(
        cache.join(&key("/b"), ENTERED, None),
        Joined::Leader(_)
    ));
    drop(follower(&cache, "/a"));
    assert_eq!(cache.purge("/a"), 1);
    second.forget();
    assert!(cache.get(&key("/a")).is_none());
}

#[test]
fn what_is_too_large_too_old_or_of_unknown_age_is_not_kept() {
    let cache = cache(1 << 20, 1 << 10);
    let leader = leader(&cache, "/a");
    let now = Instant::now();
    assert!(!leader.store(&entry((1 << 10) + 1, Some(0)), now));
    assert!(!leader.store(&entry(1, Some(60)), now));
    assert!(!leader.store(&entry(1, None), now));
    assert!(leader.store(&entry(1 << 10, Some(10)), now));
}

#[test]
fn what_is_too_large_ends_the_answer_before_it() {
    let cache = cache(1 << 20, 1 << 10);
    let leader = leader(&cache, "/a");
    let now = Instant::now();
    assert!(leader.store(&entry(1, Some(0)), now));
    assert!(!leader.store(&entry(1, None), now));
    assert!(cache.get(&key("/a")).is_some());
    assert!(!leader.store(&entry((1 << 10) + 1, Some(0)), now));
    assert!(cache.get(&key("/a")).is_none());
}

#[test]
fn another_revision_is_another_answer() {
    let cache = cache(1 << 20, 1 << 10);
    let leader = leader(&cache, "/a");
    leader.store(&entry(1, Some(0)), Instant::now());
    assert!(cache.get_path(1, "/a").is_some());
    assert!(cache.get_path(2, "/a").is_none());
    cache.keep_revision(1);
    assert!(cache.get_path(1, "/a").is_some());
    cache.keep_revision(2);
    assert!(cache.get_path(1, "/a").is_none());
}

proptest! {
    #[test]
    fn all_answers_together_stay_within_the_bound(
        bytes_max in 4_096..100_000_usize,
        sizes in prop::collection::vec(0..4_096_usize, 1..200),
    ) {
        let cache = cache(bytes_max, 4_096);
        for (index, size) in sizes.iter().enumerate() {
            let path = format!("/{index}");
            let leader = leader(&cache, &path);
            leader.store(&entry(*size, Some(0)), Instant::now());
            drop(leader);
            prop_assert!(cache.store.weight() <= bytes_max as u64);
        }
        let held: usize = (0..sizes.len())
            .filter_map(|index| cache.get(&key(&format!("/{index}"))))
            .map(|entry| entry.body.len() + OVERHEAD_BYTES)
            .sum();
        prop_assert!(held <= bytes_max);
        prop_assert!(held > 0 || bytes_max < 4_096 + 2 * OVERHEAD_BYTES);
    }
}

#[test]
fn a_purge_takes_away_what_is_being_stored_for_an_application() {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use tidegate_policy::http_cache::{ReuseTerms, Selection};

    let headers = HeaderMap::new();
    let selection = Selection::of(&headers, &headers).unwrap();
    let terms = ReuseTerms {
        fresh: Duration::from_secs(60),
        age: Duration::ZERO,
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        must_revalidate: false,
        no_cache: false,
    };
    let content = (StatusCode::OK, headers, Bytes::new());
    let answer = crate::cache::StoredAnswer::new(content, (terms, selection), None, Instant::now());
    let (answer, cache) = (Arc::new(answer), cache(1 << 20, 1 << 10));
    let (key, (purged, seen)) = (key("/a"), std::sync::mpsc::channel());
    std::thread::scope(|scope| {
        let of_purge = Arc::clone(&cache);
        cache.change_variants(&key, cache.purges(), |known| {
            scope.spawn(move || {
                of_purge.purge("/");
                purged.send(()).unwrap();
            });
            // A purge that does not wait ends within this time.
            let _ended = seen.recv_timeout(Duration::from_millis(100));
            known.with(&answer, usize::MAX)
        });
    });
    assert!(cache.variants(&key).is_none());
    assert!(!cache.change_variants(&key, 0, |known| known.with(&answer, usize::MAX)));
}
