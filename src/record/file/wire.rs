//! OTLP JSON as it stands in a file: what serde makes of it, before it becomes the model.

use std::borrow::Cow;

use base64::Engine as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::{Enum, Id, Number, Real, Sifted, Sound, nullable};
use crate::record::model::{Attributes, Entity, Key, Origin, Scope, Value};

impl Sound for SpanIn<'_> {
    fn sound(&self) -> Result<(), String> {
        sound_ids(&self.name, &self.trace_id, &self.span_id)
    }
}

pub(super) fn sound_ids(name: &str, trace: &Id<'_>, span: &Id<'_>) -> Result<(), String> {
    if trace.trace().is_none() {
        return Err(format!("the span `{}` has the trace id `{}`: expected 32 hex digits", shown(name), trace.shown()));
    }
    if span.span().is_none() {
        return Err(format!("the span `{}` has the id `{}`: expected 16 hex digits", shown(name), span.shown()));
    }
    Ok(())
}

fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

/// The outer layers of a line; `S` is what is wanted of a span.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "S: Sound + Deserialize<'de>"))]
pub(super) struct Request<S> {
    // Tempo's answers say `batches`.
    #[serde(alias = "resource_spans", alias = "batches", deserialize_with = "nullable")]
    pub(super) resource_spans: Vec<ResourceSpans<S>>,
    /// The same once more: `{"result":…}` is what Jaeger's query API answers, `{"trace":…}` Tempo's second.
    #[serde(alias = "trace", deserialize_with = "nullable")]
    pub(super) result: Option<Box<Request<S>>>,
}

impl<S> Request<S> {
    /// Of all layers of wrapping.
    pub(super) fn resource_spans(self) -> impl Iterator<Item = ResourceSpans<S>> {
        let mut next = Some(self);
        std::iter::from_fn(move || {
            let layer = next.take()?;
            next = layer.result.map(|b| *b);
            Some(layer.resource_spans)
        })
        .flatten()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "S: Sound + Deserialize<'de>"))]
pub(super) struct ResourceSpans<S> {
    #[serde(deserialize_with = "nullable")]
    pub(super) resource: Resource,
    #[serde(alias = "schema_url", deserialize_with = "nullable")]
    pub(super) schema_url: String,
    // The last is what writers before OTLP 0.19 said.
    #[serde(
        alias = "scope_spans",
        alias = "instrumentationLibrarySpans",
        alias = "instrumentation_library_spans",
        deserialize_with = "nullable"
    )]
    pub(super) scope_spans: Vec<ScopeSpans<S>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "S: Sound + Deserialize<'de>"))]
pub(super) struct ScopeSpans<S> {
    #[serde(alias = "instrumentationLibrary", alias = "instrumentation_library", deserialize_with = "nullable")]
    pub(super) scope: ScopeIn,
    pub(super) spans: Sifted<S>,
    #[serde(alias = "schema_url", deserialize_with = "nullable")]
    pub(super) schema_url: String,
}

impl<S> ResourceSpans<S> {
    /// `service.name`, if it is text.
    pub(super) fn service(&self) -> Option<String> {
        self.resource.attributes.iter().find(|p| p.key == crate::names::attr::SERVICE_NAME).and_then(|p| {
            match &p.value.0 {
                Value::Str(name) => Some(name.clone()),
                _ => None,
            }
        })
    }
}

// Derived, these would ask for `S: Default`.
impl<S> Default for Request<S> {
    fn default() -> Self {
        Request { resource_spans: Vec::new(), result: None }
    }
}

impl<S> Default for ResourceSpans<S> {
    fn default() -> Self {
        ResourceSpans { resource: Resource::default(), schema_url: String::new(), scope_spans: Vec::new() }
    }
}

impl<S> Default for ScopeSpans<S> {
    fn default() -> Self {
        ScopeSpans { scope: ScopeIn::default(), spans: Sifted::default(), schema_url: String::new() }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScopeIn {
    #[serde(deserialize_with = "nullable")]
    pub(super) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) version: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) attributes: Vec<Pair>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    pub(super) dropped_attributes_count: Number,
}

