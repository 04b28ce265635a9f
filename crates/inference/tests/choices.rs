//! Questions whose answers are chosen among: every method trains adapters on them, with the model's own language head.
#![cfg(test)]

use std::path::{Path, PathBuf};

use bayeslora_adapters::{Coupling, LoraShape, Slot, TargetMap};
use bayeslora_data::Silent;
use bayeslora_inference::{
    Budget, Error, FitContext, Fitted, Predictor, QuestionReader, Reading, Sentences, TrainingSettings, methods,
};
use bayeslora_metrics::{Averaging, Predictive};
use bayeslora_models::{Answer, Backbone, Head, HeadOf, Question, SavedAdapter, save_adapter, target_slots};
use candle_core::Device;

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/decoders/tiny/llama3")
}

/// Answers of a question at most.
const ANSWERS: usize = 3;

/// Questions whose last token tells which of the first two answers is right; every third has a third answer.
fn questions(backbone: &Backbone, split: u8, count: u32) -> Sentences {
    let answer = |tokens: &[u32]| Answer { tokens: tokens.to_vec(), characters: 2 };
    let question = |i: u32| {
        let fillers = (0..i % 4).map(|k| 20 + (i * 7 + k * 3) % 20);
        let prompt = std::iter::once(1).chain(fillers).chain([5 + i % 2]).collect();
        let mut answers = vec![answer(&[10, 11]), answer(&[12])];
        answers.extend(i.is_multiple_of(3).then(|| answer(&[13, 14, 15])));
        Question { prompt, answers }
    };
    let labels = (0..count).map(|i| i % 2).collect();
    let questions = (0..count).map(question).collect();
    Sentences::of_choices(backbone, questions, (labels, ANSWERS), split, 1, (&Budget::default(), &Silent)).unwrap()
}

struct Fixture {
    backbone: Backbone,
    language: Head,
    train: Sentences,
    validation: Sentences,
    slots: Vec<Slot>,
}

impl Fixture {
    fn new() -> Self {
        let backbone = Backbone::load(&model(), &Device::Cpu).unwrap();
        let language = Head::language(&backbone, &model()).unwrap();
        let (train, validation) = (questions(&backbone, 0, 96), questions(&backbone, 1, 18));
        let slots = target_slots(&backbone, &[1], &[TargetMap::Query, TargetMap::Value, TargetMap::Output]).unwrap();
        Self { backbone, language, train, validation, slots }
    }

    fn fit(&self, kind: &str, parameters: &str) -> Result<Fitted, Error> {
        let folder = tempfile::tempdir().unwrap();
        let training = TrainingSettings { epochs: 6, batch_size: 8, learning_rate: 2e-2, ..Default::default() };
        methods::from_settings(kind, parameters.parse().unwrap()).unwrap().fit(&FitContext {
            backbone: &self.backbone,
            from: 1,
            slots: &self.slots,
            lora: LoraShape::new(4, 8.0).unwrap(),
            train_head: true,
            training: &training,
            train: &self.train,
            validation: &self.validation,
            classes: ANSWERS,
            language: Some(&self.language),
            seed: 3,
            folder: folder.path(),
            progress: &Silent,
        })
    }

    fn predictor(&self) -> Predictor<'_> {
        Predictor { backbone: &self.backbone, from: 1, samples: 5, seed: 5, progress: &Silent }
    }
}

fn required(kind: &str) -> &'static str {
    match kind {
        "mc-dropout" => "site = 'rank'\ndropout = 0.1",
        "ensemble" => "members = 2",
        "checkpoint-ensemble" => "members = 3",
        "swag" => "members = 3\nepochs = 1\nsnapshots = 6\ncolumns = 3",
        "ivon" => "initial-curvature = 20.0\nbeta2 = 0.99",
        "sg-mcmc" => "cycles = 2\nsamples-per-cycle = 2\nlearning-rate = 0.03\ntemperature = 0.1",
        _ => "",
    }
}

