//! What ONNX Runtime says of a failure, for an operator: without its own source files, functions and codes.
//!
//! Nothing of the cause is left out: what is not known to be of its own making stays.

use std::path::Path;

/// Where its codes begin; what went wrong stands behind the last of them.
const CODE: &str = "[ONNXRuntimeError] : ";

/// The cause, in one line without a full stop.
pub(super) fn plain(said: &str, model: &Path) -> String {
    let cause = said.rsplit_once(CODE).map_or(said, |(_, cause)| {
        // A number and a name: `1 : FAIL : cause`.
        cause.splitn(3, " : ").nth(2).unwrap_or(cause)
    });
    let cause = cause.trim_start_matches(&format!("Load model from {} failed:", model.display()));
    let mut words = Vec::new();
    let mut all = cause.split_whitespace();
    while let Some(word) = all.next() {
        if is_source(word) {
            // The function's name follows.
            all.next();
        } else {
            words.push(word);
        }
    }
    words.join(" ").trim_end_matches('.').to_owned()
}

/// `file.cc:71`.
fn is_source(word: &str) -> bool {
    let Some((file, line)) = word.split_once(':') else { return false };
    let ends = [".cc", ".h", ".cpp", ".cu"].iter().any(|end| file.ends_with(end));
    ends && !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_stays_and_where_it_was_noticed_goes() {
        let told = |said| plain(said, Path::new("/m/model.onnx"));
        assert_eq!(
            told(
                "/a/core/session/provider_bridge_ort.cc:2043 onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() \
                 [ONNXRuntimeError] : 1 : FAIL : Failed to load library /o/x.so with error: /o/x.so: cannot open shared \
                 object file: No such file or directory\n"
            ),
            "Failed to load library /o/x.so with error: /o/x.so: cannot open shared object file: No such file or directory"
        );
        assert_eq!(
            told(
                "/a/cuda_execution_provider_info.cc:63 static X Y::Z(const W&) [ONNXRuntimeError] : 1 : FAIL : \
                 provider_options_utils.h:187 Parse Failed to parse provider option \"device_id\": \
                 cuda_execution_provider_info.cc:71 operator() Invalid device ID: 7, must be between 0 (inclusive) and 1 \
                 (exclusive)."
            ),
            "Failed to parse provider option \"device_id\": Invalid device ID: 7, must be between 0 (inclusive) and 1 \
             (exclusive)"
        );
        assert_eq!(
            told("Load model from /m/model.onnx failed:Protobuf parsing failed."),
            "Protobuf parsing failed"
        );
        assert_eq!(
            told("CUDA execution provider is not enabled in this build. "),
            "CUDA execution provider is not enabled in this build"
        );
        assert_eq!(told(""), "");
    }
}
