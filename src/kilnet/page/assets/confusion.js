// One heat map that switches between counts, recall and precision; each cell opens its images.
const confusion = JSON.parse(document.getElementById("data-confusion")?.textContent ?? "null");

function startConfusion({ classes, counts, cells }) {
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  const rowTotals = counts.map(sum);
  const columnTotals = classes.map((_, column) => sum(counts.map((row) => row[column])));
  const grid = document.querySelector("table.heat");
  const place = (button) => button.dataset.cell.split("-").map(Number);

  function part(truth, predicted, unit) { // null where nothing can be divided by
    const total = { counts: 1, recall: rowTotals[truth], precision: columnTotals[predicted] }[unit];
    return total ? counts[truth][predicted] / total : null;
  }

  function sentence(truth, predicted) {
    const count = counts[truth][predicted].toLocaleString("en");
    const share = (unit) => { const ratio = part(truth, predicted, unit); return ratio === null ? "–" : percent(ratio); };
    return `truth ${classes[truth]}, predicted ${classes[predicted]}: ${count} ${count === "1" ? "image" : "images"}; ` +
      `${share("recall")} of the row, ${share("precision")} of the column`;
  }

  function paint(unit) {
    const largest = unit === "counts" ? Math.max(1, ...counts.flat()) : 1;
    for (const button of grid.querySelectorAll("[data-cell]")) {
      const value = part(...place(button), unit);
      const level = value ? Math.max(1, Math.round(10 * Math.sqrt(value / largest))) : 0;
      button.className = `h${level}`;
      button.textContent = !value ? "" : unit === "counts" ? value : value < 0.005 ? "<1" : Math.round(100 * value);
      button.setAttribute("aria-label", sentence(...place(button)));
    }
  }

  function openCell(truth, predicted) {
    const indices = cells[`${truth}-${predicted}`] ?? [];
    const count = counts[truth][predicted];
    const right = truth === predicted;
    const title = document.getElementById("cell-title");
    title.replaceChildren("truth ", isolated(classes[truth]), ", predicted ", isolated(classes[predicted]));
    document.getElementById("cell-count").textContent = !count ? "No images." :
      `${indices.length.toLocaleString("en")} of ${count.toLocaleString("en")} images shown` +
      (indices.length < count ? `, ${right ? "the least" : "the most"} confident first.` : ".");
    document.getElementById("cell").hidden = false;
    fillThumbs(document.getElementById("cell-images"), indices);
    for (const button of document.querySelectorAll(".heat [data-cell]")) {
      button.setAttribute("aria-pressed", button.dataset.cell === `${truth}-${predicted}`);
    }
  }

  for (const button of document.querySelectorAll("[data-cell]")) {
    button.addEventListener("click", () => {
      openCell(...place(button));
      if (!button.closest(".heat")) document.getElementById("cell").scrollIntoView({ block: "nearest" });
    });
  }
  if (!grid) return;

  const status = document.getElementById("cell-status");
  const rows = [...grid.tBodies[0].rows].map((row) => [...row.querySelectorAll("button")]);
  const tell = (event) => {
    const button = event.target.closest("[data-cell]");
    if (button) status.textContent = sentence(...place(button));
  };
  grid.addEventListener("pointerover", tell);
  grid.addEventListener("focusin", tell);
  grid.addEventListener("keydown", (event) => {
    const button = event.target.closest("[data-cell]");
    const last = rows.length - 1;
    if (!button) return;
    const [row, column] = place(button);
    const target = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [row, 0], End: [row, last],
    }[event.key];
    if (!target) return;
    event.preventDefault();
    const next = rows[target[0]]?.[target[1]];
    if (!next) return;
    button.tabIndex = -1; // one stop for the tab key, the arrow keys do the rest
    next.tabIndex = 0;
    next.focus();
  });
  rows[0][0].tabIndex = 0;
  for (const input of document.querySelectorAll("[name=confusion-unit]")) {
    input.addEventListener("change", () => paint(input.value));
  }
  paint(document.querySelector("[name=confusion-unit]:checked").value);
  const mistakes = counts.flatMap((row, truth) => row.map((count, predicted) => [truth === predicted ? 0 : count, truth, predicted]));
  const [most, truth, predicted] = mistakes.reduce((a, b) => (b[0] > a[0] ? b : a));
  if (most) openCell(truth, predicted); // so that nobody has to guess what a click does
}

if (confusion) sheetsReady.then(() => startConfusion(confusion));
