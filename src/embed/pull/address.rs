//! How an address is shown and remembered. Its query is often a signed token, and what stands before an `@` a password:
//! neither may ever reach a message, a log or a disk.

use sha2::{Digest as _, Sha256};

use super::hex;

/// The address as it may be read by anybody: without query and fragment, and no more than its scheme where something in
/// it may be a password.
pub(super) fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = plain.split_once("://") else {
        return if plain.contains(['@', ':']) { "***".to_owned() } else { plain.to_owned() };
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    // A password with a slash or a question mark in it ends what looks like the host, and begins after a colon.
    let is_port = authority.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit());
    if authority.contains('@') || !is_port { format!("{scheme}://***") } else { plain.to_owned() }
}

/// What tells this address from any other, and nothing more.
pub(super) fn mark(url: &str) -> String {
    hex(Sha256::new().chain_update(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (url, seen) in [
            ("https://host/a/model.onnx?X-Signature=secret&b#c", "https://host/a/model.onnx"),
            ("https://host:8443/a@1.2/model.onnx", "https://host:8443/a@1.2/model.onnx"),
            ("http://[::1]/a", "http://[::1]/a"),
            ("http://[::1]:80/a", "http://[::1]:80/a"),
            ("https://user:secret@host/a", "https://***"),
            ("https://secret@host/a", "https://***"),
            ("https://user:sec/ret@host/a", "https://***"),
            ("https://user:sec?ret@host/a", "https://***"),
            ("https://user:sec#ret@host/a", "https://***"),
            ("https://user:se@cr/et@host/a", "https://***"),
            ("user:secret@host/a", "***"),
            ("host/a?secret", "host/a"),
            ("", ""),
        ] {
            assert_eq!(shown(url), seen, "{url}");
        }
        assert_ne!(mark("https://host/a?b"), mark("https://host/a?c"));
        assert!(!mark("https://host/a?secret").contains("secret"));
    }
}
