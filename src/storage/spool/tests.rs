use super::room::UNIT;
use super::*;
use crate::storage::StorageSettings;
use crate::storage::backend::PART_BYTES;

struct Anything;

impl Check for Anything {
    fn update(&mut self, _: &[u8]) {}

    fn finish(&mut self) -> Result<(), IncomingError> {
        Ok(())
    }
}

fn spool(memory: usize, bytes_max: usize, declared: u64, chunks: &[&'static str]) -> Spool {
    let settings = StorageSettings {
        spool_memory_max: memory,
        spool_bytes_max: bytes_max,
        ..StorageSettings::default()
    };
    let chunks: Vec<_> = chunks
        .iter()
        .map(|it| Ok(Bytes::from_static(it.as_bytes())))
        .collect();
    let incoming = futures_util::stream::iter(chunks).boxed();
    let room = Arc::new(SpoolRoom::new(&settings));
    Spool::new(room, incoming, declared, Box::new(Anything)).unwrap()
}

async fn all(spool: &mut Spool, most: usize) -> Result<String, StorageError> {
    let mut text = String::new();
    loop {
        let taken = spool.take(most).await?.bytes;
        if taken.is_empty() {
            return Ok(text);
        }
        for chunk in taken {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn a_body_begins_again_as_often_as_needed_from_memory_and_from_the_file() {
    for memory in [1 << 20, 2 << 10, 0] {
        let mut spool = spool(memory, 1 << 20, 9, &["abc", "defg", "hi"]);
        for most in [1, 2, 100] {
            assert_eq!(all(&mut spool, most).await.unwrap(), "abcdefghi");
            assert!(spool.rewind());
        }
        let digests = spool.digests().unwrap();
        assert_eq!(digests.md5, "8aa99b1f439ff71293e95357bac6fd94");
    }
}

#[tokio::test]
async fn a_body_that_was_begun_goes_on_after_its_kept_part() {
    let mut spool = spool(1 << 20, 1 << 20, 7, &["abc", "defg"]);
    assert_eq!(spool.take(2).await.unwrap().bytes.concat(), b"ab");
    assert!(spool.rewind());
    assert_eq!(all(&mut spool, 3).await.unwrap(), "abcdefg");
}

#[tokio::test]
async fn past_the_limit_nothing_is_kept_and_the_body_cannot_begin_again() {
    let mut spool = spool(0, 4, 7, &["abc", "defg"]);
    assert_eq!(all(&mut spool, 100).await.unwrap(), "abcdefg");
    assert!(!spool.rewind());
    assert_eq!(spool.room.files.available_permits(), (4 << 30) / UNIT);
}

#[tokio::test]
async fn a_body_of_another_length_is_refused() {
    for declared in [6, 8] {
        let mut spool = spool(1 << 20, 1 << 20, declared, &["abc", "defg"]);
        let refused = all(&mut spool, 100).await;
        assert!(matches!(
            refused,
            Err(StorageError::Body(IncomingError::Incomplete))
        ));
        assert!(spool.digests().is_none());
    }
}

struct WrongOnce(bool);

impl Check for WrongOnce {
    fn update(&mut self, _: &[u8]) {}

    fn finish(&mut self) -> Result<(), IncomingError> {
        match std::mem::replace(&mut self.0, true) {
            true => Ok(()),
            false => Err(IncomingError::BadDigest),
        }
    }
}

#[tokio::test]
async fn a_body_with_a_wrong_digest_stays_refused_when_it_begins_again() {
    let mut spool = spool(1 << 20, 1 << 20, 3, &["abc"]);
    spool.check = Box::new(WrongOnce(false));
    for _ in 0..2 {
        let refused = all(&mut spool, 100).await;
        assert!(matches!(
            refused,
            Err(StorageError::Body(IncomingError::BadDigest))
        ));
        spool.rewind();
    }
    assert!(spool.digests().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_not_waited_for() {
    let mut silent = spool(1 << 20, 1 << 20, 7, &[]);
    silent.incoming = futures_util::stream::pending().boxed();
    let refused = silent.take(1).await;
    assert!(matches!(
        refused,
        Err(StorageError::Body(IncomingError::TimedOut))
    ));
}

#[tokio::test(start_paused = true)]
async fn parts_that_are_sent_are_within_the_bound_of_memory_and_others_wait_for_it() {
    // Nothing is kept in memory, so that each part has to be read from the file.
    let mut spools: Vec<_> = (0..3).map(|_| spool(0, 1 << 20, 3, &["abc"])).collect();
    let room = Arc::new(SpoolRoom {
        parts: Arc::new(Semaphore::new(2)),
        parts_units: 2,
        ..SpoolRoom::new(&StorageSettings {
            spool_memory_max: 0,
            ..StorageSettings::default()
        })
    });
    for spool in &mut spools {
        spool.room = Arc::clone(&room);
    }
    let first = spools[0].take(3).await.unwrap();
    let _second = spools[1].take(3).await.unwrap();
    assert!(matches!(spools[2].take(3).await, Err(StorageError::Busy)));
    drop(first);
    assert_eq!(spools[2].take(3).await.unwrap().bytes.concat(), b"abc");
}

#[tokio::test]
async fn a_body_that_is_not_kept_arrives_whole_in_parts_of_any_size() {
    for most in 1..8 {
        let mut spool = spool(0, 2, 9, &["a", "bcd", "efg", "hi"]);
        assert_eq!(all(&mut spool, most).await.unwrap(), "abcdefghi");
        assert!(!spool.rewind());
        assert!(spool.kept.is_empty() && spool.file.is_none());
        let parts = &spool.room.parts;
        assert_eq!(parts.available_permits() * UNIT, PART_BYTES);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_slow_does_not_keep_the_room_for_parts() {
    let mut slow = spool(0, 0, 9, &[]);
    let chunks = futures_util::stream::iter(["a"; 9]).then(|it| async move {
        tokio::time::sleep(SILENCE_MAX / 2).await;
        Ok(Bytes::from_static(it.as_bytes()))
    });
    slow.incoming = chunks.boxed();
    let refused = slow.take(9).await;
    assert!(matches!(
        refused,
        Err(StorageError::Body(IncomingError::TimedOut))
    ));
    let parts = slow.room.parts.available_permits();
    assert_eq!(parts, slow.room.parts_units as usize);
}

#[tokio::test]
async fn room_is_free_only_when_what_was_kept_in_it_is_gone() {
    let mut spool = spool(4 << 10, 4 << 10, 4, &["ab", "cd"]);
    let room = |spool: &Spool| spool.room.memory.available_permits();
    let all = room(&spool);
    let part = spool.take(3).await.unwrap();
    let memory = Arc::clone(&spool.room.memory);
    drop(spool);
    assert_eq!(memory.available_permits(), all - 2);
    drop(part);
    assert_eq!(memory.available_permits(), all);
}
