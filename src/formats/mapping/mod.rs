//! Spans of other engines brought onto our names where they mean the same, so that their runs compare with ours. The
//! table with reasons is `docs/MAPPING.md`.
//!
//! - A span gets our name only if no span above it has got the same: of a call's client and server side the outer one
//!   counts.
//! - What it was called stays with it as [`attr::ORIGINAL_NAME`], and all its attributes stay too.
//! - No time is made up, with one exception that is marked [`attr::INFERRED`]: where a client asked a daemon several
//!   times under one span of its own which is not in the trace, that span is put back, from the begin of the first
//!   request to the end of the last.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::names::{attr, span};
use crate::record::model::{Attributes, Key, Kind, Span, SpanId, Status, Trace, Value};

/// Names whose meaning doesn't depend on anything else.
const NAMES: &[(&str, &str)] = &[
    // dockerd with containerd's image store.
    ("pull.Pull", span::IMAGE_PULL),
    // dockerd, inside its API spans; by themselves where those are not traced.
    ("daemon.containerCreate", span::CONTAINER_CREATE),
    ("daemon.ContainerCreate", span::CONTAINER_CREATE),
    ("daemon.containerStart", span::CONTAINER_START),
    ("daemon.ContainerStart", span::CONTAINER_START),
    ("libnetwork.Controller.NewSandbox", span::NETWORK_SETUP),
    ("daemon.connectToNetwork", span::NETWORK_SETUP),
    // containerd.
    ("containerd.services.transfer.v1.Transfer/Transfer", TRANSFER),
    ("pkg.unpack.unpacker.UnpackHandler", DESCRIPTOR),
    ("pkg.unpack.unpacker.fetchLayer", span::LAYER_DOWNLOAD),
    ("pkg.unpack.unpacker.unpackLayer", span::LAYER_EXTRACT),
    // The CRI as kubelet asks and as containerd and CRI-O answer it.
    ("runtime.v1.ImageService/PullImage", span::IMAGE_PULL),
    ("runtime.v1.RuntimeService/CreateContainer", span::CONTAINER_CREATE),
    ("runtime.v1.RuntimeService/StartContainer", span::CONTAINER_START),
    ("runtime.v1.RuntimeService/RemoveContainer", span::CONTAINER_REMOVE),
    // buildkit.
    ("extract", EXTRACT),
    // HTTP requests, of containerd's resolver and of OpenTelemetry's Go instrumentation.
    ("remotes.docker.resolver.HTTPRequest", REQUEST),
    ("HTTP GET", REQUEST),
    ("HTTP HEAD", REQUEST),
    ("HTTP POST", REQUEST),
];

/// A pull if an image was fetched below it; it may be a push or a copy.
const TRANSFER: &str = "?transfer";
/// Manifest or configuration, by the media type.
const DESCRIPTOR: &str = "?descriptor";
/// A layer if it has a digest.
const EXTRACT: &str = "?extract";
/// By the method.
const REQUEST: &str = "?request";
/// A pull if nothing below it is called so.
const API_PULL: &str = "?pull";

/// Brings the names of a trace onto ours. Gives how many spans have got another name; 0 is a trace of ours or of
/// strangers.
pub fn apply(trace: &mut Trace) -> usize {
    if trace.spans.iter().any(|s| s.name == span::RUN || s.name == span::PULL || is_mapped(s)) {
        return 0;
    }
    let found: HashMap<SpanId, &'static str> = wanted(trace);
    if found.is_empty() {
        return 0;
    }
    let mut renamed = 0;
    for span in &mut trace.spans {
        if let Some(name) = found.get(&span.id) {
            rename(span, name);
            renamed += 1;
        }
    }
    root(trace);
    renamed
}

