//! Answers as texts: against transformers and PEFT, against each answer scored alone, buffers against tensors, gradients by differences.
#![cfg(test)]

mod adapted;

use std::fs;
use std::path::{Path, PathBuf};

use bayeslora_adapters::{AdapterSet, Draw, Noise, PosteriorSettings, Rows, Sampling, Stream};
use bayeslora_models::{
    Answer, Backbone, Head, HeadOf, Hidden, Normalisation, Pass, Place, Precision, Question, Sampler, Samples,
    SavedAdapter, answer,
};
use candle_core::{D, DType, Device, Tensor};
use serde_json::Value;

use adapted::{dropout, random_adapters};

const FAMILIES: [&str; 3] = ["llama3", "gemma2", "gemma3"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decoders")
}

fn model(family: &str) -> PathBuf {
    golden().join("tiny").join(family)
}

fn expected() -> Value {
    serde_json::from_slice(&fs::read(golden().join("answers.json")).unwrap()).unwrap()
}

fn questions(expected: &Value) -> Vec<Question> {
    let tokens = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    let question = |value: &Value| {
        let answers = value["answers"].as_array().unwrap().iter().zip(value["characters"].as_array().unwrap());
        let answers = answers.map(|(answer, characters)| Answer {
            tokens: tokens(answer),
            characters: usize::try_from(characters.as_u64().unwrap()).unwrap(),
        });
        Question { prompt: tokens(&value["prompt"]), answers: answers.collect() }
    };
    expected["questions"].as_array().unwrap().iter().map(question).collect()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let missing = found.is_infinite() && expected.is_infinite();
        assert!(missing || (found - expected).abs() < 1e-4, "{what}: {found} against {expected}");
    }
}

struct Network {
    backbone: Backbone,
    head: Head,
    adapters: AdapterSet,
}

impl Network {
    fn adapted(family: &str) -> Self {
        let folder = model(family);
        let loaded = SavedAdapter::load_with_head(&folder.join("adapter"), &folder, &Device::Cpu, HeadOf::Language, Ok);
        let (backbone, SavedAdapter { adapters, head, .. }) = loaded.unwrap();
        Self { backbone, head, adapters }
    }

    fn bare(family: &str) -> Self {
        let backbone = Backbone::load(&model(family), &Device::Cpu).unwrap();
        let head = Head::language(&backbone, &model(family)).unwrap();
        Self { backbone, head, adapters: AdapterSet::new() }
    }

    /// Random adapters on every map from block `first` on, whose `B` is not zero.
    fn random(family: &str, first: usize, posterior: &PosteriorSettings) -> Self {
        let Self { backbone, head, .. } = Self::bare(family);
        let adapters = random_adapters(&backbone, first, posterior, 0.5);
        Self { backbone, head, adapters }
    }

    /// Activations below block `from`.
    fn below(&self, from: usize, questions: &[&Question]) -> Tensor {
        let tokens: Vec<u32> = questions.iter().flat_map(|question| question.tokens()).collect();
        let packing = Question::packing(questions.iter().copied());
        let x = self.backbone.embed_packed(&tokens, &packing).unwrap();
        let none = AdapterSet::new();
        self.backbone.run_blocks(0..from, &x, &packing, &mut Pass::new(&none, Draw::Mean)).unwrap()
    }

    fn on_tape(
        &self,
        from: usize,
        questions: &[&Question],
        examples: &[u64],
        samples: &Samples,
        normalisation: Normalisation,
    ) -> Tensor {
        let x = self.below(from, questions);
        let rows = Rows::of_packing(examples, &Question::packing(questions.iter().copied()));
        let draw = match samples {
            Samples::Mean => Draw::Mean,
            Samples::Drawn { noise, numbers } => {
                Draw::Sampled(Sampling { noise: *noise, samples: numbers.clone(), rows: &rows, with_divergence: false })
            }
        };
        let Self { backbone, head, adapters } = self;
        answer(backbone, head, adapters, draw, from, &x, questions, normalisation).unwrap().logits
    }

    fn in_buffers(
        &self,
        from: usize,
        questions: &[&Question],
        examples: &[u64],
        samples: &Samples,
        normalisation: Normalisation,
    ) -> Vec<f32> {
        let values = flat(&self.below(from, questions));
        let lengths: Vec<usize> = questions.iter().map(|question| question.layout().rows()).collect();
        let Self { backbone, head, adapters } = self;
        let sampler = Sampler { backbone, head, adapters, from };
        let hidden = Hidden { values: (&values).into(), lengths: &lengths, examples };
        sampler.answers(hidden, questions, normalisation, samples, &|_| ()).unwrap()
    }
}

