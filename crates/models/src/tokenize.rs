//! Text to token numbers, as transformers' `AutoTokenizer` reads a folder: `tokenizer.json` or `vocab.txt`, with the settings of
//! `tokenizer_config.json` on top. Or as a GGUF file describes them.

mod from_gguf;
mod marks;
mod settings;
mod words;

use std::path::{Path, PathBuf};

use bayeslora_host::read;
use tokenizers::models::ModelWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{EncodeInput, Tokenizer as Inner, TruncationDirection, TruncationParams};

use self::settings::{Class, Settings};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::quiet::without_panics;

/// The tokenizer's own file in a folder.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The vocabulary that BERT's tokenizer is made from where [`TOKENIZER_FILE`] is missing.
const VOCABULARY_FILE: &str = "vocab.txt";

/// Bytes of a text that are read for each token that is kept: words are far shorter, and a text that needs more is read whole.
const BYTES_PER_TOKEN: usize = 256;

/// A tokenizer without padding that cuts texts at a number of tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    path: PathBuf,
    inner: Inner,
    /// The same with room for one token more, which a text that was cut fills.
    wider: Inner,
    max_tokens: usize,
    /// Whether special tokens are put around a text.
    marks: bool,
}

/// The tokens of a text, or of a pair of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Token numbers, special tokens included: at least one.
    pub ids: Vec<u32>,
    /// The segment of every token: 0, or 1 in the second text of a pair.
    pub segments: Vec<u32>,
    /// Whether the text was longer than the tokens that are read of it.
    pub truncated: bool,
}

impl Encoded {
    /// The same up to the last token that is not `padding`, where there is another: a decoder's class head is read there, and no token sees
    /// those after it.
    #[must_use]
    pub fn without_padding(mut self, padding: Option<u32>) -> Self {
        let last = self.ids.iter().rposition(|&token| Some(token) != padding);
        let end = last.map_or(self.ids.len(), |last| last + 1);
        self.ids.truncate(end);
        self.segments.truncate(end);
        self
    }
}

impl Tokenizer {
    /// Reads the tokenizer of a folder; texts are cut to `max_tokens`, special tokens included, at the side that the folder says.
    ///
    /// # Errors
    /// [`Error::File`] when its files are missing, are no tokenizer, or ask for what cannot be done.
    pub fn load(folder: &Path, max_tokens: usize) -> Result<Self> {
        let settings = Settings::load(folder)?;
        let (own, vocabulary) = (folder.join(TOKENIZER_FILE), folder.join(VOCABULARY_FILE));
        let (path, mut inner, side) = if own.is_file() {
            let (inner, side) = from_json(&own, &settings)?;
            (own, inner, side)
        } else if vocabulary.is_file() {
            let inner = from_vocabulary(&vocabulary, &settings)?;
            (vocabulary, inner, None)
        } else {
            let problem = format!(
                "not found, nor {VOCABULARY_FILE}; expected the tokenizer saved with the model (AutoTokenizer.from_pretrained(..).save_pretrained(folder))"
            );
            return Err(Error::File { path: own, problem });
        };
        inner.with_padding(None);
        Self::cut(path, inner, max_tokens, settings.truncation_side.or(side).unwrap_or_default())
    }

    /// The tokenizer that a GGUF file describes; texts are cut at their end, as in [`Self::load`].
    ///
    /// # Errors
    /// [`Error::File`] when its vocabulary is incomplete, malformed, or of a kind that is not read.
    pub fn from_gguf(gguf: &Gguf, max_tokens: usize) -> Result<Self> {
        let path = gguf.path().to_owned();
        let problem = |problem: String| Error::File { path: path.clone(), problem };
        let vocabulary = gguf.vocabulary()?;
        let inner = without_panics(|| from_gguf::tokenizer(&vocabulary))
            .map_err(|panic| problem(format!("has a malformed vocabulary ({panic}); copy or download it again")))?
            .map_err(problem)?;
        Self::cut(path, inner, max_tokens, TruncationDirection::Right)
    }

