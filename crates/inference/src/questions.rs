//! Prompts and the answers after them as tokens.
//!
//! An answer is read as it stands after its prompt: the tokens of both together, where they begin with those of the prompt alone. Where the
//! two would merge into one token, the answer is tokenised apart and put after the prompt, as PEFT's examples of language models do. Then
//! all answers share one prompt. (lm-evaluation-harness cuts the tokens of both at the prompt's number of tokens, so that prompts may
//! differ.) A prompt is cut at its beginning; an answer never is.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use bayeslora_models::{Answer, Backbone, Encoded, Normalisation, Question, Tokenizer};

use crate::error::{Error, Result};
use crate::reader::{ANCHOR, Source, begins_twice, for_model, marks};

/// Tokens of no text: what is cut is cut here, not in the tokenizer.
const UNCUT: usize = 1 << 40;

/// How the readout of a language model reads its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readout {
    /// Each answer is one token, and its logit is that of the token.
    Tokens,
    /// Each answer is a text, and its logit is its log-likelihood.
    Texts,
}

impl fmt::Display for Readout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tokens => "tokens",
            Self::Texts => "texts",
        })
    }
}

impl FromStr for Readout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Tokens, Self::Texts].into_iter().find(|known| known.to_string() == text);
        known.ok_or_else(|| format!("readout {text:?} is unknown; expected tokens or texts"))
    }
}

/// Reads prompts with their answers: a tokenizer that cuts nothing, and what surrounds its texts.
#[derive(Debug)]
pub struct QuestionReader {
    tokenizer: Tokenizer,
    bare: Tokenizer,
    /// Most tokens of a prompt with an answer.
    max_tokens: usize,
    /// The token before a text.
    before: Option<u32>,
    /// Tokens after a text.
    after: usize,
    /// The tokens of [`ANCHOR`].
    anchor: Vec<u32>,
}

/// Tells the caller why something is not an answer.
fn refused<T>(what: String, expected: impl Into<String>) -> Result<T> {
    Err(Error::Parameter { what, expected: expected.into() })
}

impl QuestionReader {
    /// The tokenizer of `adapter` or `model` before its model is read; prompts with their answers are at most `max_tokens` long.
    ///
    /// # Errors
    /// When there is no tokenizer.
    pub(crate) fn load(model: &Path, adapter: &Path) -> Result<Self> {
        let source = Source::of(model, adapter);
        let tokenizer = source.tokenizer(UNCUT)?;
        let [before, after] = marks(&source)?;
        let bare = tokenizer.clone().without_marks();
        let anchor = bare.encode(ANCHOR)?;
        Ok(Self { tokenizer, bare, max_tokens: UNCUT, before: before.last().copied(), after: after.len(), anchor })
    }

    /// The same for a model, whose positions texts fit in.
    ///
    /// # Errors
    /// When the tokenizer is not the model's, or the model does not read so many tokens.
    pub(crate) fn within(
        self,
        backbone: &Backbone,
        model: &Path,
        adapter: &Path,
        max_tokens: Option<usize>,
    ) -> Result<Self> {
        let max_tokens = Source::of(model, adapter).length(backbone, max_tokens)?;
        Ok(Self { tokenizer: for_model(self.tokenizer, backbone)?, max_tokens, ..self })
    }

    /// The tokens of answers that stand after no text in particular.
    ///
    /// # Errors
    /// When there are fewer than two, one is nothing, or two are the same.
    pub(crate) fn answers(&self, answers: &[String]) -> Result<Vec<Vec<u32>>> {
        let tokens = answers.iter().map(|answer| self.apart(answer)).collect::<Result<Vec<_>>>()?;
        self.check_each(answers, &tokens)?;
        check_together(answers, &tokens)?;
        Ok(tokens)
    }

