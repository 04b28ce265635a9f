//! Adapters of every posterior on the tiny encoder: what is trained, what is saved, what comes back.
#![cfg(test)]

use std::path::{Path, PathBuf};

use bayeslora_adapters::{
    AdapterSet, Blocks, ContextualSettings, CoreSource, Draw, DropoutSite, GaussianSettings, Inducing,
    InducingSettings, LoraShape, Lrvd, LrvdSampling, LrvdSettings, LrvdVariant, MaskScope, Noise, PosteriorSettings,
    RankGaussianSettings, RankSwitchSettings, Rows, Sampling, ScaleActivation, Stream, WeightGaussianSettings,
};
use bayeslora_models::{Backbone, Head, Packing, SavedAdapter, classify, initial_adapters, save_adapter, target_slots};
use candle_core::{Device, Tensor};

const RANK: usize = 3;
const ALPHA: f64 = 6.0;
const LENGTHS: [usize; 3] = [4, 2, 7];
const EXAMPLES: [u64; 3] = [10, 3, 5];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny")
}

fn posteriors() -> Vec<PosteriorSettings> {
    let weights = PosteriorSettings::WeightGaussian(WeightGaussianSettings { initial_sd: 0.05 });
    let inducing = PosteriorSettings::Inducing(InducingSettings::default());
    let mut all = vec![PosteriorSettings::Deterministic, weights, inducing];
    for variant in [LrvdVariant::Symmetric, LrvdVariant::Asymmetric] {
        for sampling in [LrvdSampling::Weights, LrvdSampling::LocalReparametrisation] {
            all.extend([true, false].map(|tied| PosteriorSettings::Lrvd(LrvdSettings { variant, tied, sampling })));
        }
    }
    for scope in MaskScope::ALL {
        for site in DropoutSite::ALL {
            all.push(PosteriorSettings::Dropout { site, scope, dropout: 0.3 });
        }
        let free = ContextualSettings { core: CoreSource::Free, scope, ..ContextualSettings::default() };
        let fixed = ContextualSettings { fixed_sd: Some(0.1), scope, ..ContextualSettings::default() };
        all.extend([free, fixed].map(PosteriorSettings::Contextual));
        let gaussian = GaussianSettings { scope, ..GaussianSettings::default() };
        let rank = RankGaussianSettings { scope, ..RankGaussianSettings::default() };
        all.extend([PosteriorSettings::Gaussian(gaussian), PosteriorSettings::RankGaussian(rank)]);
        all.push(PosteriorSettings::RankSwitch(RankSwitchSettings { scope, ..RankSwitchSettings::default() }));
        let blocks = Blocks::try_from(vec![2]).unwrap();
        all.push(PosteriorSettings::DropoutInBlocks { blocks, site: DropoutSite::Rank, scope, dropout: 0.3 });
        for activation in [ScaleActivation::SigmoidSquared, ScaleActivation::TanhSquared, ScaleActivation::Softplus] {
            all.push(PosteriorSettings::Contextual(ContextualSettings {
                hidden: 8,
                activation,
                scope,
                ..ContextualSettings::default()
            }));
        }
    }
    all
}

/// Adapters on every map of the last two blocks and the pooler, `B` not zero.
fn adapters(backbone: &Backbone, posterior: &PosteriorSettings) -> (AdapterSet, Head) {
    let noise = Noise::new(3, Stream::Initial);
    let slots = target_slots(backbone, &[1, 2], &backbone.maps()).unwrap();
    let adapters = initial_adapters(backbone, &slots, LoraShape::new(RANK, ALPHA).unwrap(), posterior, &noise).unwrap();
    for (number, (_, parameter)) in adapters.parameters().enumerate() {
        if ["lora_B.weight", "inducing.b.mean"].contains(&parameter.name) {
            let ramp = Tensor::arange(0.0_f32, parameter.var.elem_count() as f32, &Device::Cpu).unwrap();
            let wave = (ramp + number as f64).unwrap().sin().unwrap().affine(0.2, 0.0).unwrap();
            parameter.var.set(&wave.reshape(parameter.var.shape()).unwrap()).unwrap();
        }
    }
    if let PosteriorSettings::Inducing(settings) = *posterior {
        adapters.iter().for_each(|(_, adapter)| Inducing::sharing(adapter, settings).unwrap().settle().unwrap());
    }
    (adapters, Head::initial(backbone, 2, &noise).unwrap())
}

