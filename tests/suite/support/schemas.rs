//! What the program prints, held against the schemas that it ships (`docs/schemas`).

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::{Value, json};

/// How a schema is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// As it is shipped: fields that it does not name are those of newer versions.
    Shipped,
    /// As the program of this version has to keep it: there are no others.
    Strict,
}

/// A schema with those that it refers to.
type Compiled = (Schemas, SchemaIndex);

thread_local! {
    static KNOWN: RefCell<BTreeMap<(String, View), Compiled>> = const { RefCell::new(BTreeMap::new()) };
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas"))
}

/// The names of all schemas of an output.
pub fn names() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files.filter_map(|file| Some(file.strip_suffix(".json")?.to_owned())).collect();
    names.retain(|name| name != "common");
    names.sort();
    names
}

/// A schema as it is shipped.
pub fn schema(name: &str) -> Value {
    let path = folder().join(name).with_extension("json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Closes every object whose fields are named.
fn close(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        if fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
            fields.insert("additionalProperties".to_owned(), json!(false));
        }
        fields.values_mut().for_each(close);
    } else if let Some(all) = schema.as_array_mut() {
        all.iter_mut().for_each(close);
    }
}

fn compiled(name: &str, view: View) -> Compiled {
    let place = |name: &str| format!("file:///schemas/{name}.json");
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V2020_12);
    // What one of them may refer to.
    for part in BTreeSet::from(["common", "explain", "report", name]) {
        let mut schema = schema(part);
        if view == View::Strict {
            close(&mut schema);
        }
        compiler.add_resource(&place(part), schema).unwrap();
    }
    let mut schemas = Schemas::new();
    let index = compiler.compile(&place(name), &mut schemas).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    (schemas, index)
}

/// Whether a value is what the schema of this name says, and else why not.
pub fn check(name: &str, view: View, value: &Value) -> Result<(), String> {
    KNOWN.with_borrow_mut(|known| {
        let (schemas, index) = known.entry((name.to_owned(), view)).or_insert_with(|| compiled(name, view));
        schemas.validate(value, *index).map_err(|error| format!("{error:#}"))
    })
}

/// Fails where an output is not what its schema says, or has a field that the schema does not name.
pub fn assert_documented(name: &str, value: &Value) {
    if let Err(error) = check(name, View::Strict, value) {
        panic!("docs/schemas/{name}.json: {error}\n{value:#}");
    }
}
