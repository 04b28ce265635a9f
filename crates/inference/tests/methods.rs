//! What every method of the registry owes: it learns, repeats itself, depends on its seed, and offers what it announces.
//!
//! More than 400 lines: each contract is tested over the whole registry, on one fixture.
#![cfg(test)]

use std::path::Path;

use bayeslora_adapters::{
    AdapterSet, Draw, LoraShape, Noise, PosteriorSettings, Slot, Stream, TargetMap, WeightGaussianSettings, derive_seed,
};
use bayeslora_data::Silent;
use bayeslora_inference::methods::Method;
use bayeslora_inference::{
    AdapterSettings, Error, FitContext, Fitted, Ivon, Objective, Place, Precision, Predictor, Recipe, Rule, Schedule,
    Selection, Sentences, Sghmc, TrainingSettings, train,
};
use bayeslora_inference::{Reading, methods};
use bayeslora_models::{Backbone, Head, Pass, save_adapter, target_slots};
use bayeslora_records::FitRecord;
use candle_core::{DType, Device, Tensor, Var};
use ndarray::{Array3, Axis};

/// The parameters without a default, for every kind.
fn required(kind: &str) -> &'static str {
    match kind {
        "mc-dropout" => "site = 'rank'\ndropout = 0.2\nlinearised = true",
        "ensemble" => "members = 2",
        "best-of" => "fits = 2",
        "checkpoint-ensemble" => "members = 3",
        "swag" => "members = 3\nepochs = 1\nsnapshots = 6\ncolumns = 3",
        // A curvature that some tens of steps can learn, and widths that fit the tiny weights.
        "ivon" => "initial-curvature = 20.0\nbeta2 = 0.99",
        "inducing" => "prior-sd = 0.6",
        "sg-mcmc" => "cycles = 2\nsamples-per-cycle = 2\nlearning-rate = 0.1\ntemperature = 0.1",
        _ => "",
    }
}

fn method(kind: &str, parameters: &str) -> Result<Box<dyn Method>, String> {
    methods::from_settings(kind, parameters.parse().unwrap())
}

/// A golden model by its folder.
fn golden(model: &str) -> Backbone {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden").join(model);
    Backbone::load(&folder, &Device::Cpu).unwrap()
}

fn tiny() -> Backbone {
    golden("tiny")
}

/// Sentences whose label is the parity of the token beside the one that is read, with activations below block 1.
fn sentences(backbone: &Backbone, split: u8, count: u32) -> Sentences {
    let fillers = u32::try_from(backbone.vocabulary().min(50)).unwrap() - 20;
    let sentence = |i: u32| -> Vec<u32> {
        let told = std::iter::once(2).chain([5 + i % 2]);
        let mut ids: Vec<u32> = told.chain((0..i % 4).map(|k| 20 + (i * 7 + k * 3) % fillers)).chain([3]).collect();
        if backbone.is_causal() {
            ids.reverse();
        }
        ids
    };
    let tokens: Vec<Vec<u32>> = (0..count).map(sentence).collect();
    let labels = (0..count).map(|i| i % 2).collect();
    Sentences::of_tokens(backbone, &tokens, labels, split, 1, &Silent).unwrap()
}

struct Fixture {
    backbone: Backbone,
    train: Sentences,
    validation: Sentences,
    training: TrainingSettings,
    train_head: bool,
}

impl Fixture {
    fn new() -> Self {
        Self::on(tiny())
    }

    fn on(backbone: Backbone) -> Self {
        let (train, validation) = (sentences(&backbone, 0, 96), sentences(&backbone, 1, 16));
        let training = TrainingSettings { epochs: 4, batch_size: 8, learning_rate: 1e-2, ..Default::default() };
        Self { backbone, train, validation, training, train_head: true }
    }

    fn fit(&self, method: &dyn Method, seed: u64) -> Result<Fitted, Error> {
        let slots =
            target_slots(&self.backbone, &[1, 2], &[TargetMap::Query, TargetMap::Value, TargetMap::Output]).unwrap();
        self.with_bench(&slots, seed, |bench| method.fit(bench))
    }

