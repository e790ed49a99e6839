use super::*;

#[test]
fn widths_are_those_of_the_font() {
    // hmtx of DejaVu Sans Condensed: `i` 512, `m` 1795 of 2048.
    assert!((width("i", 2048.0) - 512.0).abs() < 0.01, "{}", width("i", 2048.0));
    assert!((width("m", 2048.0) - 1795.0).abs() < 0.01, "{}", width("m", 2048.0));
    assert!(width("層", 10.0) > width("m", 10.0));
}

#[test]
fn nothing_is_wider_than_its_room() {
    let texts = ["", "a", "library/hello-world", &"W".repeat(500), "層層層層層層層層", "ünïcödé…", "\u{1f469}\u{200d}"];
    for text in texts {
        for room in [0.0, 3.0, 12.0, 40.0, 200.0] {
            let cut = fit(text, 12.0, room);
            assert!(width(&cut, 12.0) <= room + 1e-9, "{text} in {room}: {cut}");
            for line in wrap(text, 12.0, room.max(12.0), 3) {
                assert!(width(&line, 12.0) <= room.max(12.0) + 1e-9, "{text} in {room}: {line}");
            }
        }
    }
    assert_eq!(fit("hello world", 12.0, 40.0), "hello…");
    assert_eq!(wrap("one two three", 12.0, 45.0, 4), ["one two", "three"]);
    let parts = ["dns 0.4", "tcp 0.9", "tls 1.8"].map(str::to_owned);
    assert_eq!(fit_parts(&parts, " · ", 12.0, 110.0), "dns 0.4 · tcp 0.9 …");
}

#[test]
fn every_sign_that_the_pictures_use_is_in_the_font() {
    for c in "◆✗…×µ·→●▲▼−≥≤–—’“”".chars() {
        assert_ne!(FONT.glyph_id(c).0, 0, "{c}");
    }
}
