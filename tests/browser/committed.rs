//! The pictures in the repository are those that the program draws of the recorded runs.

use std::path::Path;
use std::process::Command;

#[test]
fn committed_pictures_are_what_the_program_draws() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().expect("a directory");
    let done = Command::new(here.join("traces/draw"))
        .arg(dir.path())
        .env("TRACE", env!("CARGO_BIN_EXE_trace"))
        .output()
        .expect("traces/draw starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let names = |dir: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let committed = here.join("docs/pictures");
    assert_eq!(names(dir.path()), names(&committed));
    for name in names(&committed) {
        let read = |dir: &Path| std::fs::read_to_string(dir.join(&name)).expect("a picture");
        assert!(
            read(dir.path()) == read(&committed),
            "docs/pictures/{} is not what the program draws; look at what `traces/draw` makes of it, then commit that",
            name.display()
        );
    }
}
