use super::*;
use crate::random::SplitMix64;

/// Losses `[fits][texts]` of 40 texts: what texts and seeds do, and noise of each.
fn losses(fits: usize, number: u32, shift: f64) -> Vec<Vec<f64>> {
    let mut noise = SplitMix64::keyed(5, 7, number);
    let mut seeds = SplitMix64::keyed(5, 8, 0);
    (0..fits)
        .map(|_| {
            let seed = 0.3 * seeds.open_unit();
            (0..40).map(|text| f64::from(text % 7) / 10.0 + seed + 0.2 * noise.open_unit() + shift).collect()
        })
        .collect()
}

fn fits(number: usize, stream: u32, shift: f64) -> Fits {
    let seeds: Vec<u64> = (1..).take(number).collect();
    Fits::mean(&seeds, &losses(number, stream, shift)).unwrap()
}

fn own(fits: &Fits) -> FamilyRow<'_> {
    FamilyRow { fits, origin: Origin::OwnFit }
}

#[test]
fn the_order_of_rows_and_of_seeds_does_not_matter() {
    let reference = fits(8, 0, 0.0);
    let (one, two, three) = (fits(4, 1, 0.0), fits(4, 2, 0.1), fits(4, 3, 0.0));
    let compare =
        |rows: Vec<FamilyRow<'_>>, reference| Family { reference, rows, seeds: Seeds::Shared }.compare(0.95).unwrap();
    let found = compare(vec![own(&one), own(&two), own(&three)], &reference);
    let turned = compare(vec![own(&three), own(&one), own(&two)], &reference);
    for (found, turned) in [(&found[0], &turned[1]), (&found[1], &turned[2]), (&found[2], &turned[0])] {
        assert!(
            (found.estimate - turned.estimate).abs() < 1e-14 && (found.p_value / turned.p_value - 1.0).abs() < 1e-9
        );
        assert!((found.corrected / turned.corrected - 1.0).abs() < 1e-9 && found.moderated);
    }
    // The reference's fits in another order are the same fits.
    let mut values = losses(8, 0, 0.0);
    values.reverse();
    let reversed = Fits::mean(&[8, 7, 6, 5, 4, 3, 2, 1], &values).unwrap();
    let again = compare(vec![own(&one), own(&two), own(&three)], &reversed);
    assert!(again.iter().zip(&found).all(|(a, b)| (a.p_value / b.p_value - 1.0).abs() < 1e-9));
    let adjusted = holm(&found.iter().map(|effect| effect.p_value).collect::<Vec<_>>()).unwrap();
    assert!(found.iter().zip(adjusted).all(|(effect, adjusted)| effect.corrected.to_bits() == adjusted.to_bits()));
}

#[test]
fn readings_of_the_references_fits_are_a_group_of_their_own() {
    let reference = fits(5, 0, 0.0);
    // Readings that move with the reference to the last digits, and rows of their own that do not.
    let reading = |stream: u32| {
        let mut noise = SplitMix64::keyed(9, 9, stream);
        let mut near = || {
            losses(5, 0, 0.001).iter().map(|own| own.iter().map(|x| x + 1e-3 * noise.open_unit()).collect()).collect()
        };
        let values: Vec<Vec<f64>> = near();
        Fits::mean(&[1, 2, 3, 4, 5], &values).unwrap()
    };
    let readings = [reading(1), reading(2)];
    let rows = [fits(5, 1, 0.0), fits(5, 2, 0.0)];
    let of = |origin| readings.iter().map(move |fits| FamilyRow { fits, origin });
    let compare = |readings: Vec<FamilyRow<'_>>| {
        let all = rows.iter().map(own).chain(readings).collect();
        Family { reference: &reference, rows: all, seeds: Seeds::Shared }.compare(0.95).unwrap()
    };
    let (apart, together) = (compare(of(Origin::ReferenceFit).collect()), compare(of(Origin::OwnFit).collect()));
    let alone = Family { reference: &reference, rows: rows.iter().map(own).collect(), seeds: Seeds::Shared };
    for (effect, alone) in apart.iter().zip(alone.compare(0.95).unwrap()) {
        assert!(
            (effect.p_value / alone.p_value - 1.0).abs() < 1e-9,
            "what reads the reference has no say in other rows"
        );
    }
    // But they are one family.
    let least = apart.iter().min_by(|a, b| a.p_value.total_cmp(&b.p_value)).unwrap();
    assert!((least.corrected / (4.0 * least.p_value).min(1.0) - 1.0).abs() < 1e-12);
    let error = |effects: &[Effect], row: usize| effects[row].error_over_seeds;
    assert!(error(&apart, 2) < 0.1 * error(&apart, 0), "readings hardly vary apart from the reference");
    // What they would be given by rows that vary is another variance.
    assert!((error(&apart, 2) / error(&together, 2) - 1.0).abs() > 0.05, "{apart:?} {together:?}");
}

