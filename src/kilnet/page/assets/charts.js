// The values of a chart, under the pointer and by keyboard: each chart carries the places and the words.
function activateCharts(root) {
  for (const chart of root.querySelectorAll("svg[data-readings]")) {
    const readings = JSON.parse(chart.dataset.readings);
    const width = chart.viewBox.baseVal.width, height = chart.viewBox.baseVal.height;
    const said = document.createElement("p");
    said.className = "reading";
    said.setAttribute("role", "status");
    chart.after(said);
    const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", 12);
    cursor.setAttribute("y2", height - 44);
    let place = -1;

    function show(index) {
      place = index;
      if (index < 0) {
        cursor.remove();
        said.textContent = "";
        return;
      }
      const [x, text] = readings[index];
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      chart.append(cursor);
      said.textContent = text;
    }

    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * width;
      let nearest = 0;
      readings.forEach(([at], index) => { if (Math.abs(at - x) < Math.abs(readings[nearest][0] - x)) nearest = index; });
      show(nearest);
    });
    chart.addEventListener("pointerleave", () => { if (document.activeElement !== chart) show(-1); });
    chart.addEventListener("focus", () => { if (place < 0) show(readings.length - 1); });
    chart.addEventListener("blur", () => show(-1));
    chart.addEventListener("keydown", (event) => {
      const last = readings.length - 1;
      const next = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: last }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      show(Math.min(Math.max(next, 0), last));
    });
  }
}

activateCharts(document);