    fn cut(path: PathBuf, inner: Inner, max_tokens: usize, direction: TruncationDirection) -> Result<Self> {
        let problem = |problem: String| Error::File { path: path.clone(), problem };
        let cut = |mut inner: Inner, max_length: usize| {
            let truncation = TruncationParams { max_length, direction, ..TruncationParams::default() };
            inner.with_truncation(Some(truncation)).map_err(|error| problem(format!("cannot cut texts: {error}")))?;
            Ok::<_, Error>(inner)
        };
        let wider = cut(inner.clone(), max_tokens.saturating_add(1))?;
        let inner = cut(inner, max_tokens)?;
        Ok(Self { path, inner, wider, max_tokens, marks: true })
    }

    /// The same, cutting texts at their beginning, whatever its folder says: a decoder answers at the end of its text.
    ///
    /// # Errors
    /// [`Error::File`] when texts cannot be cut.
    pub fn keeping_ends(self) -> Result<Self> {
        let marks = self.marks;
        Ok(Self { marks, ..Self::cut(self.path, self.inner, self.max_tokens, TruncationDirection::Left)? })
    }

    /// The same without special tokens around texts: for texts that have them already, from the template of a chat, and for answers.
    #[must_use]
    pub fn without_marks(self) -> Self {
        Self { marks: false, ..self }
    }

    /// The end of `text` that more than `tokens` tokens are made of, and whether there is more before it: a text of megabytes is not
    /// tokenised to keep a few of its tokens.
    pub fn end_of(text: &str, tokens: usize) -> (&str, bool) {
        let bytes = tokens.saturating_mul(BYTES_PER_TOKEN);
        if text.len() <= bytes { (text, false) } else { kept(text, bytes, TruncationDirection::Left) }
    }

    /// The text of a token as it stands after another: a piece of a character is shown as U+FFFD.
    ///
    /// # Errors
    /// [`Error::Tokenise`] when the tokenizer has no text for it.
    pub fn text_after(&self, before: u32, token: u32) -> Result<String> {
        let decode = |ids: &[u32]| {
            without_panics(|| self.inner.decode(ids, false))
                .map_err(|panic| format!("{} is malformed ({panic})", self.path.display()))
                .and_then(|text| text.map_err(|error| error.to_string()))
                .map_err(|problem| Error::Tokenise { text: format!("token {token}"), problem })
        };
        let (both, first) = (decode(&[before, token])?, decode(&[before])?);
        both.strip_prefix(&first).map_or_else(|| decode(&[token]), |text| Ok(text.to_owned()))
    }

    /// The length in tokens that the folder's `tokenizer_config.json` cuts texts to, if it says one.
    ///
    /// # Errors
    /// [`Error::File`] when that file is malformed.
    pub fn own_length(folder: &Path) -> Result<Option<usize>> {
        Ok(Settings::load(folder)?.model_max_length)
    }

    /// Refuses a tokenizer with tokens that a model of `vocabulary` entries does not embed.
    ///
    /// # Errors
    /// [`Error::File`] with the largest of its token numbers.
    pub fn check(&self, vocabulary: usize) -> Result<()> {
        self.check_largest(vocabulary, true, "vocab_size in config.json is")
    }

    /// Refuses a tokenizer with tokens that a decoder of `vocab_size` does not embed. Tokens that were added may be beyond, as in Gemma 3,
    /// whose mark of images is known to decoders without images too.
    ///
    /// # Errors
    /// [`Error::File`] with the largest of its token numbers.
    pub fn check_pieces(&self, vocab_size: usize) -> Result<()> {
        self.check_largest(vocab_size, false, "the model embeds")
    }

    fn check_largest(&self, vocab_size: usize, with_added: bool, says: &str) -> Result<()> {
        let largest = self.inner.get_vocab(with_added).into_values().max().unwrap_or(0);
        if (largest as usize) < vocab_size {
            return Ok(());
        }
        let problem = format!(
            "its token numbers reach {largest}, but {says} {vocab_size}; expected the tokenizer saved with the model"
        );
        Err(Error::File { path: self.path.clone(), problem })
    }

