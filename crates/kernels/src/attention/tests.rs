//! Attention against its plain twin, finite differences, sums in f64 and the numbers of earlier revisions.

use candle_core::{Device, Var};

use super::*;
use crate::testing::{assert_gradient, assert_twins, flat, normal, relative_difference};

#[test]
fn agrees_with_its_plain_twin_and_finite_differences() {
    let keys = Packing::from_lengths(&[3, 1, 17, 40]);
    let first = Packing::from_lengths(&[1, 1, 1, 1]);
    for queries in [&keys, &first] {
        for [q_samples, kv_samples] in [[1, 1], [3, 1], [1, 3], [3, 3]] {
            let q = normal(1, (q_samples, queries.rows(), 24));
            let (k, v) = (normal(2, (kv_samples, keys.rows(), 24)), normal(3, (kv_samples, keys.rows(), 24)));
            let op = Attention { context: Context::across(queries, &keys), heads: Heads::new(2, 2, 12, Mask::Full) };
            let fast = || attention(&q, &k, &v, queries, &keys, 2).unwrap();
            assert_twins(&[q.clone(), k.clone(), v.clone()], &fast(), &op.plain(&q, &k, &v).unwrap(), 1e-5);
            for var in [&q, &k, &v] {
                assert_gradient(var, fast, 5e-3);
            }
        }
    }
}

/// Contexts of every kind, on 112 rows of keys: whole sentences, last rows, some rows, branches, continuations alone.
fn contexts() -> Vec<Context> {
    let packing = Packing::from_lengths(&[3, 1, 38, 70]);
    let all = Context::sentences(&packing).unwrap();
    let some = all.at_rows(&[1, 3, 4, 30, 41, 50, 77, 78, 79, 111]).unwrap();
    let mut alone = Context::new(112);
    for (positions, own) in [(&[50, 51, 52][..], 60..63), (&[50], 63..64), (&[53, 49, 7], 64..80)] {
        alone.push(positions, &[0..50, own]).unwrap();
    }
    alone.push(&[4, 80], &[35..50, 90..112, 0..33, 50..70]).unwrap();
    let branches = Context::branches(&[(33, vec![5, 1, 33]), (1, vec![]), (4, vec![35])]).unwrap();
    vec![all, Context::last_rows(&packing).unwrap(), some, branches, alone]
}

fn kinds() -> Vec<Heads> {
    let heads = |queries, keys, mask| Heads::new(queries, keys, 6, mask);
    vec![
        heads(2, 2, Mask::Causal),
        heads(3, 1, Mask::Causal),
        Heads { scale: 0.9, cap: Some(1.5), ..heads(6, 2, Mask::Causal) },
        Heads { cap: Some(2.0), ..heads(4, 2, Mask::Full) },
        heads(2, 1, Mask::Window(1)),
        Heads { cap: Some(3.0), ..heads(4, 2, Mask::Window(37)) },
    ]
}

fn inputs(context: &Context, heads: &Heads, [q, k, v]: [usize; 3]) -> [Var; 3] {
    let (width, key_width) = (heads.queries * heads.size, heads.keys * heads.size);
    [
        normal(1, (q, context.query_rows(), width)),
        normal(2, (k, context.key_rows(), key_width)),
        normal(3, (v, context.key_rows(), key_width)),
    ]
}

#[test]
fn contexts_agree_with_their_plain_twins_and_finite_differences() {
    for (number, context) in contexts().into_iter().enumerate() {
        for (heads, samples) in kinds().into_iter().zip([[1; 3], [3, 1, 1], [1, 2, 1], [2, 2, 2], [1; 3], [1, 1, 2]]) {
            let vars = inputs(&context, &heads, samples);
            let [q, k, v] = &vars;
            let op = Attention { context: context.clone(), heads };
            let fast = || attention_within(q, k, v, &context, &heads).unwrap();
            // A lone key's weight is 1 whatever its score is: no gradient to compare but that of the value.
            let all = if heads.mask == Mask::Window(1) { &vars[2..] } else { &vars[..] };
            assert_twins(all, &fast(), &op.plain(q, k, v).unwrap(), 1e-5);
            for var in all {
                assert_gradient(var, fast, 2e-2);
            }
            let mut out = vec![f32::NAN; flat(&fast()).len()];
            let count = samples.into_iter().max().unwrap();
            let length = out.len() / count;
            let (q, k, v) = (flat(q), flat(k), flat(v));
            // Memory that other shapes left behind.
            let mut scratch = AttentionScratch::default();
            for (index, out) in out.chunks_exact_mut(length).enumerate() {
                let part = |x: &[f32], samples: usize| sample(x, x.len() / samples, index).to_vec();
                let (q, k, v) = (part(&q, samples[0]), part(&k, samples[1]), part(&v, samples[2]));
                attend_within([&q, &k, &v], out, &context, &heads, &mut scratch);
            }
            assert_eq!(out, flat(&fast()), "context {number}, {heads:?}");
        }
    }
}

