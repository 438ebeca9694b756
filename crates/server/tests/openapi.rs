//! `/openapi.json` against the server that it describes.
//!
//! `tests/openapi` asks the server in many more ways whether the document is
//! true; here is what the document and the server say of each other.

mod common;

use std::collections::BTreeSet;

use common::server;
use notification_testkit::{Response, ServerProcess, request};
use serde_json::{Map, Value, json};

struct Operation {
    method: String,
    path: String,
    says: Value,
}

fn document(server: &ServerProcess) -> Value {
    let answer = server.get("/openapi.json");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(|(method, says)| Operation {
            method: method.to_uppercase(),
            path: path.clone(),
            says: says.clone(),
        })
    });
    operations.collect()
}

impl Operation {
    /// Asks for it, about something that there is not.
    fn ask(&self, server: &ServerProcess, query: &str, body: &str) -> Response {
        let id = "00000000-0000-4000-8000-000000000000";
        let path: Vec<_> = self.path.split('/').collect();
        let path = path.iter().map(|s| if s.starts_with('{') { id } else { s });
        let path = path.collect::<Vec<_>>().join("/") + query;
        let headers = [("Content-Type", "application/json")];
        request(server.address(), &self.method, &path, &headers, body)
    }

    fn query_parameters(&self) -> BTreeSet<String> {
        let parameters = self.says["parameters"].as_array().into_iter().flatten();
        let in_query = parameters.filter(|parameter| parameter["in"] == "query");
        in_query
            .map(|p| p["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// What a refusal of `field` says is known instead, if it is one.
fn known(refusal: &Response, field: &str) -> Option<BTreeSet<String>> {
    let problem: Value = serde_json::from_str(&refusal.body).ok()?;
    let errors = problem["errors"].as_array()?;
    let error = errors.iter().find(|error| error["field"] == field)?;
    let expected = error["expected"].as_str()?;
    if expected.starts_with("no query parameters") {
        return Some(BTreeSet::new());
    }
    let (_, known) = expected.split_once("known are ")?;
    Some(known.split(", ").map(str::to_owned).collect())
}

/// The objects that a schema allows, without those in arrays.
fn objects(document: &Value, schema: &Value) -> Vec<Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return objects(document, document.pointer(&reference[1..]).unwrap());
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        let objects = variants.iter().flat_map(|v| objects(document, v));
        return objects.collect();
    }
    match schema["type"] == "object" {
        true => vec![schema.clone()],
        false => vec![],
    }
}

/// Every JSON object in the document, its own included.
fn all_objects(value: &Value) -> Vec<&Map<String, Value>> {
    match value {
        Value::Object(object) => {
            let inner = object.values().flat_map(all_objects);
            std::iter::once(object).chain(inner).collect()
        }
        Value::Array(array) => array.iter().flat_map(all_objects).collect(),
        _ => vec![],
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document(&server(&[]));
    let mut found = 0;
    for object in all_objects(&document) {
        let mapping = object.get("mapping").and_then(Value::as_object);
        let mapped = mapping.into_iter().flat_map(Map::values);
        for target in object.get("$ref").into_iter().chain(mapped) {
            let target = target.as_str().unwrap();
            assert!(document.pointer(&target[1..]).is_some(), "{target}");
            found += 1;
        }
    }
    assert!(found > 100, "{found}");
}

#[test]
fn every_field_that_is_required_is_described() {
    let document = document(&server(&[]));
    for object in all_objects(&document) {
        if let (Some(Value::Array(required)), Some(properties)) =
            (object.get("required"), object.get("properties"))
        {
            for name in required {
                let described = properties.get(name.as_str().unwrap());
                assert!(described.is_some(), "{name} in {object:?}");
            }
        }
    }
}

#[test]
fn every_operation_is_served_and_has_a_name_of_its_own() {
    let server = server(&[]);
    let document = document(&server);
    let mut names = BTreeSet::new();
    for operation in operations(&document) {
        let Operation { method, path, says } = &operation;
        assert!(names.insert(says["operationId"].to_string()), "{says}");
        // A stream does not end by itself.
        if path == "/v1/stream" {
            continue;
        }
        let answer = operation.ask(&server, "", "");
        let status = answer.status.to_string();
        assert_ne!(status, "405", "{method} {path}");
        assert!(
            !says["responses"][&status].is_null(),
            "{method} {path}: {answer:?}"
        );
    }
    assert!(names.len() > 20, "{names:?}");
}

#[test]
fn the_parameters_are_those_that_the_server_knows() {
    /// Probes put all kinds of things into a query to get past caches.
    const LENIENT: [&str; 5] = ["/", "/openapi.json", "/healthz", "/readyz", "/metrics"];
    let server = server(&[]);
    for operation in operations(&document(&server)) {
        let answer = operation.ask(&server, "?no_such_parameter=1", "");
        let documented = operation.query_parameters();
        match known(&answer, "no_such_parameter") {
            Some(known) => {
                assert_eq!(answer.status, 400);
                assert_eq!(known, documented, "{} {}", operation.method, operation.path);
            }
            None => {
                assert!(LENIENT.contains(&operation.path.as_str()), "{answer:?}");
                assert_eq!(documented, BTreeSet::new(), "{}", operation.path);
            }
        }
    }
}

#[test]
fn the_fields_are_those_that_the_server_knows() {
    let server = server(&[]);
    let document = document(&server);
    let mut seen = 0;
    for operation in operations(&document) {
        let body = &operation.says["requestBody"]["content"]["application/json"]["schema"];
        for object in objects(&document, body) {
            seen += 1;
            let properties = object["properties"].as_object().unwrap();
            let constants = properties
                .iter()
                .filter_map(|(name, schema)| Some((name.clone(), schema.get("const")?.clone())));
            let constants: Map<_, _> = constants.collect();
            let refused = |field: &str| {
                let mut body = constants.clone();
                body.insert(field.to_owned(), json!("x"));
                let answer = operation.ask(&server, "", &Value::from(body).to_string());
                assert_eq!(answer.status, 422, "{answer:?}");
                answer
            };
            let known = known(&refused("no_such_field"), "no_such_field").unwrap();
            let documented = properties.keys().cloned().collect();
            let missing: Vec<_> = known.difference(&documented).collect();
            for field in missing {
                let refusal = refused(field);
                let is_explained = refusal.body.contains(": expected no such field here");
                assert!(is_explained, "{field} is not documented: {refusal:?}");
            }
            assert!(documented.is_subset(&known), "{documented:?} {known:?}");
        }
    }
    assert_eq!(
        seen, 12,
        "three kinds of events, a report, acknowledgements, event types, keys, tickets; webhooks, \
         their changes, secrets and dead letters"
    );
}

#[test]
fn the_welcome_page_leads_to_it() {
    let server = server(&[]);
    assert!(server.get("/").body.contains(&server.url("/openapi.json")));
}
