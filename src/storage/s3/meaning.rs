//! What a request turned out to mean, for those who look at it afterwards: its operation, the template of its
//! path, and its repository. Never a key, an upload or anything of a signature.

use std::sync::{Arc, OnceLock};

use s3s::access::S3AccessContext;

use crate::http::Understood;

/// The meaning of one request, in its extensions; empty until its signature is verified.
#[derive(Clone, Default)]
pub(super) struct Meaning(Arc<Facts>);

#[derive(Default)]
struct Facts {
    operation: OnceLock<String>,
    route: OnceLock<&'static str>,
    repository: OnceLock<String>,
}

impl Meaning {
    /// Takes what access control is asked about.
    pub(super) fn understand(&self, context: &S3AccessContext<'_>) {
        let path = context.s3_path();
        let route = match (path.as_object(), path.as_bucket()) {
            (Some(_), _) => "/{bucket}/{key}",
            (None, Some(_)) => "/{bucket}",
            (None, None) => "/",
        };
        // A request is understood once.
        let _first = self.0.operation.set(context.s3_op().name().to_owned());
        let _first = self.0.route.set(route);
    }

    /// Takes the name of a repository that the request may use.
    pub(super) fn allow(&self, repository: &str) {
        let _first = self.0.repository.set(repository.to_owned());
    }

    /// What is said of it afterwards; in its span by OpenTelemetry's conventions for S3.
    pub(super) fn understood(&self, id: &str) -> Understood<'_> {
        let operation = self.0.operation.get().map(String::as_str);
        let repository = self.0.repository.get().map(String::as_str);
        let mut attributes = vec![("aws.request_id", id.to_owned().into())];
        if let Some(operation) = operation {
            attributes.push(("rpc.system", "aws-api".into()));
            attributes.push(("rpc.service", "S3".into()));
            attributes.push(("rpc.method", operation.to_owned().into()));
        }
        if let Some(repository) = repository {
            attributes.push(("aws.s3.bucket", repository.to_owned().into()));
        }
        Understood {
            route: self.0.route.get().copied(),
            operation,
            repository,
            attributes,
        }
    }
}
