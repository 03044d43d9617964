// A confusion matrix of hundreds of classes as a picture in which one zooms and moves.
function startMatrix(canvas, { classes, orders, unit, level, sentence, openCell, counted }) {
  const context = canvas.getContext("2d");
  const status = document.getElementById("cell-status");
  const total = classes.length;
  let order = orders.given, rank = [], colours = [], entries = [];
  let cell = 1, left = 0, top = 0; // pixels per cell; the first row and column in view
  let cursor = [0, 0]; // places in the order
  let chosen = null, side = 0, margin = 0;

  const visible = () => (side - margin) / cell;
  const smallest = () => (side - margin) / total;
  const bounded = (start) => Math.min(Math.max(start, 0), Math.max(total - visible(), 0));

  function measure() {
    const style = getComputedStyle(document.documentElement);
    colours = [...Array(11).keys()].map((shade) => style.getPropertyValue(`--h${shade}`));
    const isAll = Math.abs(cell - smallest()) < 1e-6 || side === 0;
    side = Math.max(canvas.parentElement.clientWidth, 200);
    side = Math.min(side, 720);
    margin = side < 480 ? 64 : 104;
    const ratio = devicePixelRatio || 1;
    canvas.style.width = canvas.style.height = `${side}px`;
    canvas.width = canvas.height = Math.round(side * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (isAll) cell = smallest();
    cell = Math.max(cell, smallest());
    move(left, top);
  }

  function paint() {
    const shown = unit();
    entries = counted.rows.flatMap((row, truth) => [...row.keys()].map((predicted) => [truth, predicted, level(truth, predicted, shown)]));
    entries.sort((a, b) => a[2] - b[2]); // what is more stands in front where cells are smaller than pixels
    draw();
  }

  function label(index, position, isRow, isStrong) {
    const style = getComputedStyle(canvas);
    context.save();
    context.fillStyle = style.color;
    context.font = `${isStrong ? "600 " : ""}${Math.min(Math.max(cell * 0.8, 9), 13)}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.textAlign = isRow ? "end" : "start";
    context.translate(isRow ? margin - 5 : position, isRow ? position : margin - 5);
    if (!isRow) context.rotate(-Math.PI / 2);
    let text = classes[index];
    while (text.length > 3 && context.measureText(text).width > margin - 8) text = `${text.slice(0, -2).trimEnd()}…`;
    context.fillText(text, 0, 0);
    context.restore();
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    canvas.style.touchAction = cell > smallest() ? "none" : "auto"; // a finger moves the matrix only where there is more of it
    context.clearRect(0, 0, side, side);
    context.save();
    context.beginPath();
    context.rect(margin, margin, side - margin, side - margin);
    context.clip();
    context.fillStyle = colours[0];
    context.fillRect(margin, margin, side - margin, side - margin);
    const gap = cell > 6 ? 1 : 0;
    const size = Math.max(cell - gap, 1.6);
    for (const [truth, predicted, shade] of entries) {
      const x = margin + (rank[predicted] - left) * cell, y = margin + (rank[truth] - top) * cell;
      if (x + size < margin || y + size < margin || x > side || y > side) continue;
      context.fillStyle = colours[shade];
      context.fillRect(x, y, size, size);
    }
    const outline = (row, column, colour) => {
      context.strokeStyle = colour;
      context.lineWidth = 2;
      const grown = Math.max(cell, 5);
      context.strokeRect(margin + (column - left + 0.5) * cell - grown / 2, margin + (row - top + 0.5) * cell - grown / 2, grown, grown);
    };
    if (chosen) outline(rank[chosen[0]], rank[chosen[1]], style.getPropertyValue("--second"));
    outline(cursor[0], cursor[1], style.getPropertyValue("--accent"));
    context.restore();
    const first = [Math.floor(top), Math.floor(left)];
    const last = Math.ceil(visible());
    [true, false].forEach((isRow, axis) => {
      const start = isRow ? top : left;
      const at = (place) => margin + (place - start + 0.5) * cell;
      if (cell >= 9) {
        for (let place = first[axis]; place <= first[axis] + last && place < total; place++) {
          if (at(place) > margin && at(place) < side) label(order[place], at(place), isRow, place === cursor[axis]);
        }
      } else if (at(cursor[axis]) > margin && at(cursor[axis]) < side) {
        label(order[cursor[axis]], at(cursor[axis]), isRow, true);
      }
    });
  }

  function move(toLeft, toTop) {
    [left, top] = [bounded(toLeft), bounded(toTop)];
    draw();
  }

  function zoom(factor, [row, column] = cursor) { // the cell stays where it is
    const next = Math.min(Math.max(cell * factor, smallest()), 40);
    const [x, y] = [(column + 0.5 - left) * cell, (row + 0.5 - top) * cell];
    cell = next;
    move(column + 0.5 - x / cell, row + 0.5 - y / cell);
  }

  function reveal([row, column]) {
    const fit = (start, place) => (place < start ? place : place + 1 > start + visible() ? place + 1 - visible() : start);
    move(fit(left, column), fit(top, row));
  }

  function point(row, column) {
    cursor = [Math.min(Math.max(row, 0), total - 1), Math.min(Math.max(column, 0), total - 1)];
    status.textContent = sentence(order[cursor[0]], order[cursor[1]]);
  }

  function under(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - margin, event.clientY - box.top - margin];
    if (x < 0 || y < 0) return null;
    return [Math.floor(top + y / cell), Math.floor(left + x / cell)];
  }

  function find(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return;
    const names = classes.map((name) => name.toLowerCase());
    let index = names.indexOf(wanted);
    if (index < 0) index = names.findIndex((name) => name.startsWith(wanted));
    if (index < 0) index = names.findIndex((name) => name.includes(wanted));
    if (index < 0) {
      status.textContent = `no class called ${text.trim()}`;
      return;
    }
    cell = Math.max(cell, 16);
    point(rank[index], rank[index]);
    move(rank[index] - visible() / 2, rank[index] - visible() / 2);
    openCell(index, index);
    const others = [...counted.rows[index]].filter(([predicted]) => predicted !== index).sort((a, b) => b[1] - a[1]).slice(0, 3);
    const taken = others.map(([predicted, count]) => `${classes[predicted]} (${count})`).join(", ");
    status.textContent = `${sentence(index, index)}. ${taken ? `Mostly taken for ${taken}.` : "Never taken for another class."}`;
  }

  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, left, top, isMoved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag) {
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      drag.isMoved ||= Math.hypot(dx, dy) > 4;
      if (drag.isMoved) move(drag.left - dx / cell, drag.top - dy / cell);
      return;
    }
    const place = under(event);
    if (place && place.every((value) => value < total)) {
      point(...place);
      draw();
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    const place = drag && !drag.isMoved ? under(event) : null;
    drag = null;
    if (!place) return;
    point(...place);
    openCell(order[cursor[0]], order[cursor[1]]);
  });
  canvas.addEventListener("wheel", (event) => {
    const place = under(event);
    if (!place || (event.deltaY > 0 && cell <= smallest())) return; // then the page scrolls
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.3 : 1 / 1.3, place);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const [row, column] = cursor;
    const target = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [row, 0], End: [row, total - 1],
    }[event.key];
    if (target) {
      point(...target);
      reveal(cursor);
    } else if (event.key === "Enter") openCell(order[row], order[column]);
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else return;
    event.preventDefault();
  });
  document.getElementById("matrix-in").addEventListener("click", () => zoom(1.7));
  document.getElementById("matrix-out").addEventListener("click", () => zoom(1 / 1.7));
  document.getElementById("matrix-all").addEventListener("click", () => { cell = smallest(); move(0, 0); });
  const search = document.getElementById("matrix-search");
  search.addEventListener("change", () => find(search.value));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", measure);

  function arrange(next) {
    const under = cursor.map((place) => order[place]);
    order = next;
    rank = [];
    order.forEach((index, place) => { rank[index] = place; });
    cursor = under.map((index) => rank[index]);
    draw();
  }

  arrange(order);
  measure();
  new ResizeObserver(measure).observe(canvas.parentElement);
  return {
    paint,
    arrange,
    choose(truth, predicted) {
      chosen = [truth, predicted];
      cursor = [rank[truth], rank[predicted]];
      reveal(cursor);
    },
  };
}