fn drawn() -> Samples {
    Samples::Drawn { noise: Noise::new(5, Stream::Predictive), numbers: 2..5 }
}

const EXAMPLES: [u64; 3] = [7, 3, 90];

/// Where buffers do not serve, the sampler scores with tensors: as in f32 but for rounding, with what questions lack in its place.
#[test]
fn in_bf16_answers_are_those_of_f32_within_rounding() {
    let expected = expected();
    let questions = questions(&expected);
    let questions: Vec<&Question> = questions.iter().collect();
    let counts: Vec<usize> = questions.iter().map(|question| question.answers.len()).collect();
    assert!(counts.iter().any(|count| count != &counts[0]), "every question has as many answers");
    let examples: Vec<u64> = (0..).take(questions.len()).collect();
    for family in FAMILIES {
        let plain = Network::random(family, 0, &dropout("input"));
        let place = Place { precision: Precision::Bf16, ..Place::default() };
        let backbone = Backbone::load(&model(family), place).unwrap();
        let head = Head::language(&backbone, &model(family)).unwrap();
        let adapters = random_adapters(&backbone, 0, &dropout("input"), 0.5);
        let narrow = Network { backbone, head, adapters };
        for samples in [Samples::Mean, drawn()] {
            let [in_f32, in_bf16] = [&plain, &narrow]
                .map(|network| network.in_buffers(0, &questions, &examples, &samples, Normalisation::Mean));
            assert_eq!(in_bf16.len(), in_f32.len(), "{family}");
            let (mut apart, mut size) = (0.0, 0.0);
            for (narrow, wide) in in_bf16.iter().zip(&in_f32) {
                assert_eq!(narrow.is_finite(), wide.is_finite(), "{family}");
                if wide.is_finite() {
                    (apart, size) = (apart + (narrow - wide).powi(2), size + wide.powi(2));
                }
            }
            let error = (apart / size).sqrt();
            assert!(error > 0.0 && error < 0.02, "{family}: {error}");
        }
    }
}

#[test]
fn log_likelihoods_are_those_of_transformers_and_peft() {
    let expected = expected();
    let questions = questions(&expected);
    let questions: Vec<&Question> = questions.iter().collect();
    for family in FAMILIES {
        for (network, key) in [(Network::bare(family), "base"), (Network::adapted(family), "adapter")] {
            for normalisation in Normalisation::ALL {
                let golden = &expected["families"][family][key][normalisation.to_string().as_str()];
                let mut rows: Vec<Vec<f32>> = serde_json::from_value(golden.clone()).unwrap();
                for row in &mut rows {
                    row.resize(4, f32::NEG_INFINITY);
                }
                let what = format!("{family} {key} {normalisation}");
                let on_tape = network.on_tape(0, &questions, &EXAMPLES, &Samples::Mean, normalisation);
                assert_eq!(on_tape.dims(), [1, 3, 4]);
                assert_close(&flat(&on_tape), &rows.concat(), &what);
                let in_buffers = network.in_buffers(0, &questions, &EXAMPLES, &Samples::Mean, normalisation);
                assert_close(&in_buffers, &rows.concat(), &what);
            }
        }
    }
}

/// At the mean and with the same noise: a prompt that answers share says what it says before each answer alone.
#[test]
fn answers_that_share_their_prompt_are_those_scored_apart() {
    let questions = questions(&expected());
    for family in FAMILIES {
        for site in ["input", "rank", "weight"] {
            let network = Network::random(family, 0, &dropout(site));
            for (question, &example) in questions.iter().zip(&EXAMPLES) {
                for samples in [Samples::Mean, drawn()] {
                    let together = network.in_buffers(0, &[question], &[example], &samples, Normalisation::Mean);
                    let answers = question.answers.len();
                    for (place, own) in question.answers.iter().enumerate() {
                        let alone = Question { prompt: question.prompt.clone(), answers: vec![own.clone()] };
                        let alone = network.in_buffers(0, &[&alone], &[example], &samples, Normalisation::Mean);
                        let shared: Vec<f32> = together.chunks_exact(answers).map(|sample| sample[place]).collect();
                        assert_close(&shared, &alone, &format!("{family} {site} answer {place}"));
                    }
                    // Another example has other noise.
                    let other = network.in_buffers(0, &[question], &[example + 1], &samples, Normalisation::Mean);
                    let moved = together.iter().zip(&other).any(|(left, right)| (left - right).abs() > 1e-4);
                    assert_eq!(moved, !matches!(samples, Samples::Mean), "{family} {site}");
                }
            }
        }
    }
}

