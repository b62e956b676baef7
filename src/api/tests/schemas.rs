//! `schemas/` against the code: `UPDATE_SCHEMAS=1` writes it anew.

use std::path::PathBuf;

use super::*;
use crate::catalog::Kind;
use crate::catalog::apply::schema_text;

#[tokio::test]
async fn the_schemas_that_editors_and_clients_read_are_those_of_the_code() {
    let mut all: Vec<(String, String)> =
        Kind::configuration().map(|kind| (format!("{kind}.json"), schema_text(kind))).collect();
    all.push(("openapi.json".to_owned(), format!("{:#}\n", openapi().await)));
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    let mut there: Vec<String> = Vec::new();
    if update {
        std::fs::create_dir_all(&folder).unwrap();
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        there.push(entry.unwrap().file_name().into_string().unwrap());
    }
    for (name, text) in &all {
        let path = folder.join(name);
        if update {
            std::fs::write(&path, text).unwrap();
        }
        let read = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            read == *text,
            "schemas/{name} is not what the code says: run `make schemas` and look at the difference"
        );
        there.retain(|other| other != name);
    }
    assert!(there.is_empty(), "of no kind any more: {there:?}; delete them");
}

/// Of all roles, its paths in the order of their names.
async fn openapi() -> Value {
    let mut document = Api::start().await.call("GET", "/openapi.json", &[], "").await.body;
    document["paths"].as_object_mut().unwrap().sort_keys();
    document
}
