// Says what it finds in the frame `f`, one `name=value` a line of `probe`.
document.getElementById("f").addEventListener("load", (event) => {
  const page = event.target.contentDocument, say = (name, value) =>
    { document.getElementById("probe").textContent += name + "=" + value + "\n"; };
  say("experiments", page.querySelectorAll("details.experiment").length);
  say("links", Array.from(page.querySelectorAll("nav a")).every((a) => page.getElementById(a.hash.slice(1))));
  const ids = Array.from(page.querySelectorAll("[id]"), (e) => e.id);
  say("unique", new Set(ids).size === ids.length);
  const sources = Array.from(page.images, (image) => image.src);
  say("images", sources.every((source) => source.startsWith("data:")) && sources.length > 5);
  say("once", new Set(sources).size === sources.length);
  const fetched = event.target.contentWindow.performance.getEntriesByType("resource");
  say("fetched", fetched.filter((entry) => !entry.name.startsWith("data:")).length);
  say("width", page.documentElement.scrollWidth);
  // The leaderboard shows one experiment, another when asked, and all.
  const select = page.querySelector("#leaderboard select"), lines = page.querySelectorAll("#leaderboard tbody tr");
  const shown = () => new Set(Array.from(lines).filter((line) => !line.hidden).map((line) => line.cells[0].textContent));
  const choose = (place) => { select.selectedIndex = place; select.dispatchEvent(new Event("change")); return shown().size; };
  say("chosen", Array.from(shown()).join() + " " + choose(1) + " " + choose(select.length - 1) + " of " + (select.length - 1));
  choose(0);
  // Links open what they lead to.
  const folded = page.getElementById(page.querySelector("nav a").hash.slice(1));
  say("folded", folded.open);
  const table = page.querySelector("#leaderboard table"), column = 3;
  const values = () => Array.from(table.tBodies[0].rows, (row) => parseFloat(row.cells[column].textContent));
  const rises = (v) => v.every((x, i) => i === 0 || v[i - 1] <= x);
  say("before", rises(values()));
  const head = table.tHead.rows[0].cells[column];
  head.querySelector("button").click();
  say("after", rises(values()) + " " + head.getAttribute("aria-sort"));
  head.querySelector("button").click();
  say("again", rises(values().reverse()) + " " + head.getAttribute("aria-sort"));
  // Another column's heading takes the mark over, and the first column begins anew.
  const marked = () => Array.from(table.tHead.rows[0].cells, (cell) => cell.getAttribute("aria-sort") || "-").slice(2, 5).join(" ");
  const click = (column) => table.tHead.rows[0].cells[column].querySelector("button").click();
  click(4);
  say("other", marked());
  click(3);
  say("first", marked());
  // Numbers that a sort of their texts would put in another order; what is no number stands last both ways.
  const cells = ["10.5 ± 0.1", "—", "< 0.0001", "9.25*", "−3"], body = table.tBodies[0];
  body.replaceChildren(...Array.from(body.rows).slice(0, cells.length));
  cells.forEach((text, row) => { body.rows[row].cells[column].textContent = text; });
  const texts = () => Array.from(body.rows, (row) => row.cells[column].textContent).join(", ");
  click(4);
  click(3);
  say("rising", texts());
  click(3);
  say("falling", texts());
  say("errors", event.target.contentWindow.heard.join("; "));
});