#[test]
fn samples_of_buffers_are_those_of_tensors_above_a_frozen_prefix_too() {
    let questions = questions(&expected());
    let questions: Vec<&Question> = questions.iter().collect();
    for family in FAMILIES {
        for (first, site) in [(0, "input"), (1, "rank"), (1, "weight")] {
            let network = Network::random(family, first, &dropout(site));
            let on_tape = flat(&network.on_tape(first, &questions, &EXAMPLES, &drawn(), Normalisation::Mean));
            let in_buffers = network.in_buffers(first, &questions, &EXAMPLES, &drawn(), Normalisation::Mean);
            assert_close(&in_buffers, &on_tape, &format!("{family} {site}"));
            assert_close(
                &network.in_buffers(0, &questions, &EXAMPLES, &drawn(), Normalisation::Mean),
                &on_tape,
                "prefix",
            );
            assert!((on_tape[0] - on_tape[12]).abs() > 1e-4, "{family}: samples agree");
        }
    }
}

/// Cross-entropy over a question's answers, the first is right.
fn loss(logits: &Tensor) -> Tensor {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1).unwrap().detach()).unwrap();
    let normaliser = shifted.exp().unwrap().sum(D::Minus1).unwrap().log().unwrap();
    let right = shifted.narrow(2, 0, 1).unwrap().squeeze(2).unwrap();
    (normaliser - right).unwrap().mean_all().unwrap()
}

/// Of all parameters together, along random directions, though questions differ in their number of answers.
#[test]
fn gradients_are_those_of_finite_differences() {
    let questions = questions(&expected());
    let questions: Vec<&Question> = questions.iter().collect();
    for family in FAMILIES {
        for (samples, normalisation) in [(Samples::Mean, Normalisation::Mean), (drawn(), Normalisation::Characters)] {
            let network = Network::random(family, 0, &dropout("rank"));
            let run = || loss(&network.on_tape(0, &questions, &EXAMPLES, &samples, normalisation));
            let gradients = run().backward().unwrap();
            for seed in 0..3_u32 {
                let (mut analytic, mut moves) = (0.0, Vec::new());
                for (number, (_, parameter)) in network.adapters.parameters().enumerate() {
                    let count = parameter.var.elem_count();
                    let wave = |at: usize| ((at * 7 + number * 13) as f32 + 31.0 * seed as f32).sin();
                    let direction: Vec<f32> = (0..count).map(wave).collect();
                    let direction = Tensor::from_vec(direction, parameter.var.shape(), &Device::Cpu).unwrap();
                    let gradient = gradients.get(parameter.var).unwrap();
                    assert!(flat(gradient).iter().all(|g| g.is_finite()), "{family} {}", parameter.name);
                    let product = (gradient * &direction).unwrap().to_dtype(DType::F64).unwrap().sum_all().unwrap();
                    analytic += product.to_scalar::<f64>().unwrap();
                    moves.push((parameter.var.clone(), parameter.var.as_detached_tensor().copy().unwrap(), direction));
                }
                let at = |step: f64| {
                    for (var, start, direction) in &moves {
                        var.set(&(start + (direction * step).unwrap()).unwrap()).unwrap();
                    }
                    f64::from(run().to_scalar::<f32>().unwrap())
                };
                let step = 1e-3;
                let numeric = (at(step) - at(-step)) / (2.0 * step);
                at(0.0);
                // Rounding of the loss, 3e-7, over the step, and the third derivative.
                assert!(
                    (numeric - analytic).abs() < 2e-3 + 0.01 * analytic.abs(),
                    "{family} {normalisation}: {numeric} against {analytic}"
                );
            }
        }
    }
}

#[test]
fn a_missing_answer_is_no_answer_and_no_nan() {
    let questions = questions(&expected());
    let network = Network::random("llama3", 0, &dropout("rank"));
    let (three, two) = (&questions[0], &questions[1]);
    let logits = network.on_tape(0, &[three, two], &[1, 2], &Samples::Mean, Normalisation::Sum);
    assert!(flat(&logits)[5].is_infinite() && flat(&logits)[5] < 0.0);
    assert!(flat(&logits)[..5].iter().all(|logit| logit.is_finite()));
    let gradients = loss(&logits).backward().unwrap();
    for (slot, parameter) in network.adapters.parameters() {
        let size: f32 = flat(gradients.get(parameter.var).unwrap()).iter().map(|g| g.abs()).sum();
        assert!(size.is_finite() && size > 0.0, "{slot} {}: {size}", parameter.name);
    }
}

