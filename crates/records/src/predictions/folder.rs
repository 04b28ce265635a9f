//! The folder: `predictions.safetensors` and `examples.jsonl`.
//!
//! The header of the tensors is written here and not by the library, which writes metadata in an order that changes from run to run: equal
//! predictions have equal bytes, so that their digest names them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bayeslora_host::{read, write_atomically};
use ndarray::{Array2, Array3};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::about::About;
use super::outputs::{Kind, Outputs, Values};
use super::set::{Identity, Predictions};
use crate::error::{Error, Result};

const TENSORS: &str = "predictions.safetensors";
const EXAMPLES: &str = "examples.jsonl";
const SCORE: &str = "score.";

impl Predictions {
    /// Writes both files to `folder`.
    ///
    /// # Errors
    /// As [`Self::checked`], and when a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        if let Some(problem) = self.problem() {
            return Err(Error::Predictions { problem });
        }
        let refused = |problem: serde_json::Error| refused(folder, format!("cannot be encoded ({problem})"));
        let mut lines = Vec::new();
        for example in &self.examples {
            serde_json::to_writer(&mut lines, example).map_err(refused)?;
            lines.push(b'\n');
        }
        let tensors = encoded(&self.about, &tensors_of(self)).map_err(refused)?;
        write_atomically(&folder.join(EXAMPLES), &lines)?;
        Ok(write_atomically(&folder.join(TENSORS), &tensors)?)
    }

    /// Reads both files of `folder`.
    ///
    /// # Errors
    /// [`Error::Store`] naming the file, and the line or the id, for what [`Self::checked`] refuses, tensors that are unknown or of another type
    /// or shape, and lines that are not as described.
    pub fn read(folder: &Path) -> Result<Self> {
        let (path, list) = (folder.join(TENSORS), folder.join(EXAMPLES));
        let examples = identities(&list)?;
        let bytes = read(&path)?;
        let damaged = |error: safetensors::SafeTensorError| {
            refused(&path, format!("is no file of tensors ({error}); convert it again"))
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let metadata = header.metadata().iter().flatten().map(|(name, text)| (name.clone(), text.clone())).collect();
        let about = About::from_metadata(&metadata).map_err(|problem| refused(&path, problem))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let found = decoded(examples, about, &tensors).map_err(|problem| refused(&path, problem))?;
        match found.problem() {
            Some(problem) => Err(refused(&path, problem)),
            None => Ok(found),
        }
    }
}

fn refused(path: &Path, problem: String) -> Error {
    Error::Store { path: path.to_owned(), problem }
}

fn identities(path: &Path) -> Result<Vec<Identity>> {
    let text =
        String::from_utf8(read(path)?).map_err(|_| refused(path, "is no UTF-8 text; convert it again".to_owned()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(number, line)| {
        serde_json::from_str(line).map_err(|error| {
            let expected = r#"expected {"id", "sha256", "group"?}"#;
            refused(path, format!("line {} is no example ({error}); {expected}", number + 1))
        })
    });
    parsed.collect()
}

/// A tensor that is to be written.
struct Tensor {
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn tensors_of(set: &Predictions) -> Vec<(String, Tensor)> {
    let examples = set.examples.len();
    let doubles = |shape: &[usize], values: &mut dyn Iterator<Item = f64>| Tensor {
        dtype: "F64",
        shape: shape.to_vec(),
        bytes: values.flat_map(f64::to_le_bytes).collect(),
    };
    let labels = set.labels.iter().map(|label| label.and_then(|label| i64::try_from(label).ok()).unwrap_or(-1));
    let bytes = labels.flat_map(i64::to_le_bytes).collect();
    let mut found = vec![("labels".to_owned(), Tensor { dtype: "I64", shape: vec![examples], bytes })];
    for (name, values) in &set.scores {
        found.push((format!("{SCORE}{name}"), doubles(&[values.len()], &mut values.iter().copied())));
    }
    if let Some(ratings) = &set.ratings {
        found.push(("ratings".to_owned(), doubles(ratings.shape(), &mut ratings.iter().copied())));
    }
    if let Some(outputs) = &set.outputs {
        let shape = outputs.shape();
        let tensor = match &outputs.values {
            Values::F64(values) => doubles(&shape, &mut values.iter().copied()),
            Values::F32(values) => {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                Tensor { dtype: "F32", shape: shape.to_vec(), bytes }
            }
        };
        found.push((outputs.kind.name().to_owned(), tensor));
    }
    if let Some(correct) = &set.correct {
        let bytes = correct.iter().map(|&correct| u8::from(correct)).collect();
        found.push(("correct".to_owned(), Tensor { dtype: "U8", shape: vec![examples], bytes }));
    }
    found
}

/// Eight bytes for the length of the header, the header, the tensors. Wide numbers come first, so that each begins at a multiple of its width.
fn encoded(about: &About, tensors: &[(String, Tensor)]) -> Result<Vec<u8>, serde_json::Error> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!(about.to_metadata()));
    let mut end = 0;
    for (name, Tensor { dtype, shape, bytes }) in tensors {
        let begin = end;
        end += bytes.len();
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [begin, end] }));
    }
    let mut text = serde_json::to_vec(&Value::Object(header))?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut found = (text.len() as u64).to_le_bytes().to_vec();
    found.extend(text);
    found.extend(tensors.iter().flat_map(|(_, tensor)| &tensor.bytes));
    Ok(found)
}