fn logits(
    backbone: &Backbone,
    head: &Head,
    adapters: &AdapterSet,
    samples: u32,
    with_divergence: bool,
) -> (Tensor, Option<Tensor>) {
    let ids: Vec<Vec<u32>> = LENGTHS.iter().map(|&length| (5..).take(length).collect()).collect();
    let tokens: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let packing = Packing::from_lengths(&LENGTHS);
    let rows = Rows::of_sentences(&EXAMPLES, &LENGTHS);
    // Training draws what has derivatives.
    let noise = Noise::new(8, if with_divergence { Stream::Training } else { Stream::Predictive });
    let draw = match samples {
        0 => Draw::Mean,
        _ => Draw::Sampled(Sampling { noise, samples: 0..samples, rows: &rows, with_divergence }),
    };
    let x = backbone.embed(&tokens).unwrap();
    let output = classify(backbone, head, adapters, draw, 0, &x, &packing).unwrap();
    (output.logits, output.divergence)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// A kernel that cuts gradients, or a parameter that nothing reads, would leave a zero here.
#[test]
fn every_trainable_parameter_gets_a_gradient() {
    let backbone = Backbone::load(&folder(), &Device::Cpu).unwrap();
    for posterior in posteriors() {
        let (adapters, head) = adapters(&backbone, &posterior);
        let (logits, divergence) = logits(&backbone, &head, &adapters, 2, true);
        assert_eq!(divergence.is_some(), matches!(posterior, PosteriorSettings::Contextual(_)), "{posterior:?}");
        let mut loss = logits.sqr().unwrap().sum_all().unwrap();
        if let Some(divergence) = divergence {
            loss = (loss + (divergence * 1e-3).unwrap()).unwrap();
        }
        let gradients = loss.backward().unwrap();
        let own = adapters.parameters().map(|(slot, p)| (format!("{} of {slot}", p.name), p.var));
        let mut counted = 0;
        for (name, var) in
            own.chain([("weight".to_owned(), &head.weight), ("bias".to_owned(), head.bias.as_ref().unwrap())])
        {
            let gradient = values(gradients.get(var).unwrap_or_else(|| panic!("{posterior:?}: no gradient of {name}")));
            assert!(gradient.iter().all(|g| g.is_finite()), "{posterior:?}: gradient of {name} is not finite");
            // The noise of inducing bases starts at 1e-3 and enters squared.
            let least = if name.contains("_noise of ") { 1e-18 } else { 1e-9 };
            assert!(gradient.iter().any(|g| g.abs() > least), "{posterior:?}: gradient of {name} is zero");
            counted += 1;
        }
        let per_map = match posterior {
            PosteriorSettings::Contextual(ContextualSettings { core: CoreSource::Free, .. })
            | PosteriorSettings::Gaussian(_)
            | PosteriorSettings::RankSwitch(_) => 3,
            PosteriorSettings::Lrvd(settings) => 2 + Lrvd::tensor_names(settings).len(),
            PosteriorSettings::Contextual(_) => 6,
            PosteriorSettings::RankGaussian(_) | PosteriorSettings::WeightGaussian(_) => 4,
            PosteriorSettings::Inducing(_) => Inducing::tensor_names().len(),
            _ => 2,
        };
        // Six maps of two blocks, the pooler; weight and bias of the head.
        assert_eq!(counted, 13 * per_map + 2, "{posterior:?}");
    }
}

#[test]
fn saved_adapters_come_back_with_the_same_samples() {
    let backbone = Backbone::load(&folder(), &Device::Cpu).unwrap();
    for posterior in posteriors() {
        let (adapters, head) = adapters(&backbone, &posterior);
        let place = tempfile::tempdir().unwrap();
        save_adapter(place.path(), &backbone, &adapters, &head, &posterior, (RANK, ALPHA), "tiny").unwrap();
        let back = SavedAdapter::load(place.path(), &backbone, &folder(), Ok).unwrap();
        assert_eq!(back.posterior, posterior);
        for samples in [0, 3] {
            let before = values(&logits(&backbone, &head, &adapters, samples, false).0);
            let after = values(&logits(&backbone, &back.head, &back.adapters, samples, false).0);
            assert_eq!(before, after, "{posterior:?}, {samples} samples");
        }
        let (mean, sampled) =
            (logits(&backbone, &head, &adapters, 0, false).0, logits(&backbone, &head, &adapters, 3, false).0);
        let (mean, sampled) = (values(&mean), values(&sampled));
        let same = sampled.chunks(mean.len()).all(|sample| sample == mean);
        assert_eq!(same, !posterior.is_stochastic(), "{posterior:?}");
    }
}

#[test]
fn a_second_save_leaves_nothing_of_the_first() {
    let backbone = Backbone::load(&folder(), &Device::Cpu).unwrap();
    let place = tempfile::tempdir().unwrap();
    let contextual = *posteriors().last().unwrap();
    let (first, head) = adapters(&backbone, &contextual);
    save_adapter(place.path(), &backbone, &first, &head, &contextual, (RANK, ALPHA), "tiny").unwrap();
    let (second, head) = adapters(&backbone, &PosteriorSettings::Deterministic);
    save_adapter(place.path(), &backbone, &second, &head, &PosteriorSettings::Deterministic, (RANK, ALPHA), "tiny")
        .unwrap();
    let mut files: Vec<String> =
        std::fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["adapter_config.json", "adapter_model.safetensors", "posterior.json"]);
}

/// With `B = 0` every posterior, at its mean and sampled, is the frozen model.
#[test]
fn untrained_adapters_change_nothing() {
    let backbone = Backbone::load(&folder(), &Device::Cpu).unwrap();
    let slots = target_slots(&backbone, &[1, 2], &backbone.maps()).unwrap();
    let noise = Noise::new(3, Stream::Initial);
    let head = Head::initial(&backbone, 2, &noise).unwrap();
    let frozen = values(&logits(&backbone, &head, &AdapterSet::new(), 0, false).0);
    for posterior in posteriors() {
        let shape = LoraShape::new(RANK, ALPHA).unwrap();
        let adapters = initial_adapters(&backbone, &slots, shape, &posterior, &noise).unwrap();
        for samples in [0, 2] {
            let own = values(&logits(&backbone, &head, &adapters, samples, false).0);
            // Entries of `B` start at up to 1e-3 there, with deviations of exp(-4).
            let tolerance = match (posterior, samples) {
                (PosteriorSettings::Lrvd(_), 0) => 1e-3,
                // Noise of `B` alone, of the deviation that it starts with.
                (PosteriorSettings::Lrvd(_), _)
                | (PosteriorSettings::WeightGaussian(_) | PosteriorSettings::Inducing(_), 1..) => 0.1,
                _ => 1e-6,
            };
            let same = own.iter().zip(frozen.iter().cycle()).all(|(own, frozen)| (own - frozen).abs() < tolerance);
            assert!(same, "{posterior:?}, {samples} samples: {own:?} against {frozen:?}");
        }
    }
}