    /// Refuses texts of no tokens, or of more than fit.
    fn check_each(&self, answers: &[String], tokens: &[Vec<u32>]) -> Result<()> {
        for (answer, ids) in answers.iter().zip(tokens) {
            let (answer, length, most) = (shown(answer), ids.len(), self.max_tokens);
            if ids.is_empty() {
                return refused(
                    format!("answer {answer} of 0 tokens"),
                    "an answer has a token at least, as it stands after the text, its space included",
                );
            }
            if length >= most {
                return refused(
                    format!("answer {answer} of {length} tokens, in a window of {most}"),
                    "an answer is never cut: shorten it, or give more with --max-tokens",
                );
            }
        }
        Ok(())
    }

    /// The tokens of an answer after [`ANCHOR`]: some tokenizers put a space before a text of its own.
    fn apart(&self, answer: &str) -> Result<Vec<u32>> {
        if answer.is_empty() {
            return Ok(Vec::new());
        }
        let after = self.bare.encode(&format!("{ANCHOR}{answer}"))?;
        match after.strip_prefix(self.anchor.as_slice()) {
            Some(ids) => Ok(ids.to_vec()),
            None => Ok(self.bare.encode(answer)?),
        }
    }

    /// The tokens of a text that another may follow, with the mark before it.
    fn whole(&self, text: &str) -> Result<Vec<u32>> {
        if text.is_empty() && self.before.is_none() {
            return Ok(Vec::new());
        }
        let mut ids = self.tokenizer.encode(text)?;
        ids.truncate(ids.len().saturating_sub(self.after));
        if begins_twice(&ids, self.before) {
            ids.remove(0);
        }
        Ok(ids)
    }

    /// The tokens of a text whose next token is asked for: it loses its beginning where it is too long, but not the mark before it.
    ///
    /// # Errors
    /// When the text has no tokens, or the tokenizer refuses it.
    pub(crate) fn prompt(&self, text: &str) -> Result<Encoded> {
        let (text, was_cut) = Tokenizer::end_of(text, self.max_tokens);
        self.cut(self.whole(text)?, self.max_tokens, was_cut)
    }

    /// The last `room` of a prompt's tokens, after the mark where it begins with one.
    fn cut(&self, mut ids: Vec<u32>, room: usize, was_cut: bool) -> Result<Encoded> {
        if ids.is_empty() {
            return refused(
                "a text of 0 tokens".to_owned(),
                "the model predicts what follows a token: give it a text of one at least",
            );
        }
        let kept = usize::from(self.before.is_some_and(|mark| ids[0] == mark));
        let truncated = ids.len() > room;
        if truncated {
            ids.drain(kept..ids.len() - (room - kept));
        }
        Ok(Encoded { segments: vec![0; ids.len()], ids, truncated: truncated || was_cut })
    }

    /// The reader of a model without adapter, for texts of at most `max_tokens`.
    ///
    /// # Errors
    /// When there is no tokenizer, it is not the model's, or the model does not read so many tokens.
    pub fn of_model(backbone: &Backbone, model: &Path, max_tokens: usize) -> Result<Self> {
        Self::load(model, model)?.within(backbone, model, model, Some(max_tokens))
    }

    /// A question whose prompt is a context, of which the left may be cut, and a cue, of which nothing may be.
    ///
    /// # Errors
    /// When the tokenizer refuses the text, when an answer has no tokens, and when the cue does not fit beside the longest answer.
    pub fn cued(&self, context: &str, cue: &str, answers: &[String]) -> Result<Question> {
        let (question, was_cut) = self.question(&format!("{context}{cue}"), answers)?;
        let mark = usize::from(self.before.is_some());
        let whole = self.whole(cue)?.len().saturating_sub(mark);
        let kept = question.prompt.len() - mark.min(question.prompt.len());
        if was_cut && kept < whole {
            let most = self.max_tokens;
            return refused(
                format!("{} of {whole} tokens before its answers, in a window of {most}", shown(cue)),
                "a question is never cut: give more with max-tokens",
            );
        }
        Ok(question)
    }