fn decoded(examples: Vec<Identity>, about: About, tensors: &SafeTensors<'_>) -> Result<Predictions, String> {
    let names: BTreeSet<&str> = tensors.names().into_iter().collect();
    let known = |name: &str| matches!(name, "labels" | "correct" | "ratings") || name.starts_with(SCORE);
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| names.contains(kind.name())).collect();
    if let [first, second, ..] = kinds[..] {
        return Err(format!("has both {} and {}; keep one of them", first.name(), second.name()));
    }
    if let Some(name) = names.iter().find(|name| !known(name) && !Kind::ALL.iter().any(|kind| kind.name() == **name)) {
        let expected = "logits, log_probs, probs, labels, ratings, correct or score.NAME";
        return Err(format!("has a tensor `{name}`, expected {expected}"));
    }
    let view = |name: &str| tensors.tensor(name).ok();
    let outputs = kinds.first().map(|&kind| outputs_of(kind, view(kind.name()))).transpose()?;
    let labels = view("labels").ok_or("has no tensor `labels`; give -1 where there is no label")?;
    let labels = sized::<8>("labels", &labels, Dtype::I64, 1)?.map(i64::from_le_bytes).enumerate();
    let labels = labels.map(|(place, label)| match (label, examples.get(place)) {
        (-1, _) => Ok(None),
        (label, example) => usize::try_from(label).map(Some).map_err(|_| {
            let id = example.map_or("", |example| example.id.as_str());
            format!("id `{id}` has the label {label}, expected a class from 0, or -1 for none")
        }),
    });
    let labels = labels.collect::<Result<Vec<_>, String>>()?;
    let correct = view("correct").map(|view| {
        let bytes = sized::<1>("correct", &view, Dtype::U8, 1)?.map(|[byte]| byte);
        let verdicts = bytes.map(|byte| match byte {
            0 | 1 => Ok(byte == 1),
            other => Err(format!("has {other} in `correct`, expected 0 or 1")),
        });
        verdicts.collect::<Result<Vec<bool>, String>>()
    });
    let ratings = view("ratings").map(|view| {
        let values = sized::<8>("ratings", &view, Dtype::F64, 2)?.map(f64::from_le_bytes).collect();
        let shape = (view.shape().first().copied().unwrap_or(0), view.shape().last().copied().unwrap_or(0));
        Array2::from_shape_vec(shape, values).map_err(|error| format!("ratings: {error}"))
    });
    let mut scores = BTreeMap::new();
    for (whole, name) in names.iter().filter_map(|whole| Some((whole, whole.strip_prefix(SCORE)?))) {
        let Some(view) = view(whole) else { continue };
        scores.insert(name.to_owned(), sized::<8>(whole, &view, Dtype::F64, 1)?.map(f64::from_le_bytes).collect());
    }
    let (correct, ratings) = (correct.transpose()?, ratings.transpose()?);
    Ok(Predictions { examples, outputs, labels, correct, ratings, scores, about })
}

fn outputs_of(kind: Kind, view: Option<TensorView<'_>>) -> Result<Outputs, String> {
    let (name, view) = (kind.name(), view.ok_or("has lost its outputs")?);
    let shape = <[usize; 3]>::try_from(view.shape())
        .map_err(|_| format!("{name} is of shape {:?}, expected [samples, examples, classes]", view.shape()))?;
    let wrong = |error: ndarray::ShapeError| format!("{name}: {error}");
    let values = if view.dtype() == Dtype::F64 {
        let values = sized::<8>(name, &view, Dtype::F64, 3)?.map(f64::from_le_bytes).collect();
        Values::F64(Array3::from_shape_vec(shape, values).map_err(wrong)?)
    } else {
        let values = sized::<4>(name, &view, Dtype::F32, 3)?.map(f32::from_le_bytes).collect();
        Values::F32(Array3::from_shape_vec(shape, values).map_err(wrong)?)
    };
    Ok(Outputs { kind, values })
}

