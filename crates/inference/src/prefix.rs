//! The frozen prefix: activations below the first adapted block, computed once per sentence.
//!
//! Nothing below the first adapter depends on method, seed, epoch or sample, so these activations are shared by all of
//! them.
//!
//! More than 400 lines: a fifth is tests.

use std::ops::Range;

use bayeslora_adapters::{AdapterSet, Draw};
use bayeslora_models::{Backbone, Encoded, Head, Hidden, Packing, Pass, Question, RowFile, Tokenizer, Values};
use candle_core::{DType, Device, Tensor};
use ndarray::Array2;

use crate::budget::{Budget, Share};
use crate::error::{Error, Result};
use bayeslora_data::Progress;
use bayeslora_data::tasks::Example;

/// Sentences of one split, tokenised, labelled where their task says so, with their prefix activations.
#[derive(Debug)]
pub struct Sentences {
    /// Number of the split; with an example's place in it, it addresses the example's noise.
    split: u8,
    labels: Vec<u32>,
    packing: Packing,
    lengths: Vec<usize>,
    /// The sentences as questions, where answers are chosen among; else none.
    questions: Vec<Question>,
    /// Answers of a question at most; 0 of none.
    answers: usize,
    width: usize,
    /// `[rows, width]`, packed.
    hidden: Held,
}

/// Activations in f32, bit by bit the same wherever they are.
#[derive(Debug)]
enum Held {
    /// In memory, with what they take of the budget.
    Memory(Vec<f32>, #[expect(dead_code, reason = "gives its bytes back when it is dropped")] Share),
    /// In a file, where the budget has no room for them.
    File(RowFile),
}

impl Held {
    /// Room for `values`, none of them there yet.
    fn with_room(values: usize, budget: &Budget) -> Result<Self> {
        match budget.take(4 * values as u64) {
            Some(share) => Ok(Self::Memory(Vec::with_capacity(values), share)),
            None => Ok(Self::File(RowFile::create()?)),
        }
    }

    fn append(&mut self, values: &[f32]) -> Result<()> {
        match self {
            Self::Memory(held, _) => held.extend_from_slice(values),
            Self::File(file) => file.append(values)?,
        }
        Ok(())
    }

    fn values(&self) -> Values<'_> {
        match self {
            Self::Memory(held, _) => held.into(),
            Self::File(file) => Values::File(file),
        }
    }
}

/// Some sentences gathered into one batch.
#[derive(Debug)]
pub struct Batch {
    /// Noise addresses of the examples.
    pub examples: Vec<u64>,
    /// Lengths in tokens.
    pub lengths: Vec<usize>,
    /// Activations `[1, rows, width]` below the first adapted block.
    pub hidden: Tensor,
    /// Labels; none when the split is not labelled.
    pub labels: Vec<u32>,
    /// Where each sentence's rows are.
    pub packing: Packing,
    /// The questions, where answers are chosen among; else none.
    pub questions: Vec<Question>,
}

/// Rows of one forward pass through the prefix.
pub(crate) const ROWS_PER_PASS: usize = 2048;

impl Sentences {
    /// Tokenises `examples` and computes the activations below block `from`, which are in a file where the budget has no room for them.
    ///
    /// # Errors
    /// When a text cannot be tokenised or does not fit the backbone.
    pub fn compute(
        backbone: &Backbone,
        tokenizer: &Tokenizer,
        examples: &[Example],
        split: u8,
        from: usize,
        (budget, progress): (&Budget, &dyn Progress),
    ) -> Result<Self> {
        let encode = |example: &Example| -> Result<Encoded> {
            Ok(tokenizer.encode_text(&example.text, None)?.without_padding(backbone.padding()))
        };
        let texts = examples.iter().map(encode).collect::<Result<Vec<_>>>()?;
        let labels = examples.iter().map(|example| example.label).collect::<Option<_>>().unwrap_or_default();
        Self::of_encoded(backbone, &texts, labels, split, from, (budget, progress))
    }

