//! What the schemas of Kubernetes' own types leave open, so that it is refused when a class is written and not when its pods
//! are.

use schemars::Schema;
use serde_json::{Value, json};

/// A [quantity](https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/) that is not negative.
const QUANTITY: &str = "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";
/// Bounds, without which the cost of a rule over quantities could not be estimated.
const MAX_QUANTITY: u32 = 32;
const MAX_RESOURCES: u32 = 16;

pub fn quantity(schema: &mut Schema) {
    schema.insert("pattern".into(), json!(QUANTITY));
    schema.insert("maxLength".into(), json!(MAX_QUANTITY));
}

pub fn resources(schema: &mut Schema) {
    for amounts in ["limits", "requests"] {
        set(schema, &format!("/properties/{amounts}"), "maxProperties", json!(MAX_RESOURCES));
        let each = format!("/properties/{amounts}/additionalProperties");
        set(schema, &each, "pattern", json!(QUANTITY));
        set(schema, &each, "maxLength", json!(MAX_QUANTITY));
    }
}

pub fn tolerations(schema: &mut Schema) {
    set(schema, "/items/properties/operator", "enum", json!(["Exists", "Equal"]));
    let effects = json!(["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    set(schema, "/items/properties/effect", "enum", effects);
}

fn set(schema: &mut Schema, pointer: &str, keyword: &str, value: Value) {
    if let Some(Value::Object(part)) = schema.pointer_mut(pointer) {
        part.insert(keyword.into(), value);
    }
}
