//! The little of Markdown that prose of pages uses, as HTML.

use std::fmt::Write as _;

use crate::escape::escape;

/// Paragraphs, lists (`- `), headings of the third level and block quotes (`> `), separated by empty lines.
pub(crate) fn blocks(text: &str) -> String {
    let mut html = String::new();
    let mut block: Vec<&str> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            html += &block_of(&block);
            block.clear();
        } else {
            block.push(line);
        }
    }
    html
}

fn block_of(lines: &[&str]) -> String {
    let Some(first) = lines.first() else { return String::new() };
    let joined = |lines: &[&str]| inline(&lines.join("\n"));
    if let Some(heading) = first.strip_prefix("### ") {
        return format!("<h3>{}</h3>\n{}", inline(heading), block_of(&lines[1..]));
    }
    if let Some(quoted) = first.strip_prefix("> ") {
        let lines: Vec<&str> =
            std::iter::once(quoted).chain(lines[1..].iter().map(|line| line.trim_start_matches("> "))).collect();
        return format!("<blockquote>{}</blockquote>\n", joined(&lines));
    }
    if first.starts_with("- ") {
        let starts: Vec<usize> = (0..lines.len()).filter(|&line| lines[line].starts_with("- ")).collect();
        let mut html = "<ul>\n".to_owned();
        for (place, &start) in starts.iter().enumerate() {
            let end = starts.get(place + 1).copied().unwrap_or(lines.len());
            let _ = writeln!(html, "<li>{}</li>", inline(lines[start..end].join("\n").trim_start_matches("- ")));
        }
        return html + "</ul>\n";
    }
    format!("<p>{}</p>\n", joined(lines))
}

/// `code`, `**bold**`, `*emphasis*` and `[text](address)`; a mark without its partner is itself.
pub(crate) fn inline(text: &str) -> String {
    let mut html = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*', '[']) {
        html += &escape(&rest[..at]);
        rest = &rest[at..];
        let (shown, length) = marked(rest).unwrap_or_else(|| (escape(&rest[..1]), 1));
        html += &shown;
        rest = &rest[length..];
    }
    html + &escape(rest)
}

/// What a mark at the beginning of `text` encloses as HTML, and how many bytes of it that is.
fn marked(text: &str) -> Option<(String, usize)> {
    let enclosed = |mark: &str| {
        let inner = &text.strip_prefix(mark)?;
        let end = inner.find(mark).filter(|&end| end > 0)?;
        // A star between spaces is a star.
        (!inner.starts_with(' ')).then_some((&inner[..end], end + 2 * mark.len()))
    };
    if let Some((code, length)) = enclosed("`") {
        return Some((format!("<code>{}</code>", escape(code)), length));
    }
    if let Some((bold, length)) = enclosed("**") {
        return Some((format!("<strong>{}</strong>", inline(bold)), length));
    }
    if !text.starts_with("**")
        && let Some((emphasis, length)) = enclosed("*")
    {
        return Some((format!("<em>{}</em>", inline(emphasis)), length));
    }
    let inner = text.strip_prefix('[')?;
    let (name, after) = inner.split_once("](")?;
    let (address, _) = after.split_once(')')?;
    let is_plain = !name.contains('[') && !address.contains([' ', '\n']) && !address.contains("javascript:");
    is_plain.then(|| {
        (format!("<a href=\"{}\">{}</a>", escape(address), inline(name)), name.len() + address.len() + "[]()".len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_rendered_and_tags_shown() {
        for (text, html) in [
            ("a *b* **c** `d*e`", "a <em>b</em> <strong>c</strong> <code>d*e</code>"),
            ("[a `b`](c.md) <b>", "<a href=\"c.md\">a <code>b</code></a> &lt;b&gt;"),
            ("`*`: 2 * 3 and [1, 2]", "<code>*</code>: 2 * 3 and [1, 2]"),
            ("one ` and one **", "one ` and one **"),
            ("ρ [x](javascript:y)", "ρ [x](javascript:y)"),
        ] {
            assert_eq!(inline(text), html);
        }
    }

    #[test]
    fn blocks_stand_between_empty_lines() {
        let html = blocks("a\nb\n\n- c\n  d\n- e\n\n> f\n\n### g\nh");
        assert_eq!(
            html,
            "<p>a\nb</p>\n<ul>\n<li>c\n  d</li>\n<li>e</li>\n</ul>\n<blockquote>f</blockquote>\n<h3>g</h3>\n<p>h</p>\n"
        );
    }
}
