import { offerCamera } from "./camera.js";

const MAX_AT_ONCE = 4; // requests; the server answers those that come together in one pass
const TOP = 5;
const OVERLAY_PX = 256;
// Anchors of matplotlib's "inferno", from dark to light: evenly spaced for the eye, readable without colour vision.
const INFERNO = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

const find = (id) => document.getElementById(id);
const waiting = [];
const explanations = new WeakMap(); // of the canvases on the page, which the slider draws again
let numRunning = 0;
let counts = { asked: 0, answered: 0, refused: 0 }; // "Clear" makes new ones; each picture keeps those it was counted in
let limits = { max_bytes: Infinity };

const percent = (value) => `${(100 * value).toFixed(1)}%`;
const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MB`;

// Class and file names are foreign text: they become text nodes, and <bdi> keeps their direction to themselves.
function isolated(text, tag = "bdi") {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

async function getJson(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(await reasonOf(response));
  return response.json();
}

async function reasonOf(response) {
  try {
    const { detail } = await response.json();
    if (typeof detail === "string") return detail;
  } catch { /* not JSON: the status must do */ }
  return `the server answers ${response.status}`;
}

function inferno(value) {
  const place = (value / 255) * (INFERNO.length - 1);
  const lower = Math.min(Math.floor(place), INFERNO.length - 2);
  return INFERNO[lower].map((start, channel) => start + (place - lower) * (INFERNO[lower + 1][channel] - start));
}

async function pixelsOf(base64, smooth) {
  const image = new Image();
  image.src = `data:image/png;base64,${base64}`;
  await image.decode();
  const canvas = new OffscreenCanvas(OVERLAY_PX, OVERLAY_PX);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = smooth;
  context.drawImage(image, 0, 0, OVERLAY_PX, OVERLAY_PX);
  return context.getImageData(0, 0, OVERLAY_PX, OVERLAY_PX);
}

// The picture in grey, so that all colour is the heat map's.
async function drawOverlay(canvas, { seen, heat }) {
  const strength = Number(find("strength").value) / 100;
  const picture = await pixelsOf(seen, false);
  if (heat !== null) {
    const { data } = await pixelsOf(heat, true);
    for (let i = 0; i < data.length; i += 4) {
      const grey = 0.299 * picture.data[i] + 0.587 * picture.data[i + 1] + 0.114 * picture.data[i + 2]; // ITU-R BT.601 luma
      inferno(data[i]).forEach((colour, channel) => { picture.data[i + channel] = (1 - strength) * grey + strength * colour; });
    }
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function drawScale() {
  const canvas = find("scale");
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = `rgb(${inferno((255 * x) / (canvas.width - 1)).join(" ")})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

function bringIntoView(card) { // a phone has room for the result alone
  card.scrollIntoView({ block: matchMedia("(max-width: 40rem)").matches ? "start" : "nearest" });
}

function newCard(name) {
  const card = find("card").content.firstElementChild.cloneNode(true);
  card.querySelector(".name").textContent = name;
  card.querySelector(".pictures").hidden = true;
  find("results").prepend(card);
  bringIntoView(card);
  find("clear").hidden = false;
  return card;
}

function showOriginal(card, name, blob) {
  const image = card.querySelector(".original img");
  const url = URL.createObjectURL(blob);
  const done = () => URL.revokeObjectURL(url);
  image.alt = name;
  image.addEventListener("load", () => { image.classList.toggle("tiny", image.naturalWidth < 128); done(); });
  image.addEventListener("error", () => { image.closest("figure").hidden = true; done(); }); // for example a TIFF file, which browsers cannot show
  image.src = url;
}

function showClasses(list, classes) {
  const mark = isolated("", "i"); // in the bar of the likeliest class: from where on the run is sure
  mark.className = "sure";
  for (const { class: name, probability } of classes) {
    const item = document.createElement("li");
    const track = document.createElement("div");
    track.className = "track";
    track.append(document.createElement("span"));
    track.firstChild.style.width = percent(probability);
    item.append(isolated(name), isolated(percent(probability), "span"), track);
    list.append(item);
  }
  if (limits.sure_from === null) return;
  mark.style.left = percent(limits.sure_from);
  list.querySelector(".track").append(mark);
  find("sure").hidden = false;
}

async function showAnswer(card, { name, blob, truth }, { classes, unsure, unknown, explanation }) {
  const [first] = classes;
  const verdict = card.querySelector(".verdict");
  const strong = document.createElement("strong");
  strong.append(isolated(first.class));
  verdict.replaceChildren(strong, ` ${percent(first.probability)} `);
  const marks = [];
  if (unknown) marks.push(["unknown", "like none of the classes"]);
  if (unsure) marks.push(["unsure", "unsure: check it"]);
  for (const [className, text] of marks) verdict.append(Object.assign(isolated(text, "span"), { className }), " ");
  if (truth !== undefined) {
    const right = truth === first.class;
    const note = isolated("", "span");
    note.className = right ? "right" : "wrong";
    note.append(right ? "✓ right" : "✗ truth ", right ? "" : isolated(truth));
    verdict.append(" ", note);
  }
  showClasses(card.querySelector(".classes"), classes);
  if (marks.length) {
    const why = card.querySelector(".why");
    const doubts = [];
    if (unknown) doubts.push("It is less like the classes than 95% of the pictures that the run was validated on: it may show none of them.");
    if (unsure) doubts.push(limits.sure_from === null ? "Unsure: no confidence of this run is enough; a person should look." :
      `Unsure: below ${percent(limits.sure_from)} this run is wrong too often to be trusted alone; a person should look.`);
    why.textContent = doubts.join(" ");
    why.hidden = false;
  }
  showOriginal(card, name, blob);
  const canvas = card.querySelector(".looked canvas");
  const looked = explanation.heat !== null;
  card.querySelector(".looked figcaption").append(looked ? "what spoke for " : "as the network sees it",
    looked ? isolated(first.class) : "");
  canvas.setAttribute("aria-label", looked ? `heat map over ${name}: what spoke for ${first.class}` : `${name} as the network sees it`);
  card.querySelector(".pictures").hidden = false;
  if (looked) find("legend").hidden = false;
  if (card === find("results").firstElementChild) bringIntoView(card);
  explanations.set(canvas, explanation);
  await drawOverlay(canvas, explanation);
}

