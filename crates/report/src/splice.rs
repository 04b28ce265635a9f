//! Generated blocks inside hand-written Markdown.

use crate::error::{Error, Result};

/// Replaces what stands between `<!-- BEGIN generated: NAME -->` and `<!-- END generated: NAME -->`.
///
/// # Errors
/// [`Error::Report`] unless each marker occurs exactly once, in this order.
///
/// # Examples
/// ```
/// use bayeslora_report::splice;
/// let text = "a\n<!-- BEGIN generated: t -->\nold\n<!-- END generated: t -->\nb\n";
/// let new = splice(text, "t", "new\n")?;
/// assert_eq!(new, "a\n<!-- BEGIN generated: t -->\nnew\n<!-- END generated: t -->\nb\n");
/// # Ok::<(), bayeslora_report::Error>(())
/// ```
pub fn splice(text: &str, name: &str, block: &str) -> Result<String> {
    let markers = [format!("<!-- BEGIN generated: {name} -->\n"), format!("<!-- END generated: {name} -->")];
    let [begin, end] = &markers;
    for marker in &markers {
        let found = text.matches(marker.as_str()).count();
        if found != 1 {
            let marker = marker.trim_end();
            return Err(Error::Report(format!("the marker {marker} occurs {found} times; expected once")));
        }
    }
    match (text.split_once(begin.as_str()), text.split_once(end.as_str())) {
        (Some((before, _)), Some((to_end, after))) if to_end.len() >= before.len() => {
            Ok(format!("{before}{begin}{block}{end}{after}"))
        }
        _ => Err(Error::Report(format!("the markers of {name} stand in the wrong order"))),
    }
}