    /// The number of a token by its text, special or not.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.inner.token_to_id(text)
    }

    /// Token numbers of `text`, special tokens included: at least one, at most the maximum.
    ///
    /// # Errors
    /// [`Error::Tokenise`] when the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encode_text(text, None)?.ids)
    }

    /// Tokens of `text`, or of the pair of `text` and `second`, whose longer one is cut first.
    ///
    /// # Errors
    /// [`Error::Tokenise`] when the tokenizer refuses the text.
    pub fn encode_text(&self, text: &str, second: Option<&str>) -> Result<Encoded> {
        // A text of megabytes is not tokenised to keep a few of its tokens.
        let mut bytes = self.max_tokens.saturating_mul(BYTES_PER_TOKEN);
        loop {
            let (first, first_cut) = self.kept_end(text, bytes);
            let (other, other_cut) = second.map_or((None, false), |second| {
                let (kept, cut) = self.kept_end(second, bytes);
                (Some(kept), cut)
            });
            // Where all of a piece was kept, or it is nothing but spaces, more of its text may be wanted.
            match self.encode_whole(first, other) {
                Ok(encoded) if encoded.truncated => return Ok(encoded),
                encoded if !(first_cut || other_cut) => return encoded,
                _ => {}
            }
            bytes = bytes.saturating_mul(8);
        }
    }

    /// The end of `text` that tokens are kept of, at least `bytes` long, and whether there is more.
    fn kept_end<'a>(&self, text: &'a str, bytes: usize) -> (&'a str, bool) {
        if text.len() <= bytes {
            return (text, false);
        }
        let is_right = self.inner.get_truncation().is_none_or(|cut| cut.direction == TruncationDirection::Right);
        kept(text, bytes, if is_right { TruncationDirection::Right } else { TruncationDirection::Left })
    }

    fn encode_whole(&self, text: &str, second: Option<&str>) -> Result<Encoded> {
        let problem = |problem: String| Error::Tokenise { text: text.chars().take(60).collect(), problem };
        let input = match second {
            None => EncodeInput::from(text),
            Some(second) => EncodeInput::from((text, second)),
        };
        let encode = |inner: &Inner| {
            without_panics(|| inner.encode_fast(input.clone(), self.marks))
                .map_err(|panic| {
                    problem(format!("{} is malformed ({panic}); copy or download it again", self.path.display()))
                })?
                .map_err(|error| problem(error.to_string()))
        };
        let encoding = encode(&self.inner)?;
        if encoding.is_empty() {
            return Err(problem("no tokens; the tokenizer adds no special tokens".to_owned()));
        }
        // The crate stops tokenising where it would cut, so what was cut off cannot be asked for.
        let is_full = encoding.len() >= self.max_tokens;
        let truncated = is_full && encode(&self.wider)?.len() > encoding.len();
        Ok(Encoded { ids: encoding.get_ids().to_vec(), segments: encoding.get_type_ids().to_vec(), truncated })
    }

    /// Most tokens of a text.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }
}

/// At least `bytes` of a longer text, cut at the end of `side`, and whether there is more: up to the next space, or within a word that is as
/// long again, whose end lies beyond the tokens that are kept.
fn kept(text: &str, bytes: usize, side: TruncationDirection) -> (&str, bool) {
    match side {
        TruncationDirection::Right => {
            let from = text.ceil_char_boundary(bytes);
            let farthest = text.ceil_char_boundary(bytes.saturating_mul(2));
            let space = text[from..farthest].find(char::is_whitespace).map_or(farthest, |space| from + space);
            (&text[..space], space < text.len())
        }
        TruncationDirection::Left => {
            let to = text.floor_char_boundary(text.len() - bytes);
            let farthest = text.floor_char_boundary(text.len().saturating_sub(bytes.saturating_mul(2)));
            let space = text[farthest..to].rfind(char::is_whitespace).map_or(farthest, |space| farthest + space);
            (&text[space..], space > 0)
        }
    }
}

