//! The status page: one file, nothing loaded from elsewhere, and a policy that lets a browser run nothing but what is in it.
//!
//! The page holds no data: its script asks for `/status.json`. So the policy names its script and style by their digests,
//! and a text of the stream that looked like a script could not run even if the page had a fault.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The page.
pub(super) const HTML: &str = include_str!("page.html");

/// What a browser may do with the page (Content Security Policy Level 3).
pub(super) fn policy() -> String {
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        source("script"),
        source("style")
    )
}

/// The digest of what stands in the page's only element of that name, as a policy names it.
fn source(element: &str) -> String {
    let (from, to) = (format!("<{element}>"), format!("</{element}>"));
    let inside = HTML.split_once(&from).and_then(|(_, rest)| rest.split_once(&to));
    let text = inside.map_or("", |(text, _)| text);
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_file_that_makes_no_markup_of_data() {
        for element in ["script", "style"] {
            assert_eq!(HTML.matches(&format!("<{element}")).count(), 1, "{element}");
        }
        let banned = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "src=",
            "@import",
            "url(",
        ];
        for word in banned {
            assert!(!HTML.contains(word), "{word}");
        }
        // The namespace of SVG is a name, not an address.
        for (at, _) in HTML.match_indices("http") {
            assert!(HTML[at..].starts_with("http://www.w3.org/2000/svg"), "{}", &HTML[at..at + 60]);
        }
    }

    #[test]
    fn the_policy_names_digests_and_nothing_looser() {
        let policy = policy();
        assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
        // The digest of nothing would let nothing run.
        assert!(!policy.contains("47DEQpj8HBSa"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    }
}
