use axum::http::StatusCode;
use notification_event::schema::reference;
use serde_json::{Value, json};

/// What `/openapi.json` says of one method on one path (OpenAPI 3.1.0, section
/// 4.8.10).
pub(crate) struct Operation(Value);

/// What every door refuses: a `Host` or an `Origin` that is not allowed, a
/// credential that is not good, who asks too often, and a head that is too large.
const ALWAYS: [u16; 5] = [400, 401, 403, 429, 431];

impl Operation {
    /// `id` is what programs that are generated from the document call it.
    pub(crate) fn new(id: &str, summary: &str) -> Self {
        let new = Self(json!({"operationId": id, "summary": summary, "responses": {}}));
        new.refuses(&ALWAYS)
    }

    /// What else there is to say.
    pub(crate) fn says(mut self, description: &str) -> Self {
        self.0["description"] = description.into();
        self
    }

    /// The path holds a name, of the schema `of`.
    pub(crate) fn name(self, name: &str, of: &str) -> Self {
        let mut schema = reference(of);
        schema["not"] = json!({"enum": [".", ".."]});
        self.path(name, schema)
    }

    /// The path holds this.
    pub(crate) fn path(self, name: &str, schema: Value) -> Self {
        self.parameter(json!({"name": name, "in": "path", "required": true, "schema": schema}))
    }

    /// The query may have this, once.
    pub(crate) fn query(self, name: &str, schema: Value) -> Self {
        self.parameter(json!({"name": name, "in": "query", "schema": schema}))
    }

    /// The query may have this, any number of times.
    pub(crate) fn queries(self, name: &str, each: Value) -> Self {
        let schema = json!({"type": "array", "items": each});
        self.parameter(
            json!({"name": name, "in": "query", "style": "form", "explode": true, "schema": schema}),
        )
    }

    /// The request may have this header.
    pub(crate) fn header(self, name: &str, schema: Value) -> Self {
        self.parameter(json!({"name": name, "in": "header", "schema": schema}))
    }

    fn parameter(mut self, parameter: Value) -> Self {
        let parameters = &mut self.0["parameters"];
        match parameters.as_array_mut() {
            Some(parameters) => parameters.push(parameter),
            None => *parameters = json!([parameter]),
        }
        self
    }

    /// The request has a body, of this type or another that is said.
    pub(crate) fn body(mut self, media: &str, schema: Value) -> Self {
        self.0["requestBody"]["required"] = true.into();
        self.0["requestBody"]["content"][media] = json!({"schema": schema});
        self.refuses(&[408, 413])
    }

    /// An answer in JSON.
    pub(crate) fn answers(self, status: StatusCode, meaning: &str, schema: Value) -> Self {
        self.answers_in("application/json", status, meaning, schema)
    }

    /// An answer of this type, or another that is said.
    pub(crate) fn answers_in(
        mut self,
        media: &str,
        status: StatusCode,
        meaning: &str,
        schema: Value,
    ) -> Self {
        let answer = &mut self.0["responses"][status.as_str()];
        answer["description"] = meaning.into();
        answer["content"][media] = json!({"schema": schema});
        self
    }

    /// An answer without a body.
    pub(crate) fn answers_nothing(mut self, meaning: &str) -> Self {
        let status = StatusCode::NO_CONTENT;
        self.0["responses"][status.as_str()] = json!({"description": meaning});
        self
    }

    /// It may be refused with these, besides what every door refuses.
    pub(crate) fn refuses(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            let response = json!({"$ref": format!("#/components/responses/{status}")});
            self.0["responses"][status.to_string()] = response;
        }
        self
    }
}

impl From<Operation> for Value {
    fn from(operation: Operation) -> Self {
        operation.0
    }
}
