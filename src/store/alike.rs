//! What the last runs of an image took, for the line that holds cold against warm runs. A file for each image and kind
//! (`latest/<image>-<kind>`), a line for each run, the newest first: what makes it alike with others, its id, its wall
//! time and its pull's, in ns.

use std::fs;
use std::path::PathBuf;

use super::{Store, StoreError};
use crate::digest::Digest;
use crate::record::model::TraceId;

/// Lines of one file: those of other commands must not grow without bound.
const LINES: usize = 100;
/// Of one command. Older ones say more of the machine than of the image.
const ALIKE: usize = 20;

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its trace.
    pub id: TraceId,
    /// Wall time, ns.
    pub wall_ns: u64,
    /// What its pull had of that, ns.
    pub pull_ns: u64,
}

/// What runs have in common that may be compared: everything that is written into `what`. Only a digest of it is kept,
/// since command lines may hold secrets.
pub fn key(what: &str) -> String {
    Digest::of(what.as_bytes()).short()
}

impl Store {
    fn alike_path(&self, image: &str, kind: &str) -> PathBuf {
        self.path("latest").join(format!("{}-{kind}", Digest::of(image.as_bytes()).short()))
    }

    /// The last runs of `image` (canonical name) of this kind with this key, the newest first.
    pub fn alike(&self, image: &str, kind: &str, key: &str) -> Vec<Past> {
        let text = fs::read_to_string(self.alike_path(image, kind)).unwrap_or_default();
        text.lines().filter_map(|line| parse(line, key)).collect()
    }

    /// Notes a run. Of two that end at once one may be lost.
    pub fn note_run(&self, image: &str, kind: &str, key: &str, past: Past) -> Result<(), StoreError> {
        let path = self.alike_path(image, kind);
        let mut text = format!("{key} {} {} {}\n", past.id, past.wall_ns, past.pull_ns);
        let before = fs::read_to_string(&path).unwrap_or_default();
        let mut same = 1;
        for line in before.lines().filter(|l| l.contains(' ')).take(LINES - 1) {
            same += usize::from(line.starts_with(key));
            if same <= ALIKE || !line.starts_with(key) {
                text.push_str(line);
                text.push('\n');
            }
        }
        self.write_unsynced(&path, text.as_bytes())
    }

    /// The newest run of each image and kind.
    pub(super) fn newest_runs(&self) -> impl Iterator<Item = TraceId> {
        let files = fs::read_dir(self.path("latest")).into_iter().flatten().flatten();
        files.filter_map(|file| TraceId::from_hex(fs::read_to_string(file.path()).ok()?.split_whitespace().nth(1)?))
    }
}

fn parse(line: &str, key: &str) -> Option<Past> {
    let mut words = line.split(' ');
    words.next().filter(|k| *k == key)?;
    let id = TraceId::from_hex(words.next()?)?;
    Some(Past { id, wall_ns: words.next()?.parse().ok()?, pull_ns: words.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_are_alike_are_found_again_and_their_number_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let past = |n: u64| Past { id: TraceId(u128::from(n) + 1), wall_ns: n, pull_ns: 0 };
        // What an earlier version wrote is no run.
        fs::write(store.alike_path("image", "cold"), past(1).id.to_string()).unwrap();
        assert_eq!(store.alike("image", "cold", "k"), []);
        let keys: Vec<String> = ["sleep 5", "true"].map(key).to_vec();
        for n in 0..200 {
            store.note_run("image", "cold", &keys[usize::from(n % 4 == 0)], past(n)).unwrap();
        }
        assert_eq!(store.alike("image", "cold", &keys[0]).len(), ALIKE);
        let trues = store.alike("image", "cold", &keys[1]);
        assert_eq!((trues[0].wall_ns, trues[1].wall_ns, trues.len() <= ALIKE), (196, 192, true));
        assert!(fs::read_to_string(store.alike_path("image", "cold")).unwrap().lines().count() <= LINES);
        assert_eq!(store.newest_runs().collect::<Vec<_>>(), [past(199).id]);
        assert_eq!((store.alike("image", "warm", &keys[0]), store.alike("other", "cold", &keys[0])), (vec![], vec![]));
    }
}
