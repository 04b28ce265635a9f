//! Figures as SVG: a backend of `plotters` that writes little.
//!
//! Strokes that share a style are one path with relative coordinates, and what is filled or written in one style shares one group.
//! A dashed curve is then a few hundred bytes where one element a dash takes tens of thousands.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::rc::Rc;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontTransform,
};

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// Width of a character over the size of its font, on average over sans-serif fonts.
const CHARACTER: f64 = 0.53;
/// Size of a font over the height of its line.
const LINE: f64 = 1.24;

/// Draws into a text.
#[derive(Debug)]
pub struct Svg {
    text: Rc<RefCell<String>>,
    size: (u32, u32),
    /// Elements of one style that are not written yet.
    open: Option<Open>,
    finished: bool,
}

#[derive(Debug)]
struct Open {
    shape: Shape,
    style: String,
    content: String,
    /// Where the path ends.
    end: BackendCoord,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Path,
    Group,
}

impl Svg {
    /// A figure of this width and height in pixels, written to `text`.
    pub fn new(text: Rc<RefCell<String>>, size: (u32, u32)) -> Self {
        let (width, height) = size;
        let _ = writeln!(
            text.borrow_mut(),
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\">"
        );
        Self { text, size, open: None, finished: false }
    }

    /// What is drawn in one style after the other is kept together.
    fn content(&mut self, shape: Shape, style: String) -> &mut Open {
        if self.open.as_ref().is_none_or(|open| open.shape != shape || open.style != style) {
            self.close();
        }
        self.open.get_or_insert_with(|| Open { shape, style, content: String::new(), end: (0, 0) })
    }

    fn close(&mut self) {
        if let Some(Open { shape, style, content, .. }) = self.open.take() {
            let _ = match shape {
                Shape::Path => writeln!(self.text.borrow_mut(), "<path{style} d=\"{content}\"/>"),
                Shape::Group => writeln!(self.text.borrow_mut(), "<g{style}>{content}</g>"),
            };
        }
    }

    fn stroke(&mut self, points: impl IntoIterator<Item = BackendCoord>, style: &impl BackendStyle) {
        let colour = style.color();
        if colour.alpha <= 0.0 {
            return;
        }
        let mut attributes = " fill=\"none\"".to_owned() + &paint("stroke", colour);
        if style.stroke_width() != 1 {
            let _ = write!(attributes, " stroke-width=\"{}\"", style.stroke_width());
        }
        // Half-transparent strokes that cross are darker there, so each is a path of its own.
        if colour.alpha < 1.0 {
            self.close();
        }
        self.content(Shape::Path, attributes).line(points);
    }

    fn fill(&mut self, points: impl IntoIterator<Item = BackendCoord>, colour: BackendColor) {
        if colour.alpha > 0.0 {
            // Shapes of opposite sense would cut holes into each other.
            self.close();
            let open = self.content(Shape::Path, paint("fill", colour));
            open.line(points);
            open.content.push('z');
        }
    }

    fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.close();
            self.text.borrow_mut().push_str("</svg>\n");
        }
    }
}

impl Open {
    /// A line through the points, relative to where the path ends.
    fn line(&mut self, points: impl IntoIterator<Item = BackendCoord>) {
        let mut points = points.into_iter();
        let Some(first) = points.next() else { return };
        let from = if self.content.is_empty() { (0, 0) } else { self.end };
        self.step('m', (first.0 - from.0, first.1 - from.1));
        let (mut at, mut step) = (first, (0_i32, 0_i32));
        for point in points {
            let next = (point.0 - at.0, point.1 - at.1);
            // What goes on in one direction is one line.
            let straight = (step.0 == 0 && next.0 == 0 && step.1.signum() * next.1.signum() >= 0)
                || (step.1 == 0 && next.1 == 0 && step.0.signum() * next.0.signum() >= 0);
            if !straight {
                self.step('l', step);
                step = (0, 0);
            }
            step = (step.0 + next.0, step.1 + next.1);
            at = point;
        }
        self.step('l', step);
        self.end = at;
    }

    fn step(&mut self, command: char, (x, y): (i32, i32)) {
        let _ = match (command, x, y) {
            ('l', 0, 0) => Ok(()),
            ('l', x, 0) => write!(self.content, "h{x}"),
            ('l', 0, y) => write!(self.content, "v{y}"),
            (command, x, y) if y < 0 => write!(self.content, "{command}{x}{y}"),
            (command, x, y) => write!(self.content, "{command}{x} {y}"),
        };
    }
}

/// ` stroke="#rrggbb"`, with its opacity where it is not opaque.
fn paint(attribute: &str, BackendColor { alpha, rgb: (red, green, blue) }: BackendColor) -> String {
    let opacity = if alpha < 1.0 { format!(" {attribute}-opacity=\"{}\"", decimal(alpha)) } else { String::new() };
    format!(" {attribute}=\"#{red:02x}{green:02x}{blue:02x}\"{opacity}")
}

/// One decimal in coordinates, two in opacities, and no zeros at the end.
fn decimal(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn tenths(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), ToOwned::to_owned)
}

impl Drop for Svg {
    fn drop(&mut self) {
        self.finish();
    }
}

