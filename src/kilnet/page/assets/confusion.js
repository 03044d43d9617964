// The confusion matrix: in counts, recall or precision, in several orders; each cell opens its images. Few classes are a
// table of buttons, many are a picture in which one moves.
const confusion = JSON.parse(document.getElementById("data-confusion")?.textContent ?? "null");

// Counts that answer for every cell, of which most are 0 where there are many classes.
function countsOf({ classes, counts, entries }) {
  const rows = classes.map(() => new Map());
  for (const [truth, predicted, count] of entries ?? []) rows[truth].set(predicted, count);
  (counts ?? []).forEach((row, truth) => row.forEach((count, predicted) => { if (count) rows[truth].set(predicted, count); }));
  const rowTotals = rows.map((row) => [...row.values()].reduce((a, b) => a + b, 0));
  const columnTotals = classes.map(() => 0);
  for (const row of rows) for (const [predicted, count] of row) columnTotals[predicted] += count;
  return { rows, rowTotals, columnTotals, count: (truth, predicted) => rows[truth].get(predicted) ?? 0 };
}

function startConfusion({ classes, order, cells, ...given }) {
  const counted = countsOf({ classes, ...given });
  const place = (button) => button.dataset.cell.split("-").map(Number);
  const orders = {
    given: classes.map((_, index) => index),
    likeness: order,
    name: classes.map((_, index) => index).sort((a, b) => classes[a].localeCompare(classes[b], undefined, { numeric: true })),
  };
  const unit = () => document.querySelector("[name=confusion-unit]:checked").value;

  function part(truth, predicted, unit) { // null where nothing can be divided by
    const total = { counts: 1, recall: counted.rowTotals[truth], precision: counted.columnTotals[predicted] }[unit];
    return total ? counted.count(truth, predicted) / total : null;
  }

  const largestCount = Math.max(1, ...counted.rows.map((row) => Math.max(0, ...row.values())));

  function level(truth, predicted, unit) { // the colour, from 0 to 10
    const value = part(truth, predicted, unit);
    return value ? Math.max(1, Math.round(10 * Math.sqrt(value / (unit === "counts" ? largestCount : 1)))) : 0;
  }

  function sentence(truth, predicted) {
    const count = counted.count(truth, predicted).toLocaleString("en");
    const share = (unit) => { const ratio = part(truth, predicted, unit); return ratio === null ? "–" : percent(ratio); };
    return `truth ${classes[truth]}, predicted ${classes[predicted]}: ${count} ${count === "1" ? "image" : "images"}; ` +
      `${share("recall")} of the row, ${share("precision")} of the column`;
  }

  function openCell(truth, predicted) {
    const indices = cells[`${truth}-${predicted}`] ?? [];
    const count = counted.count(truth, predicted);
    const right = truth === predicted;
    const title = document.getElementById("cell-title");
    title.replaceChildren("truth ", isolated(classes[truth]), ", predicted ", isolated(classes[predicted]));
    document.getElementById("cell-count").textContent = !count ? "No images." :
      `${indices.length.toLocaleString("en")} of ${count.toLocaleString("en")} ${count === 1 ? "image" : "images"} shown` +
      (indices.length < count ? `, ${right ? "the least" : "the most"} confident first.` : ".");
    document.getElementById("cell").hidden = false;
    fillThumbs(document.getElementById("cell-images"), indices);
    for (const button of document.querySelectorAll(".heat [data-cell]")) {
      button.setAttribute("aria-pressed", button.dataset.cell === `${truth}-${predicted}`);
    }
    view?.choose(truth, predicted);
  }

  for (const button of document.querySelectorAll("[data-cell]")) {
    button.addEventListener("click", () => {
      openCell(...place(button));
      if (!button.closest(".heat")) document.getElementById("cell").scrollIntoView({ block: "nearest" });
    });
  }
  const grid = document.querySelector("table.heat");
  const tools = { classes, orders, unit, level, part, sentence, openCell, place, counted };
  const view = grid ? startGrid(grid, tools) : startMatrix(document.getElementById("matrix"), tools);
  const chosen = document.getElementById("confusion-order");
  chosen.addEventListener("change", () => view.arrange(orders[chosen.value]));
  for (const input of document.querySelectorAll("[name=confusion-unit]")) input.addEventListener("change", view.paint);
  view.arrange(orders[chosen.value]);
  view.paint();
  let worst = [0, 0, 0];
  counted.rows.forEach((row, truth) => row.forEach((count, predicted) => {
    if (truth !== predicted && count > worst[0]) worst = [count, truth, predicted];
  }));
  if (worst[0]) openCell(worst[1], worst[2]); // so that nobody has to guess what a click does
}

function startGrid(grid, { unit, level, part, sentence, place, counted }) {
  const status = document.getElementById("cell-status");
  const head = grid.tHead.rows[0], heads = [...head.cells].slice(1);
  const rows = [...grid.tBodies[0].rows];
  const buttons = rows.map((row) => [...row.querySelectorAll("button")]);
  let order = rows.map((_, index) => index), entry = buttons[0][0];

  function paint() {
    const shown = unit();
    for (const button of buttons.flat()) {
      const [truth, predicted] = place(button);
      const value = part(truth, predicted, shown);
      button.className = `h${level(truth, predicted, shown)}`;
      button.textContent = !value ? "" : shown === "counts" ? counted.count(truth, predicted) :
        value < 0.005 ? "<1" : Math.round(100 * value);
      button.setAttribute("aria-label", sentence(truth, predicted));
    }
  }

  function arrange(next) {
    order = next;
    head.append(...order.map((index) => heads[index]));
    for (const truth of order) {
      rows[truth].append(...order.map((index) => buttons[truth][index].parentElement));
      grid.tBodies[0].append(rows[truth]);
    }
    enter(buttons[order[0]][order[0]]);
  }

  function enter(button) { // one stop for the tab key, the arrow keys do the rest
    entry.tabIndex = -1;
    entry = button;
    entry.tabIndex = 0;
  }

  const tell = (event) => {
    const button = event.target.closest("[data-cell]");
    if (button) status.textContent = sentence(...place(button));
  };
  grid.addEventListener("pointerover", tell);
  grid.addEventListener("focusin", tell);
  grid.addEventListener("keydown", (event) => {
    const button = event.target.closest("[data-cell]");
    if (!button) return;
    const [row, column] = place(button).map((index) => order.indexOf(index));
    const target = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [row, 0], End: [row, order.length - 1],
    }[event.key];
    if (!target) return;
    event.preventDefault();
    const next = buttons[order[target[0]]]?.[order[target[1]]];
    if (!next) return;
    enter(next);
    next.focus();
  });
  return { paint, arrange, choose: () => {} };
}

if (confusion) sheetsReady.then(() => startConfusion(confusion));
