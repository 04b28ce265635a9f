//! Adapters of the tests' networks.

use bayeslora_adapters::{AdapterSet, LoraShape, Noise, PosteriorSettings, Stream, TargetMap};
use bayeslora_models::{Backbone, initial_adapters, target_slots};
use candle_core::{Device, Tensor};

/// Random adapters on every map of the blocks from `first` on, whose `B` is not zero but of values up to `size`.
pub(crate) fn random_adapters(
    backbone: &Backbone,
    first: usize,
    posterior: &PosteriorSettings,
    size: f64,
) -> AdapterSet {
    let blocks: Vec<usize> = (first..backbone.blocks()).collect();
    let slots = target_slots(backbone, &blocks, &backbone.maps()).unwrap();
    let (shape, noise) = (LoraShape { rank: 2, scale: 2.0 }, Noise::new(3, Stream::Initial));
    let adapters = initial_adapters(backbone, &slots, shape, posterior, &noise).unwrap();
    // A pooler is one for all blocks.
    let (poolers, maps): (Vec<_>, Vec<_>) = backbone.maps().into_iter().partition(|&map| map == TargetMap::Pooler);
    assert_eq!(adapters.len(), maps.len() * blocks.len() + poolers.len(), "every map of every block");
    let is_up = |name: &str| ["lora_B.weight", "inducing.b.mean"].contains(&name);
    for (_, parameter) in adapters.parameters().filter(|(_, parameter)| is_up(parameter.name)) {
        let ramp = Tensor::arange(0.0_f32, parameter.var.elem_count() as f32, &Device::Cpu).unwrap();
        let ramp = (ramp.reshape(parameter.var.shape()).unwrap().sin().unwrap() * size).unwrap();
        parameter.var.set(&ramp).unwrap();
    }
    adapters
}

/// Dropout of 0.3 at a site, with masks of each token.
pub(crate) fn dropout(site: &str) -> PosteriorSettings {
    serde_json::from_value(serde_json::json!({"kind": "dropout", "site": site, "scope": "token", "dropout": 0.3}))
        .unwrap()
}
