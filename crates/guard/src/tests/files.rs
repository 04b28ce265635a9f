//! Guards in files.

use std::path::Path;

use super::{everything, fit, subject, world};
use crate::{Guard, Subject};

/// What is contradicted, and by which change.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Guard));

fn written(guard: &Guard, path: &Path) -> String {
    guard.write(path).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_file_comes_back_byte_by_byte_whatever_the_order_of_examples() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard.json");
    let guard = fit(world(1, 1500), everything()).unwrap();
    let text = written(&guard, &path);
    let again = Guard::read(&path, &subject()).unwrap();
    assert_eq!((again.clone(), written(&again, &path)), (guard, text.clone()));
    let mut turned = world(1, 1500);
    turned.reverse();
    assert_eq!(written(&fit(turned, everything()).unwrap(), &path), text);
    let other = Subject { model: "n".into(), ..subject() };
    let refused = Guard::read(&path, &other).unwrap_err().to_string();
    assert_eq!(refused, "the guard is for another model: m, not n; fit a guard to what is used");
}

#[test]
fn a_file_that_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard.json");
    let guard = fit(world(1, 1500), everything()).unwrap();
    let text = written(&guard, &path);
    let refused = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let message = Guard::read(&path, &subject()).unwrap_err().to_string();
        message.strip_prefix(&format!("{}: ", path.display())).map(str::to_owned).unwrap_or(message)
    };
    assert_eq!(
        refused(&text.replacen("\"risk\": 0.05", "\"risk\": 0.01", 1)),
        "was changed since it was written; fit the guard again"
    );
    assert_eq!(
        refused(&text.replace("\"schema\": 1", "\"schema\": 2")),
        "has layout 2; this program reads layout 1: make it again"
    );
    assert!(refused("{}").starts_with("is no guard of this program (it has no schema)"));
    assert!(refused(&text[..text.len() / 2]).starts_with("is no guard of this program (EOF while parsing"));
    assert!(refused(&text.replacen("\"subject\"", "\"object\"", 1)).contains("unknown field `object`"));
    // With a digest that fits, what contradicts itself is refused nevertheless.
    let forged = |change: &dyn Fn(&mut Guard)| {
        let mut guard = guard.clone();
        change(&mut guard);
        refused(&written(&guard.sealed(), &path))
    };
    let changes: [Change<'_>; 9] = [
        ("its calibration scores", &|guard| guard.scores.swap(0, 1)),
        ("the number of examples", &|guard| guard.data.calibration.kept += 1),
        ("its rule answer", &|guard| guard.rules.answer.as_mut().unwrap().tests[0].wrong += 1),
        ("its rule answer", &|guard| guard.rules.answer = None),
        ("its rule total", &|guard| guard.rules.total.as_mut().unwrap().allowed += 1),
        ("its rule ood", &|guard| guard.rules.ood.as_mut().unwrap().threshold += 0.1),
        ("its rule sets", &|guard| guard.rules.sets.as_mut().unwrap().thresholds.cutoffs[1].rank_from_above += 1),
        ("the threshold of answers", &|guard| guard.rules.act_up_to = Some(0.9)),
        ("its guarantees", &|guard| guard.guarantees[0].sentence.push('!')),
    ];
    for (what, change) in changes {
        assert_eq!(forged(change), format!("contradicts itself about {what}; fit the guard again"));
    }
}