/// The definition, key by key in f64, with the rule of each mask written out.
#[test]
fn agrees_with_sums_in_f64() {
    for context in contexts() {
        for heads in kinds() {
            let [q, k, v] = inputs(&context, &heads, [1; 3]);
            let out = flat(&attention_within(&q, &k, &v, &context, &heads).unwrap());
            let (q, k, v) = (flat(&q), flat(&k), flat(&v));
            let size = heads.size;
            for segment in context.segments() {
                let rows: Vec<usize> = segment.keys.iter().cloned().flatten().collect();
                for (query, head) in segment.queries.clone().flat_map(|q| (0..heads.queries).map(move |h| (q, h))) {
                    let position = context.positions()[query] as usize;
                    let at = |x: &[f32], row: usize, heads: usize, head: usize, d: usize| {
                        f64::from(x[(row * heads + head) * size + d])
                    };
                    let key_head = head / (heads.queries / heads.keys);
                    let mut sums = vec![0.0; size + 1];
                    for (j, &row) in rows.iter().enumerate() {
                        let seen = match heads.mask {
                            Mask::Full => true,
                            Mask::Causal => j <= position,
                            Mask::Window(w) => j <= position && position < j + w,
                        };
                        let products = (0..size)
                            .map(|d| at(&q, query, heads.queries, head, d) * at(&k, row, heads.keys, key_head, d));
                        let mut score = products.sum::<f64>() * f64::from(heads.scale);
                        if let Some(cap) = heads.cap.map(f64::from) {
                            score = cap * (score / cap).tanh();
                        }
                        let weight = if seen { score.exp() } else { 0.0 };
                        for (d, sum) in sums[..size].iter_mut().enumerate() {
                            *sum += weight * at(&v, row, heads.keys, key_head, d);
                        }
                        sums[size] += weight;
                    }
                    for d in 0..size {
                        let error = at(&out, query, heads.queries, head, d) - sums[d] / sums[size];
                        assert!(error.abs() < 1e-5, "{heads:?}, query {query}: {error}");
                    }
                }
            }
        }
    }
}

/// Continuations in one pass over their prompt's rows, and each with its prompt by itself.
#[test]
fn branches_are_separate_texts_that_share_a_prompt() {
    let heads = Heads::new(4, 2, 8, Mask::Window(20));
    let context = Context::branches(&[(37, vec![3, 40])]).unwrap();
    let [q, k, v] = inputs(&context, &heads, [1; 3]);
    let together = flat(&attention_within(&q, &k, &v, &context, &heads).unwrap());
    for (own, length) in [(37, 3), (40, 40)] {
        let alone = |x: &Var| {
            let part = |start, length| x.narrow(1, start, length).unwrap();
            Tensor::cat(&[part(0, 37), part(own, length)], 1).unwrap()
        };
        let text = Context::sentences(&Packing::from_lengths(&[37 + length])).unwrap();
        let out = flat(&attention_within(&alone(&q), &alone(&k), &alone(&v), &text, &heads).unwrap());
        let apart = out[..37 * 32].iter().zip(&together);
        let apart = apart.chain(out[37 * 32..].iter().zip(&together[own * 32..]));
        assert!(apart.into_iter().all(|(left, right)| (left - right).abs() < 1e-5), "the branch from row {own} on");
    }
}

/// Heads of more components than registers hold, and of a number that fills none.
pub(super) fn case() -> (Context, Heads, [Vec<f32>; 3]) {
    let context = Context::branches(&[(35, vec![3, 17])]).unwrap();
    let heads = Heads { cap: Some(3.0), ..Heads::new(4, 2, 43, Mask::Window(30)) };
    let values = |seed, heads: usize| flat(&normal(seed, (context.key_rows(), heads * 43)));
    let values = [values(1, 4), values(2, 2), values(3, 2)];
    (context, heads, values)
}

