//! Who is measured. Adding a contestant is a line here and, on our side, the word it is known by in worker/.

/// Whose program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// worker.py: PyTorch and PEFT.
    Peer,
    /// This program.
    Ours,
}

/// A way to do a kind of work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Contestant {
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) side: Side,
    /// The word its worker knows it by.
    pub(crate) variant: &'static str,
    /// Whether it samples the exact predictive in f32 throughout, so that its answers must agree with ours.
    pub(crate) must_agree: bool,
}

const fn peer(id: &'static str, label: &'static str, variant: &'static str) -> Contestant {
    Contestant { id, label, side: Side::Peer, variant, must_agree: true }
}

const fn ours(id: &'static str, label: &'static str, variant: &'static str) -> Contestant {
    Contestant { id, label, side: Side::Ours, variant, must_agree: true }
}

/// Less precision, or an approximation: its distance is reported and stops nothing.
const fn reduced(contestant: Contestant) -> Contestant {
    Contestant { must_agree: false, ..contestant }
}

/// What everybody runs: BayesLoRA v1's notebook.
pub(crate) static V1: Contestant = peer("v1-loop", "PyTorch, v1 loop", "loop");
/// The variant that stands for PyTorch in sweeps: fast without compiling anew for each point.
pub(crate) static SORTED_CHEAP: Contestant =
    peer("torch-sorted-cheap", "PyTorch, sorted, cheap dropout", "sorted+cheap");
/// Exact sampling.
pub(crate) static EXACT: Contestant = ours("exact", "bayeslora, exact sampling", "exact");

/// Every way to a predictive, PyTorch's first; ours take part in all sets of predictives.
pub(crate) static SAMPLERS: &[&Contestant] = &[
    &V1,
    &peer("torch-sorted", "PyTorch, sorted", "sorted"),
    &peer("torch-batched", "PyTorch, T copies in a batch", "batched"),
    &peer("torch-cheap", "PyTorch, cheap dropout", "cheap"),
    &SORTED_CHEAP,
    &peer("torch-sorted-compiled", "PyTorch, sorted, compiled", "sorted+compiled"),
    &peer("torch-sorted-compiled-cheap", "PyTorch, sorted, compiled, cheap dropout", "sorted+compiled+cheap"),
    &reduced(peer("torch-bf16", "PyTorch, sorted, cheap dropout, bf16", "sorted+cheap+bf16")),
    &reduced(peer(
        "torch-bf16-compiled",
        "PyTorch, sorted, compiled, cheap dropout, bf16",
        "sorted+compiled+cheap+bf16",
    )),
    &EXACT,
    &reduced(ours("balanced", "bayeslora, balanced masks", "balanced")),
    &reduced(ours("linearised", "bayeslora, linearised (no sampling)", "linearised")),
];

/// Every deterministic pass.
pub(crate) static FORWARDS: &[&Contestant] = &[
    &peer("torch-forward", "PyTorch, forward", "loop"),
    &peer("torch-forward-sorted", "PyTorch, forward, sorted", "sorted"),
    &reduced(peer("torch-forward-bf16", "PyTorch, forward, sorted, bf16", "sorted+bf16")),
    &ours("forward", "bayeslora, forward", "exact"),
];

/// Every way to sample a single map.
pub(crate) static LAYERS: &[&Contestant] = &[
    &peer("torch-layer", "PEFT's layer in a loop", "loop"),
    &peer("torch-layer-hoisted", "PyTorch, W0 x once", "hoisted"),
    &peer("torch-layer-hoisted-cheap", "PyTorch, W0 x once, cheap dropout", "hoisted+cheap"),
    &ours("layer-input", "bayeslora, input site", "input"),
    &ours("layer-rank", "bayeslora, rank site", "rank"),
    &ours("layer-weight", "bayeslora, weight site", "weight"),
];

/// Every training step.
pub(crate) static TRAINERS: &[&Contestant] = &[
    &peer("torch-training", "PyTorch, training step", "peft"),
    &ours("training", "bayeslora, training step", "exact"),
];

/// Our exact sampling from a file in blocks of four bits.
pub(crate) static DECODER_GGUF: Contestant = ours("exact-gguf", "bayeslora, exact sampling, from GGUF", "exact");

/// Every way to a decoder's predictive.
pub(crate) static DECODER_SAMPLERS: &[&Contestant] = &[
    &V1,
    &peer("torch-sorted", "PyTorch, sorted", "sorted"),
    &peer("torch-batched", "PyTorch, T copies in a batch", "batched"),
    &SORTED_CHEAP,
    &peer("torch-sorted-compiled-cheap", "PyTorch, sorted, compiled, cheap dropout", "sorted+compiled+cheap"),
    &reduced(peer("torch-bf16", "PyTorch, sorted, cheap dropout, bf16", "sorted+cheap+bf16")),
    &reduced(peer("torch-all-bf16", "PyTorch, sorted, cheap dropout, weights in bf16", "sorted+cheap+weights-in-bf16")),
    &EXACT,
    &DECODER_GGUF,
];