    /// Computes the activations below block `from` of tokenised sentences, in the default budget; `labels` are one each, or none at all.
    ///
    /// # Errors
    /// When a sentence does not fit the backbone.
    pub fn of_tokens(
        backbone: &Backbone,
        tokens: &[Vec<u32>],
        labels: Vec<u32>,
        split: u8,
        from: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let segments = |ids: &Vec<u32>| vec![0; ids.len()];
        let alone = |ids: &Vec<u32>| Encoded { ids: ids.clone(), segments: segments(ids), truncated: false };
        let texts: Vec<Encoded> = tokens.iter().map(alone).collect();
        Self::of_encoded(backbone, &texts, labels, split, from, (&Budget::default(), progress))
    }

    /// The same for texts or pairs of texts, whose tokens belong to segments.
    ///
    /// # Errors
    /// When a text does not fit the backbone.
    pub fn of_encoded(
        backbone: &Backbone,
        texts: &[Encoded],
        labels: Vec<u32>,
        split: u8,
        from: usize,
        (budget, progress): (&Budget, &dyn Progress),
    ) -> Result<Self> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        let embed = |chunk: Range<usize>| -> Result<(Tensor, Packing)> {
            Ok((backbone.embed_encoded(&texts[chunk.clone()])?, Packing::from_lengths(&lengths[chunk])))
        };
        let hidden = below((backbone, from), &lengths, (budget, progress), embed)?;
        let (packing, width) = (Packing::from_lengths(&lengths), backbone.width());
        Ok(Self { split, labels, packing, lengths, questions: Vec::new(), answers: 0, width, hidden })
    }

    /// Questions whose answers are chosen among by their log-likelihoods, and the activations below block `from`; a question has
    /// `answers` at most, and `labels` are the places of the right ones, one each, or none at all.
    ///
    /// # Errors
    /// When a question does not fit the backbone, or has more answers.
    pub fn of_choices(
        backbone: &Backbone,
        questions: Vec<Question>,
        (labels, answers): (Vec<u32>, usize),
        split: u8,
        from: usize,
        (budget, progress): (&Budget, &dyn Progress),
    ) -> Result<Self> {
        if let Some(question) = questions.iter().find(|question| question.answers.len() > answers) {
            return Err(Error::Parameter {
                what: format!("a question of {} answers", question.answers.len()),
                expected: format!("expected {answers} at most"),
            });
        }
        let packing = Question::packing(&questions);
        let lengths: Vec<usize> = packing.sentences().map(|rows| rows.len()).collect();
        let embed = |chunk: Range<usize>| -> Result<(Tensor, Packing)> {
            let own = Question::packing(&questions[chunk.clone()]);
            let tokens: Vec<u32> = questions[chunk].iter().flat_map(Question::tokens).collect();
            Ok((backbone.embed_packed(&tokens, &own)?, own))
        };
        let hidden = below((backbone, from), &lengths, (budget, progress), embed)?;
        Ok(Self { split, labels, packing, lengths, questions, answers, width: backbone.width(), hidden })
    }

    /// The sentences as questions, where answers are chosen among; else none.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// Classes of the predictions that `head` makes of them: answers of a question at most, or the head's own.
    pub fn classes(&self, head: &Head) -> usize {
        if self.questions.is_empty() { head.classes() } else { self.answers }
    }

    /// Number of sentences.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no sentence.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Tokens of all sentences together.
    pub fn tokens(&self) -> usize {
        self.packing.rows()
    }

    /// Labels in order; none when the split is not labelled.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Numbers of the sentences in noise addresses.
    pub(crate) fn addresses(&self) -> Vec<u64> {
        (0..self.len()).map(|place| self.address(place)).collect()
    }

    /// The sentences as a sampler reads them, with their `addresses`.
    pub(crate) fn hidden<'a>(&'a self, addresses: &'a [u64]) -> Hidden<'a> {
        Hidden { values: self.hidden.values(), lengths: &self.lengths, examples: addresses }
    }

    /// Mean over each sentence's tokens, or those of its prompt, of the activations below the first adapted block, `[sentences, width]`.
    ///
    /// # Errors
    /// When activations in a file cannot be read.
    pub fn mean_hidden(&self) -> Result<Array2<f64>> {
        let mut means = Array2::zeros((self.len(), self.width));
        let mut own = Vec::new();
        for ((mut mean, rows), layout) in
            means.outer_iter_mut().zip(self.packing.sentences()).zip(self.packing.layouts())
        {
            // Answers are no part of what a question is.
            let rows = rows.start..rows.start + layout.prompt;
            let tokens = rows.len().max(1) as f64;
            own.clear();
            self.hidden.values().copy(rows.start * self.width..rows.end * self.width, &mut own)?;
            for row in own.chunks(self.width) {
                for (sum, &value) in mean.iter_mut().zip(row) {
                    *sum += f64::from(value) / tokens;
                }
            }
        }
        Ok(means)
    }

    /// Activations `[rows, width]`, lengths and noise addresses of the sentences at `places`.
    ///
    /// # Errors
    /// When activations in a file cannot be read.
    pub fn gather(&self, places: &[usize]) -> Result<(Vec<f32>, Vec<usize>, Vec<u64>)> {
        let starts: Vec<usize> = self.packing.sentences().map(|rows| rows.start).collect();
        let lengths: Vec<usize> = places.iter().map(|&place| self.lengths[place]).collect();
        let mut hidden = Vec::with_capacity(lengths.iter().sum::<usize>() * self.width);
        for &place in places {
            let rows = starts[place]..starts[place] + self.lengths[place];
            self.hidden.values().copy(rows.start * self.width..rows.end * self.width, &mut hidden)?;
        }
        Ok((hidden, lengths, places.iter().map(|&place| self.address(place)).collect()))
    }

    /// The sentences at `places` as a set of its own: their numbers in noise addresses are those of their places in it.
    ///
    /// # Errors
    /// When activations in a file cannot be read.
    pub fn select(&self, places: &[usize], budget: &Budget) -> Result<Self> {
        let starts: Vec<usize> = self.packing.sentences().map(|rows| rows.start).collect();
        let lengths: Vec<usize> = places.iter().map(|&place| self.lengths[place]).collect();
        let mut hidden = Held::with_room(lengths.iter().sum::<usize>() * self.width, budget)?;
        let mut own = Vec::new();
        for &place in places {
            let rows = starts[place]..starts[place] + self.lengths[place];
            own.clear();
            self.hidden.values().copy(rows.start * self.width..rows.end * self.width, &mut own)?;
            hidden.append(&own)?;
        }
        Ok(Self {
            split: self.split,
            labels: places.iter().filter_map(|&place| self.labels.get(place).copied()).collect(),
            packing: Packing::from_layouts(places.iter().map(|&place| self.packing.layouts()[place].clone())),
            lengths,
            questions: places.iter().filter_map(|&place| self.questions.get(place).cloned()).collect(),
            answers: self.answers,
            width: self.width,
            hidden,
        })
    }

    /// Gathers sentences by their places.
    ///
    /// # Errors
    /// When the tensor cannot be made on `device`, or activations in a file cannot be read.
    pub fn batch(&self, places: &[usize], device: &Device) -> Result<Batch> {
        let (hidden, lengths, examples) = self.gather(places)?;
        let packing = Packing::from_layouts(places.iter().map(|&place| self.packing.layouts()[place].clone()));
        let hidden = Tensor::from_vec(hidden, (1, packing.rows(), self.width), device)?;
        Ok(Batch {
            examples,
            labels: places.iter().filter_map(|&place| self.labels.get(place).copied()).collect(),
            questions: places.iter().filter_map(|&place| self.questions.get(place).cloned()).collect(),
            lengths,
            hidden,
            packing,
        })
    }

    /// Splits all sentences into batches of at most `rows` tokens (or one sentence), similar lengths together.
    pub fn batches_of_rows(&self, rows: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|&place| self.lengths[place]);
        let lengths: Vec<usize> = order.iter().map(|&place| self.lengths[place]).collect();
        chunks_of_rows(&lengths, rows).into_iter().map(|chunk| order[chunk].to_vec()).collect()
    }

    /// Number of a sentence in noise addresses.
    fn address(&self, place: usize) -> u64 {
        noise_number(self.split, place as u64)
    }
}

