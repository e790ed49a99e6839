//! Files that other programs recorded; `tests/fixtures/README.md` says how.

use std::io::Write as _;
use std::path::{Path, PathBuf};

pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// All of them, by name.
pub fn all() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory()).unwrap().map(|e| e.unwrap().path());
    let other = ["md", "tsv", "py"];
    let mut all: Vec<_> =
        entries.filter(|p| p.extension().is_none_or(|e| !other.iter().any(|o| e == *o)) && p.is_file()).collect();
    all.sort();
    all
}

/// A fixture compressed into `dir`, by the ending of `name`: `x.json.zst` is `x.json` by zstd, `x.pb.gz` by gzip.
pub fn compressed(name: &str, dir: &Path) -> PathBuf {
    let (plain, ending) = name.rsplit_once('.').expect("an ending");
    let bytes = std::fs::read(directory().join(plain)).unwrap();
    let bytes = match ending {
        "gz" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            gzip.write_all(&bytes).unwrap();
            gzip.finish().unwrap()
        }
        "zst" => zstd::bulk::compress(&bytes, 19).unwrap(),
        other => panic!("no compression is called `{other}`"),
    };
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