/// `tokenizer.json` with the settings put into it, and the side it cuts texts at itself.
fn from_json(path: &Path, settings: &Settings) -> Result<(Inner, Option<TruncationDirection>)> {
    let problem = |problem: String| Error::File { path: path.to_owned(), problem };
    let malformed = |error: serde_json::Error| problem(format!("not a tokenizer: {error}"));
    let mut json: serde_json::Value = serde_json::from_slice(&read(path)?).map_err(malformed)?;
    settings.apply(&mut json).map_err(problem)?;
    let text = serde_json::to_vec(&json).map_err(malformed)?;
    let mut inner = without_panics(|| Inner::from_bytes(&text))
        .map_err(|panic| problem(format!("not a tokenizer ({panic}); copy or download it again")))?
        .map_err(|error| problem(format!("not a tokenizer: {error}")))?;
    // What is replaced below may be malformed all the same, and then the file is damaged.
    without_panics(|| inner.encode_fast("a", true))
        .map_err(|panic| problem(format!("is malformed ({panic}); copy or download it again")))?
        .map_err(|error| problem(format!("cannot read a text: {error}")))?;
    // Of another kind of vocabulary BERT's class makes nothing.
    if settings.class == Class::Bert && matches!(inner.get_model(), ModelWrapper::WordPiece(_)) {
        as_bert(&mut inner, settings).map_err(problem)?;
    }
    marks::check(&inner, settings.marks.each_ref()).map_err(problem)?;
    let side = inner.get_truncation().map(|truncation| truncation.direction);
    Ok((inner, side))
}

/// BERT's tokenizer from its vocabulary, one token a line.
fn from_vocabulary(path: &Path, settings: &Settings) -> Result<Inner> {
    let problem = |problem: String| Error::File { path: path.to_owned(), problem };
    let vocabulary =
        WordPiece::read_bytes(&read(path)?).map_err(|error| problem(format!("not a vocabulary: {error}")))?;
    let model = WordPiece::builder().vocab(vocabulary).unk_token("[UNK]".to_owned());
    let model = model.build().map_err(|error| problem(error.to_string()))?;
    let mut inner = Inner::new(model);
    as_bert(&mut inner, settings).map_err(problem)?;
    let names =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].into_iter().filter(|token| inner.token_to_id(token).is_some());
    let added: Vec<_> = names.map(|token| tokenizers::AddedToken::from(token, true)).collect();
    inner.add_special_tokens(added).map_err(|error| problem(error.to_string()))?;
    Ok(inner)
}

/// Everything but the vocabulary as BERT's class of transformers makes it: normaliser, words, special tokens of a text and of a pair.
///
/// # Errors
/// One line, where a special token is missing.
fn as_bert(inner: &mut Inner, settings: &Settings) -> Result<(), String> {
    let special = |token: &str| {
        let number = inner.token_to_id(token);
        number
            .map(|number| (token.to_owned(), number))
            .ok_or_else(|| format!("has no {token}; expected BERT's vocabulary"))
    };
    let specials = vec![special("[CLS]")?, special("[SEP]")?];
    special("[UNK]")?;
    let template = TemplateProcessing::builder()
        .try_single("[CLS]:0 $A:0 [SEP]:0")
        .and_then(|builder| builder.try_pair("[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"))?
        .special_tokens(specials)
        .build()
        .map_err(|error| error.to_string())?;
    let normalizer = BertNormalizer::new(
        true,
        settings.tokenize_chinese_chars.unwrap_or(true),
        settings.strip_accents,
        settings.do_lower_case.unwrap_or(true),
    );
    inner.with_normalizer(Some(normalizer)).map_err(|error| error.to_string())?;
    inner.with_pre_tokenizer(Some(BertPreTokenizer));
    inner.with_post_processor(Some(template));
    Ok(())
}

#[cfg(test)]
mod tests;