/// Activations below block `from` of texts of these lengths, some texts at a time; `embed` gives those below the first block.
fn below(
    (backbone, from): (&Backbone, usize),
    lengths: &[usize],
    (budget, progress): (&Budget, &dyn Progress),
    embed: impl Fn(Range<usize>) -> Result<(Tensor, Packing)>,
) -> Result<Held> {
    let mut hidden = Held::with_room(lengths.iter().sum::<usize>() * backbone.width(), budget)?;
    let none = AdapterSet::new();
    for chunk in chunks_of_rows(lengths, ROWS_PER_PASS) {
        let (x, packing) = embed(chunk)?;
        let x = backbone.run_blocks(0..from, &x, &packing, &mut Pass::new(&none, Draw::Mean))?;
        hidden.append(&x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?)?;
        progress.advance(packing.rows() as u64);
    }
    Ok(hidden)
}

/// Number, in noise addresses, of the sentence at `place` of a split: the split in bits 24 to 31, the place in those around them.
fn noise_number(split: u8, place: u64) -> u64 {
    place >> 24 << 32 | u64::from(split) << 24 | place & 0x00FF_FFFF
}

/// Consecutive ranges of sentences of at most `rows` tokens together, each at least one sentence.
pub(crate) fn chunks_of_rows(lengths: &[usize], rows: usize) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut total = 0;
    for (place, &length) in lengths.iter().enumerate() {
        if total + length > rows && place > start {
            chunks.push(start..place);
            (start, total) = (place, 0);
        }
        total += length;
    }
    if start < lengths.len() {
        chunks.push(start..lengths.len());
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Committed results were drawn at the first number; the others were one another's when places were cut to 24 bits.
    #[test]
    fn sentences_of_any_place_have_noise_of_their_own() {
        assert_eq!(noise_number(3, 5), 0x0300_0005);
        let numbers = [(3, 5), (3, 5 + (1 << 24)), (3, 5 + (1 << 25)), (4, 5), (4, 5 + (1 << 24)), (255, 0x00FF_FFFF)];
        let distinct: std::collections::BTreeSet<u64> =
            numbers.into_iter().map(|(split, place)| noise_number(split, place)).collect();
        assert_eq!(distinct.len(), numbers.len());
    }

    #[test]
    fn a_selection_is_what_its_texts_alone_would_be() {
        let tiny = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/golden/tiny");
        let backbone = Backbone::load(&tiny, &Device::Cpu).unwrap();
        let tokens: Vec<Vec<u32>> = (0..7).map(|n| (5..7 + n).chain([3]).collect()).collect();
        let of = |tokens: &[Vec<u32>], labels| {
            Sentences::of_tokens(&backbone, tokens, labels, 2, 1, &bayeslora_data::Silent)
        };
        let all = of(&tokens, (0..7).collect()).unwrap();
        let places = [4, 0, 6];
        let alone = of(&places.map(|place| tokens[place].clone()), vec![4, 0, 6]).unwrap();
        // In memory and in a file.
        for budget in [Budget::default(), Budget::new(0)] {
            let selected = all.select(&places, &budget).unwrap();
            let every: Vec<usize> = (0..3).collect();
            assert_eq!(selected.gather(&every).unwrap().1, alone.gather(&every).unwrap().1);
            assert_eq!(selected.gather(&every).unwrap().2, alone.gather(&every).unwrap().2);
            let pairs = selected.gather(&every).unwrap().0.into_iter().zip(alone.gather(&every).unwrap().0);
            assert!(pairs.into_iter().all(|(own, other)| (own - other).abs() < 1e-5));
            assert_eq!(selected.batch(&every, &Device::Cpu).unwrap().labels, [4, 0, 6]);
            assert_eq!((selected.len(), selected.tokens()), (3, alone.tokens()));
        }
        assert_eq!(
            all.gather(&places).unwrap().0,
            all.select(&places, &Budget::default()).unwrap().gather(&[0, 1, 2]).unwrap().0
        );
    }

    #[test]
    fn chunks_cover_everything_once() {
        let lengths = [5, 7, 30, 1, 1, 1, 9];
        let chunks = chunks_of_rows(&lengths, 12);
        assert_eq!(chunks, [0..2, 2..3, 3..7]);
        assert!(chunks_of_rows(&[], 12).is_empty());
    }
}
