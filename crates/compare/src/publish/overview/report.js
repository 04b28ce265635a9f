"use strict";
// The number a cell begins with, of "0.7903 ± 0.0021*" or "< 0.0001"; null for text and dashes.
function numberOf(text) {
  const found = text.replace("−", "-").match(/^[<>]?\s*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)/i);
  return found ? parseFloat(found[1]) : null;
}
function sortBy(table, column, direction) {
  const body = table.tBodies[0];
  const key = (row) => (row.cells[column] ? row.cells[column].textContent.trim() : "");
  const rows = Array.from(body.rows);
  rows.sort((a, b) => {
    const [x, y] = [numberOf(key(a)), numberOf(key(b))];
    if (x !== null && y !== null) return direction * (x - y);
    // What is no number stands last, whichever way the numbers run.
    if (x !== null || y !== null) return x === null ? 1 : -1;
    return direction * key(a).localeCompare(key(b));
  });
  body.append(...rows);
}
for (const table of document.querySelectorAll("main table")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      sortBy(table, column, rising ? 1 : -1);
    });
  });
}
// The leaderboard shows one experiment at a time, or all.
const board = document.querySelector("#leaderboard");
const select = board.querySelector("select");
const lines = Array.from(board.querySelector("table").tBodies[0].rows);
const names = Array.from(new Set(lines.map((line) => line.cells[0].textContent)));
for (const name of [...names, "all experiments"]) select.add(new Option(name));
function choose() {
  const all = select.selectedIndex === names.length;
  board.querySelector("table").classList.toggle("one", !all);
  for (const line of lines) line.hidden = !all && line.cells[0].textContent !== select.value;
}
select.addEventListener("change", choose);
choose();
// A link opens what it leads to.
function open() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", open);
open();
