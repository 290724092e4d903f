//! The description of the interface (OpenAPI 3.1), made when it is asked for from the types that the handlers use. A test
//! compares it with the table of routes.

mod operation;
mod operations;

use serde_json::{Map, Value, json};

use super::route::Table;
use crate::problem::Code;
use operation::{Generators, template};

fn components(schemas: Map<String, Value>) -> Value {
    let codes: Vec<String> = Code::ALL.iter().map(|code| format!("urn:podkeeper:problem:{}", code.as_str())).collect();
    let problem = json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance"],
        "properties": {
            "type": { "enum": codes },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "instance": { "type": "string" },
            "hint": { "type": "string" },
        },
    });
    json!({
        "schemas": schemas,
        "responses": {
            "Problem": {
                "description": "why it can't be done (RFC 9457)",
                "content": { "application/problem+json": { "schema": problem } },
            },
            "GitProblem": {
                "description": "why it can't be done, as git shows it",
                "content": { "text/plain": { "schema": { "type": "string" } } },
            },
        },
        "securitySchemes": {
            "bearer": { "type": "http", "scheme": "bearer", "description": "an API token" },
            "cookie": { "type": "apiKey", "in": "cookie", "name": "podkeeper", "description": "a session" },
            "enroll": { "type": "http", "scheme": "Enroll", "description": "an enrolment link's secret" },
            "local": {
                "type": "http",
                "scheme": "Local",
                "description": "nothing is sent: the kernel tells who is at the other end of the unix socket",
            },
            "hook": {
                "type": "apiKey",
                "in": "query",
                "name": "key",
                "description": "a hook's key, which may come in the forge's header or the body, too, or as a signature",
            },
            "basic": { "type": "http", "scheme": "basic", "description": "an API token as the password" },
        },
    })
}