    fn with_bench<T>(&self, slots: &[Slot], seed: u64, run: impl FnOnce(&FitContext<'_>) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        run(&FitContext {
            backbone: &self.backbone,
            from: 1,
            slots,
            lora: LoraShape::new(4, 8.0).unwrap(),
            train_head: self.train_head,
            training: &self.training,
            train: &self.train,
            validation: &self.validation,
            classes: 2,
            language: None,
            seed,
            folder: folder.path(),
            progress: &Silent,
        })
    }

    fn logits(&self, fitted: &Fitted, reading: Reading) -> Array3<f32> {
        let predictor = Predictor { backbone: &self.backbone, from: 1, samples: 6, seed: 5, progress: &Silent };
        predictor.logits(fitted, reading, &self.validation).unwrap()
    }
}

fn accuracy(logits: &Array3<f32>, labels: &[u32]) -> f64 {
    let mean = logits.mean_axis(Axis(0)).unwrap();
    let right = mean.outer_iter().zip(labels).filter(|(row, label)| u32::from(row[1] > row[0]) == **label).count();
    right as f64 / labels.len() as f64
}

#[test]
fn every_method_learns_repeats_itself_and_depends_on_its_seed() {
    every_method_keeps_its_contract_on(&Fixture::new());
}

#[test]
fn every_method_does_so_on_a_decoder() {
    every_method_keeps_its_contract_on(&Fixture::on(golden("decoders/tiny/gemma3")));
}

/// Frozen weights and activations rounded to bf16, as on an accelerator: tensors all the way.
#[test]
fn every_method_does_so_in_bf16() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/tiny");
    let place = Place { device: Device::Cpu, precision: Precision::Bf16 };
    every_method_keeps_its_contract_on(&Fixture::on(Backbone::load(&folder, place).unwrap()));
}

fn every_method_keeps_its_contract_on(fixture: &Fixture) {
    for kind in methods::kinds() {
        let method = method(kind, required(kind)).unwrap();
        let (first, again, other) =
            (fixture.fit(method.as_ref(), 1), fixture.fit(method.as_ref(), 1), fixture.fit(method.as_ref(), 2));
        let (first, again, other) = (first.unwrap(), again.unwrap(), other.unwrap());
        assert_eq!(u32::try_from(first.members.len()).unwrap(), method.members(), "{kind}");
        assert_eq!(first.record.best_epoch.len(), first.members.len(), "{kind}");
        assert!(!method.readings().is_empty(), "{kind}");
        for reading in method.readings() {
            let logits = fixture.logits(&first, reading);
            let samples = match reading {
                Reading::Mean => 1,
                Reading::Sampled => 6,
                Reading::Members => first.members.len(),
                Reading::Linearised => first.laplace.as_ref().map_or(100, |laplace| laplace.settings().draws as usize),
            };
            assert_eq!(logits.dim(), (samples, fixture.validation.len(), 2), "{kind}, {reading:?}");
            assert!(logits.iter().all(|logit| logit.is_finite()), "{kind}, {reading:?}");
            // Chance is 0.5: sixteen right of sixteen has probability 2e-5 under it, fifteen 2e-4.
            let accuracy = accuracy(&logits, fixture.validation.labels());
            assert!(accuracy > 0.9, "{kind}, {reading:?}: accuracy {accuracy}");
            assert_eq!(logits, fixture.logits(&again, reading), "{kind}, {reading:?}: another result of the same seed");
            assert_ne!(logits, fixture.logits(&other, reading), "{kind}, {reading:?}: the seed changes nothing");
            if samples > 1 {
                assert_ne!(logits.index_axis(Axis(0), 0), logits.index_axis(Axis(0), 1), "{kind}: equal samples");
            }
        }
    }
}

#[test]
fn settings_name_the_kind_and_unknown_parameters_are_refused() {
    for kind in methods::kinds() {
        let settings = method(kind, required(kind)).unwrap().settings();
        assert_eq!(settings["kind"], kind);
        assert!(settings["parameters"].is_object(), "{settings}");
        let problem = method(kind, &format!("{}\nno-such-parameter = 1", required(kind))).unwrap_err();
        assert!(problem.contains("no-such-parameter"), "{kind}: {problem}");
    }
    let problem = method("mc-dropot", "").unwrap_err();
    assert!(problem.contains("did you mean \"mc-dropout\"?"), "{problem}");
}

#[test]
fn a_fit_that_diverges_says_so() {
    let mut fixture = Fixture::new();
    fixture.training.learning_rate = 1e38;
    let problem = fixture.fit(method("mle", "").unwrap().as_ref(), 1).unwrap_err();
    assert!(matches!(problem, Error::Diverged { .. }), "{problem}");
    assert!(problem.to_string().contains("step"), "{problem}");
    // One step, whose own loss is still fine: the validation that follows it is not.
    fixture.training = TrainingSettings { epochs: 1, batch_size: 96, warmup: 0.0, ..fixture.training };
    let problem = fixture.fit(method("mle", "").unwrap().as_ref(), 1).unwrap_err();
    assert!(matches!(problem, Error::Diverged { step: 1, .. }), "{problem}");
}