/// Takes back what [`apply`] did, so that spans that come later can be sorted in.
pub fn undo(trace: &mut Trace) {
    trace.spans.retain(|s| s.attributes.bool(attr::INFERRED) != Some(true));
    for span in trace.spans.iter_mut().filter(|s| is_mapped(s)) {
        if let Some(was) = span.attributes.str(attr::ORIGINAL_NAME) {
            span.name = Key::Owned(was.to_owned());
        }
        let ours = [attr::ORIGINAL_NAME, attr::OBSERVED_BY, attr::RUN_KIND, attr::HUB];
        let kept = span.attributes.iter().filter(|(k, _)| !ours.contains(k));
        span.attributes = kept.map(|(k, v)| (Key::Owned(k.to_owned()), v.clone())).collect();
    }
}

/// Whether the span's name comes from here.
pub fn is_mapped(span: &Span) -> bool {
    span.attributes.get(attr::ORIGINAL_NAME).is_some()
}

/// The new name of each span that gets one.
fn wanted(trace: &Trace) -> HashMap<SpanId, &'static str> {
    let parents: HashMap<SpanId, SpanId> = trace.spans.iter().filter_map(|s| Some((s.id, s.parent?))).collect();
    let mut meant: HashMap<SpanId, &'static str> =
        trace.spans.iter().filter_map(|s| Some((s.id, meaning(s)?))).collect();
    // What depends on the spans below: those whose line up to the root passes through.
    let mut pulls: HashSet<SpanId> = HashSet::new();
    let mut fetches: HashSet<SpanId> = HashSet::new();
    for (id, name) in &meant {
        for above in above(*id, &parents) {
            match *name {
                span::IMAGE_PULL => pulls.insert(above),
                span::LAYER_DOWNLOAD | REQUEST | DESCRIPTOR => fetches.insert(above),
                _ => continue,
            };
        }
    }
    let by_id: HashMap<SpanId, &Span> = trace.spans.iter().map(|s| (s.id, s)).collect();
    meant.retain(|id, name| {
        let Some(span) = by_id.get(id) else { return false };
        let known = match *name {
            TRANSFER => fetches.contains(id).then_some(span::IMAGE_PULL),
            API_PULL => (!pulls.contains(id)).then_some(span::IMAGE_PULL),
            DESCRIPTOR => descriptor(&span.attributes),
            EXTRACT => span.attributes.str("digest").map(|_| span::LAYER_EXTRACT),
            REQUEST => method(span),
            name => Some(name),
        };
        *name = known.unwrap_or_default();
        known.is_some()
    });
    let inner: Vec<SpanId> = meant
        .iter()
        .filter(|(id, name)| above(**id, &parents).any(|a| meant.get(&a) == Some(name)))
        .map(|(id, _)| *id)
        .collect();
    for id in inner {
        meant.remove(&id);
    }
    // Anybody makes requests: by themselves they don't make a trace one of a container engine.
    if meant.values().all(|name| [span::HTTP_GET, span::HTTP_HEAD, span::HTTP_POST].contains(name)) {
        meant.clear();
    }
    meant
}

/// The spans over this one; as far as a hostile file's circle of parents is worth following.
fn above(id: SpanId, parents: &HashMap<SpanId, SpanId>) -> impl Iterator<Item = SpanId> + '_ {
    std::iter::successors(parents.get(&id).copied(), |id| parents.get(id).copied())
        .take(crate::analyze::tree::MAX_DEPTH as usize)
}

/// What a name says by itself.
fn meaning(s: &Span) -> Option<&'static str> {
    let name = s.name.trim_start_matches('/');
    if let Some((_, to)) = NAMES.iter().find(|(from, _)| *from == name) {
        return Some(to);
    }
    // buildkit: `[stage 1/4] FROM image`, and the look-up of it before.
    if name.starts_with('[') && name.contains("] FROM ") {
        return Some(span::IMAGE_PULL);
    }
    if name.starts_with("resolving ") && s.attributes.get("vertex").is_none() {
        return Some(span::MANIFEST_FETCH);
    }
    engine_api(name)
}

