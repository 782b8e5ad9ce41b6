//! Bodies that are sent in chunks, each with a signature of its own.

use http_body_util::Full;
use reqwest::Response;
use ring::digest::{SHA256, digest};

use super::s3_client::{S3Request, hex, signature_of, stamps};
use crate::world::DEADLINE;

impl S3Request {
    /// Sends its body in chunks that are signed, and with a trailer if one is given.
    pub(crate) async fn send_in_chunks(
        self,
        size: usize,
        trailer: Option<(&str, &str)>,
    ) -> Response {
        self.send_chunks(size, trailer, true).await
    }

    /// The same without the last chunk, which is empty.
    pub(crate) async fn send_in_chunks_without_end(self, size: usize) -> Response {
        self.send_chunks(size, None, false).await
    }

    async fn send_chunks(
        self,
        size: usize,
        trailer: Option<(&str, &str)>,
        has_end: bool,
    ) -> Response {
        let body = self.body.clone();
        let (of, at) = (self.of.clone(), self.at);
        let sized = self
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", &body.len().to_string());
        let (kind, sized) = match trailer {
            Some((name, _)) => ("-TRAILER", sized.header("x-amz-trailer", name)),
            None => ("", sized),
        };
        let hash = format!("STREAMING-AWS4-HMAC-SHA256-PAYLOAD{kind}");
        let (head, _) = sized.signed_with_hash(&hash).into_parts();
        let authorization = head.headers["authorization"].to_str().unwrap();
        let (_, seed) = authorization.rsplit_once("Signature=").unwrap();
        let (date, stamp) = stamps(at);
        let of_bytes = |bytes: &[u8]| hex(digest(&SHA256, bytes).as_ref());
        let sign = |kind: &str, before: &str, hashes: &str| {
            let scope = format!("{date}/anywhere/s3/aws4_request");
            let text = format!("AWS4-HMAC-SHA256-{kind}\n{stamp}\n{scope}\n{before}\n{hashes}");
            signature_of(&of.secret, &date, &text)
        };
        let (mut signature, mut sent) = (seed.to_owned(), Vec::new());
        let empty: &[u8] = &[];
        let last = has_end.then_some(empty);
        for chunk in body.chunks(size).chain(last) {
            let hashes = format!("{}\n{}", of_bytes(b""), of_bytes(chunk));
            signature = sign("PAYLOAD", &signature, &hashes);
            sent.extend(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).into_bytes());
            sent.extend(chunk);
            if !chunk.is_empty() {
                sent.extend(b"\r\n");
            }
        }
        if let Some((name, value)) = trailer {
            let line = format!("{name}:{value}");
            let signed = sign(
                "TRAILER",
                &signature,
                &of_bytes(format!("{line}\n").as_bytes()),
            );
            sent.extend(format!("{line}\r\nx-amz-trailer-signature:{signed}\r\n").into_bytes());
        }
        if has_end {
            sent.extend(b"\r\n");
        }
        let request = http::Request::from_parts(head, Full::from(sent));
        let answered = tokio::time::timeout(DEADLINE, of.plain.request(request)).await;
        answered.unwrap().unwrap().map(reqwest::Body::wrap).into()
    }
}
