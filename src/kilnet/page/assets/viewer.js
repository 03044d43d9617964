// One image large, with what the network looked at.
const viewer = document.getElementById("viewer");
let shown = { index: 0, siblings: [] };

// Anchors of matplotlib's "inferno", from dark to light: evenly spaced for the eye, readable without colour vision.
const INFERNO = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

function inferno(value) {
  const place = (value / 255) * (INFERNO.length - 1);
  const lower = Math.min(Math.floor(place), INFERNO.length - 2);
  return INFERNO[lower].map((start, channel) => start + (place - lower) * (INFERNO[lower + 1][channel] - start));
}

// The image in grey, so that all colour is the heat map's.
function drawOverlay(canvas, index) {
  const { width, height } = canvas;
  const heat = drawSquare(canvas, sheets[canvas.dataset.kind], index, true).getImageData(0, 0, width, height).data;
  const context = drawSquare(canvas, sheets.images, index, false);
  const picture = context.getImageData(0, 0, width, height);
  const pixels = picture.data;
  for (let i = 0; i < pixels.length; i += 4) {
    const grey = 0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2]; // ITU-R BT.601 luma
    inferno(heat[i]).forEach((colour, channel) => { pixels[i + channel] = 0.45 * grey + 0.55 * colour; });
  }
  context.putImageData(picture, 0, 0);
}

function drawScale(canvas) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = `rgb(${inferno((255 * x) / (canvas.width - 1)).join(" ")})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

function showImage(index) {
  shown.index = index;
  const { truth, predicted, isRight, confidence, name } = describe(index);
  const write = (id, text) => document.getElementById(id).replaceChildren(isolated(text));
  const title = document.getElementById("viewer-title");
  title.replaceChildren(isRight ? "✓ " : "✗ ", isolated(predicted), ...(isRight ? [] : [", truth ", isolated(truth)]));
  title.className = isRight ? "right" : "wrong";
  write("viewer-truth", truth);
  write("viewer-predicted", predicted);
  write("viewer-name", name);
  document.getElementById("viewer-confidence").textContent = confidence;
  const photograph = document.getElementById("viewer-photograph");
  photograph.querySelector("img")?.remove();
  photograph.hidden = !album.photographs?.[index];
  if (!photograph.hidden) photograph.prepend(photographOf(index));
  const image = document.getElementById("viewer-image");
  image.closest(".pictures").hidden = !sheets.images;
  if (sheets.images) {
    drawSquare(image, sheets.images, index, false);
    image.setAttribute("aria-label", `image ${name}`);
  }
  for (const canvas of document.querySelectorAll("#viewer .heat-map")) {
    const figure = canvas.closest("figure");
    const label = canvas.dataset.kind === "truth" ? truth : predicted;
    figure.hidden = canvas.dataset.kind === "truth" && isRight; // it would be the same map twice
    figure.querySelector("bdi").textContent = label;
    canvas.setAttribute("aria-label", `heat map over image ${name}: what supports ${label}`);
    if (!figure.hidden) drawOverlay(canvas, index);
  }
  const place = shown.siblings.indexOf(index);
  document.getElementById("viewer-previous").disabled = place <= 0;
  document.getElementById("viewer-next").disabled = place === shown.siblings.length - 1;
}

function step(offset) {
  const next = shown.siblings[shown.siblings.indexOf(shown.index) + offset];
  if (next !== undefined) showImage(next);
}

function openViewer(index, siblings) {
  shown = { index, siblings };
  showImage(index);
  viewer.showModal();
}

if (viewer) {
  const scale = document.getElementById("viewer-scale");
  if (scale) drawScale(scale);
  document.getElementById("viewer-previous").addEventListener("click", () => step(-1));
  document.getElementById("viewer-next").addEventListener("click", () => step(1));
  document.getElementById("viewer-close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    const offset = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (offset) step(offset);
  });
}
