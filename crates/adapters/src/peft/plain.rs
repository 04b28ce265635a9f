//! The settings of a plain adapter as they are written.

use super::folder::CONFIG_FILE;

/// What is written about a plain adapter of one rank.
#[derive(Debug, Clone)]
pub struct PlainSettings {
    /// Name of the model it was trained on.
    pub base_model: String,
    /// Rank `r`.
    pub rank: usize,
    /// `alpha`.
    pub alpha: f64,
    /// Dropout probability at the adapter's input in training.
    pub dropout: f64,
    /// Whether it is of a language model, without a head of its own.
    pub is_language: bool,
}

impl PlainSettings {
    /// The text of [`CONFIG_FILE`] for an adapter on `modules`.
    pub(super) fn to_json(&self, modules: &[&String]) -> String {
        let settings = serde_json::json!({
            "peft_type": "LORA",
            "task_type": if self.is_language { "CAUSAL_LM" } else { "SEQ_CLS" },
            "base_model_name_or_path": self.base_model,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "bias": "none",
            // Whole paths, so that `dense` does not reach modules that were not adapted.
            "target_modules": modules,
            "modules_to_save": if self.is_language { serde_json::Value::Null } else { serde_json::json!(["classifier", "score"]) },
            "inference_mode": true,
        });
        debug_assert!(settings.is_object(), "{CONFIG_FILE} holds an object");
        format!("{settings:#}\n")
    }
}