#[test]
fn every_method_but_laplace_learns_to_choose() {
    let fixture = Fixture::new();
    for kind in methods::kinds().filter(|kind| *kind != "laplace") {
        let fitted = fixture.fit(kind, required(kind)).unwrap();
        assert!(fitted.members.iter().all(|member| member.head.is_language() && !member.head.is_trained()), "{kind}");
        if kind == "mle" {
            let adapters: usize = fitted.members[0].adapters.parameters().map(|(_, p)| p.var.elem_count()).sum();
            assert_eq!(fitted.record.trainable_parameters, adapters as u64);
        }
        let method = methods::from_settings(kind, required(kind).parse().unwrap()).unwrap();
        for reading in method.readings() {
            let logits = fixture.predictor().logits(&fitted, reading, &fixture.validation).unwrap();
            assert_eq!((logits.dim().1, logits.dim().2), (18, ANSWERS));
            let predictive = Predictive::from_logits(logits.view(), Averaging::Probabilities).unwrap();
            let probabilities = predictive.probabilities();
            let mut right = 0;
            for (place, row) in probabilities.outer_iter().enumerate() {
                // A missing answer has no probability.
                assert_eq!(row[2] > 0.0, place.is_multiple_of(3), "{kind} {place}: {row}");
                assert!(predictive.predictive_entropy()[place].is_finite() && row[2].is_finite());
                right += usize::from((row[1] > row[0]) == (place % 2 == 1));
            }
            assert!(right >= 16, "{kind} {reading:?}: {right} of 18");
        }
    }
}

#[test]
fn a_linearised_reading_of_answers_is_refused() {
    let fixture = Fixture::new();
    let message = fixture.fit("laplace", "").unwrap_err().to_string();
    assert!(message.contains("answers to questions") && message.contains("leave out laplace"), "{message}");
    let fitted = fixture.fit("mc-dropout", required("mc-dropout")).unwrap();
    let refused = fixture.predictor().logits(&fitted, Reading::Linearised, &fixture.validation);
    assert!(refused.unwrap_err().to_string().contains("linearised reading"));
}

#[test]
fn a_saved_fit_says_what_it_said_and_brings_no_head() {
    let fixture = Fixture::new();
    let fitted = fixture.fit("mc-dropout", required("mc-dropout")).unwrap();
    let member = &fitted.members[0];
    let folder = tempfile::tempdir().unwrap();
    let (backbone, posterior) = (&fixture.backbone, &member.posterior);
    save_adapter(folder.path(), backbone, &member.adapters, &member.head, posterior, (4, 8.0), "tiny").unwrap();
    let size = std::fs::metadata(folder.path().join("adapter_model.safetensors")).unwrap().len();
    assert!(size < 6000, "{size} bytes are more than pairs of rank 4");
    let load = |head| SavedAdapter::load_for(folder.path(), backbone, &model(), head);
    let SavedAdapter { adapters, head, posterior } = load(HeadOf::Shared(&fixture.language)).unwrap();
    let saved = bayeslora_inference::Member { adapters, head, posterior };
    let predictor = fixture.predictor();
    let logits = |member| predictor.member_logits(member, 5, &fixture.validation).unwrap();
    assert_eq!(logits(member), logits(&saved));
    assert!(load(HeadOf::Classes).unwrap_err().to_string().contains("CAUSAL_LM"));
    // Some places, and numbered samples, as all of them.
    let all = logits(member);
    let some = predictor.draws(member, Coupling::Independent, 1..3, &fixture.validation, &[4, 9]).unwrap();
    for (sample, place, of) in [(0, 0, 4), (1, 0, 4), (0, 1, 9), (1, 1, 9)] {
        let (own, expected) = (some[(sample, place, 1)], all[(sample + 1, of, 1)]);
        assert!((own - expected).abs() < 1e-4, "{own} against {expected}");
    }
}

#[test]
fn a_cue_is_never_cut() {
    let backbone = Backbone::load(&model(), &Device::Cpu).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(model().join("../../tokenizer_bos.json"), folder.path().join("tokenizer.json")).unwrap();
    let reader = QuestionReader::of_model(&backbone, folder.path(), 12).unwrap();
    let answers = [" no".to_owned(), " yes".to_owned()];
    let cut = reader.cued("one two three four ", "is it:", &answers).unwrap();
    let short = reader.cued("r ", "is it:", &answers).unwrap();
    // The mark, the last of the context and the cue; " yes" is of four tokens.
    assert_eq!(cut, short);
    assert_eq!(cut.prompt.len() + cut.answers[1].tokens.len(), 12);
    let message = reader.cued("", "is it the other:", &answers).unwrap_err().to_string();
    assert!(message.contains("\"is it the other:\"") && message.contains("never cut"), "{message}");
}