/// Against averages in f64 of the whole vocabulary's logits, each token read at the end of a text of its own.
#[test]
fn scores_of_a_completion_are_those_of_its_beginnings() {
    let questions = questions(&expected());
    for (family, site) in [("llama3", "rank"), ("gemma2", "input"), ("gemma3", "weight")] {
        let network = Network::random(family, 1, &dropout(site));
        let Network { backbone, head, adapters } = &network;
        let sampler = Sampler { backbone, head, adapters, from: 0 };
        for (question, example) in questions.iter().zip(EXAMPLES) {
            let own = question.answers[0].clone();
            let alone = Question { prompt: question.prompt.clone(), answers: vec![own.clone()] };
            for samples in [Samples::Mean, drawn()] {
                let hidden = flat(&network.below(0, &[&alone]));
                let lengths = [alone.layout().rows()];
                let hidden = Hidden { values: (&hidden).into(), lengths: &lengths, examples: &[example] };
                let scores = sampler.completion(hidden, &alone, &samples, &|_| ()).unwrap();
                assert_eq!(scores.len(), own.tokens.len());
                for (place, score) in scores.iter().enumerate() {
                    let text = [&question.prompt[..], &own.tokens[..place]].concat();
                    let values = flat(&backbone.embed(&[&text]).unwrap());
                    let hidden = Hidden { values: (&values).into(), lengths: &[text.len()], examples: &[example] };
                    let logits = sampler.logits(hidden, &samples, &|_| ()).unwrap();
                    let (mut mean, mut expected) = (vec![0.0; head.classes()], 0.0);
                    for logits in logits.chunks_exact(head.classes()) {
                        let all: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
                        for (mean, &logit) in mean.iter_mut().zip(logits) {
                            let p = f64::from(logit).exp() / all;
                            *mean += p / samples.count() as f64;
                            expected -= p * p.ln() / samples.count() as f64;
                        }
                    }
                    let entropy = -mean.iter().map(|p| p * p.ln()).sum::<f64>();
                    let log_probability = mean[own.tokens[place] as usize].ln();
                    for (found, expected) in [
                        (score.log_probability, log_probability),
                        (score.predictive_entropy, entropy),
                        (score.expected_entropy, expected),
                        (score.mutual_information, entropy - expected),
                    ] {
                        assert!((found - expected).abs() < 1e-4, "{family} token {place}: {score:?}, not {expected}");
                    }
                    assert_eq!(
                        score.mutual_information > 1e-4,
                        samples.count() > 1,
                        "{family} token {place}: {score:?}"
                    );
                }
            }
            let hidden = flat(&network.below(0, &[question]));
            let lengths = [question.layout().rows()];
            let hidden = Hidden { values: (&hidden).into(), lengths: &lengths, examples: &[example] };
            let message = sampler.completion(hidden, question, &Samples::Mean, &|_| ()).unwrap_err().to_string();
            assert!(message.contains("completions together; expected one"), "{message}");
        }
    }
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let questions = questions(&expected());
    let network = Network::bare("llama3");
    let Network { backbone, head, adapters } = &network;
    let question = &questions[0];
    let classes = Head::initial(backbone, 3, &Noise::new(1, Stream::Initial)).unwrap();
    let values = flat(&network.below(0, &[question]));
    let rows = [question.layout().rows()];
    let asked = |head: &Head, lengths: &[usize]| {
        let hidden = Hidden { values: (&values).into(), lengths, examples: &[0] };
        let sampler = Sampler { backbone, head, adapters, from: 0 };
        sampler.answers(hidden, &[question], Normalisation::Mean, &Samples::Mean, &|_| ()).map_err(|e| e.to_string())
    };
    asked(head, &rows).unwrap();
    assert!(asked(&classes, &rows).unwrap_err().contains("take the model's language head"));
    assert!(asked(head, &[5]).unwrap_err().contains("rows [5] for the questions; expected [14]"));
    let long = Question { prompt: vec![3; 62], answers: vec![Answer { tokens: vec![4; 5], characters: 1 }] };
    let message = backbone.embed_packed(&long.tokens(), &Question::packing([&long])).unwrap_err().to_string();
    assert!(message.contains("position 65") && message.contains("at most 64 tokens"), "{message}");
    // Many answers are no long text.
    let wide = Question { prompt: vec![3; 60], answers: vec![Answer { tokens: vec![4; 5], characters: 1 }; 9] };
    backbone.embed_packed(&wide.tokens(), &Question::packing([&wide])).unwrap();
    let encoder = Backbone::load(&golden().join("../tiny"), &Device::Cpu).unwrap();
    let message = encoder.embed_packed(&[1, 2], &Question::packing([question])).unwrap_err().to_string();
    assert!(message.contains("reads no next token"), "{message}");
    let few = head.of_tokens(&[4, 9]).unwrap();
    assert_eq!((few.classes(), few.is_language(), head.is_language()), (2, false, true));
    assert!(head.of_tokens(&[48]).unwrap_err().to_string().contains("no token 48"));
}
