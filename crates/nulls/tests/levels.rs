//! Levels of the tests in use, quickly: enough runs to see a test that rejects twice too often, and each wrong variant where it is wrong.

#![allow(clippy::unwrap_used, reason = "a simulation that fails, fails the test")]

use bayeslora_nulls::{Cell, Grid, Level, Scales, Statistic, Variant, Way, associations, csv, equivalences, page, run};

/// Runs of a cell. Where the family-wise error is 0.05, as many as 9 % of 200 reject with probability 0.013; the seed is fixed.
const RUNS: u64 = 200;
/// Most rejecting families in a run of 200.
const MOST: f64 = 0.09;

fn levels(cell: Cell, number: u64) -> Vec<Level> {
    cell.simulate(number, RUNS, 1, &|| {}).unwrap().levels
}

fn of(levels: &[Level], variant: Variant) -> Level {
    let place = Variant::ALL.iter().position(|other| *other == variant).unwrap();
    levels[place]
}

#[test]
fn families_hold_their_level_where_seeds_vary_much_and_find_more_than_before() {
    for (number, statistic) in (1..).zip([Statistic::Nll, Statistic::Accuracy]) {
        let found = levels(Cell::main(statistic, 5, 20.0), number);
        let (used, before) = (of(&found, Variant::Used), of(&found, Variant::Before));
        assert!(used.family.value() <= MOST, "{statistic:?}: {used:?}");
        assert!(used.power.value() > before.power.value() + 0.2, "{statistic:?}: {used:?} {before:?}");
        let naive = of(&found, Variant::TextsAlone);
        assert!(naive.family.value() > 0.5, "{statistic:?}: {naive:?}");
    }
}

#[test]
fn families_hold_their_level_where_texts_vary_more_and_seeds_alone_do_not() {
    let found = levels(Cell::main(Statistic::Nll, 5, 0.3), 3);
    let (used, seeds) = (of(&found, Variant::Used), of(&found, Variant::SeedsAlone));
    assert!(used.family.value() <= MOST && used.power.value() > 0.6, "{used:?}");
    assert!(seeds.family.value() > 0.2, "{seeds:?}");
}

#[test]
fn families_hold_their_level_where_rows_vary_unequally_and_lowered_variances_do_not() {
    let cell = Cell { scales: Scales::TwoLarge, common: 0.0, ..Cell::main(Statistic::Mean, 5, 20.0) };
    let found = levels(cell, 4);
    let (used, lowered) = (of(&found, Variant::Used), of(&found, Variant::Lowered));
    assert!(used.family.value() <= MOST, "{used:?}");
    assert!(lowered.family.value() > 0.1, "{lowered:?}");
}

#[test]
fn association_given_the_entropy_holds_its_level_and_texts_pooled_over_fits_do_not() {
    let found = associations((3, 300), 5, 300, 1, &|| {}).unwrap();
    assert!(found.levels[0].family.value() <= MOST, "{found:?}");
    assert!(found.levels[0].power.value() > 0.5, "{found:?}");
    let pooled = Way::ALL.iter().position(|way| *way == Way::Pooled).unwrap();
    assert!(found.levels[pooled].family.value() > found.levels[0].family.value(), "{found:?}");
}

#[test]
fn a_row_at_the_margin_is_seldom_called_equivalent_and_absence_of_a_star_says_nothing() {
    let found = equivalences((5, 3.0), 6, 100, 1, &|| {}).unwrap();
    assert!(found.tested.family.value() <= 0.11, "{found:?}");
    assert!(found.tested.power.value() > 0.8, "{found:?}");
    assert!(found.no_star.family.value() > 0.3, "{found:?}");
}

#[test]
fn the_page_depends_on_the_seed_and_not_on_threads() {
    let made = |seed, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let cell = Cell::main(Statistic::Nll, 3, 1.0);
        format!("{:?}", pool.install(|| cell.simulate(7, 10, seed, &|| {}).unwrap()))
    };
    assert_eq!(made(1, 1), made(1, 2));
    assert_ne!(made(1, 2), made(2, 2));
}

#[test]
#[ignore = "half a minute; `bayeslora nulls` runs the same"]
fn the_quick_grid_makes_a_page() {
    let report = run(Grid::Quick, 0, &|_| {}, &|_| {}).unwrap();
    let markdown = page("command", 0, &report).markdown();
    assert!(markdown.contains("## Equivalence within a margin"));
    assert!(csv(&report).unwrap().len() > 1000);
}
