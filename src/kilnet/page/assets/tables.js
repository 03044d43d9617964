"use strict";

// A table that sorts: a click on a heading sorts by its column, another click turns the order round. A long one begins
// with its first rows, shows the others on demand, and finds rows by the text of their heading.
function shorten(table) {
  const most = Number(table.dataset.shown);
  const wrapper = table.closest(".scroll") ?? table;
  const more = document.createElement("button");
  more.type = "button";
  more.className = "more";
  let isOpen = false, wanted = "";
  const update = () => {
    const rows = [...table.tBodies[0].rows];
    const found = rows.filter((row) => row.cells[0].textContent.toLowerCase().includes(wanted));
    const shown = new Set(isOpen ? found : found.slice(0, most));
    for (const row of rows) row.hidden = !shown.has(row);
    more.hidden = found.length <= most;
    more.textContent = isOpen ? `Show the first ${most}` : `Show all ${found.length.toLocaleString("en")}`;
  };
  more.addEventListener("click", () => { isOpen = !isOpen; update(); });
  wrapper.after(more);
  if (table.dataset.searched) {
    const label = document.createElement("label");
    const search = document.createElement("input");
    search.type = "search";
    label.className = "search";
    label.append(`${table.dataset.searched} `, search);
    search.addEventListener("input", () => { wanted = search.value.trim().toLowerCase(); update(); });
    wrapper.before(label);
  }
  update();
  return update;
}

function activateTables(root) {
  for (const table of root.querySelectorAll("table.sortable, table[data-shown]")) {
    const update = table.dataset.shown && table.tBodies[0].rows.length > table.dataset.shown ? shorten(table) : () => {};
    if (!table.classList.contains("sortable")) continue;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.filter((other) => other.ariaSort).forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const isNumber = head.classList.contains("number");
      const key = (row) => row.cells[column].dataset.value;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // what is unknown stays at the end
        const order = isNumber ? x - y : x.localeCompare(y, undefined, { numeric: true });
        return ascending ? order : -order;
      });
      table.tBodies[0].append(...rows);
      update();
    }));
  }
}

activateTables(document);