#[test]
fn surplus_fits_of_the_reference_lower_the_error() {
    let rows = [fits(5, 1, 0.0), fits(5, 2, 0.0), fits(5, 3, 0.0)];
    let error = |reference: usize, seeds| {
        let reference = fits(reference, 0, 0.0);
        let family = Family { reference: &reference, rows: rows.iter().map(own).collect(), seeds };
        family.compare(0.95).unwrap().iter().map(|effect| effect.error_over_seeds).sum::<f64>()
    };
    assert!(error(20, Seeds::Apart) < 0.9 * error(5, Seeds::Apart));
    // Seeds do nearly all here: pairing takes nearly all of it off.
    assert!(error(20, Seeds::Shared) < 0.3 * error(20, Seeds::Apart));
}

#[test]
fn a_row_that_is_the_reference_is_no_difference() {
    let reference = fits(4, 0, 0.0);
    let found =
        Family { reference: &reference, rows: vec![own(&reference)], seeds: Seeds::Shared }.compare(0.95).unwrap();
    assert_eq!([found[0].estimate, found[0].lower, found[0].upper].map(f64::to_bits), [0; 3]);
    assert!((found[0].p_value - 1.0).abs() < 1e-15 && !found[0].moderated);
}

#[test]
fn bad_families_are_refused() {
    let (reference, two, four) = (fits(5, 0, 0.0), fits(2, 1, 0.0), fits(4, 1, 0.0));
    let message = |rows: Vec<FamilyRow<'_>>, level| {
        Family { reference: &reference, rows, seeds: Seeds::Shared }.compare(level).unwrap_err().to_string()
    };
    assert_eq!(message(vec![own(&two)], 0.95), "seeds of a row: got 2, expected at least 3");
    assert_eq!(
        message(vec![own(&four), own(&reference)], 0.95),
        "seeds of a row has 5 entries, those of the first has 4"
    );
    assert_eq!(message(vec![own(&four)], 1.0), "level is 1, expected a number in (0, 1)");
    let others = Fits::mean(&[1, 2, 9], &losses(3, 1, 0.0)).unwrap();
    assert_eq!(
        message(vec![own(&others)], 0.95),
        "seed 9 of a row is not among those of the reference; fit the reference at every seed of its rows"
    );
    let short = Fits::mean(&[1, 2, 3], &vec![vec![0.1, 0.2]; 3]).unwrap();
    assert_eq!(message(vec![own(&short)], 0.95), "deviations has 2 entries, those of the reference has 40");
    let none = Family { reference: &reference, rows: Vec::new(), seeds: Seeds::Shared };
    assert_eq!(none.compare(0.95).unwrap(), []);
}

/// Accuracies on few texts may be alike at all of a row's seeds, while further fits of the reference differ. Those seeds then say nothing of
/// the slope: the row is held against all fits, whose spread counts. Paired with five that are alike it would seem certain.
#[test]
fn a_reference_that_does_not_vary_at_the_rows_seeds_is_its_further_fits_too() {
    // Tenths of the texts that each fit has right; every fit misses others.
    let of = |tenths: &[usize]| -> Fits {
        let seeds: Vec<u64> = (1..).take(tenths.len()).collect();
        let fit = |(fit, &right): (usize, &usize)| -> Vec<f64> {
            (0..40).map(|text| f64::from(u8::from((text + 3 * fit) % 10 < right))).collect()
        };
        Fits::mean(&seeds, &tenths.iter().enumerate().map(fit).collect::<Vec<_>>()).unwrap()
    };
    let reference = of(&[3, 3, 3, 3, 5, 6, 4, 5, 2]);
    let (one, two) = (of(&[4, 4, 5, 4]), of(&[4, 3, 4, 4]));
    let compare =
        |seeds| Family { reference: &reference, rows: vec![own(&one), own(&two)], seeds }.compare(0.95).unwrap();
    let (shared, apart) = (compare(Seeds::Shared), compare(Seeds::Apart));
    let mean = |fits: &Fits| fits.values().iter().sum::<f64>() / fits.values().len() as f64;
    for ((found, apart), row) in shared.iter().zip(&apart).zip([&one, &two]) {
        assert!((found.estimate - (mean(row) - mean(&reference))).abs() < 1e-12, "{found:?}");
        assert!((found.error_over_seeds - apart.error_over_seeds).abs() < 1e-12, "{found:?} {apart:?}");
        assert!(found.error_over_seeds > 0.04, "the reference's spread of 0.13 over nine fits is in it: {found:?}");
    }
    // Without further fits the pairs are all there is.
    let paired = Family { reference: &of(&[3; 4]), rows: vec![own(&one)], seeds: Seeds::Shared }.compare(0.95).unwrap();
    assert!((paired[0].estimate - 0.125).abs() < 1e-12, "{paired:?}");
}