function showRefusal({ card, counts }, reason) {
  const verdict = card.querySelector(".verdict");
  verdict.classList.add("wrong");
  verdict.textContent = `cannot be used: ${reason}`;
  counts.refused += 1;
}

async function ask(picture) {
  const { card, blob, counts } = picture;
  if (blob.size > limits.max_bytes) {
    showRefusal(picture, `${megabytes(blob.size)}, more than ${megabytes(limits.max_bytes)}`);
    return;
  }
  try {
    const response = await fetch(`api/predict?top=${TOP}&explain=true`, {
      method: "POST", body: blob, headers: { "content-type": "application/octet-stream" },
    });
    if (!response.ok) {
      showRefusal(picture, await reasonOf(response));
      return;
    }
    await showAnswer(card, picture, await response.json());
    counts.answered += 1;
  } catch (error) {
    showRefusal(picture, error instanceof TypeError ? "the server cannot be reached" : error.message);
  }
}

function tell() {
  const { asked, answered, refused } = counts;
  const open = asked - answered - refused;
  const pictures = (number) => `${number} ${number === 1 ? "picture" : "pictures"}`;
  const parts = [`${pictures(answered)} classified`];
  if (refused) parts.push(`${refused} could not be used`);
  if (open) parts.push(`${open} waiting`);
  find("status").textContent = asked ? `${parts.join(", ")}.` : "None yet.";
}

async function work() {
  while (numRunning < MAX_AT_ONCE && waiting.length) {
    numRunning += 1;
    ask(waiting.shift()).finally(() => { numRunning -= 1; tell(); work(); });
  }
}

function enqueue(name, blob, truth) {
  counts.asked += 1;
  waiting.push({ name, blob, truth, counts, card: newCard(name) });
  tell();
  work();
}

function enqueueFiles(files) {
  for (const file of files) enqueue(file.name, file);
}

async function showExamples() {
  const examples = await getJson("api/examples");
  for (const { number, name, truth } of examples) {
    const button = document.createElement("button");
    const image = new Image();
    image.alt = "";
    image.src = `api/examples/${number}`;
    const label = isolated(truth, "span");
    label.prepend(Object.assign(isolated("example: ", "span"), { className: "unseen" }));
    button.type = "button";
    button.append(image, label);
    button.addEventListener("click", async () => {
      const response = await fetch(image.src);
      if (response.ok) enqueue(name, await response.blob(), truth);
    });
    const item = document.createElement("li");
    item.append(button);
    find("example-list").append(item);
  }
  find("examples").hidden = examples.length === 0;
}

function showRun(run) {
  limits = run;
  document.title = `${run.name} – Kilnet`;
  find("run-name").textContent = run.name;
  const colour = run.channels === 1 ? "grey" : "colour";
  find("run-facts").textContent = `${run.classes.length} classes; the network sees ${run.width} × ${run.height} pixels, ${colour}.`;
  find("limits").textContent = `up to ${megabytes(run.max_bytes)} each`;
  if (run.sure_from !== null) {
    find("sure").lastElementChild.textContent = `marks ${percent(run.sure_from)}: an answer whose bar ends before it is unsure.`;
  }
  if (!run.calibrated) {
    find("run-warning").textContent = "This run is not calibrated: its confidences are often too high.";
    find("run-warning").hidden = false;
  }
}

function listen() {
  const drop = find("drop");
  const input = find("files");
  for (const chosen of [input, find("camera")]) {
    chosen.addEventListener("change", () => { enqueueFiles(chosen.files); chosen.value = ""; });
  }
  find("strength").addEventListener("input", () => {
    for (const canvas of document.querySelectorAll(".looked canvas")) {
      if (explanations.has(canvas)) drawOverlay(canvas, explanations.get(canvas));
    }
  });
  // The whole page accepts files: the browser would open a file that is dropped beside the field.
  let depth = 0;
  const over = (change) => { depth = change === 0 ? 0 : depth + change; drop.classList.toggle("over", depth > 0); };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(0);
    enqueueFiles(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => enqueueFiles(event.clipboardData.files));
  find("clear").addEventListener("click", () => {
    waiting.length = 0;
    counts = { asked: 0, answered: 0, refused: 0 };
    find("results").replaceChildren();
    find("legend").hidden = find("sure").hidden = find("clear").hidden = true;
    tell();
    input.focus();
  });
}

drawScale();
listen();
try {
  showRun(await getJson("api/run"));
  await Promise.all([showExamples(), offerCamera(enqueue)]);
} catch (error) {
  find("run-warning").textContent = `The server cannot be reached: ${error.message}`;
  find("run-warning").hidden = false;
}
