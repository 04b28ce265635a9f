// Says what it finds in the frame `f`, one `name=value` a line of `probe`.
document.getElementById("f").addEventListener("load", (event) => {
  const page = event.target.contentDocument, say = (name, value) =>
    { document.getElementById("probe").textContent += name + "=" + value + "\n"; };
  say("sections", page.querySelectorAll("main section").length);
  say("links", Array.from(page.querySelectorAll("nav a")).every((a) => page.getElementById(a.hash.slice(1))));
  const ids = Array.from(page.querySelectorAll("[id]"), (e) => e.id);
  say("unique", new Set(ids).size === ids.length);
  say("images", Array.from(page.images).every((image) => image.src.startsWith("data:")) && page.images.length > 5);
  const fetched = event.target.contentWindow.performance.getEntriesByType("resource");
  say("fetched", fetched.filter((entry) => !entry.name.startsWith("data:")).length);
  say("width", page.documentElement.scrollWidth);
  const table = page.querySelector("#movies-minilm table"), column = 1;
  const values = () => Array.from(table.tBodies[0].rows, (row) => parseFloat(row.cells[column].textContent));
  const rises = (v) => v.every((x, i) => i === 0 || v[i - 1] <= x);
  say("before", rises(values()));
  const head = table.tHead.rows[0].cells[column];
  head.querySelector("button").click();
  say("after", rises(values()) + " " + head.getAttribute("aria-sort"));
  head.querySelector("button").click();
  say("again", rises(values().reverse()) + " " + head.getAttribute("aria-sort"));
  // Another column's heading takes the mark over, and the first column begins anew.
  const marked = () => Array.from(table.tHead.rows[0].cells, (cell) => cell.getAttribute("aria-sort") || "-").slice(0, 3).join(" ");
  const click = (column) => table.tHead.rows[0].cells[column].querySelector("button").click();
  click(2);
  say("other", marked());
  click(1);
  say("first", marked());
  // Numbers that a sort of their texts would put in another order; what is no number stands last both ways.
  const cells = ["10.5 ± 0.1", "—", "< 0.0001", "9.25*", "−3"], body = table.tBodies[0];
  body.replaceChildren(...Array.from(body.rows).slice(0, cells.length));
  cells.forEach((text, row) => { body.rows[row].cells[column].textContent = text; });
  const texts = () => Array.from(body.rows, (row) => row.cells[column].textContent).join(", ");
  click(2);
  click(1);
  say("rising", texts());
  click(1);
  say("falling", texts());
  say("errors", event.target.contentWindow.heard.join("; "));
});
