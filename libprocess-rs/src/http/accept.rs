//! What a client accepts: media types and encodings.

/// Whether an `Accept` header allows a media type.
///
/// The most specific entry that matches decides: the type itself, then `type/*`, then `*/*`. Of its parameters only `q` counts,
/// and only as zero or not; one that is no number refuses. Without the header everything is accepted.
pub(super) fn accepts_media(accept: Option<&str>, media_type: &str) -> bool {
    let Some(accept) = accept else {
        return true;
    };
    let (family, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let family = format!("{family}/*");
    [media_type, &family, "*/*"]
        .iter()
        .find_map(|wanted| allows(accept, wanted))
        .unwrap_or(false)
}

/// Whether an `Accept-Encoding` header allows gzip: its own entry decides, else the one for `*`. Without either, or without the
/// header, it does not.
pub(super) fn accepts_gzip(accept_encoding: &str) -> bool {
    allows(accept_encoding, "gzip")
        .or_else(|| allows(accept_encoding, "*"))
        .unwrap_or(false)
}

/// What the first entry for `wanted` says, if there is one.
fn allows(accept: &str, wanted: &str) -> Option<bool> {
    accept.split(',').find_map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        parts.next()?.eq_ignore_ascii_case(wanted).then(|| {
            parts
                .find_map(|part| part.strip_prefix("q="))
                .is_none_or(|q| q.trim().parse::<f64>().is_ok_and(|q| q > 0.0))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        let check = |accept: Option<&str>, expected: bool| {
            let accepted = accepts_media(accept, "application/json");
            assert_eq!(accepted, expected, "{accept:?}");
        };
        check(None, true);
        check(Some(""), false);
        check(Some("application/json"), true);
        check(Some("Application/JSON"), true);
        check(Some("text/html, application/json;q=0.5"), true);
        check(Some("application/*"), true);
        check(Some("*/*"), true);
        check(Some("*/*, application/json;q=0"), false);
        check(Some("application/*;q=0, */*"), false);
        check(Some("application/json;charset=utf-8;q=0.1"), true);
        check(Some("application/json;q=x"), false);
        check(Some("text/*"), false);
        check(Some("application/x-protobuf"), false);
    }

    #[test]
    fn gzip() {
        let check = |value: &str, expected: bool| {
            assert_eq!(accepts_gzip(value), expected, "{value:?}");
        };
        check("", false);
        check("gzip", true);
        check("deflate, gzip;q=0.5", true);
        check("gzip;q=0", false);
        check("gzip;q=x", false);
        check("gzip;q=0, *", false);
        check("*", true);
        check("*;q=0.0", false);
        check("deflate", false);
    }
}
