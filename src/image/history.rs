//! The history of an image: the instructions that made its layers (image-spec `config.md`, history).
//!
//! Nothing depends on the history, so a config with an odd one is not refused: what is not of its type counts as absent.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::image::json;

/// One entry of a history. Its texts are those of the config, unescaped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The time, as the config spells it.
    pub created: Option<String>,
    /// The instruction.
    pub created_by: Option<String>,
    /// The author.
    pub author: Option<String>,
    /// A comment of the builder.
    pub comment: Option<String>,
    /// True if the instruction made no layer.
    pub empty_layer: bool,
    /// The number of the layer that it made, from 1; `None` if it made none, or if the entries do not match the layers.
    pub layer: Option<usize>,
}

/// The history in a config, for an image of so many layers.
///
/// Layers are numbered only if the entries that made one are as many as the layers.
pub(crate) fn of(config: &[u8], layers: usize) -> Vec<HistoryEntry> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        history: Option<Value>,
    }
    let Ok(Config { history: Some(Value::Array(list)) }) = json::from_slice(config) else { return Vec::new() };
    let mut entries: Vec<HistoryEntry> = list.iter().map(entry).collect();
    if entries.iter().filter(|entry| !entry.empty_layer).count() == layers {
        let made = entries.iter_mut().filter(|entry| !entry.empty_layer);
        made.zip(1..).for_each(|(entry, number)| entry.layer = Some(number));
    }
    entries
}

/// Returns the instruction of each layer that has one, the lowest first.
pub(crate) fn instructions(history: &[HistoryEntry], layers: usize) -> Vec<Option<String>> {
    let mut instructions = vec![None; layers];
    for entry in history {
        let slot = entry.layer.and_then(|number| instructions.get_mut(number - 1));
        if let Some(slot) = slot {
            slot.clone_from(&entry.created_by);
        }
    }
    instructions
}

fn entry(value: &Value) -> HistoryEntry {
    let text = |key| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    HistoryEntry {
        created: text("created"),
        created_by: text("created_by"),
        author: text("author"),
        comment: text("comment"),
        empty_layer: value.get("empty_layer").and_then(Value::as_bool).unwrap_or(false),
        layer: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(config: &str, layers: usize) -> Vec<(Option<String>, Option<usize>)> {
        of(config.as_bytes(), layers).into_iter().map(|entry| (entry.created_by, entry.layer)).collect()
    }

    #[test]
    fn entries_without_a_layer_are_skipped() {
        let config = r#"{"history":[{"created_by":"a"},{"created_by":"b","empty_layer":true},{"created_by":"c"}]}"#;
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(layers(config, 2), [(text("a"), Some(1)), (text("b"), None), (text("c"), Some(2))]);
        assert_eq!(instructions(&of(config.as_bytes(), 2), 2), [text("a"), text("c")]);
    }

    #[test]
    fn a_history_that_contradicts_the_layers_has_no_numbers() {
        let config = r#"{"history":[{"created_by":"a"}]}"#;
        assert_eq!(layers(config, 2), [(Some("a".into()), None)]);
        assert_eq!(instructions(&of(config.as_bytes(), 2), 2), [None, None]);
    }

    #[test]
    fn history_fields_of_another_type_are_absent() {
        for config in ["{}", r#"{"history":null}"#, r#"{"history":{"a":1}}"#, r#"{"history":7}"#, "[]", "x"] {
            assert_eq!(layers(config, 0), [], "{config}");
        }
        let odd = r#"{"history":[7,{"created_by":7,"empty_layer":"yes"},{"created_by":""}]}"#;
        assert_eq!(layers(odd, 3), [(None, Some(1)), (None, Some(2)), (None, Some(3))]);
    }
}