/// The numbers of a tensor, `N` bytes each, if its type and its number of axes are these.
fn sized<'a, const N: usize>(
    name: &str,
    view: &TensorView<'a>,
    dtype: Dtype,
    axes: usize,
) -> Result<impl Iterator<Item = [u8; N]> + use<'a, N>, String> {
    if view.dtype() != dtype || view.shape().len() != axes {
        let (got, shape) = (view.dtype(), view.shape());
        return Err(format!("{name} is {got:?} of shape {shape:?}, expected {dtype:?} with {axes} axes"));
    }
    Ok(view.data().as_chunks::<N>().0.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::Samples;
    use ndarray::{arr2, arr3};

    fn set() -> Predictions {
        let identity = |id: &str, group: Option<&str>| Identity {
            id: id.to_owned(),
            sha256: Some("0f".repeat(32)),
            group: group.map(str::to_owned),
        };
        let values = arr3(&[[[0.1_f32, -2.5], [3.0, 1e-30]], [[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [-1.0, 9.0]]]);
        Predictions {
            examples: vec![identity("a", None), identity("b", Some("g"))],
            outputs: Some(Outputs { kind: Kind::Logits, values: Values::F32(values) }),
            labels: vec![Some(1), None],
            correct: Some(vec![true, false]),
            ratings: Some(arr2(&[[0.0, 2.0], [1.0, 0.5]])),
            scores: BTreeMap::from([("entropy".to_owned(), vec![0.1, 0.2]), ("z.z".to_owned(), vec![-1.0, 1e300])]),
            about: About { samples: Samples::Members, classes: vec!["no".into(), "yes".into()], ..About::default() },
        }
    }

    fn written(set: &Predictions) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        set.write(folder.path()).unwrap();
        folder
    }

    /// What is said of a folder whose tensors were written as they are, unchecked.
    fn refusal(set: &Predictions, change: impl Fn(&mut Vec<(String, Tensor)>)) -> String {
        let folder = written(&self::set());
        let mut tensors = tensors_of(set);
        change(&mut tensors);
        std::fs::write(folder.path().join(TENSORS), encoded(&set.about, &tensors).unwrap()).unwrap();
        let message = Predictions::read(folder.path()).unwrap_err().to_string();
        let start = format!("{}: ", folder.path().join(TENSORS).display());
        message.strip_prefix(&start).unwrap_or_else(|| panic!("{message}")).to_owned()
    }

    #[test]
    fn what_is_written_is_read_again_with_every_bit_and_equal_bytes() {
        let full = set();
        let doubles = Outputs { kind: Kind::Probs, values: Values::F64(arr3(&[[[0.25, 0.75], [1.0, 0.0]]])) };
        let logs = Outputs { kind: Kind::LogProbs, values: Values::F64(arr3(&[[[0.0, f64::NEG_INFINITY]; 2]])) };
        let generated = Predictions { outputs: None, ratings: None, about: About::default(), ..set() };
        for set in [
            Predictions { outputs: Some(doubles), correct: None, ratings: None, scores: BTreeMap::new(), ..set() },
            Predictions { outputs: Some(logs), ..set() },
            generated,
            full,
        ] {
            let (first, second) = (written(&set), written(&set));
            assert_eq!(Predictions::read(first.path()).unwrap(), set);
            for name in [TENSORS, EXAMPLES] {
                let bytes = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(name)).unwrap();
                assert_eq!(bytes(&first), bytes(&second));
            }
        }
    }

    #[test]
    fn inconsistent_tensors_are_refused_with_the_id() {
        let outputs = |kind, row: [f32; 2]| Predictions {
            outputs: Some(Outputs { kind, values: Values::F32(arr3(&[[[0.5, 0.5], row]])) }),
            ..set()
        };
        let as_is = |set: &Predictions| refusal(set, |_| {});
        assert_eq!(
            as_is(&outputs(Kind::Logits, [f32::NAN, 0.0])),
            "id `b`: logits of class 0 in sample 0 is NaN, expected a finite number"
        );
        assert_eq!(
            as_is(&outputs(Kind::Probs, [0.5, 0.25])),
            "id `b`: probs of sample 0 sum to 0.75, expected 1 within 0.001"
        );
        assert_eq!(
            as_is(&Predictions { labels: vec![Some(2), None], ..set() }),
            "id `a` has the label 2, expected a class below 2"
        );
        assert_eq!(
            as_is(&Predictions { scores: BTreeMap::from([("s".into(), vec![0.0])]), ..set() }),
            "s are of 1 examples, expected 2 as in the list of ids"
        );
        assert_eq!(
            as_is(&Predictions { scores: BTreeMap::from([("s".into(), vec![0.0, f64::NAN])]), ..set() }),
            "id `b`: score s is NaN, expected a finite number"
        );
        assert_eq!(
            as_is(&Predictions { outputs: None, correct: None, ..set() }),
            "has neither outputs nor `correct`; give one of them"
        );
        let three = About { classes: ["a", "b", "c"].map(str::to_owned).to_vec(), ..About::default() };
        assert_eq!(as_is(&Predictions { about: three, ..set() }), "logits have 2 classes, but 3 are named");
        assert_eq!(
            as_is(&Predictions { ratings: Some(arr2(&[[0.0, -1.0], [0.0, 0.0]])), ..set() }),
            "id `a`: rating of class 1 is -1, expected a number in [0, inf)"
        );
    }

    #[test]
    fn unknown_and_misshapen_tensors_are_refused() {
        assert_eq!(
            refusal(&set(), |tensors| tensors[0].0 = "label".to_owned()),
            "has a tensor `label`, expected logits, log_probs, probs, labels, ratings, correct or score.NAME"
        );
        assert_eq!(
            refusal(&set(), |tensors| tensors[0].1.shape = vec![2, 1]),
            "labels is I64 of shape [2, 1], expected I64 with 1 axes"
        );
        assert_eq!(
            refusal(&set(), |tensors| tensors.retain(|(name, _)| name != "labels")),
            "has no tensor `labels`; give -1 where there is no label"
        );
        assert_eq!(
            refusal(&set(), |tensors| tensors[0].1.bytes[8..].copy_from_slice(&(-2_i64).to_le_bytes())),
            "id `b` has the label -2, expected a class from 0, or -1 for none"
        );
        assert_eq!(
            refusal(&set(), |tensors| tensors.iter_mut().for_each(|(name, tensor)| {
                if name == "correct" {
                    tensor.bytes = vec![1, 2];
                }
            })),
            "has 2 in `correct`, expected 0 or 1"
        );
        assert_eq!(
            refusal(&set(), |tensors| {
                let bytes = vec![0; 32];
                tensors.insert(0, ("probs".to_owned(), Tensor { dtype: "F64", shape: vec![1, 2, 2], bytes }));
            }),
            "has both logits and probs; keep one of them"
        );
    }

    #[test]
    fn files_that_are_missing_damaged_or_empty_are_named() {
        let folder = written(&set());
        let with = |name: &str, bytes: &[u8]| {
            let kept = std::fs::read(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name), bytes).unwrap();
            let message = Predictions::read(folder.path()).unwrap_err().to_string();
            std::fs::write(folder.path().join(name), kept).unwrap();
            message
        };
        assert!(with(TENSORS, b"").contains("predictions.safetensors: is no file of tensors ("));
        assert!(with(EXAMPLES, b"").ends_with("safetensors: has no examples, expected at least one"));
        let line = with(EXAMPLES, b"{\"id\": \"a\"}\n{\"di\": 1}\n");
        assert!(line.contains("examples.jsonl: line 2 is no example (unknown field `di`"), "{line}");
        assert!(line.ends_with(r#"; expected {"id", "sha256", "group"?}"#), "{line}");
        let twice = with(EXAMPLES, b"{\"id\": \"a\"}\n{\"id\": \"a\"}\n");
        assert!(twice.ends_with("has the id `a` twice; give every example its own"), "{twice}");
        let gap = with(EXAMPLES, b"{\"id\": \"a\"}\n");
        assert!(gap.ends_with("labels are of 2 examples, expected 1 as in the list of ids"), "{gap}");
        let hash = with(EXAMPLES, b"{\"id\": \"a\", \"sha256\": \"AB\"}\n{\"id\": \"b\"}\n");
        assert!(hash.ends_with("id `a` has the sha256 `AB`, expected 64 lower-case hex digits"), "{hash}");
        let missing = Predictions::read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("none/examples.jsonl: "), "{missing}");
    }
}
