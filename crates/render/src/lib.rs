//! What pages are made of: one [`Table`] value in Markdown, CSV, LaTeX and HTML, prose, and figures in SVG.
//!
//! Nothing here reads a file, a clock or a model: values in, text out.

#![expect(clippy::format_push_string, reason = "pages are put together from formatted pieces, and a String takes any")]

mod csv;
mod error;
mod escape;
mod figures;
pub mod html;
mod latex;
mod markdown;
mod page;
mod prose;
mod svg;
mod table;

pub use csv::csv;
pub use error::{Error, Result};
pub use figures::{
    Area, Axes, Chart, CriticalDifference, Estimate, Figure, File, Ranking, band, colour, estimates, file, legend, line,
};
pub use html::Html;
pub use latex::Latex;
pub use markdown::Markdown;
pub use page::{Block, Page, Section};
pub use svg::Svg;
pub use table::{Align, Cell, Column, Format, Table};
