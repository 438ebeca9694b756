use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter};
use serde_json::{Map, Value};

use crate::http::Http;
use crate::operation::Operation;

/// What is served on one path, and how `/openapi.json` describes it. The two
/// are one value, so that neither can be without the other.
pub(crate) struct Door {
    path: &'static str,
    methods: MethodRouter<Http>,
    operations: Map<String, Value>,
}

impl Door {
    /// A door on `path`, as axum writes it: `/v1/groups/{group}`.
    pub(crate) fn at(path: &'static str) -> Self {
        Self {
            path,
            methods: MethodRouter::new(),
            operations: Map::new(),
        }
    }

    /// Serves `GET`, and `HEAD`, which is the same without a body.
    pub(crate) fn get<T: 'static>(self, handler: impl Handler<T, Http>, is: Operation) -> Self {
        self.on(MethodFilter::GET, "get", handler, is)
    }

    /// Serves `POST`.
    pub(crate) fn post<T: 'static>(self, handler: impl Handler<T, Http>, is: Operation) -> Self {
        self.on(MethodFilter::POST, "post", handler, is)
    }

    /// Serves `PUT`.
    pub(crate) fn put<T: 'static>(self, handler: impl Handler<T, Http>, is: Operation) -> Self {
        self.on(MethodFilter::PUT, "put", handler, is)
    }

    /// Serves `PATCH`.
    pub(crate) fn patch<T: 'static>(self, handler: impl Handler<T, Http>, is: Operation) -> Self {
        self.on(MethodFilter::PATCH, "patch", handler, is)
    }

    /// Serves `DELETE`.
    pub(crate) fn delete<T: 'static>(self, handler: impl Handler<T, Http>, is: Operation) -> Self {
        self.on(MethodFilter::DELETE, "delete", handler, is)
    }

    fn on<T: 'static>(
        mut self,
        filter: MethodFilter,
        method: &str,
        handler: impl Handler<T, Http>,
        is: Operation,
    ) -> Self {
        self.methods = self.methods.on(filter, handler);
        self.operations.insert(method.to_owned(), is.into());
        self
    }

    /// Adds it to the routes.
    pub(crate) fn open(self, router: Router<Http>) -> Router<Http> {
        router.route(self.path, self.methods)
    }

    /// Its path and its methods as OpenAPI writes them, which has no wildcards.
    pub(crate) fn describe(self) -> (String, Value) {
        (self.path.replace("{*", "{"), self.operations.into())
    }
}