/// Without adapters the fit is logistic regression on frozen features, whose maximum a posteriori has no gradient: `sum_n (p_n - y_n)
/// phi_n' + W / sigma_p^2 = 0`.
#[test]
fn a_prior_in_the_loss_gives_the_maximum_a_posteriori() {
    let mut fixture = Fixture::new();
    fixture.training =
        TrainingSettings { epochs: 400, batch_size: 96, learning_rate: 0.03, ..TrainingSettings::default() };
    let precision = 1.0 / 0.4_f64.powi(2);
    let fitted = fixture.with_bench(&[], 1, |bench| {
        let recipe = Recipe {
            objective: &|_| Objective { prior: precision / 96.0, ..Objective::default() },
            snapshots: &[bench.steps()],
            ..Recipe::plain(PosteriorSettings::Deterministic)
        };
        train(bench, &recipe, 0).unwrap()
    });
    let places: Vec<usize> = (0..fixture.train.len()).collect();
    let batch = fixture.train.batch(&places, &Device::Cpu).unwrap();
    let none = AdapterSet::new();
    let mut pass = Pass::new(&none, Draw::Mean);
    let features = fixture.backbone.pooled(1, &batch.hidden, &batch.packing, &mut pass).unwrap();
    let head = &fitted.members[0].head;
    let logits = head.logits(&features).unwrap().squeeze(0).unwrap().to_dtype(DType::F64).unwrap();
    let features = features.squeeze(0).unwrap().to_dtype(DType::F64).unwrap();
    let residuals: Vec<f64> = logits
        .to_vec2::<f64>()
        .unwrap()
        .iter()
        .zip(&batch.labels)
        .flat_map(|(z, &label)| {
            let p = 1.0 / (1.0 + (z[0] - z[1]).exp()) - f64::from(label);
            [-p, p]
        })
        .collect();
    let residuals = Tensor::from_vec(residuals, (96, 2), &Device::Cpu).unwrap();
    let weight = head.weight.as_detached_tensor().to_dtype(DType::F64).unwrap();
    let data = residuals.t().unwrap().matmul(&features).unwrap();
    let gradient = (&data + (&weight * precision).unwrap()).unwrap();
    let largest = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
    // The two parts cancel to the precision of f32 sums and of a last step of size 1e-4.
    assert!(largest(&data) > 0.5, "{}", largest(&data));
    assert!(largest(&gradient) < 0.01 * largest(&data), "{} beside {}", largest(&gradient), largest(&data));
}

#[test]
fn checkpoint_ensembles_are_snapshots_of_one_training() {
    let fixture = Fixture::new();
    let fitted = fixture.fit(method("checkpoint-ensemble", "members = 3").unwrap().as_ref(), 1).unwrap();
    // 4 epochs of 12 steps: snapshots after 32, 40 and 48.
    assert_eq!(fitted.record.best_epoch, [3, 4, 4]);
    assert_eq!(fitted.record.steps, 48);
    // The last snapshot is the MLE fit at its last epoch.
    let mut whole = Fixture::new();
    whole.training.select = Selection::Last;
    whole.training.patience = u32::MAX;
    let mle = whole.fit(method("mle", "").unwrap().as_ref(), 1).unwrap();
    assert_eq!(mle.record.validation_nll[0], fitted.record.validation_nll[2]);
    assert_eq!(mle.record.best_epoch, [4]);
    let last = fixture.logits(&fitted, Reading::Members).index_axis(Axis(0), 2).to_owned();
    assert_eq!(fixture.logits(&mle, Reading::Mean).index_axis(Axis(0), 0), last);
    let method = method("checkpoint-ensemble", "members = 25").unwrap();
    let problem = fixture.fit(method.as_ref(), 1).unwrap_err().to_string();
    assert_eq!(problem, "members is 25; a training of 48 steps gives at most 24 snapshots");
}

/// Rule of a parameter by its name, where it is not AdamW.
type RuleByName<'a> = &'a (dyn Fn(&str) -> Option<Rule> + Sync);

