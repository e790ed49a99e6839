use proptest::prelude::*;

use super::*;

object! {
    #[derive(Debug, PartialEq)]
    struct Outer {
        name: String = "Name",
        size: i64 = "size",
        list: Vec<String> = "List",
        map: BTreeMap<String, String> = "Map",
        inner: Option<Inner> = "Inner",
        set: Present = "Set",
        hint: Roughly = "hint",
        task: String = "task",
    }
}

object! {
    #[derive(Debug, PartialEq)]
    struct Inner {
        a: String = "a",
        b: String = "b",
    }
}

fn read(text: &str) -> Outer {
    parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn keys_match_in_any_case_and_the_last_one_holds() {
    for text in [r#"{"Name":"x"}"#, r#"{"name":"x"}"#, r#"{"NAME":"x"}"#, r#"{"nAmE":"x","other":[1,{"Name":"y"}]}"#] {
        assert_eq!(read(text).name, "x", "{text}");
    }
    assert_eq!(read(r#"{"Name":"x","name":"y"}"#).name, "y");
    assert_eq!(read(r#"{"name":"y","Name":"x"}"#).name, "x");
    assert_eq!(read(r#"{"Name":"x","Name":"y"}"#).name, "y");
    assert_eq!(read("{\"ta\u{17f}\u{212a}\":\"x\"}").task, "x", "Go folds the long s and the Kelvin sign");
    assert_eq!(read(r#"{"Namé":"x","Tag":"x"}"#), Outer::default());
}

#[test]
fn null_is_a_zero_value_and_takes_nothing_away_but_lists_and_maps() {
    let all_null = r#"{"Name":null,"size":null,"List":null,"Map":null,"Inner":null,"Set":null,"hint":null}"#;
    assert_eq!(read(all_null), Outer::default());
    assert_eq!(read("null"), Outer::default());
    let twice = read(r#"{"Name":"x","name":null,"List":["a"],"list":null,"Inner":{"a":"1"},"inner":{"B":"2"}}"#);
    assert_eq!((twice.name.as_str(), twice.list.len()), ("x", 0));
    assert_eq!(twice.inner, Some(Inner { a: "1".into(), b: "2".into() }), "objects are merged");
    assert_eq!(read(r#"{"List":["a",null]}"#).list, ["a", ""]);
    assert_eq!(read(r#"{"Map":{"a":null,"b":"c"}}"#).map.len(), 2);
    assert_eq!(read(r#"{"Inner":{"a":"1"},"inner":null}"#).inner, None);
}

#[test]
fn what_go_refuses_is_refused() {
    for text in [
        "",
        "[]",
        "\u{feff}{}",
        "{} {}",
        r#"{"Name":1}"#,
        r#"{"size":1.0}"#,
        r#"{"size":"1"}"#,
        r#"{"size":1e3}"#,
        r#"{"size":9223372036854775808}"#,
        r#"{"List":"x"}"#,
        r#"{"List":{}}"#,
        r#"{"Map":[]}"#,
        r#"{"Inner":5}"#,
        r#"{"Name":"x",}"#,
    ] {
        assert!(parse::<Outer>(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn text_that_is_no_unicode_is_replaced() {
    let name = |bytes: &[u8]| parse::<Outer>(bytes).unwrap().name;
    assert_eq!(name(b"{\"Name\":\"a\xe9b\"}"), "a\u{fffd}b");
    assert_eq!(name(br#"{"Name":"a\ud800b\\ud800"}"#), "a\u{fffd}b\\ud800");
    assert_eq!(name(br#"{"Name":"\udc00\ud83d\ude00\u00e9\""}"#), "\u{fffd}😀é\"");
    assert!(parse::<Outer>(b"{\"Name\":\"\\ud8").is_err());
}

#[test]
fn numbers_that_are_only_good_to_know() {
    for (text, number) in [("3", 3), ("\"60\"", 60), ("1.5e2", 150), ("-1", 0), ("\"x\"", 0), ("[]", 0), ("true", 0)] {
        assert_eq!(read(&format!(r#"{{"hint":{text}}}"#)).hint, Roughly(number), "{text}");
    }
}

#[test]
fn what_is_looked_into_later_is_as_it_was() {
    let text = r#"[{"A":"x","a":null,"A":"y","n":[1,-2,1.5,true,[],{}],"s":"\"\\é\n"},5]"#;
    let items: Vec<Later> = parse(text.as_bytes()).unwrap();
    assert_eq!(items[0].0, r#"{"A":"x","a":null,"A":"y","n":[1,-2,1.5,true,[],{}],"s":"\"\\é\n"}"#);
    assert_eq!(items[0].read::<Inner>().unwrap().a, "y");
    assert!(items[1].read::<Inner>().is_err());
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[\\u0-9a-fD"{}:,]{0,60}"#) {
        let _ = parse::<Outer>(&bytes);
        let _ = parse::<Outer>(text.as_bytes());
        let _ = repaired(&bytes);
    }
}