/// Requests of the Docker Engine API by route, also with a version before it and ids in it.
fn engine_api(name: &str) -> Option<&'static str> {
    let (method, path) = name.split_once(" /")?;
    let mut parts: Vec<&str> = path.split('/').collect();
    if parts.first().is_some_and(|p| p.starts_with('v') && p[1..].starts_with(|c: char| c.is_ascii_digit() || c == '{'))
    {
        parts.remove(0);
    }
    Some(match (method, &parts[..]) {
        ("POST", ["images", "create"]) => API_PULL,
        ("POST", ["containers", "create"]) => span::CONTAINER_CREATE,
        ("POST", ["containers", _, "start"]) => span::CONTAINER_START,
        ("DELETE", ["containers", _]) => span::CONTAINER_REMOVE,
        _ => return None,
    })
}

fn descriptor(attributes: &Attributes) -> Option<&'static str> {
    let media = attributes.str("descriptor.media.type")?;
    if ["manifest", "index"].iter().any(|word| media.contains(word)) {
        return Some(span::MANIFEST_FETCH);
    }
    (media.contains("image.config") || media.contains("container.image.v1")).then_some(span::CONFIG_FETCH)
}

fn method(s: &Span) -> Option<&'static str> {
    let said = [attr::HTTP_REQUEST_METHOD, "http.method"].into_iter().find_map(|key| s.attributes.str(key));
    [span::HTTP_GET, span::HTTP_HEAD, span::HTTP_POST].into_iter().find(|m| said == Some(m))
}

fn rename(s: &mut Span, name: &'static str) {
    let was = std::mem::replace(&mut s.name, Key::Borrowed(name));
    s.attributes.set(attr::ORIGINAL_NAME, was.into_owned());
    let layer = matches!(name, span::LAYER_DOWNLOAD | span::LAYER_EXTRACT);
    let digest = ["layer.media.digest", "descriptor.digest", "digest"].into_iter().find_map(|k| s.attributes.str(k));
    if let Some(digest) = digest.map(str::to_owned) {
        match name {
            span::MANIFEST_FETCH => s.attributes.set(attr::OCI_MANIFEST_DIGEST, digest),
            span::CONFIG_FETCH => s.attributes.set(attr::CONFIG_DIGEST, digest),
            _ if layer => s.attributes.set(attr::LAYER_DIGEST, digest),
            _ => {}
        }
    }
    if let Some(media) = s.attributes.str("descriptor.media.type").map(str::to_owned) {
        s.attributes.set(attr::MEDIA_TYPE, media);
    }
    if let Some(media) = s.attributes.str("layer.media.type").map(str::to_owned) {
        s.attributes.set(attr::LAYER_MEDIA_TYPE, media);
    }
    if let Some(size) = s.attributes.int("layer.media.size") {
        s.attributes.set(attr::LAYER_SIZE, size);
    }
}

