//! Critical-difference diagrams (Demšar 2006, figure 1): names at their average ranks, bars joining those that do not differ.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, Figure};
use crate::error::Result;

/// Average ranks of some rows by one criterion, and by how much two must differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking<'a> {
    /// Caption.
    pub title: &'a str,
    /// Names and average ranks, in any order; 1 is best.
    pub ranks: Vec<(&'a str, f64)>,
    /// Ranks that differ by less are joined.
    pub critical: f64,
}

impl Ranking<'_> {
    /// Rows by rank; equal ones in the order given.
    fn sorted(&self) -> Vec<(&str, f64)> {
        let mut sorted = self.ranks.clone();
        sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
        sorted
    }

    /// The largest groups of neighbours among which no two differ: first and last of the sorted rows.
    fn groups(&self) -> Vec<(usize, usize)> {
        let ranks: Vec<f64> = self.sorted().into_iter().map(|(_, rank)| rank).collect();
        let mut groups: Vec<(usize, usize)> = Vec::new();
        for (first, rank) in ranks.iter().enumerate() {
            let last = ranks.iter().rposition(|other| other - rank < self.critical).unwrap_or(first);
            // A group within the one before says nothing new.
            if last > first && groups.last().is_none_or(|&(_, before)| last > before) {
                groups.push((first, last));
            }
        }
        groups
    }

    /// Names on either side.
    fn levels(&self) -> i32 {
        pixels(self.ranks.len().div_ceil(2))
    }

    fn height(&self) -> i32 {
        ABOVE + pixels(self.groups().len()) * BAR + self.levels() * LINE + 30
    }
}

/// Diagrams below each other.
#[derive(Debug)]
pub struct CriticalDifference<'a>(pub &'a [Ranking<'a>]);

const WIDTH: i32 = 1080;
/// Where the axis begins and ends: names stand outside.
const AXIS: (i32, i32) = (330, WIDTH - 330);
/// From the top of a diagram to its axis.
const ABOVE: i32 = 84;
/// Between bars, and between names.
const BAR: i32 = 8;
const LINE: i32 = 18;

fn pixels(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX / 1000)
}

impl Figure for CriticalDifference<'_> {
    fn size(&self) -> (u32, u32) {
        let height: i32 = self.0.iter().map(Ranking::height).sum();
        (WIDTH.unsigned_abs(), height.unsigned_abs().max(1))
    }

    fn draw(&self, area: &Area) -> Result {
        let mut top = 0;
        for ranking in self.0 {
            diagram(area, ranking, top)?;
            top += ranking.height();
        }
        Ok(())
    }
}

fn diagram(area: &Area, ranking: &Ranking<'_>, top: i32) -> Result {
    let (sorted, groups) = (ranking.sorted(), ranking.groups());
    let most = sorted.len().max(2);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "ranks lie between 1 and the number of rows, pixels within the figure"
    )]
    let x_of = |rank: f64| AXIS.0 + ((rank - 1.0) / (most as f64 - 1.0) * f64::from(AXIS.1 - AXIS.0)).round() as i32;
    let path = |points: Vec<(i32, i32)>, width: u32| area.draw(&PathElement::new(points, BLACK.stroke_width(width)));
    let text = |text: &str, at: (i32, i32), side: HPos, size: i32| {
        let style = ("sans-serif", size).into_font().color(&BLACK).pos(Pos::new(side, VPos::Center));
        area.draw(&Text::new(text.to_owned(), at, style))
    };
    text(ranking.title, (WIDTH / 2, top + 16), HPos::Center, 17)?;
    // The critical difference as a length, cut where it is longer than the axis.
    let (y, end) = (top + 40, x_of(1.0 + ranking.critical).min(AXIS.1));
    path(vec![(AXIS.0, y), (end, y)], 1)?;
    path(vec![(AXIS.0, y - 4), (AXIS.0, y + 4)], 1)?;
    if ranking.critical <= most as f64 - 1.0 {
        path(vec![(end, y - 4), (end, y + 4)], 1)?;
    }
    let (name, left) = (format!("CD {:.2}", ranking.critical), AXIS.0 - 8);
    text(&name, (left, y), HPos::Right, 13)?;
    let axis = top + ABOVE;
    path(vec![(AXIS.0, axis), (AXIS.1, axis)], 1)?;
    let step = most.div_ceil(15);
    for rank in (1..=most).step_by(step) {
        let x = x_of(rank as f64);
        path(vec![(x, axis - 6), (x, axis)], 1)?;
        text(&rank.to_string(), (x, axis - 14), HPos::Center, 12)?;
    }
    for (place, &(first, last)) in groups.iter().enumerate() {
        let y = axis + 6 + pixels(place) * BAR;
        path(vec![(x_of(sorted[first].1) - 3, y), (x_of(sorted[last].1) + 3, y)], 4)?;
    }
    let names = axis + 16 + pixels(groups.len()) * BAR;
    let left_side = sorted.len().div_ceil(2);
    for (place, &(name, rank)) in sorted.iter().enumerate() {
        let left = place < left_side;
        let level = if left { place } else { sorted.len() - 1 - place };
        let (y, end) = (names + pixels(level) * LINE, if left { AXIS.0 - 16 } else { AXIS.1 + 16 });
        path(vec![(x_of(rank), axis), (x_of(rank), y), (end, y)], 1)?;
        let (side, at) = if left { (HPos::Right, end - 5) } else { (HPos::Left, end + 5) };
        text(&format!("{name} ({rank:.2})"), (at, y), side, 12)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::file;

    fn ranking(ranks: &[(&'static str, f64)], critical: f64) -> Ranking<'static> {
        Ranking { title: "NLL", ranks: ranks.to_vec(), critical }
    }

    #[test]
    fn groups_are_the_largest_without_a_difference() {
        let ranks = [("d", 4.0), ("a", 1.0), ("b", 1.5), ("c", 2.5)];
        assert_eq!(ranking(&ranks, 1.6).groups(), [(0, 2), (2, 3)]);
        assert_eq!(ranking(&ranks, 5.0).groups(), [(0, 3)]);
        // Ranks that differ by exactly the critical difference differ.
        assert_eq!(ranking(&ranks, 1.5).groups(), [(0, 1), (1, 2)]);
        assert_eq!(ranking(&ranks, 0.1).groups(), []);
    }

    #[test]
    fn every_name_is_drawn_with_its_rank_and_diagrams_stand_below_each_other() {
        let one = ranking(&[("first", 1.25), ("second", 1.75), ("third", 3.0)], 1.0);
        let (_, svg) = file("cd", &CriticalDifference(&[one.clone(), one.clone()])).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        for name in ["first (1.25)", "second (1.75)", "third (3.00)", "CD 1.00"] {
            assert_eq!(svg.matches(name).count(), 2, "{name}: {svg}");
        }
        let height = 2 * one.height();
        assert!(svg.contains(&format!("height=\"{height}\"")), "{svg}");
    }
}
