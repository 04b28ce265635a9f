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
  say("errors", event.target.contentWindow.heard.join("; "));
});
