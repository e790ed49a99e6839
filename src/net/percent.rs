//! Percent-coding (RFC 3986, 2.1).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// Everything but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// In the value of a query `:` and `/` may stay, and are easier to read.
const QUERY_VALUE: &AsciiSet = &RESERVED.remove(b':').remove(b'/');

/// `%41` is `A`; anything that is no such sequence stays as it is.
pub fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

/// The same as text; what is no UTF-8 is replaced.
pub fn decode_lossy(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// As values of W3C baggage and of `OTEL_EXPORTER_OTLP_HEADERS` are written.
pub fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// As a value of a URL's query.
pub fn encode_query_value(text: &str) -> String {
    percent_encode(text.as_bytes(), QUERY_VALUE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back() {
        assert_eq!(encode("a b=%é,~".as_bytes()), "a%20b%3D%25%C3%A9%2C~");
        assert_eq!(encode_query_value("repository:a/b:pull&x"), "repository:a/b:pull%26x");
        assert_eq!(decode_lossy("a%20b%3d%25%C3%a9"), "a b=%é");
        assert_eq!(decode("100% %zz %4 %"), b"100% %zz %4 %");
        assert_eq!(decode_lossy("%ff"), "\u{fffd}");
    }
}
