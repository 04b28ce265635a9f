//! A backbone with an adapter, and how texts are read for it.

use std::path::{Path, PathBuf};

use bayeslora_adapters::{Coupling, PosteriorSettings};
use bayeslora_models::{Backbone, HeadOf, SavedAdapter};

use super::options::{InferenceOptions, replaced};
use crate::adaptive::Stopping;
use crate::error::{Error, Result};
use crate::laplace::Laplace;
use crate::questions::{QuestionReader, Readout, reads_tokens, single_tokens};
use crate::reader::Reader;
use crate::resources::check_samples;

/// Monte-Carlo samples by default.
pub const SAMPLES: u32 = 20;
/// Monte-Carlo samples at most: their standard error is below any digit worth reading long before.
pub const MOST_SAMPLES: u32 = 1_000_000;
/// Samples that adaptive sampling takes at most: it keeps the logits of all.
const MOST_ADAPTIVE: u32 = 100_000;
/// Draws of the Gaussian logits of the linearised predictive by default.
const LINEARISED_DRAWS: u32 = 1000;

/// A backbone with an adapter.
#[derive(Debug)]
pub struct Classifier {
    pub(super) backbone: Backbone,
    /// The adapter's folder.
    pub(super) adapter: PathBuf,
    pub(super) reading: Reading,
    pub(super) saved: SavedAdapter,
    /// Names of the classes, where there are names of these.
    pub(super) names: Option<Vec<String>>,
    /// The posterior, where it is one of Laplace's.
    pub(super) laplace: Option<Laplace>,
    pub(super) samples: u32,
    pub(super) options: InferenceOptions,
}

/// How texts are read.
#[derive(Debug)]
pub(super) enum Reading {
    /// Alone: the head is of classes, or of answers that are the same for all texts.
    Texts(Box<Reader>),
    /// With answers after them: the head is the whole language head.
    Questions(Box<QuestionReader>),
}

impl Classifier {
    /// Reads model and adapter.
    ///
    /// # Errors
    /// Naming the file, for whatever is missing, damaged or unsupported.
    pub fn load(model: &Path, adapter: &Path, options: InferenceOptions) -> Result<Self> {
        if let Some(alpha) = options.adaptive {
            let most = options.samples.unwrap_or(SAMPLES);
            Stopping { alpha, most, coupling: options.coupling }.check()?;
        }
        if let Some(p) = options.dropout {
            bayeslora_adapters::KeepProbability::from_dropout(p)?;
        }
        if options.readout == Some(Readout::Tokens) && options.normalisation.is_some() {
            return Err(Error::Parameter {
                what: "a normalisation of answers of one token".to_owned(),
                expected: "leave out --normalise, or score answers as texts with --readout texts".to_owned(),
            });
        }
        let questions = match options.choices.as_slice() {
            [] if !options.completions => None,
            _ => Some(QuestionReader::load(model, adapter)?),
        };
        // Answers of one token each need few rows of the language head.
        let answers = match &questions {
            Some(reader) if !options.completions => {
                let tokens = reader.answers(&options.choices)?;
                let as_tokens = reads_tokens(options.readout, options.normalisation, &tokens);
                as_tokens.then(|| single_tokens(&options.choices, &tokens)).transpose()?
            }
            _ => None,
        };
        let head = match (&answers, &questions) {
            (Some(tokens), _) => HeadOf::Tokens(tokens),
            (None, Some(_)) => HeadOf::Language,
            (None, None) => HeadOf::Either,
        };
        let choose = |found| replaced(found, &options);
        let (backbone, saved) = SavedAdapter::load_with_head(adapter, model, &options.resources.place, head, choose)?;
        let reading = if saved.head.is_language() {
            let reader = questions.map_or_else(|| QuestionReader::load(model, adapter), Ok)?;
            Reading::Questions(Box::new(reader.within(&backbone, model, adapter, options.max_tokens)?))
        } else {
            if answers.is_none() && (options.readout.is_some() || options.normalisation.is_some()) {
                return Err(Error::Parameter {
                    what: "a readout of answers for an adapter with classes of its own".to_owned(),
                    expected: "leave out --readout and --normalise".to_owned(),
                });
            }
            let window = (options.max_tokens, answers.is_some());
            Reading::Texts(Box::new(Reader::load(&backbone, model, adapter, window)?))
        };
        let SavedAdapter { adapters, head, posterior } = &saved;
        let laplace = match *posterior {
            PosteriorSettings::Laplace(settings) => Some(Laplace::load(adapter, settings, adapters, head)?),
            _ => None,
        };
        if laplace.is_some() && (options.adaptive.is_some() || options.coupling != Coupling::Independent) {
            return Err(Error::Parameter {
                what: "adaptive or coupled sampling of a Laplace posterior".to_owned(),
                expected: "it is read through the linearised network: leave out --adaptive and --coupling".to_owned(),
            });
        }
        let own = if options.linearised { LINEARISED_DRAWS } else { SAMPLES };
        let samples = options.samples.unwrap_or_else(|| laplace.as_ref().map_or(own, |l| l.settings().draws));
        let most = if options.adaptive.is_some() { MOST_ADAPTIVE } else { MOST_SAMPLES };
        if samples > most {
            return Err(Error::Parameter {
                what: format!("{samples} samples of a text"),
                expected: format!("expected at most {most}; choose fewer with --samples"),
            });
        }
        let is_sampled = samples > 0 && !options.linearised && laplace.is_none();
        if is_sampled && posterior.is_stochastic() {
            check_samples(&options.resources.place, "samples of an adapter with noise")?;
        }
        if options.completions && !options.resources.place.device.is_cpu() {
            return Err(Error::Parameter {
                what: format!("completions with --device {}", options.resources.place.device_name()),
                expected: "they are scored on a processor: leave out --device".to_owned(),
            });
        }
        options.resources.room(&backbone, 0)?;
        let names = match reading {
            Reading::Texts(_) if answers.is_none() => backbone.class_names(saved.head.classes()),
            _ => None,
        };
        Ok(Self { adapter: adapter.to_owned(), backbone, reading, saved, names, laplace, samples, options })
    }

    /// Whether samples will differ from each other.
    pub fn is_stochastic(&self) -> bool {
        self.laplace.is_some() || self.saved.posterior.is_stochastic()
    }
}