/// Makes the whole a run or a pull, where it is one, and says who saw it.
fn root(trace: &mut Trace) {
    let ids: HashSet<SpanId> = trace.spans.iter().map(|s| s.id).collect();
    let tops: Vec<usize> =
        (0..trace.spans.len()).filter(|i| trace.spans[*i].parent.is_none_or(|p| !ids.contains(&p))).collect();
    let has = |name: &str| trace.spans.iter().any(|s| s.name == name);
    let whole = match (has(span::CONTAINER_START), has(span::IMAGE_PULL)) {
        (true, _) => span::RUN,
        (_, true) => span::PULL,
        _ => "",
    };
    let missing: BTreeSet<Option<SpanId>> = tops.iter().map(|i| trace.spans[*i].parent).collect();
    let observer = observer(trace, &tops);
    let place = match (&tops[..], missing.first()) {
        // One span is all of it: a client's `run`, or a pull that is nothing else.
        ([top], _) => {
            let top = *top;
            let name = trace.spans[top].name.clone();
            if name == span::IMAGE_PULL {
                trace.spans[top].name = span::PULL.into();
            } else if !is_mapped(&trace.spans[top]) && !whole.is_empty() && is_whole(trace, top, whole) {
                rename(&mut trace.spans[top], whole);
            }
            Some(top)
        }
        ([_, ..], Some(&Some(id))) if missing.len() == 1 && !whole.is_empty() => {
            let start = tops.iter().map(|i| trace.spans[*i].start).min().unwrap_or(0);
            let end = tops.iter().map(|i| trace.spans[*i].end).max().unwrap_or(0);
            let failed = tops.iter().map(|i| &trace.spans[*i].status).find(|s| s.is_error()).cloned();
            trace.spans.push(Span {
                id,
                parent: None,
                name: whole.into(),
                kind: Kind::Internal,
                start,
                end,
                attributes: Attributes::new().with(attr::INFERRED, true),
                events: Vec::new(),
                links: Vec::new(),
                status: failed.unwrap_or(Status::Unset),
                origin: trace.spans[tops[0]].origin,
                extra: None,
            });
            Some(trace.spans.len() - 1)
        }
        _ => None,
    };
    if let Some(place) = place {
        say_what(trace, place, observer);
    }
}

/// Whether the span at `top` does no more than run or pull: all that is recognised lies directly below it.
fn is_whole(trace: &Trace, top: usize, whole: &str) -> bool {
    let id = trace.spans[top].id;
    let part = if whole == span::RUN { span::CONTAINER_START } else { span::IMAGE_PULL };
    let parts = || trace.spans.iter().filter(|s| s.name == part);
    parts().count() == 1 && parts().all(|s| s.parent == Some(id))
}

/// The service of the spans at the top.
fn observer(trace: &Trace, tops: &[usize]) -> String {
    let names = tops.iter().filter_map(|i| trace.origin(&trace.spans[*i])?.resource.str(attr::SERVICE_NAME));
    names.min().unwrap_or("unknown").chars().take(100).collect()
}

/// What a root of ours would say, as far as it is known.
fn say_what(trace: &mut Trace, root: usize, observer: String) {
    let reference = trace.spans.iter().find_map(|s| {
        ["image.ref", "container.image.ref"].into_iter().find_map(|k| s.attributes.str(k)).map(str::to_owned)
    });
    let downloads = trace.spans.iter().any(|s| s.name == span::LAYER_DOWNLOAD);
    let container = trace.spans.iter().find_map(|s| {
        let id = ["container.ID", attr::CONTAINER_ID].into_iter().find_map(|k| s.attributes.str(k));
        id.map(str::to_owned)
    });
    let root = &mut trace.spans[root];
    root.attributes.set(attr::OBSERVED_BY, observer);
    if root.name == span::RUN {
        root.attributes.set(attr::RUN_KIND, if downloads { "cold" } else { "warm" });
        if let Some(id) = container {
            root.attributes.set(attr::CONTAINER_ID, id);
        }
    }
    if let Some((hub, name, tag)) = reference.as_deref().and_then(image) {
        root.attributes.set(attr::HUB, hub);
        root.attributes.set(attr::CONTAINER_IMAGE_NAME, name);
        if let Some(tag) = tag {
            root.attributes.set(attr::CONTAINER_IMAGE_TAGS, Value::Array(vec![tag.into()]));
        }
    }
}

/// Registry, canonical name and tag of a reference as these engines write it, which is nearly always the full form.
fn image(reference: &str) -> Option<(String, String, Option<String>)> {
    let name = reference.split('@').next().filter(|n| !n.is_empty() && n.len() < 512)?;
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
        _ => (name, None),
    };
    let (host, rest) = match name.split_once('/') {
        Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => (host, rest.to_owned()),
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    };
    Some((host.to_owned(), format!("{host}/{rest}"), tag))
}

#[cfg(test)]
mod tests;