/// Registers of half the widest width, where there are any.
#[cfg(target_arch = "x86_64")]
pub(super) fn narrower() -> Option<pulp::x86::V3> {
    pulp::x86::V3::try_new()
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn narrower() -> Option<pulp::Scalar> {
    None
}

/// FNV-1a of the bits.
fn digest(parts: &[Tensor]) -> u64 {
    let bits = parts.iter().flat_map(flat).map(f32::to_bits);
    bits.fold(0xcbf2_9ce4_8422_2325, |hash, bits| (hash ^ u64::from(bits)).wrapping_mul(0x0100_0000_01b3))
}

/// Values that no library has a part in.
fn fixed(seed: u32, shape: (usize, usize, usize)) -> Var {
    let count = u32::try_from(shape.0 * shape.1 * shape.2).unwrap();
    let value = |i: u32| {
        let word = i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)).rotate_left(seed);
        f32::from(u16::try_from(word % 4001).unwrap()) / 1000.0 - 2.0
    };
    let values: Vec<f32> = (0..count).map(value).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

/// Digests of the revision before there were masks: records of finished experiments hold its numbers.
#[test]
fn numbers_of_encoders_are_those_of_their_records() {
    let keys = Packing::from_lengths(&[3, 1, 33, 64, 70]);
    let first = Packing::single_rows(5);
    let mut digests = Vec::new();
    for (queries, samples, (width, heads)) in [(&keys, 1, (48, 4)), (&first, 2, (384, 12)), (&keys, 2, (74, 2))] {
        let q = fixed(1, (samples, queries.rows(), width));
        let (k, v) = (fixed(2, (1, keys.rows(), width)), fixed(3, (samples, keys.rows(), width)));
        let out = attention(&q, &k, &v, queries, &keys, heads).unwrap();
        let direction = fixed(4, out.dims3().unwrap());
        let store = (&out * direction.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        let gradients = [&q, &k, &v].map(|var| store.get(var).unwrap().clone());
        digests.push(digest(&[std::slice::from_ref(&out), gradients.as_slice()].concat()));
    }
    assert_eq!(digests, [5_804_809_782_655_713_425, 8_515_018_815_528_565_392, 994_948_364_200_562_682]);
}

#[test]
fn large_scores_do_not_overflow() {
    let keys = Packing::from_lengths(&[5]);
    let q = Var::from_tensor(&(normal(1, (1, 5, 8)).as_tensor() * 1e3).unwrap()).unwrap();
    let out = attention(&q, &q, &q, &keys, &keys, 1).unwrap();
    assert!(flat(&out).iter().all(|x| x.is_finite()));
    let context = Context::sentences(&keys).unwrap();
    for cap in [None, Some(50.0)] {
        let heads = Heads { cap, ..Heads::new(2, 2, 4, Mask::Causal) };
        let out = attention_within(&q, &q, &q, &context, &heads).unwrap();
        let store = out.sum_all().unwrap().backward().unwrap();
        assert!(flat(&out).iter().chain(&flat(store.get(&q).unwrap())).all(|x| x.is_finite()), "{cap:?}");
    }
}

/// What is no number stays with those who see it, whatever the memory of a thread held before.
#[test]
fn what_is_no_number_is_seen_by_those_who_see_it() {
    let context = Context::sentences(&Packing::from_lengths(&[40, 40])).unwrap();
    let heads = Heads { cap: Some(5.0), ..Heads::new(2, 1, 6, Mask::Window(8)) };
    let [q, k, v] = inputs(&context, &heads, [1; 3]);
    let mut bad = flat(&k);
    bad[36 * 6] = f32::NAN;
    let (clean, mut dirty) = (flat(&attention_within(&q, &k, &v, &context, &heads).unwrap()), vec![0.0; 80 * 12]);
    let mut scratch = AttentionScratch::default();
    attend_within([&flat(&q), &bad, &flat(&v)], &mut dirty, &context, &heads, &mut scratch);
    for (row, (clean, dirty)) in clean.chunks_exact(12).zip(dirty.chunks_exact(12)).enumerate() {
        let seen = (36..40).contains(&row);
        assert!(if seen { dirty.iter().all(|x| x.is_nan()) } else { clean == dirty }, "row {row}");
    }
}

/// Nothing of one text reaches another by way of a thread's memory, forward or backward.
#[test]
fn memory_that_other_texts_left_behind_does_not_count() {
    let context = Context::sentences(&Packing::from_lengths(&[64, 37])).unwrap();
    let heads = Heads { cap: Some(5.0), ..Heads::new(2, 1, 6, Mask::Causal) };
    let [q, k, v] = inputs(&context, &heads, [1; 3]).map(|x| flat(&x));
    let mut gradients = Vec::new();
    for bad in [1.0, f32::NAN] {
        let [mut q, mut k, mut v] = [q.clone(), k.clone(), v.clone()];
        for (x, width) in [(&mut q, 12), (&mut k, 6), (&mut v, 6)] {
            x[..64 * width].iter_mut().for_each(|x| *x *= bad);
        }
        let mut scratch = AttentionScratch::default();
        let mut out = vec![0.0; q.len()];
        attend_within([&q, &k, &v], &mut out, &context, &heads, &mut scratch);
        let mut own = vec![out[64 * 12..].to_vec()];
        for family in context.families() {
            let (at_q, at_k) = extents(family, &heads);
            own.truncate(1);
            own.extend([at_q.len(), at_k.len(), at_k.len()].map(|length| vec![0.0; length]));
            let [_, dq, dk, dv] = &mut own[..] else { unreachable!() };
            let qkvg = [&q[at_q.clone()], &k[at_k.clone()], &v[at_k], &q[at_q]];
            attend_back_family(qkvg, [dq, dk, dv], (&context, family), &heads, &mut scratch);
        }
        gradients.push(own);
    }
    assert_eq!(gradients[0], gradients[1]);
}

#[test]
fn half_precision_has_its_softmax_in_f32() {
    let context = Context::branches(&[(9, vec![3, 4])]).unwrap();
    let heads = Heads { cap: Some(4.0), ..Heads::new(4, 2, 8, Mask::Causal) };
    let [q, k, v] = inputs(&context, &heads, [1, 2, 1]).map(|x| x.to_dtype(DType::BF16).unwrap());
    let half = attention_within(&q, &k, &v, &context, &heads).unwrap();
    assert_eq!(half.dtype(), DType::BF16);
    let [q, k, v] = [q, k, v].map(|x| x.to_dtype(DType::F32).unwrap());
    let exact = attention_within(&q, &k, &v, &context, &heads).unwrap();
    assert!(relative_difference(&half.to_dtype(DType::F32).unwrap(), &exact) < 1e-2);
    // 600 equal weights: added up in bf16 they end at 256 times one of them.
    let last = Context::last_rows(&Packing::from_lengths(&[600])).unwrap();
    let ones = |rows: usize, heads: usize| Tensor::ones((1, rows, heads * 8), DType::BF16, &Device::Cpu).unwrap();
    let mean = attention_within(&ones(1, 4), &ones(600, 2), &ones(600, 2), &last, &heads).unwrap();
    assert!(flat(&mean.to_dtype(DType::F32).unwrap()).iter().all(|x| (x - 1.0).abs() < 8e-3));
}

#[test]
fn what_does_not_fit_is_refused() {
    let context = Context::sentences(&Packing::from_lengths(&[4])).unwrap();
    let heads = Heads::new(4, 2, 3, Mask::Causal);
    let refusal = |heads: &Heads, [rows, width, key_width]: [usize; 3]| {
        let (q, k) = (normal(1, (1, rows, width)), normal(2, (1, rows, key_width)));
        attention_within(&q, &k, &k, &context, heads).unwrap_err().to_string()
    };
    let message = refusal(&heads, [3, 12, 6]);
    assert!(message.contains("[1, 3, 12]; expected 1 or 1 samples of 4 rows of 12"), "{message}");
    let message = refusal(&heads, [4, 12, 12]);
    assert!(message.contains("[1, 4, 12]; expected 1 or 1 samples of 4 rows of 6"), "{message}");
    let message = refusal(&Heads { keys: 3, ..heads }, [4, 12, 9]);
    assert!(message.contains("4 heads of 3 for 3 of keys"), "{message}");
    let message = refusal(&Heads { mask: Mask::Window(0), ..heads }, [4, 12, 6]);
    assert!(message.contains("a window of 0 keys"), "{message}");
    for wrong in [Heads { cap: Some(0.0), ..heads }, Heads { scale: f32::NAN, ..heads }] {
        assert!(refusal(&wrong, [4, 12, 6]).contains("expected finite numbers"), "{wrong:?}");
    }
    let (q, k) = (normal(1, (2, 4, 12)), normal(2, (3, 4, 6)));
    assert!(attention_within(&q, &k, &k, &context, &heads).is_err());
}