/// Training that was cut off after an epoch gives the snapshots that it gives in one go, whatever its rule keeps between steps.
#[test]
fn snapshots_survive_an_interruption() {
    let fixture = Fixture::new();
    let slots = target_slots(&fixture.backbone, &[2], &[TargetMap::Query]).unwrap();
    let ivon = Ivon {
        rate: 0.1,
        beta1: 0.9,
        beta2: 0.9,
        decay: 1e-3,
        sample_size: 96.0,
        initial_curvature: 20.0,
        clip_radius: None,
        debiased: true,
        rescaled: true,
    };
    let noise = Noise::new(4, Stream::Training);
    let sghmc = Sghmc { rate: 0.05, friction: 0.1, heat: 0.01, cycle: 16, exploring: 2, noise };
    let gaussian = PosteriorSettings::WeightGaussian(WeightGaussianSettings { initial_sd: 1.0 });
    let of_ivon = |name: &str| match name {
        "lora_A.weight" | "lora_B.weight" => Some(Rule::IvonMean(ivon)),
        name if name.starts_with("weight_gaussian.") => Some(Rule::IvonLogSd(ivon)),
        _ => None,
    };
    let rules: [(PosteriorSettings, RuleByName<'_>); 3] = [
        (PosteriorSettings::Deterministic, &|_| None),
        (PosteriorSettings::Deterministic, &|_| Some(Rule::Sghmc(sghmc))),
        (gaussian, &of_ivon),
    ];
    for (posterior, rule) in rules {
        let recipe = || Recipe { snapshots: &[11, 24, 30], rule, ..Recipe::plain(posterior) };
        fixture.with_bench(&slots, 1, |bench| {
            let whole = train(bench, &recipe(), 0).unwrap();
            std::fs::remove_file(bench.folder.join("member-0.checkpoint.safetensors")).unwrap();
            // A failure in the third epoch leaves the checkpoint of the second behind.
            let poisoned = |position: bayeslora_inference::Position| Objective {
                nll: if position.step < 29 { 1.0 } else { f64::NAN },
                ..Objective::default()
            };
            train(bench, &Recipe { objective: &poisoned, ..recipe() }, 0).unwrap_err();
            assert!(bench.folder.join("member-0.checkpoint.safetensors").is_file());
            let resumed = train(bench, &recipe(), 0).unwrap();
            assert_eq!(fixture.logits(&whole, Reading::Members), fixture.logits(&resumed, Reading::Members));
            for (whole, resumed) in whole.members.iter().zip(&resumed.members) {
                for ((name, whole), (_, resumed)) in whole.parameters().zip(resumed.parameters()) {
                    let values = |var: &Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    assert_eq!(values(whole), values(resumed), "{name}");
                }
            }
        });
    }
}

#[test]
fn parameters_added_later_leave_the_keys_of_old_records_alone() {
    let settings = |kind, parameters| method(kind, parameters).unwrap().settings().to_string();
    assert_eq!(
        settings("mc-dropout", "site = 'rank'\ndropout = 0.1"),
        r#"{"kind":"mc-dropout","parameters":{"dropout":0.1,"scope":"token","site":"rank"}}"#
    );
    assert_eq!(settings("ensemble", ""), r#"{"kind":"ensemble","parameters":{"members":5}}"#);
    assert_eq!(
        settings("c-lora", ""),
        "{\"kind\":\"c-lora\",\"parameters\":{\"divergence-weight\":1e-6,\"network-learning-rate\":0.01,\"nll-weight\":1.0,\
         \"posterior\":{\"activation\":\"sigmoid-squared\",\"hidden\":64,\"prior-sd\":0.2,\"scope\":\"token\"}}}"
    );
}

#[test]
fn a_bootstrap_changes_the_members_and_only_them() {
    let fixture = Fixture::new();
    let fit = |parameters| fixture.fit(method("ensemble", parameters).unwrap().as_ref(), 1).unwrap();
    let (whole, bootstrap) = (fit("members = 2"), fit("members = 2\nbootstrap = true"));
    assert_eq!(whole.record.trainable_parameters, bootstrap.record.trainable_parameters);
    assert_ne!(fixture.logits(&whole, Reading::Members), fixture.logits(&bootstrap, Reading::Members));
}

#[test]
fn the_best_of_several_fits_is_that_member_of_the_ensemble() {
    let fixture = Fixture::new();
    let fit = |kind, parameters| fixture.fit(method(kind, parameters).unwrap().as_ref(), 1).unwrap();
    let (ensemble, best) = (fit("ensemble", "members = 4"), fit("best-of", "fits = 4"));
    let kept = |record: &FitRecord, fit: usize| record.validation_nll[fit][record.best_epoch[fit] as usize - 1];
    let of_members: Vec<f64> = (0..4).map(|fit| kept(&ensemble.record, fit)).collect();
    let least = (0..4).min_by(|&a, &b| of_members[a].total_cmp(&of_members[b])).unwrap();
    assert_ne!(least, 0, "the first fit is the best by chance: choose another seed");
    assert!((best.record.chosen["fit"] - (least + 1) as f64).abs() < 1e-12);
    assert_eq!(kept(&best.record, 0).to_bits(), of_members[least].to_bits());
    let members = fixture.logits(&ensemble, Reading::Members);
    assert_eq!(fixture.logits(&best, Reading::Mean).index_axis(Axis(0), 0), members.index_axis(Axis(0), least));
    // All of them are paid for.
    assert_eq!(best.record.steps, ensemble.record.steps);
    assert_eq!(best.record.trainable_parameters, ensemble.record.trainable_parameters);
}

#[test]
fn dropout_may_be_confined_to_some_blocks() {
    let fixture = Fixture::new();
    let confined = |blocks: &str| method("mc-dropout", &format!("site = 'input'\ndropout = 0.2\nblocks = {blocks}"));
    let fitted = fixture.fit(confined("[2]").unwrap().as_ref(), 1).unwrap();
    for (slot, adapter) in fitted.members[0].adapters.iter() {
        let x = Tensor::ones((1, adapter.low_rank().a().dims()[1]), DType::F64, &Device::Cpu).unwrap();
        let variance = adapter.moments(&x).unwrap().total_variance().unwrap().to_vec1::<f64>().unwrap()[0];
        assert_eq!(variance > 0.0, slot.block == 2, "{slot}: {variance}");
    }
    let problem = fixture.fit(confined("[2, 0]").unwrap().as_ref(), 1).unwrap_err().to_string();
    assert_eq!(problem, "block 0 is among the blocks of mc-dropout and has no adapter; the adapted blocks are 1, 2");
    let problem = confined("[]").unwrap_err();
    assert!(problem.contains("number of blocks is 0; expected at least 1"), "{problem}");
}

/// Every choice of the variational methods trains, and makes a difference.
#[test]
fn variants_of_variational_methods_learn_and_differ() {
    let fixture = Fixture::new();
    for (kind, variants) in [
        ("blob", vec!["", "rho-optimiser = 'adamw-then-sgd'", "divergence-cycle = 'rescaled'", "scope = 'sequence'"]),
        ("scalabl", vec!["", "kl-direction = 'p||q'", "scope = 'sample'"]),
        (
            "ivon",
            vec![
                "initial-curvature = 20.0",
                "initial-curvature = 20.0\nbeta2 = 0.95",
                "sample-size = 2000.0",
                "initial-curvature = 20.0\ndebias = false",
                "initial-curvature = 20.0\nrescale-rate = false\nlearning-rate = 2.0\nclip-radius = 0.01",
            ],
        ),
        (
            "inducing",
            vec![
                "prior-sd = 0.6",
                "prior-sd = 0.6\nrows = 3\ncolumns = 5",
                "prior-sd = 0.6\nlargest-scale = 0.1\ninitial-scale = 0.05",
                "prior-sd = 0.4",
                "prior-sd = 0.6\ndivergence-weight = 0.0",
            ],
        ),
        ("dalorra", vec!["", "prior = 0.6", "scope = 'token'", "temperature = 0.1", "divergence-weight = 50.0"]),
        (
            "lrvd",
            vec![
                "",
                "tied = false",
                "variant = 'asymmetric'",
                "variant = 'asymmetric'\ntied = false",
                "sampling = 'local-reparametrisation'",
                "sample-train = false",
                "divergence-weight = 1e-5",
            ],
        ),
        (
            "c-lora",
            vec![
                "",
                "posterior = { hidden = 64, activation = 'sigmoid-squared', prior-sd = 0.2, scope = 'token', core = 'free' }",
                "posterior = { hidden = 64, activation = 'sigmoid-squared', prior-sd = 0.2, scope = 'token', fixed-sd = 0.1 }",
            ],
        ),
    ] {
        let mut seen: Vec<Array3<f32>> = Vec::new();
        for parameters in variants {
            let fitted = fixture.fit(method(kind, parameters).unwrap().as_ref(), 1).unwrap();
            let accuracy = accuracy(&fixture.logits(&fitted, Reading::Mean), fixture.validation.labels());
            assert!(accuracy > 0.9, "{kind} {parameters}: accuracy {accuracy}");
            let sampled = fixture.logits(&fitted, Reading::Sampled);
            assert!(!seen.contains(&sampled), "{kind} {parameters}: the same as another variant");
            seen.push(sampled);
        }
    }
}

#[test]
fn tfb_adds_noise_to_the_mle_fit_and_says_how_much() {
    let fixture = Fixture::new();
    let fit = |kind, parameters| fixture.fit(method(kind, parameters).unwrap().as_ref(), 1).unwrap();
    let mle = fit("mle", "");
    let beta = |parameters| fit("tfb", parameters).record.chosen["beta"];
    let fitted = fit("tfb", "tolerance = 0.02");
    // The same update in other factors: its mean is that of the MLE fit, to rounding.
    for (mean, own) in fixture.logits(&mle, Reading::Mean).iter().zip(fixture.logits(&fitted, Reading::Mean)) {
        assert!((mean - own).abs() < 1e-4 * mean.abs().max(1.0), "{mean} {own}");
    }
    let (strict, loose) = (beta("tolerance = 0.002"), beta("tolerance = 0.05"));
    assert!(strict <= fitted.record.chosen["beta"] && fitted.record.chosen["beta"] <= loose, "{strict} {loose}");
    assert!(strict < loose && loose > 0.0, "{strict} {loose}");
    assert!(beta("tolerance = 0.002\nreturned = 'smallest-refused'") > strict);
}

/// Ranks are dropped when it is time, as many as the threshold says, and the record tells how many are left.
#[test]
fn lrvd_drops_ranks_and_says_how_many_are_left() {
    let fixture = Fixture::new();
    let fit = |pruning: &str| fixture.fit(method("lrvd", pruning).unwrap().as_ref(), 1).unwrap();
    let left = |fitted: &Fitted| fitted.record.chosen["rank of all maps"].to_string();
    // Six maps of rank 4; 4 epochs of 12 steps.
    assert_eq!(left(&fit("")), "24");
    let all = fit("pruning = { threshold = -50.0, every = 10, minimum-rank = 1 }");
    assert_eq!(left(&all), "6");
    let mut of_maps = all.record.chosen.iter().filter(|(name, _)| name.starts_with("rank of block"));
    assert!(of_maps.all(|(_, rank)| (rank - 1.0).abs() < 1e-9), "{:?}", all.record.chosen);
    assert_eq!(left(&fit("pruning = { threshold = -50.0, every = 10, after = 48 }")), "24");
    assert_eq!(left(&fit("pruning = { threshold = 50.0, every = 5 }")), "24");
    // What was dropped stays dropped through the steps that follow, moments and all.
    for (_, adapter) in all.members[0].adapters.iter() {
        let rows = adapter.low_rank().a().sqr().unwrap().sum(1).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(rows.iter().filter(|&&square| square > 0.0).count(), 1, "{rows:?}");
    }
}

/// The switches learn: they leave the prior, and a prior that keeps little weighs on them with its divergence.
#[test]
fn dalorra_learns_its_switches_and_says_what_rank_they_leave() {
    let fixture = Fixture::new();
    let left = |parameters| {
        let fitted = fixture.fit(method("dalorra", parameters).unwrap().as_ref(), 1).unwrap();
        // Six maps of rank 4, each with 4 logits.
        assert_eq!(fitted.record.trainable_parameters, 2 * 4 * (64 + 64 + 96) + 6 * 4 + 2 * 32 + 2);
        let of_maps = fitted.record.chosen.iter().filter(|(name, _)| name.starts_with("expected rank of block"));
        let total: f64 = of_maps.map(|(_, rank)| rank).sum();
        assert!((total - fitted.record.chosen["expected rank of all maps"]).abs() < 1e-12);
        total
    };
    let (free, held) = (left("divergence-weight = 0.0"), left("divergence-weight = 1e6"));
    assert!((held - 24.0 * 0.9).abs() < 0.01, "{held}");
    assert!((free - 24.0 * 0.9).abs() > 0.05, "{free}");
}

#[test]
fn bad_parameters_are_named_with_value_and_range() {
    for (kind, parameters, expected) in [
        ("map", "prior-sd = 0.0", "prior-sd is 0; expected a positive number"),
        ("best-of", "fits = 1", "fits is 1; expected at least 2"),
        ("checkpoint-ensemble", "members = 1", "members is 1; expected at least 2"),
        ("blob", "divergence-weight = -1.0", "divergence-weight is -1; expected at least 0"),
        ("tfb", "highest = 0.0001", "highest is 0.0001; expected a number above lowest (0.001)"),
        ("lrvd", "divergence-weight = -1.0", "divergence-weight is -1; expected at least 0"),
        ("lrvd", "pruning = { every = 0 }", "every of the pruning is 0; expected at least 1"),
        ("scalabl", "initial-scale = nan", "initial-scale is NaN; expected a positive number"),
        ("dalorra", "prior = 1.0", "prior is 1; expected a probability above 0 and below 1"),
        ("dalorra", "temperature = -1.0", "temperature is -1; expected a positive number"),
        ("inducing", "columns = 0", "columns is 0; expected at least 1"),
        ("inducing", "largest-sd = 1e-5", "largest-sd is 0.00001; expected at least the first value (0.001)"),
        ("ivon", "beta2 = 1.0", "beta2 is 1; expected a number above 0 and below 1"),
        ("ivon", "sample-size = 0.0", "sample-size is 0; expected a positive number"),
        ("sg-mcmc", "friction = 1.5", "friction is 1.5; expected a number above 0 and at most 1"),
        ("sg-mcmc", "exploration = 1.0", "exploration is 1; expected at least 0 and below 1"),
        ("sg-mcmc", "cycles = 0", "cycles is 0; expected 1 to 10000"),
        ("swag", "columns = 50", "columns is 50; expected 2 to snapshots (20)"),
        ("laplace", "draws = 0", "draws is 0; expected at least 1"),
        ("laplace", "prior-precision = -2.0", "prior-precision is -2; expected a positive number"),
    ] {
        assert_eq!(method(kind, parameters).unwrap_err(), expected, "{kind}");
    }
    let problem = method("scalabl", "kl-direction = 'p|q'").unwrap_err();
    assert!(problem.contains("`q||p` or `p||q`"), "{problem}");
}

/// A frozen head depends on the seed and not on the training, in every method, and is one for all members of a fit, whether they are
/// trained apart, kept along the way or drawn.
#[test]
fn a_frozen_head_stays_what_it_was() {
    let mut fixture = Fixture { train_head: false, ..Fixture::new() };
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    // All members share it: it is a part of the network.
    let noise = Noise::new(derive_seed(1, 0), Stream::Initial);
    let initial = Head::initial(&fixture.backbone, 2, &noise).unwrap();
    for kind in methods::kinds() {
        let method = method(kind, required(kind)).unwrap();
        let [slow, fast] = [1e-3, 1e-2].map(|rate| {
            fixture.training.learning_rate = rate;
            fixture.fit(method.as_ref(), 1).unwrap()
        });
        for (slow, fast) in slow.members.iter().zip(&fast.members) {
            for member in [slow, fast] {
                assert_eq!(values(&member.head.weight), values(&initial.weight), "{kind}: the head moved");
            }
            assert_eq!(values(fast.head.bias.as_ref().unwrap()), [0.0, 0.0], "{kind}");
            assert!(fast.parameters().all(|(name, _)| name != "classifier.weight"), "{kind}");
            let [slow, fast] =
                [slow, fast].map(|member| values(member.adapters.iter().next().unwrap().1.low_rank().b()));
            // Some have rates of their own, and are held against the start.
            let other = if ["ivon", "sg-mcmc"].contains(&kind) { vec![0.0; fast.len()] } else { slow };
            assert_ne!(fast, other, "{kind}: the adapters did not move");
        }
        for reading in method.readings() {
            assert!(fixture.logits(&fast, reading).iter().all(|logit| logit.is_finite()), "{kind}");
        }
    }
    let fitted = fixture.fit(method("mle", "").unwrap().as_ref(), 1).unwrap();
    // Rank 4 on query, value (32 x 32) and output (32 x 64) of two blocks.
    assert_eq!(fitted.record.trainable_parameters, 2 * 4 * (64 + 64 + 96));
    let problem = fixture.fit(method("laplace", "reach = 'head'").unwrap().as_ref(), 1).unwrap_err().to_string();
    assert!(problem.contains("train-head"), "{problem}");
}

/// DistilBERT's `pre_classifier` is frozen with the classifier, and both are saved under PEFT's names.
#[test]
fn a_frozen_distilbert_head_is_saved_as_it_was() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/distilbert");
    let backbone = Backbone::load(&folder, &Device::Cpu).unwrap();
    let (train, validation) = (sentences(&backbone, 0, 24), sentences(&backbone, 1, 8));
    let fixture = Fixture { backbone, train, validation, train_head: false, ..Fixture::new() };
    let slots = target_slots(&fixture.backbone, &[1], &[TargetMap::Query, TargetMap::Output]).unwrap();
    let fitted = fixture.with_bench(&slots, 1, |bench| method("mle", "").unwrap().fit(bench)).unwrap();
    let member = &fitted.members[0];
    let place = tempfile::tempdir().unwrap();
    let (head, posterior) = (&member.head, &member.posterior);
    save_adapter(place.path(), &fixture.backbone, &member.adapters, head, posterior, (4, 8.0), "distilbert").unwrap();
    let path = place.path().join("adapter_model.safetensors");
    let saved = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let noise = Noise::new(derive_seed(1, 0), Stream::Initial);
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let initial = Head::initial(&fixture.backbone, 2, &noise).unwrap().tensors();
    assert!(initial.keys().eq([
        "classifier.bias",
        "classifier.weight",
        "pre_classifier.bias",
        "pre_classifier.weight"
    ]));
    for (name, tensor) in initial {
        assert_eq!(values(&tensor), values(&saved[&format!("base_model.model.{name}")]), "{name}");
    }
    let up = "base_model.model.distilbert.transformer.layer.1.attention.q_lin.lora_B.weight";
    assert!(values(&saved[up]).iter().any(|&b| b != 0.0));
}

#[test]
fn schedule_and_selection_are_those_asked_for() {
    let mut fixture = Fixture::new();
    fixture.training.learning_rate = 0.05;
    let mle = method("mle", "").unwrap();
    let linear = fixture.fit(mle.as_ref(), 1).unwrap().record;
    fixture.training.schedule = Schedule::Constant;
    assert_ne!(fixture.fit(mle.as_ref(), 1).unwrap().record.validation_nll, linear.validation_nll);
    // Warm-up belongs to the linear schedule.
    let constant = fixture.fit(mle.as_ref(), 1).unwrap().record.validation_nll;
    fixture.training.warmup = 0.5;
    assert_eq!(fixture.fit(mle.as_ref(), 1).unwrap().record.validation_nll, constant);

    fixture.training = TrainingSettings { epochs: 6, select: Selection::Last, ..fixture.training };
    let last = fixture.fit(mle.as_ref(), 1).unwrap();
    assert_eq!((last.record.best_epoch[0], last.record.validation_nll[0].len()), (6, 6));
    fixture.training.select = Selection::ValidationAccuracy;
    let best = fixture.fit(mle.as_ref(), 1).unwrap();
    // Once every sentence is right no epoch is better, though the NLL falls on: the first such epoch stays.
    let epoch = best.record.best_epoch[0] as usize;
    assert_eq!(best.record.validation_nll[0].len(), epoch + 1);
    assert!((accuracy(&fixture.logits(&best, Reading::Mean), fixture.validation.labels()) - 1.0).abs() < 1e-12);
    assert!(last.record.validation_nll[0][5] < best.record.validation_nll[0][epoch - 1]);
}

/// Keys added since the first records are absent at their defaults, so that units keep their keys.
#[test]
fn later_settings_leave_the_keys_of_units_alone() {
    let adapter = "rank = 4\nalpha = 8.0\ntarget-maps = ['query']\ntarget-blocks = [1]\n";
    let written = |text: &str| serde_json::to_value(toml::from_str::<AdapterSettings>(text).unwrap()).unwrap();
    assert_eq!(written(adapter), written(&format!("{adapter}train-head = true")));
    assert!(written(adapter).get("train-head").is_none());
    assert_eq!(written(&format!("{adapter}train-head = false"))["train-head"], false);
    let written = |text: &str| serde_json::to_value(toml::from_str::<TrainingSettings>(text).unwrap()).unwrap();
    let defaults = written("schedule = 'linear'\nselect = 'validation-nll'");
    assert!(defaults.get("schedule").is_none() && defaults.get("select").is_none(), "{defaults}");
    assert_eq!(written("schedule = 'constant'")["schedule"], "constant");
    assert_eq!(written("select = 'last'")["select"], "last");
}
