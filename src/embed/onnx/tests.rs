//! What can be tested without a model: which output of a graph is read.

use super::*;

#[test]
fn the_output_is_chosen_by_name_and_rank() {
    let sentence = [("token_embeddings", 3), ("sentence_embedding", 2)];
    let chosen =
        |outputs: &[(&'static str, usize)], by_setting| choose(outputs, by_setting).map(|(name, _)| name);
    assert_eq!(chosen(&sentence, false), Some("sentence_embedding"));
    assert_eq!(chosen(&sentence, true), Some("token_embeddings"), "the operator pools");
    assert_eq!(chosen(&[("pooler_output", 2), ("last_hidden_state", 3)], false), Some("last_hidden_state"));
    assert_eq!(chosen(&[("embedding", 2)], true), Some("embedding"));
    assert_eq!(chosen(&[("pooler_output", 2), ("logits", 1)], false), None);
}
