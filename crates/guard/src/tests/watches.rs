//! Watches of a guard in use.

use bayeslora_metrics::guarantee::{Promise, SetScore};

use super::{answer, fit, world};
use crate::{AlarmKind, Feedback, Guard, Per, SetsPromise, Settings, Watch, WatchSettings};

fn correct(id: usize, correct: bool) -> Feedback {
    Feedback { id: id.to_string(), correct: Some(correct), score: None }
}

#[test]
fn a_watch_survives_its_file_after_every_line_and_an_alarm_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.json");
    let guard = fit(world(1, 600), answer(0.1, 0.1)).unwrap();
    let settings = WatchSettings::default();
    let mut kept = Watch::new(&guard, settings).unwrap();
    kept.write(&path).unwrap();
    let mut alarmed = None;
    for id in 0..80 {
        // Three times the risk.
        let line = correct(id, id % 10 >= 3);
        let mut watch = Watch::read(&path, &guard, settings).unwrap();
        let found = watch.observe(&line).unwrap();
        assert_eq!(found, kept.observe(&line).unwrap());
        if let Some(alarm) = found.first().filter(|_| alarmed.is_none()) {
            alarmed = Some(alarm.clone());
        }
        watch.write(&path).unwrap();
        assert_eq!(watch, kept);
    }
    let alarm = alarmed.unwrap();
    assert!(
        alarm.kind == AlarmKind::Risk && alarm.lines < 80 && alarm.id == (alarm.lines - 1).to_string(),
        "{alarm:?}"
    );
    // A long time without errors: the evidence falls, the alarm stays.
    for id in 80..1000 {
        kept.observe(&correct(id, true)).unwrap();
    }
    assert_eq!((kept.alarms()[0].clone(), kept.counts()), (alarm, Some([24, 1000])));
    let message = kept.observe(&correct(5, true)).unwrap_err().to_string();
    assert_eq!(message, "feedback on `5`: was given before; a line counts once");
    assert_eq!(kept.counts(), Some([24, 1000]));
}

#[test]
fn a_watch_takes_one_thing_a_line_and_sees_drift() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.json");
    let guard = fit(world(1, 600), answer(0.1, 0.1)).unwrap();
    let settings = WatchSettings::default();
    let mut watch = Watch::new(&guard, settings).unwrap();
    let score = |id: &str, score| Feedback { id: id.to_owned(), correct: None, score: Some(score) };
    // Inputs like those of calibration, then uncertain ones only.
    for example in world(9, 300) {
        assert_eq!(watch.observe(&score(&example.id, example.score)).unwrap(), []);
    }
    let alarm = (0..200).find_map(|n| watch.observe(&score(&n.to_string(), 0.8 + 0.001 * f64::from(n))).unwrap().pop());
    assert_eq!(alarm.map(|alarm| alarm.kind), Some(AlarmKind::Drift));
    let message = |watch: &mut Watch, line: &Feedback| watch.observe(line).unwrap_err().to_string();
    assert_eq!(message(&mut watch, &score("0", 0.1)), "feedback on `0`: was given before; a line counts once");
    assert!(watch.observe(&correct(0, true)).is_ok(), "its label may come later");
    assert!(message(&mut watch, &score("x", f64::NAN)).starts_with("feedback on `x`: score[0] is NaN"));
    assert!(watch.observe(&score("x", 0.5)).is_ok(), "what was refused does not count");
    let both = Feedback { score: Some(0.1), ..correct(2000, true) };
    assert_eq!(message(&mut watch, &both), "feedback on `2000`: has both correct and score; send two lines");
    let neither = Feedback { id: "y".into(), correct: None, score: None };
    assert!(message(&mut watch, &neither).ends_with("has neither correct nor score; send one of them"));
    watch.write(&path).unwrap();
    let refused = |guard: &Guard, settings| {
        let message = Watch::read(&path, guard, settings).unwrap_err().to_string();
        message.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
    };
    let other = fit(world(2, 600), answer(0.1, 0.1)).unwrap();
    assert_eq!(refused(&other, settings), "is the state of another guard; begin another state");
    let stricter = WatchSettings { alpha: 0.01, ..settings };
    assert_eq!(refused(&guard, stricter), "has other settings than asked for; keep those, or begin another state");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"kind\": \"drift\"", "\"kind\": \"risk\"")).unwrap();
    assert_eq!(refused(&guard, settings), "was changed since it was written; begin another state");
    let sets = SetsPromise { alpha: 0.1, promise: Promise::Average, score: SetScore::Lac, per: Per::All, ask_up_to: 2 };
    let silent = fit(world(1, 600), Settings { sets: Some(sets), ..Settings::default() }).unwrap();
    let mut silent = Watch::new(&silent, settings).unwrap();
    assert!(message(&mut silent, &correct(1, true)).contains("promises no risk among answers"));
}
