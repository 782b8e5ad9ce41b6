use super::*;

const SHA512: &str =
    "rYerwe+0LgMgfzqYuPQR2tCVOqI9TTGaQkiAznBaEhke4sc3DCJOLYpoG4dctq+kYb25moaTst23SyXfAAINTQ==";
const SHA256: &str = "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9";

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter().copied().map(|(name, value)| {
        (
            http::HeaderName::from_static(name),
            http::HeaderValue::from_static(value),
        )
    });
    pairs.collect()
}

/// The outcome for the body `bytes`, and what was computed of it.
fn judged(said: Said) -> (Result<(), IncomingError>, Checksums) {
    let (mut declared, computed) = Declared::new(said);
    declared.update(b"by");
    declared.update(b"tes");
    (declared.finish(), computed.get())
}

#[test]
fn every_digest_that_is_declared_is_compared() {
    for (name, right) in [
        ("x-amz-checksum-crc32", "sZlDzg=="),
        ("x-amz-checksum-md5", "SzpiGLs+OnMD6KFxpg/Pkg=="),
        ("content-md5", "SzpiGLs+OnMD6KFxpg/Pkg=="),
        ("x-amz-checksum-sha512", SHA512),
    ] {
        let said = Said::default().headers(&headers(&[(name, right)])).unwrap();
        assert_eq!(judged(said).0, Ok(()), "{name}");
        let wrong = "AAAAAAAAAAAAAAAAAAAAAA==";
        // One that is right does not excuse another.
        let both = headers(&[(name, wrong), (name, right)]);
        let said = Said::default().headers(&both).unwrap();
        assert_eq!(judged(said).0, Err(IncomingError::BadDigest), "{name}");
        let field = [(name.to_owned(), wrong.to_owned())];
        let said = Said::default().fields(&field).unwrap();
        assert_eq!(judged(said).0, Err(IncomingError::BadDigest), "{name}");
    }
    let unknown = headers(&[("x-amz-checksum-foo", "a")]);
    let said = Said::default().headers(&unknown).unwrap();
    assert_eq!(judged(said).0, Err(IncomingError::BadDigest));
}

#[test]
fn a_checksum_that_was_announced_has_to_come() {
    // The header is one more.
    let announced = headers(&[
        ("x-amz-trailer", "x-amz-checksum-CRC32"),
        ("x-amz-checksum-crc32", "sZlDzg=="),
    ]);
    let said = Said::default().headers(&announced).unwrap();
    assert_eq!(judged(said).0, Err(IncomingError::BadDigest));
}

#[test]
fn what_was_moved_into_the_query_is_compared_but_for_the_checksum_of_nothing() {
    let outcome = |query: &str| judged(Said::default().query(query).unwrap()).0;
    assert_eq!(outcome("x-id=a&x-amz-checksum-crc32=AAAAAA%3D%3D"), Ok(()));
    assert_eq!(outcome("X-Amz-Checksum-Crc32=sZlDzg%3D%3D"), Ok(()));
    assert_eq!(
        outcome("x-amz-checksum-sha1=AAAAAA%3D%3D"),
        Err(IncomingError::BadDigest)
    );
    assert_eq!(outcome("X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"), Ok(()));
    assert_eq!(outcome(&format!("X-Amz-Content-Sha256={SHA256}")), Ok(()));
    let other = SHA256.replace('2', "3");
    assert_eq!(
        outcome(&format!("X-Amz-Content-Sha256={other}")),
        Err(IncomingError::WrongSha256)
    );
    let malformed = Said::default().query("X-Amz-Content-Sha256=a");
    assert!(malformed.is_err());
}

#[test]
fn checksums_of_the_algorithms_that_s3_shows_are_kept() {
    let both = headers(&[
        ("x-amz-checksum-crc32", "sZlDzg=="),
        ("x-amz-checksum-sha512", SHA512),
    ]);
    let said = Said::default().headers(&both).unwrap();
    let kept = Checksums::from([("crc32".to_owned(), "sZlDzg==".to_owned())]);
    assert_eq!(judged(said), (Ok(()), kept.clone()));
    assert_eq!(judged(Said::computed(Some("crc32"))), (Ok(()), kept));
    assert_eq!(judged(Said::default()), (Ok(()), Checksums::new()));
}