impl DrawingBackend for Svg {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        self.finish();
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        self.fill([point, (point.0 + 1, point.1), (point.0 + 1, point.1 + 1), (point.0, point.1 + 1)], color);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.stroke([from, to], style);
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom)];
        if fill {
            self.fill(corners, style.color());
        } else {
            self.stroke(corners.into_iter().chain([(left, top)]), style);
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        self.stroke(path, style);
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, (x, y): BackendCoord, radius: u32, style: &S, fill: bool) -> Drawn {
        let colour = style.color();
        let attributes =
            if fill { paint("fill", colour) } else { " fill=\"none\"".to_owned() + &paint("stroke", colour) };
        if colour.alpha > 0.0 {
            let open = self.content(Shape::Group, attributes);
            let _ = write!(open.content, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>");
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, vert: I, style: &S) -> Drawn {
        self.fill(vert, style.color());
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn {
        let size = style.size() / LINE;
        let anchor = match style.anchor().h_pos {
            HPos::Left => "",
            HPos::Center => " text-anchor=\"middle\"",
            HPos::Right => " text-anchor=\"end\"",
        };
        // Where the baseline lies below the point named.
        let below = size
            * match style.anchor().v_pos {
                VPos::Top => 0.76,
                VPos::Center => 0.26,
                VPos::Bottom => -0.26,
            };
        let attributes = format!(" font-size=\"{}\"{anchor}{}", tenths(size), paint("fill", style.color()));
        let degrees = match style.transform() {
            FontTransform::None => 0,
            FontTransform::Rotate90 => 90,
            FontTransform::Rotate180 => 180,
            FontTransform::Rotate270 => 270,
        };
        let turned = if degrees == 0 { String::new() } else { format!(" transform=\"rotate({degrees} {x} {y})\"") };
        let baseline = tenths(f64::from(y) + below);
        let open = self.content(Shape::Group, attributes);
        let _ = write!(open.content, "<text x=\"{x}\" y=\"{baseline}\"{turned}>{}</text>", crate::html::escape(text));
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "labels are short and their sizes positive"
        )]
        let pixels = |length: f64| length.ceil() as u32;
        let size = style.size() / LINE;
        Ok((pixels(CHARACTER * size * text.chars().count() as f64), pixels(size)))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use plotters::prelude::*;

    use super::Svg;

    fn drawn(draw: impl FnOnce(&DrawingArea<Svg, plotters::coord::Shift>)) -> String {
        let text = Rc::default();
        let area = Svg::new(Rc::clone(&text), (40, 30)).into_drawing_area();
        draw(&area);
        drop(area);
        text.take()
    }

    #[test]
    fn strokes_of_one_style_are_one_path_and_straight_runs_one_line() {
        let text = drawn(|area| {
            let style = RED.stroke_width(2);
            area.draw(&PathElement::new(vec![(1, 2), (3, 2), (7, 2), (7, 2), (9, 5)], style)).unwrap();
            area.draw(&PathElement::new(vec![(9, 9), (9, 4)], style)).unwrap();
            area.draw(&PathElement::new(vec![(0, 0), (4, 4)], BLUE.stroke_width(2))).unwrap();
        });
        assert!(
            text.contains("<path fill=\"none\" stroke=\"#ff0000\" stroke-width=\"2\" d=\"m1 2h6l2 3m0 4v-5\"/>"),
            "{text}"
        );
        assert!(text.contains("stroke=\"#0000ff\" stroke-width=\"2\" d=\"m0 0l4 4\"/>"), "{text}");
        assert!(text.ends_with("</svg>\n"), "{text}");
    }

    #[test]
    fn a_path_that_turns_back_keeps_both_ways() {
        let text = drawn(|area| {
            area.draw(&PathElement::new(vec![(1, 1), (9, 1), (4, 1)], RED.stroke_width(1))).unwrap();
        });
        assert!(text.contains("d=\"m1 1h8h-5\""), "{text}");
    }

    #[test]
    fn what_is_half_transparent_is_never_merged_and_what_is_invisible_not_written() {
        let text = drawn(|area| {
            let style = RED.mix(0.35).stroke_width(1);
            area.draw(&PathElement::new(vec![(0, 0), (9, 9)], style)).unwrap();
            area.draw(&PathElement::new(vec![(0, 9), (9, 0)], style)).unwrap();
            area.draw(&PathElement::new(vec![(0, 9), (9, 0)], TRANSPARENT)).unwrap();
        });
        assert_eq!(text.matches("stroke-opacity=\"0.35\"").count(), 2, "{text}");
        assert_eq!(text.matches("<path").count(), 2, "{text}");
    }

    #[test]
    fn text_is_escaped_and_its_style_said_once() {
        let text = drawn(|area| {
            for place in 0..2 {
                area.draw(&Text::new("a < b & c", (place, 0), ("sans-serif", 12.4).into_font())).unwrap();
            }
        });
        assert_eq!(text.matches("font-size=\"10\"").count(), 1, "{text}");
        assert_eq!(text.matches(">a &lt; b &amp; c</text>").count(), 2, "{text}");
    }
}
