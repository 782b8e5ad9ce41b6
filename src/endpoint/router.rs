//! From method and normalised path to endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderValue, Method};

use super::{Endpoint, EndpointError};
use crate::endpoint::{EndpointConfig, EndpointMethod};
use crate::sql::SqlTarget;
use crate::upstream::Upstreams;
use tidegate_model::ConfigError;

/// The value of `Allow` if any method is allowed; `HEAD` and `OPTIONS` are added everywhere.
const ANY_METHOD: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// All endpoints, by path template.
#[derive(Debug, Default)]
pub struct Router {
    templates: matchit::Router<Methods>,
    endpoints: Vec<Arc<Endpoint>>,
}

/// The endpoints that share one template.
#[derive(Debug, Clone, Default)]
struct Methods(Vec<Arc<Endpoint>>);

/// The result of routing a method and a path.
#[derive(Debug)]
pub enum Found {
    /// An endpoint, and the values of its template.
    Endpoint(Arc<Endpoint>, Vec<(String, String)>),
    /// The path exists without this method; the value lists its methods, for `Allow`.
    OtherMethods(HeaderValue),
    /// No template matches.
    Nothing,
}

impl Router {
    /// Compiles all endpoints.
    ///
    /// # Errors
    /// Names the file, line and key of the first one that cannot be used or repeats another.
    pub fn compile(configs: &[EndpointConfig], upstreams: &Upstreams) -> Result<Self, ConfigError> {
        let mut router = Self::default();
        let mut by_template: BTreeMap<&str, Methods> = BTreeMap::new();
        for config in configs {
            let refuse = |error: EndpointError| error.refuse(config);
            let endpoint = Arc::new(Endpoint::compile(config, upstreams).map_err(refuse)?);
            let Methods(methods) = by_template.entry(&config.path).or_default();
            if let Some(known) = methods.iter().find(|known| known.method == config.method) {
                return Err(refuse(EndpointError::Repeated(known.place.clone())));
            }
            methods.push(Arc::clone(&endpoint));
            router.endpoints.push(endpoint);
        }
        for config in configs {
            let Some(methods) = by_template.remove(&*config.path) else {
                continue;
            };
            let inserted = router.templates.insert(&config.path, methods);
            inserted.map_err(|error| EndpointError::Template(error).refuse(config))?;
        }
        Ok(router)
    }

    /// Every endpoint, in the order of the file.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The endpoints that run a statement, in the order of the file.
    pub fn sql_endpoints(&self) -> impl Iterator<Item = (&Endpoint, &SqlTarget)> {
        let endpoints = self.endpoints.iter().map(|endpoint| &**endpoint);
        endpoints.filter_map(move |endpoint| Some((endpoint, endpoint.sql()?)))
    }

    /// Routes a method and a normalised path.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Found {
        let Ok(matched) = self.templates.at(path) else {
            return Found::Nothing;
        };
        match matched.value.find(method) {
            Some(endpoint) => {
                let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
                Found::Endpoint(
                    Arc::clone(endpoint),
                    matched.params.iter().map(owned).collect(),
                )
            }
            None => Found::OtherMethods(matched.value.allow()),
        }
    }
}