/// Every deterministic pass of a decoder.
pub(crate) static DECODER_FORWARDS: &[&Contestant] = &[
    &peer("torch-forward", "PyTorch, forward", "loop"),
    &peer("torch-forward-sorted", "PyTorch, forward, sorted", "sorted"),
    &reduced(peer("torch-forward-bf16", "PyTorch, forward, sorted, bf16", "sorted+bf16")),
    &reduced(peer("torch-forward-all-bf16", "PyTorch, forward, sorted, weights in bf16", "sorted+weights-in-bf16")),
    &ours("forward", "bayeslora, forward", "exact"),
    &DECODER_GGUF,
];

/// Options of questions, with the prompt once.
pub(crate) static ANSWERS: Contestant = ours("answers", "bayeslora, answers", "shared");

/// Every way to the scores of a question's options.
pub(crate) static ANSWERERS: &[&Contestant] = &[
    &peer("torch-answers", "PyTorch, answers", "loop"),
    &peer(
        "torch-answers-sorted",
        "PyTorch, answers, sorted, cheap dropout, head where it is read",
        "sorted+cheap+read",
    ),
    &reduced(peer(
        "torch-answers-bf16",
        "PyTorch, answers, sorted, cheap dropout, head where it is read, bf16",
        "sorted+cheap+read+bf16",
    )),
    &reduced(peer(
        "torch-answers-all-bf16",
        "PyTorch, answers, sorted, cheap dropout, head where it is read, weights in bf16",
        "sorted+cheap+read+weights-in-bf16",
    )),
    &ANSWERS,
];

/// The same of ours with the prompt before every option.
pub(crate) static ANSWERS_REPEATED: Contestant =
    ours("answers-repeated", "bayeslora, answers, the prompt repeated for each", "repeated");

/// Every training step of a decoder.
pub(crate) static DECODER_TRAINERS: &[&Contestant] = &[
    &peer("torch-training", "PyTorch, training step", "peft"),
    &reduced(peer("torch-training-bf16", "PyTorch, training step, bf16", "peft+bf16")),
    &ours("training", "bayeslora, training step", "exact"),
];

/// Samples in f32 and in bf16; PyTorch's in f32 say how much independent samples differ.
pub(crate) static PRECISIONS: &[&Contestant] = &[
    &SORTED_CHEAP,
    &reduced(peer("torch-bf16", "PyTorch, sorted, cheap dropout, bf16", "sorted+cheap+bf16")),
    &reduced(peer("torch-all-bf16", "PyTorch, sorted, cheap dropout, weights in bf16", "sorted+cheap+weights-in-bf16")),
    &EXACT,
];

/// Training steps above a prefix that is computed once.
pub(crate) static PREFIX_TRAINERS: &[&Contestant] = &[
    &peer("torch-training-cached", "PyTorch, training step above the cached prefix", "peft+cached"),
    &ours("training", "bayeslora, training step", "exact"),
];

/// A sweep with the frozen prefix computed once, and without.
pub(crate) static SWEEPERS: &[&Contestant] = &[
    &ours("prefix-recomputed", "bayeslora, whole network at every step", "recomputed"),
    &ours("prefix-shared", "bayeslora, frozen prefix once for all fits", "shared"),
];

/// The measurements of the machine itself.
pub(crate) static LIMITS: Contestant = ours("limits", "limits and kernels", "limits");

/// Everybody, in the order of tables.
pub(crate) fn all() -> impl Iterator<Item = &'static Contestant> {
    let encoders = [SAMPLERS, FORWARDS, LAYERS, TRAINERS, SWEEPERS].into_iter().flatten().copied();
    let decoders = [DECODER_SAMPLERS, DECODER_FORWARDS, ANSWERERS, DECODER_TRAINERS, PREFIX_TRAINERS, PRECISIONS];
    let mut seen = std::collections::BTreeSet::new();
    let once = encoders.chain(decoders.into_iter().flatten().copied()).chain([&ANSWERS_REPEATED, &LIMITS]);
    once.filter(move |contestant| seen.insert(contestant.id))
}

/// The contestant of a record; one that is no longer in the table has its identifier for a label.
pub(crate) fn label(id: &str) -> &str {
    all().find(|contestant| contestant.id == id).map_or(id, |contestant| contestant.label)
}

/// Whether a record's contestant is a PyTorch one in full precision.
pub(crate) fn is_peer(id: &str) -> bool {
    all().any(|contestant| contestant.id == id && contestant.side == Side::Peer && contestant.must_agree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_has_one_meaning() {
        let decoders = [DECODER_SAMPLERS, DECODER_FORWARDS, ANSWERERS, DECODER_TRAINERS, PREFIX_TRAINERS, PRECISIONS];
        for &contestant in decoders.into_iter().chain([SAMPLERS, FORWARDS, LAYERS, TRAINERS, SWEEPERS]).flatten() {
            let first = all().find(|one| one.id == contestant.id);
            assert_eq!(first, Some(contestant));
        }
        assert!(is_peer("v1-loop") && !is_peer("exact") && !is_peer("torch-bf16"));
    }
}