/// The whole description of `table`.
#[must_use]
pub fn document(table: Table) -> Value {
    let mut generators = Generators::new();
    let mut paths = Map::new();
    for operation in operations::all() {
        let Some(route) = table.0.iter().find(|route| operation.is_of(route)) else { continue };
        let method = operation.method.as_ref().to_ascii_lowercase();
        let described = operation.describe(route, &mut generators);
        let path = paths.entry(template(operation.path)).or_insert_with(|| json!({}));
        path[method] = described;
    }
    let schemas = generators.got.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Podkeeper",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Fields of a call may come in its query, too, but for secrets. Long work answers 202 with the \
                deployment; `Prefer: wait=SECONDS` waits for its end.",
        },
        "paths": paths,
        "components": components(schemas),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::table::ROUTES;

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let operations = operations::all();
        for route in ROUTES {
            let described = operations.iter().filter(|operation| operation.is_of(route)).count();
            assert_eq!(described, 1, "{} {} in http/openapi/operations.rs", route.method, route.path);
        }
        for operation in &operations {
            let known = ROUTES.iter().any(|route| operation.is_of(route));
            assert!(known, "{} {} is not in the table", operation.method, operation.path);
            assert!(!operation.answers.is_empty() && !operation.summary.is_empty(), "{}", operation.path);
        }
    }

    #[test]
    fn what_is_referred_to_is_there() {
        fn references(value: &Value, all: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    all.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| references(value, all));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, all)),
                _ => {}
            }
        }
        let document = document(Table(ROUTES));
        let mut all = Vec::new();
        references(&document, &mut all);
        assert!(all.len() > 60, "{}", all.len());
        for reference in all {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let create = &document["paths"]["/services/{name}"]["put"];
        assert_eq!(create["security"], json!([{ "bearer": [] }, { "cookie": [] }]));
        assert_eq!(
            create["requestBody"]["content"]["application/json"]["schema"]["additionalProperties"],
            json!(false)
        );
    }

    /// The schema of a query's field.
    fn queried<'a>(document: &'a Value, path: &str, name: &str) -> &'a Value {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        &parameters.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"]
    }

    #[test]
    fn the_bounds_are_those_that_are_read() {
        let document = document(Table(ROUTES));
        for (path, name, least, most, usual) in [
            ("/services", "limit", 1, 1000, json!(1000)),
            ("/services/{name}/deployments", "limit", 1, 200, json!(50)),
            ("/audit", "limit", 1, 1000, json!(100)),
            ("/services/{name}/logs", "lines", 0, 10_000, json!(200)),
            ("/services/{name}/logs", "priority", 0, 7, json!(null)),
            ("/services/{name}/logs", "release", 1, u32::MAX, json!(null)),
        ] {
            let schema = queried(&document, path, name);
            let told = (&schema["minimum"], &schema["maximum"], &schema["default"]);
            assert_eq!(told, (&json!(least), &json!(most), &usual), "{path} {name}: {schema}");
        }
        let settings = &document["components"]["schemas"]["Settings"]["properties"];
        for (name, least, most) in [
            ("health_timeout", 1, 600),
            ("memory_mib", 16, 1 << 24),
            ("cpu_percent", 1, 10_000),
            ("stop_timeout", 1, 300),
            ("keep", 1, 100),
        ] {
            let told = (&settings[name]["minimum"], &settings[name]["maximum"]);
            assert_eq!(told, (&json!(least), &json!(most)), "{name}");
        }
        assert_eq!((&settings["domains"]["maxItems"], &settings["volumes"]["maxProperties"]), (&json!(50), &json!(50)));
        let patch = &document["paths"]["/services/{name}"]["patch"]["requestBody"]["content"]["application/json"];
        let volumes = &patch["schema"]["properties"]["volumes"]["anyOf"][0];
        assert!(volumes["maxProperties"].is_null() && volumes["additionalProperties"].is_object(), "{volumes}");
    }

    #[test]
    fn what_is_one_word_of_a_closed_list_is_described_by_the_list() {
        let document = document(Table(ROUTES));
        let schemas = &document["components"]["schemas"];
        let of = |schema: &str, field: &str| {
            let field = &schemas[schema]["properties"][field];
            field["enum"].as_array().unwrap_or_else(|| panic!("{schema} {field}")).clone()
        };
        let deployment = json!([
            "queued",
            "fetching",
            "building",
            "starting",
            "checking",
            "live",
            "failed",
            "cancelled",
            "superseded"
        ]);
        assert_eq!(json!(of("Deployment", "state")), deployment);
        assert_eq!(json!(of("Deployment", "cause")), json!(["push", "hook", "start", "restart", "env", "rollback"]));
        assert_eq!(of("Deployment", "cause"), of("Release", "cause"));
        let steps = schemas["Deployment"]["properties"]["steps"]["properties"].as_object().unwrap();
        assert_eq!(steps.len(), deployment.as_array().unwrap().len());
        assert_eq!(json!(of("Problem", "code")), json!(Code::ALL.as_slice()));
        let service = json!(["never-deployed", "starting", "running", "restarting", "stopped", "failed"]);
        assert_eq!((json!(of("Service", "state")), json!(of("Status", "state"))), (service.clone(), service));
        assert_eq!(json!(of("Status", "health")), json!(["healthy", "unhealthy", null]));
        assert_eq!(json!(of("NameAnswer", "reason")), json!(["taken", "reserved", "invalid", null]));
        assert_eq!(json!(of("Token", "scope")), json!(["read", "deploy", "admin"]));
        assert_eq!(of("Who", "scope"), of("Token", "scope"));
        assert_eq!(json!(of("Delivery", "outcome")), json!(["deployed", "ping", "ignored", "refused"]));
        assert_eq!(of("Delivery", "sender").len(), 9);
        assert_eq!(of("Delivery", "state").len(), of("Deployment", "state").len() + 1);
        assert_eq!(of("Parts", "podman").len(), Code::ALL.len() + 1);
        let result = &schemas["AuditRow"]["properties"]["result"]["anyOf"];
        assert_eq!(result[0]["enum"].as_array().unwrap().len(), Code::ALL.len() + 2);
        let priority = &schemas["LogEntry"]["properties"]["priority"];
        assert_eq!((&priority["minimum"], &priority["maximum"]), (&json!(0), &json!(7)));
    }
}
