use super::*;
use std::os::unix::fs::MetadataExt;

#[test]
fn mount_points_are_made_once_with_their_modes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let path = store.mount_points().unwrap();
    for (name, mode) in [("", 0o755), ("proc", 0o755), ("etc", 0o755), ("etc/resolv.conf", 0o644)] {
        assert_eq!(fs::metadata(path.join(name)).unwrap().mode() & 0o7777, mode, "`{name}`");
    }
    let before = fs::metadata(&path).unwrap().ino();
    assert_eq!(fs::metadata(store.mount_points().unwrap()).unwrap().ino(), before);
    assert_eq!(fs::read_dir(store.path("tmp")).unwrap().count(), 0);
}
