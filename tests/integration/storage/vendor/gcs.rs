//! A stand-in for Google Cloud Storage, and not Google's own code: s3s-fs behind a layer that accepts a token
//! signed with a service account's key and renames `x-goog-` headers to `x-amz-`. Answers say so in
//! `x-stand-in`. What it cannot show is anything that Google does differently from S3.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use ring::rsa::KeyPair;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use s3s::service::{S3Service, S3ServiceBuilder};
use tidegate::testkit::GatewayCommand;

use super::{AnyBody, Vendor, call};

const EMAIL: &str = "gateway@project.iam.gserviceaccount.com";

pub(crate) struct GcsStandIn {
    service: S3Service,
    public_key: Vec<u8>,
    /// The JSON of the service account.
    account: PathBuf,
}

impl GcsStandIn {
    pub(crate) fn new(directory: &Path) -> Self {
        let key = Command::new("openssl").args(["genrsa", "2048"]).output();
        let key = String::from_utf8(key.unwrap().stdout).unwrap();
        let der = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            der => KeyPair::from_der(der.secret_der()),
        };
        let account = directory.join("account.json");
        let json = serde_json::json!({
            "type": "service_account",
            "client_email": EMAIL,
            "private_key_id": "1",
            "private_key": key,
        });
        std::fs::write(&account, json.to_string()).unwrap();
        let files = s3s_fs::FileSystem::new(directory).unwrap();
        Self {
            service: S3ServiceBuilder::new(files).build(),
            public_key: pair.unwrap().public_key().as_ref().to_vec(),
            account,
        }
    }

    /// Whether a request has a token that the account has signed.
    fn is_signed(&self, headers: &HeaderMap) -> bool {
        let verified = || {
            let token = headers.get(AUTHORIZATION)?.to_str().ok()?;
            let token = token.strip_prefix("Bearer ")?;
            let (signed, signature) = token.rsplit_once('.')?;
            let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key);
            key.verify(signed.as_bytes(), &signature).ok()?;
            let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
            let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
            (claims["iss"] == EMAIL).then_some(())
        };
        verified().is_some()
    }
}

#[async_trait]
impl Vendor for GcsStandIn {
    async fn answer(&self, mut request: Request<Incoming>) -> io::Result<Response<AnyBody>> {
        if !self.is_signed(request.headers()) {
            let body = Full::new(Bytes::from_static(
                b"<Error><Code>AccessDenied</Code></Error>",
            ));
            let body = body.map_err(|never| match never {}).boxed_unsync();
            let mut refused = Response::new(body);
            *refused.status_mut() = http::StatusCode::UNAUTHORIZED;
            return Ok(refused);
        }
        request.headers_mut().remove(AUTHORIZATION);
        rename(request.headers_mut(), "x-goog-", "x-amz-");
        let mut response = call(&self.service, request.map(s3s::Body::from)).await?;
        let headers = response.headers_mut();
        rename(headers, "x-amz-", "x-goog-");
        headers.insert("x-goog-generation", HeaderValue::from_static("1"));
        headers.insert("x-stand-in", HeaderValue::from_static("s3s-fs"));
        Ok(response)
    }

    fn provider(&self) -> &'static str {
        "gcp"
    }

    fn opened(&self, command: GatewayCommand) -> GatewayCommand {
        let command = command.arg("--credentials").arg("stdin");
        command.input(&self.account).unwrap()
    }
}

fn rename(headers: &mut HeaderMap, from: &str, to: &str) {
    let renamed: Vec<_> = headers
        .iter()
        .filter_map(|(name, value)| {
            let rest = name.as_str().strip_prefix(from)?;
            let new = HeaderName::try_from(format!("{to}{rest}")).unwrap();
            Some((name.clone(), new, value.clone()))
        })
        .collect();
    for (old, new, value) in renamed {
        headers.remove(old);
        headers.insert(new, value);
    }
}
