//! The head that an adapter is read with: classes of its own, or the language head of its model.

use std::path::Path;

use bayeslora_adapters::peft::{CONFIG_FILE, PeftAdapter, Task};

use crate::backbone::Backbone;
use crate::classifier::Head;
use crate::error::{Error, Result};

/// The head that an adapter is read with.
#[derive(Debug, Clone, Copy)]
pub enum HeadOf<'a> {
    /// Classes of its own.
    Classes,
    /// Rows of the language head: answers of one token each.
    Tokens(&'a [u32]),
    /// The whole language head: answers are texts.
    Language,
    /// A language head that was read before, whose memory is shared.
    Shared(&'a Head),
    /// Classes where the adapter was trained for classes, else the whole language head.
    Either,
}

impl HeadOf<'_> {
    /// The head for an adapter.
    pub(crate) fn of(self, peft: &PeftAdapter, backbone: &Backbone, model: &Path) -> Result<Head> {
        let next_token = matches!(peft.config.task, Task::NextToken | Task::Unsaid) && backbone.is_causal();
        match (self, peft.config.task) {
            (Self::Classes, Task::Classes | Task::Unsaid) | (Self::Either, Task::Classes) => {
                Head::find(peft, model, backbone)
            }
            (Self::Either, Task::Unsaid) => match Head::find(peft, model, backbone) {
                Err(_) if next_token => Head::language(backbone, model),
                found => found,
            },
            (Self::Tokens(tokens), _) if next_token => Head::of_answers(backbone, model, tokens),
            (Self::Shared(head), _) if next_token => Ok(head.clone()),
            (Self::Language | Self::Either, _) if next_token => Head::language(backbone, model),
            (_, task) => Err(mismatched(peft, backbone, task)),
        }
    }
}

/// Why an adapter is not read with answers to choose from, or not without.
fn mismatched(adapter: &PeftAdapter, backbone: &Backbone, task: Task) -> Error {
    let problem = if task == Task::Classes || (task == Task::Unsaid && !backbone.is_causal()) {
        "the adapter is of a classifier, which has classes of its own: leave out the answers to choose from".to_owned()
    } else if backbone.is_causal() {
        "task_type is \"CAUSAL_LM\", without classes of its own; give the answers to choose from, each with --choice"
            .to_owned()
    } else {
        format!(
            "task_type is \"CAUSAL_LM\", but the model is a {}, which reads no next token; is this its base model?",
            backbone.kind()
        )
    };
    Error::File { path: adapter.folder.join(CONFIG_FILE), problem }
}
