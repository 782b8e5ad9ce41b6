//! What answers behind a bucket's listener: the provider's protocol, without its faults.

mod azurite;
mod gcs;

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use s3s::service::{S3Service, S3ServiceBuilder};
use tidegate::testkit::GatewayCommand;

pub(crate) use self::azurite::Azurite;
pub(crate) use self::gcs::GcsStandIn;

/// The name of the bucket at its provider.
pub(crate) const BUCKET: &str = "vendor";
pub(crate) const ACCESS_KEY: &str = "AKIATEST";
pub(crate) const SECRET_KEY: &str = "a-provider's-secret";

pub(crate) type AnyBody = UnsyncBoxBody<Bytes, s3s::StdError>;

/// A provider.
#[async_trait]
pub(crate) trait Vendor: Send + Sync {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<AnyBody>>;

    /// Its name on the command line.
    fn provider(&self) -> &'static str;

    /// The path of the bucket in its URL.
    fn path(&self) -> String {
        BUCKET.to_owned()
    }

    /// The bucket's URL, whose server listens at an address.
    fn url(&self, address: SocketAddr) -> String {
        format!("http://{address}/{}", self.path())
    }

    /// Gives a process what it needs to take a role.
    fn surrounding(&self, command: GatewayCommand) -> GatewayCommand {
        command
    }

    /// Gives a command the credentials.
    fn opened(&self, command: GatewayCommand) -> GatewayCommand {
        command
    }
}

/// A real server that speaks S3.
pub(crate) struct S3Vendor(S3Service);

impl S3Vendor {
    pub(crate) fn new(directory: &Path) -> Self {
        let files = s3s_fs::FileSystem::new(directory).unwrap();
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(s3s::auth::SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        Self(builder.build())
    }
}

#[async_trait]
impl Vendor for S3Vendor {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<AnyBody>> {
        call(&self.0, request.map(s3s::Body::from)).await
    }

    fn provider(&self) -> &'static str {
        "s3"
    }
}

async fn call(service: &S3Service, request: Request<s3s::Body>) -> io::Result<Response<AnyBody>> {
    let answered = service.call(request).await;
    let response = answered.map_err(|_failed| io::Error::other("the server failed"))?;
    Ok(response.map(BodyExt::boxed_unsync))
}
