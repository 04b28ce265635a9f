//! Every style's prompt, word for word.

use super::super::prompts::{Asked, Kind};
use super::*;

const OPTIONS: [&str; 4] = ["iron", "wood", "glass", "wool"];

/// Context and cue with `|` between them, then the answers.
fn shown(
    style: Style,
    answers: Option<Answers>,
    kind: Kind,
    (passage, numbered): (Option<&str>, bool),
) -> (String, Vec<String>) {
    let (text, options) = match kind {
        Kind::Question => ("Which is magnetic?", &OPTIONS[..]),
        Kind::Blank => ("He left the bag for the box, as the _ was full.", &["bag", "box"][..]),
        Kind::TrueOrFalse => ("is iron a metal", &["false", "true"][..]),
    };
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    let asked = Asked { text, passage, options: &options, numbered };
    let prompt = Template::new(style, answers, kind).unwrap().prompt(asked);
    assert_eq!(prompt.text(), prompt.context.clone() + &prompt.cue);
    (format!("{}|{}", prompt.context, prompt.cue), prompt.answers)
}

#[test]
fn plain_asks_for_texts_or_letters() {
    let plain = |answers, kind, passage| shown(Style::Plain, answers, kind, (passage, false));
    let letters = Some(Answers::Letters);
    let (prompt, answers) = plain(None, Kind::Question, None);
    assert_eq!(prompt, "Question: Which is magnetic?|\nAnswer:");
    assert_eq!(answers, [" iron", " wood", " glass", " wool"]);
    let (prompt, answers) = plain(letters, Kind::Question, None);
    assert_eq!(prompt, "Question: Which is magnetic?|\nA. iron\nB. wood\nC. glass\nD. wool\nAnswer:");
    assert_eq!(answers, [" A", " B", " C", " D"]);
    let (prompt, answers) = plain(Some(Answers::Texts), Kind::Blank, None);
    assert_eq!(prompt, "Sentence: He left the bag for the box, as the _ was full.|\nThe blank _ is:");
    assert_eq!(answers, [" bag", " box"]);
    let (prompt, answers) = plain(letters, Kind::Blank, None);
    assert_eq!(prompt, "Sentence: He left the bag for the box, as the _ was full.|\nA. bag\nB. box\nThe blank _ is:");
    assert_eq!(answers, [" A", " B"]);
    let (prompt, answers) = plain(None, Kind::TrueOrFalse, Some("Iron -- A metal."));
    assert_eq!(prompt, "Passage: Iron -- A metal.\n|Question: is iron a metal?\nAnswer:");
    assert_eq!(answers, [" false", " true"]);
    let (prompt, answers) = plain(letters, Kind::TrueOrFalse, None);
    assert_eq!(prompt, "|Question: is iron a metal?\nA. false\nB. true\nAnswer:");
    assert_eq!(answers, [" A", " B"]);
}

#[test]
fn blob_asks_for_a_label_or_true_or_false() {
    let blob = |kind, passage| shown(Style::Blob, None, kind, (passage, true));
    let (prompt, answers) = blob(Kind::Question, None);
    assert_eq!(
        prompt,
        "Return the label of the correct answer for the question below.\n\nQuestion: Which is magnetic?|\nChoices:\nA) \
         iron\nB) wood\nC) glass\nD) wool\nAnswer:"
    );
    assert_eq!(answers, [" A", " B", " C", " D"]);
    let (prompt, answers) = blob(Kind::Blank, None);
    assert_eq!(
        prompt,
        "Return the label of the correct answer for the question below.\n\nQuestion: He left the bag for the box, as the _ \
         was full.|\nChoices:\nA) bag\nB) box\nAnswer:"
    );
    assert_eq!(answers, [" A", " B"]);
    let long = "x".repeat(1030);
    let (prompt, answers) = blob(Kind::TrueOrFalse, Some(&long));
    assert_eq!(
        prompt,
        format!(
            "Answer the question below with True or False.\n\nPassage: {long}\n|Question: is iron a metal?\nAnswer:"
        )
    );
    assert_eq!(answers, [" False", " True"]);
    let (prompt, _) = blob(Kind::TrueOrFalse, None);
    assert_eq!(prompt, "Answer the question below with True or False.\n\n|Question: is iron a metal?\nAnswer:");
}