    /// A prompt with the answers after it, and whether the prompt was cut.
    ///
    /// # Errors
    /// As [`Self::prompt`]; when an answer has no tokens, is as long as the window, or leaves no room for the prompt's end.
    pub(crate) fn question(&self, prompt: &str, answers: &[String]) -> Result<(Question, bool)> {
        let (prompt, was_cut) = Tokenizer::end_of(prompt, self.max_tokens);
        let start = self.whole(prompt)?;
        let after = |answer: &String| -> Result<Vec<u32>> {
            let both = self.whole(&format!("{prompt}{answer}"))?;
            match both.strip_prefix(start.as_slice()) {
                Some(ids) if !ids.is_empty() => Ok(ids.to_vec()),
                _ => self.apart(answer),
            }
        };
        let tokens = answers.iter().map(after).collect::<Result<Vec<_>>>()?;
        self.check_each(answers, &tokens)?;
        let longest = tokens.iter().map(Vec::len).max().unwrap_or(0);
        // The mark and one token of the text itself.
        let least = usize::from(self.before.is_some()) + 1;
        let room = self.max_tokens.saturating_sub(longest);
        if start.len() > room && room < least {
            let most = self.max_tokens;
            return refused(
                format!("an answer of {longest} tokens, which leaves nothing of the text in a window of {most}"),
                "an answer is never cut: shorten it, or give more with --max-tokens",
            );
        }
        let prompt = self.cut(start, room, was_cut)?;
        let answer =
            |(answer, tokens): (&String, Vec<u32>)| Answer { tokens, characters: answer.trim().chars().count() };
        let answers = answers.iter().zip(tokens).map(answer).collect();
        Ok((Question { prompt: prompt.ids, answers }, prompt.truncated))
    }

    /// The text of a token, its space included.
    ///
    /// # Errors
    /// When the tokenizer has none.
    pub(crate) fn text_of(&self, token: u32) -> Result<String> {
        match self.anchor.last() {
            Some(&before) => Ok(self.bare.text_after(before, token)?),
            None => Ok(String::new()),
        }
    }
}

/// The beginning of an answer, quoted.
fn shown(answer: &str) -> String {
    const SHOWN: usize = 60;
    let start: String = answer.chars().take(SHOWN).collect();
    if start.len() == answer.len() { format!("{answer:?}") } else { format!("{start:?}...") }
}

/// Refuses answers that nothing can be chosen among.
///
/// # Errors
/// When there are fewer than two, or two are the same.
pub(crate) fn check_together(answers: &[String], tokens: &[Vec<u32>]) -> Result<()> {
    if answers.len() < 2 {
        return refused(
            format!("{} answer to choose from", answers.len()),
            "give two or more, each with --choice, or in the line's `choices`",
        );
    }
    for (place, ids) in tokens.iter().enumerate() {
        if let Some(other) = tokens[..place].iter().position(|other| other == ids) {
            let same = if ids.len() == 1 { "the same token" } else { "the same tokens" };
            let (one, other) = (shown(&answers[other]), shown(&answers[place]));
            return refused(format!("answers {one} and {other}, which are {same}"), "give different ones");
        }
    }
    Ok(())
}

/// Whether answers of these tokens are read as tokens: where that is asked for, or where each is one and nothing else is asked for.
pub(crate) fn reads_tokens(
    readout: Option<Readout>,
    normalisation: Option<Normalisation>,
    answers: &[Vec<u32>],
) -> bool {
    match readout {
        Some(readout) => readout == Readout::Tokens,
        None => normalisation.is_none() && answers.iter().all(|answer| answer.len() == 1),
    }
}

/// The tokens of answers of one each.
///
/// # Errors
/// When one has several.
pub(crate) fn single_tokens(answers: &[String], tokens: &[Vec<u32>]) -> Result<Vec<u32>> {
    let single = |(answer, ids): (&String, &Vec<u32>)| match ids.as_slice() {
        &[token] => Ok(token),
        ids => refused(
            format!("answer {} of {} tokens", shown(answer), ids.len()),
            "an answer is one token, such as a letter, where tokens are read; --readout texts scores longer ones",
        ),
    };
    answers.iter().zip(tokens).map(single).collect()
}
