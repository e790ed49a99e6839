//! A registry in the test program with the images that the test puts there, which notes what is asked of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::image::Image;
use super::server::{MANIFEST, Reply, Seen, Server, ok, status};

/// See the module.
pub struct Shop {
    server: Server,
    shelves: Arc<Mutex<Shelves>>,
}

#[derive(Default)]
struct Shelves {
    images: BTreeMap<String, Image>,
    /// Blobs that come slowly: piece and pause.
    pace: Option<(usize, Duration)>,
}

impl Shop {
    pub fn open() -> Shop {
        let shelves = Arc::new(Mutex::new(Shelves::default()));
        let asked = Arc::clone(&shelves);
        let server = Server::in_background(move |seen| asked.lock().unwrap().answer(seen));
        Shop { server, shelves }
    }

    /// With one image named `app:latest`.
    pub fn with(image: Image) -> (Shop, String) {
        let shop = Shop::open();
        let name = shop.put("app:latest", image);
        (shop, name)
    }

    /// Puts an image under `name:tag` and gives its full name.
    pub fn put(&self, name: &str, image: Image) -> String {
        self.shelves.lock().unwrap().images.insert(name.to_owned(), image);
        format!("{}/{name}", self.server.address)
    }

    /// From now on blobs come in pieces of this size with this pause after each.
    pub fn pace(&self, piece: usize, pause: Duration) {
        self.shelves.lock().unwrap().pace = Some((piece, pause));
    }

    /// From now on blobs come at once.
    pub fn full_speed(&self) {
        self.shelves.lock().unwrap().pace = None;
    }

    /// How many requests there were for something that ends like this.
    pub fn asked_for(&self, end: &str) -> usize {
        self.server.seen().iter().filter(|s| s.target.ends_with(end)).count()
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.server.address.to_string()
    }
}

impl Shelves {
    fn answer(&self, seen: &Seen) -> Reply {
        let path = seen.target.strip_prefix("/v2/").unwrap_or_default();
        if let Some((name, reference)) = path.split_once("/manifests/") {
            let by_tag = self.images.get(&format!("{name}:{reference}"));
            let image = by_tag.or_else(|| self.images.values().find(|i| i.digest() == reference));
            return image.map_or_else(unknown, |i| ok(MANIFEST, i.manifest.clone()));
        }
        if let Some((_, digest)) = path.split_once("/blobs/") {
            let blob = self.images.values().find_map(|i| i.blobs.get(digest));
            return match (blob, self.pace) {
                (None, _) => status(404),
                (Some(blob), Some((piece, pause))) => {
                    Reply::Paced("application/octet-stream", blob.clone(), piece, pause)
                }
                (Some(blob), None) => ok("application/octet-stream", blob.clone()),
            };
        }
        status(404)
    }
}

fn unknown() -> Reply {
    let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
    Reply::Http(404, vec![("Content-Type", "application/json".into())], body.to_vec())
}