#[test]
fn compat_blob_has_the_published_defects_of_prompts_and_nothing_else() {
    let compat = |kind, passage, numbered| shown(Style::CompatBlob, None, kind, (passage, numbered));
    let (prompt, answers) = compat(Kind::Question, None, false);
    assert!(prompt.ends_with("|\nChoices:\niron) A\nwood) B\nglass) C\nwool) D\nAnswer:"), "{prompt}");
    assert_eq!(answers, [" A", " B", " C", " D"]);
    let (prompt, answers) = compat(Kind::Question, None, true);
    assert!(prompt.ends_with("|\nChoices:\niron) 1\nwood) 2\nglass) 3\nwool) 4\nAnswer:"), "{prompt}");
    assert_eq!(answers, [" A", " B", " C", " D"]);
    assert_eq!(compat(Kind::Blank, None, false), shown(Style::Blob, None, Kind::Blank, (None, false)));
    // The word for false is True, and a passage ends after 1,024 characters, not bytes.
    let long = "\u{e9}".repeat(1025);
    let (prompt, answers) = compat(Kind::TrueOrFalse, Some(&long), false);
    assert!(prompt.contains(&format!("Passage: {}\n|Question", "\u{e9}".repeat(1024))), "{prompt}");
    assert_eq!(answers, [" True", " False"]);
    let template = Template::new(Style::CompatBlob, None, Kind::Question).unwrap().in_right_order();
    assert_eq!(template, Template::new(Style::Blob, None, Kind::Question).unwrap());
}

#[test]
fn laplace_lora_asks_in_one_line() {
    let laplace = |kind, passage| shown(Style::LaplaceLora, None, kind, (passage, true));
    let (prompt, answers) = laplace(Kind::Question, None);
    assert_eq!(
        prompt,
        "Select one of the choices that answers the following question: Which is magnetic?| Choices: A. iron B. wood C. \
         glass D. wool Answer:"
    );
    assert_eq!(answers, [" A", " B", " C", " D"]);
    let (prompt, answers) = laplace(Kind::TrueOrFalse, Some("Iron -- A metal."));
    assert_eq!(
        prompt,
        "Context: Iron -- A metal.\n|Answer the question with only True or False: is iron a metal? Answer:"
    );
    assert_eq!(answers, [" False", " True"]);
}

#[test]
fn bag_asks_for_letters_of_everything() {
    let bag = |kind, passage| shown(Style::Bag, None, kind, (passage, true));
    let instruction = "Answer the multiple choice question below. Output the letter only.\n\n";
    let (prompt, answers) = bag(Kind::Question, None);
    assert_eq!(
        prompt,
        format!("{instruction}Question: Which is magnetic?|\nA. iron\nB. wood\nC. glass\nD. wool\nAnswer:")
    );
    assert_eq!(answers, [" A", " B", " C", " D"]);
    let (prompt, answers) = bag(Kind::TrueOrFalse, Some("Iron -- A metal."));
    assert_eq!(
        prompt,
        format!("{instruction}Passage: Iron -- A metal.\n|Question: is iron a metal?\nA. false\nB. true\nAnswer:")
    );
    assert_eq!(answers, [" A", " B"]);
}

#[test]
fn five_letters_are_answers_of_four_options_where_five_are_classes() {
    let options = OPTIONS.map(str::to_owned);
    let asked = Asked { text: "Which?", passage: None, options: &options, numbered: false };
    let template = Template::new(Style::Blob, None, Kind::Question).unwrap().with_letters(5);
    let prompt = template.prompt(asked);
    assert_eq!(prompt.answers, [" A", " B", " C", " D", " E"]);
    assert!(prompt.cue.ends_with("\nD) wool\nAnswer:"), "{prompt:?}");
}

#[test]
fn a_style_refuses_answers_that_it_does_not_ask_for() {
    let refusal = |style, answers, kind| Template::new(style, Some(answers), kind).unwrap_err().to_string();
    for style in [Style::Blob, Style::LaplaceLora, Style::Bag, Style::CompatBlob] {
        assert_eq!(
            refusal(style, Answers::Texts, Kind::Question),
            "answers is \"texts\", expected \"letters\" with this prompt, which lists the options"
        );
        assert!(Template::new(style, Some(Answers::Letters), Kind::Blank).is_ok());
    }
    assert_eq!(
        refusal(Style::Blob, Answers::Letters, Kind::TrueOrFalse),
        "answers is \"letters\", expected \"texts\" with this prompt, which asks for True or False"
    );
    assert!(Template::new(Style::Bag, Some(Answers::Letters), Kind::TrueOrFalse).is_ok());
}
