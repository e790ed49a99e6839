use super::*;

#[test]
fn paths_are_cleaned_as_text() {
    for (given, clean_one) in
        [("", "/"), ("a", "/a"), ("/a//b/./c/", "/a/b/c"), ("/a/../../..", "/"), ("/a/../b", "/b"), ("/...", "/...")]
    {
        assert_eq!(clean(given.as_bytes()), clean_one.as_bytes());
    }
}