impl From<ScopeIn> for Scope {
    fn from(wire: ScopeIn) -> Self {
        Scope {
            name: wire.name,
            version: wire.version,
            attributes: attributes(wire.attributes),
            schema_url: String::new(),
            dropped: wire.dropped_attributes_count.count(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Resource {
    #[serde(deserialize_with = "nullable")]
    pub(super) attributes: Vec<Pair>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    pub(super) dropped_attributes_count: Number,
    #[serde(alias = "entity_refs", deserialize_with = "nullable")]
    pub(super) entity_refs: Vec<EntityIn>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct EntityIn {
    #[serde(alias = "schema_url", deserialize_with = "nullable")]
    pub(super) schema_url: String,
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub(super) kind: String,
    #[serde(alias = "id_keys", deserialize_with = "nullable")]
    pub(super) id_keys: Vec<String>,
    #[serde(alias = "description_keys", deserialize_with = "nullable")]
    pub(super) description_keys: Vec<String>,
}

impl Resource {
    /// What it says of a program, without a library of it.
    pub(super) fn origin(self, schema_url: String) -> Origin {
        let entities = self.entity_refs.into_iter().map(|e| Entity {
            schema_url: e.schema_url,
            kind: e.kind,
            id_keys: e.id_keys,
            description_keys: e.description_keys,
        });
        Origin {
            resource: attributes(self.attributes),
            schema_url,
            dropped: self.dropped_attributes_count.count(),
            entities: entities.collect(),
            scope: Scope::default(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SpanIn<'a> {
    #[serde(borrow, alias = "trace_id")]
    pub(super) trace_id: Id<'a>,
    #[serde(borrow, alias = "span_id")]
    pub(super) span_id: Id<'a>,
    #[serde(borrow, alias = "parent_span_id")]
    pub(super) parent_span_id: Id<'a>,
    #[serde(alias = "trace_state", deserialize_with = "nullable")]
    pub(super) trace_state: String,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) name: Cow<'a, str>,
    #[serde(deserialize_with = "nullable")]
    pub(super) flags: Number,
    #[serde(deserialize_with = "nullable")]
    pub(super) kind: Enum,
    #[serde(alias = "start_time_unix_nano", deserialize_with = "nullable")]
    pub(super) start_time_unix_nano: Number,
    #[serde(alias = "end_time_unix_nano", deserialize_with = "nullable")]
    pub(super) end_time_unix_nano: Number,
    #[serde(deserialize_with = "nullable")]
    pub(super) attributes: Vec<Pair>,
    #[serde(deserialize_with = "nullable")]
    pub(super) events: Vec<EventIn>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub(super) links: Vec<LinkIn<'a>>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    pub(super) dropped_attributes_count: Number,
    #[serde(alias = "dropped_events_count", deserialize_with = "nullable")]
    pub(super) dropped_events_count: Number,
    #[serde(alias = "dropped_links_count", deserialize_with = "nullable")]
    pub(super) dropped_links_count: Number,
    #[serde(deserialize_with = "nullable")]
    pub(super) status: StatusIn,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct EventIn {
    #[serde(deserialize_with = "nullable")]
    pub(super) name: String,
    #[serde(alias = "time_unix_nano", deserialize_with = "nullable")]
    pub(super) time_unix_nano: Number,
    #[serde(deserialize_with = "nullable")]
    pub(super) attributes: Vec<Pair>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    pub(super) dropped_attributes_count: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LinkIn<'a> {
    #[serde(borrow, alias = "trace_id")]
    pub(super) trace_id: Id<'a>,
    #[serde(borrow, alias = "span_id")]
    pub(super) span_id: Id<'a>,
    #[serde(alias = "trace_state", deserialize_with = "nullable")]
    pub(super) trace_state: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) flags: Number,
    #[serde(deserialize_with = "nullable")]
    pub(super) attributes: Vec<Pair>,
    #[serde(alias = "dropped_attributes_count", deserialize_with = "nullable")]
    pub(super) dropped_attributes_count: Number,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusIn {
    #[serde(deserialize_with = "nullable")]
    pub(super) code: Enum,
    #[serde(deserialize_with = "nullable")]
    pub(super) message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Pair {
    #[serde(deserialize_with = "nullable")]
    pub(super) key: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) value: Any,
}

pub(super) fn attributes(pairs: Vec<Pair>) -> Attributes {
    pairs.into_iter().map(|p| (Key::Owned(p.key), p.value.0)).collect()
}

/// Lists and maps in each other that are kept as such; what lies deeper is kept as the JSON text that it is. Every
/// reader has this limit, so that what was read can be read again from our own file: a level takes up to 4 of the 128
/// of JSON.
pub(crate) const VALUE_DEPTH: usize = 24;

/// An attribute value; an empty one is the empty text.
pub(super) struct Any(pub(super) Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        thread_local! {
            static DEPTH: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
        }
        let depth = DEPTH.get();
        if depth < VALUE_DEPTH {
            DEPTH.set(depth + 1);
            let read = AnyIn::deserialize(d);
            DEPTH.set(depth);
            return read.map(Any::from);
        }
        let raw = Box::<RawValue>::deserialize(d)?;
        let leaf = serde_json::from_str::<LeafIn>(raw.get()).ok().and_then(|leaf| leaf.0);
        Ok(Any(leaf.unwrap_or_else(|| Value::Str(raw.get().to_owned()))))
    }
}

/// A value that holds no others.
pub(super) struct LeafIn(Option<Value>);

impl<'de> Deserialize<'de> for LeafIn {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Fields {
            #[serde(alias = "string_value")]
            string_value: Option<String>,
            #[serde(alias = "bool_value")]
            bool_value: Option<bool>,
            #[serde(alias = "int_value")]
            int_value: Option<Number>,
            #[serde(alias = "double_value")]
            double_value: Option<Real>,
            #[serde(alias = "bytes_value")]
            bytes_value: Option<String>,
        }
        let f = Fields::deserialize(d)?;
        let leaf = AnyIn {
            string_value: f.string_value,
            bool_value: f.bool_value,
            int_value: f.int_value,
            double_value: f.double_value,
            bytes_value: f.bytes_value,
            ..AnyIn::default()
        };
        Ok(LeafIn(leaf.value()))
    }
}

impl Default for Any {
    fn default() -> Self {
        Any(Value::Str(String::new()))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AnyIn {
    #[serde(alias = "string_value")]
    pub(super) string_value: Option<String>,
    #[serde(alias = "bool_value")]
    pub(super) bool_value: Option<bool>,
    #[serde(alias = "int_value")]
    pub(super) int_value: Option<Number>,
    #[serde(alias = "double_value")]
    pub(super) double_value: Option<Real>,
    #[serde(alias = "array_value")]
    pub(super) array_value: Option<ArrayIn>,
    #[serde(alias = "kvlist_value")]
    pub(super) kvlist_value: Option<PairsIn>,
    #[serde(alias = "bytes_value")]
    pub(super) bytes_value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ArrayIn {
    #[serde(deserialize_with = "nullable")]
    pub(super) values: Vec<Any>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PairsIn {
    #[serde(deserialize_with = "nullable")]
    pub(super) values: Vec<Pair>,
}

impl AnyIn {
    fn value(self) -> Option<Value> {
        Some(match self {
            AnyIn { string_value: Some(v), .. } => Value::Str(v),
            AnyIn { bool_value: Some(v), .. } => Value::Bool(v),
            AnyIn { int_value: Some(v), .. } => v.value(),
            AnyIn { double_value: Some(v), .. } => Value::Double(v.0),
            AnyIn { array_value: Some(v), .. } => Value::Array(v.values.into_iter().map(|a| a.0).collect()),
            AnyIn { kvlist_value: Some(v), .. } => {
                Value::Map(v.values.into_iter().map(|p| (p.key, p.value.0)).collect())
            }
            // Base64; what is none stays the text it is.
            AnyIn { bytes_value: Some(v), .. } => {
                base64::prelude::BASE64_STANDARD.decode(&v).map_or(Value::Str(v), Value::Bytes)
            }
            _ => return None,
        })
    }
}

impl From<AnyIn> for Any {
    fn from(wire: AnyIn) -> Self {
        wire.value().map_or_else(Any::default, Any)
    }
}