impl Methods {
    /// The endpoint of a method: the one that names it, else the one for any method. TRACE, which
    /// would show a client what was added to its request, and CONNECT are never answered.
    fn find(&self, method: &Method) -> Option<&Arc<Endpoint>> {
        let wanted = match *method {
            Method::TRACE | Method::CONNECT => return None,
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let names = |endpoint: &&Arc<Endpoint>| match &endpoint.method {
            EndpointMethod::One(method) => method == wanted,
            EndpointMethod::Any => false,
        };
        let any = |endpoint: &&Arc<Endpoint>| endpoint.method == EndpointMethod::Any;
        let Self(methods) = self;
        methods
            .iter()
            .find(names)
            .or_else(|| methods.iter().find(any))
    }

    /// The value of `Allow`: `GET, HEAD, OPTIONS`.
    fn allow(&self) -> HeaderValue {
        let Self(methods) = self;
        let named = methods.iter().flat_map(|endpoint| match &endpoint.method {
            EndpointMethod::One(method) => std::slice::from_ref(method),
            EndpointMethod::Any => &ANY_METHOD,
        });
        let mut names: Vec<&str> = named.map(Method::as_str).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.push("OPTIONS");
        names.sort_unstable();
        names.dedup();
        HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::endpoint::{EndpointAuth, TargetConfig};
    use crate::sql::SqlConfig;
    use tidegate_model::Place;

    fn endpoint(line: usize, method: Method, path: &str) -> EndpointConfig {
        let file = "file".into();
        EndpointConfig {
            place: Place::Line {
                file,
                line,
                keys: Arc::default(),
            },
            method: EndpointMethod::One(method),
            path: path.to_owned(),
            auth: EndpointAuth::None,
            target: TargetConfig::Sql(SqlConfig {
                status: StatusCode::OK,
                statement: "select 1".to_owned(),
                single: false,
                body_strings: Vec::new(),
                settings: Vec::new(),
                role: None,
                roles: None,
                page: None,
            }),
        }
    }

    fn router() -> Router {
        let endpoints = [
            endpoint(1, Method::GET, "/notes"),
            endpoint(2, Method::POST, "/notes"),
            endpoint(3, Method::GET, "/notes/{id}"),
            endpoint(4, Method::GET, "/notes/latest"),
            endpoint(5, Method::PUT, "/files/{*rest}"),
        ];
        Router::compile(&endpoints, &Upstreams::default()).unwrap()
    }

    fn found(method: &Method, path: &str) -> String {
        match router().find(method, path) {
            Found::Endpoint(endpoint, values) => {
                format!("{} {} {values:?}", endpoint.method, endpoint.template)
            }
            Found::OtherMethods(allow) => allow.to_str().unwrap().to_owned(),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn the_most_specific_template_serves() {
        assert_eq!(found(&Method::GET, "/notes"), "GET /notes []");
        assert_eq!(found(&Method::HEAD, "/notes"), "GET /notes []");
        assert_eq!(found(&Method::GET, "/notes/latest"), "GET /notes/latest []");
        let value = r#"GET /notes/{id} [("id", "a b")]"#;
        assert_eq!(found(&Method::GET, "/notes/a b"), value);
        let rest = r#"PUT /files/{*rest} [("rest", "a/b")]"#;
        assert_eq!(found(&Method::PUT, "/files/a/b"), rest);
    }

    #[test]
    fn a_path_without_the_method_lists_its_methods() {
        assert_eq!(found(&Method::DELETE, "/notes"), "GET, HEAD, OPTIONS, POST");
        assert_eq!(found(&Method::OPTIONS, "/files/a"), "OPTIONS, PUT");
        assert_eq!(found(&Method::HEAD, "/files/a"), "OPTIONS, PUT");
    }

    #[test]
    fn another_path_is_nothing() {
        for path in [
            "/",
            "/note",
            "/notes/",
            "/notes/1/2",
            "/files",
            "/files/",
            "/Notes",
        ] {
            assert_eq!(found(&Method::GET, path), "nothing", "{path}");
        }
    }

    #[test]
    fn templates_that_exclude_each_other_are_refused() {
        let compile = |endpoints: &[EndpointConfig]| {
            let compiled = Router::compile(endpoints, &Upstreams::default()).map(|_| ());
            compiled.unwrap_err().to_string()
        };
        let twice = [
            endpoint(1, Method::GET, "/x"),
            endpoint(7, Method::GET, "/x"),
        ];
        let expected = "file:7: path = \"/x\": the same method and path are already used at file:1";
        assert_eq!(compile(&twice), expected);
        let overlapping = [
            endpoint(1, Method::GET, "/{a}"),
            endpoint(7, Method::PUT, "/{b}"),
        ];
        assert!(compile(&overlapping).starts_with("file:7: path = \"/{b}\": "));
        for template in ["/{a", "/{}", "/{a}{b}", "/{*a}/b"] {
            let message = compile(&[endpoint(3, Method::GET, template)]);
            let expected = format!("file:3: path = \"{template}\": ");
            assert!(message.starts_with(&expected), "{message}");
        }
    }
}
