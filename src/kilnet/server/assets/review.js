const QUICK = 9; // classes that have a key of their own
const MAX_MATCHES = 50;
const SMALL_PX = 128; // smaller pictures are shown with their pixels

const find = (id) => document.getElementById(id);
const percent = (value) => `${(100 * value).toFixed(1)}%`;
let review = null; // what the server says: items, their order, classes
let place = 0; // in the order
let isDone = false; // the page after the last picture
let marked = 0; // in the list of classes that match
let queue = Promise.resolve(); // answers follow each other, also where somebody types quickly

// Names of classes and files are foreign text: they become text nodes, and <bdi> keeps their direction to themselves.
function isolated(text, tag = "bdi") {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function inTurn(action) {
  queue = queue.then(action).then(() => { find("problem").hidden = true; }).catch((error) => {
    find("problem").textContent = error.message;
    find("problem").hidden = false;
  });
}

async function ask(path, content) {
  const options = content === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Start the review again: answers so far are saved.");
  }
  if (response.ok) return response.json();
  let reason = `The server answers ${response.status}.`;
  try {
    const { detail } = await response.json();
    if (typeof detail === "string") reason = detail;
  } catch { /* not JSON: the status must do */ }
  throw new Error(reason);
}

const current = () => review.items[review.order[place]];
const isOfLabels = () => review.kind === "labels";
const numAnswered = () => review.items.filter((item) => item.answer !== null).length;

function firstOpen(from) {
  const { order, items } = review;
  const open = (start, end) => order.slice(start, end).findIndex((number) => items[number].answer === null);
  const later = open(from, order.length);
  if (later >= 0) return from + later;
  return open(0, from);
}

async function load() {
  review = await ask("api/review");
  find("run-name").textContent = review.name;
  document.title = `Review of ${review.name}`;
  find("file").textContent = review.file;
  find("next").textContent = review.next;
  find("next-title").textContent = isOfLabels() ? "Train with these answers" : "Train with these labels too";
  find("test-line").hidden = !review.has_test;
  const open = firstOpen(0);
  if (open < 0) isDone = true; else place = open;
  show();
}

function show() {
  const answered = numAnswered(), total = review.items.length;
  find("bar").max = Math.max(1, total);
  find("bar").value = answered;
  find("count").textContent = total === 0 ? "nothing to look at" : `${answered} of ${total} answered`;
  find("item").hidden = isDone;
  find("done").hidden = !isDone;
  find("next-section").hidden = !(review.next && answered);
  if (isDone) showDone(); else showItem();
}

function showDone() {
  const counts = {};
  for (const { answer } of review.items) if (answer !== null) counts[answer.verdict] = (counts[answer.verdict] ?? 0) + 1;
  const words = isOfLabels() ? { right: "right", wrong: "with another label", remove: "removed", unsure: "unsure" } :
    { wrong: "labelled", remove: "of none of the classes", unsure: "unsure" };
  const told = Object.entries(words).filter(([verdict]) => counts[verdict]).map(([verdict, word]) => `${counts[verdict]} ${word}`);
  find("done-title").textContent = review.items.length === 0 ? "Nothing looks suspicious" : "Everything has been looked at";
  find("done-counts").textContent = told.join(", ");
  find("again").hidden = review.items.length === 0;
}

function showPicture(image, number, which, name) {
  image.alt = name;
  image.classList.remove("tiny");
  image.onload = () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) < SMALL_PX);
  image.src = `api/pictures/${number}/${which}`;
}

function showItem() {
  const item = current(), number = review.order[place];
  showPicture(find("own"), number, "own", item.name);
  find("name").textContent = item.name;
  find("split").textContent = item.split;
  find("split").classList.toggle("test", item.split === "test");
  find("twin-figure").hidden = item.twin === null;
  if (item.twin !== null) {
    showPicture(find("twin"), number, "twin", item.twin.name);
    find("twin-name").textContent = item.twin.name;
    find("twin-label").textContent = item.twin.label;
  }
  const strong = document.createElement("strong");
  strong.append(isolated(item.label));
  find("question").replaceChildren(...(isOfLabels() ? ["Is this ", strong, "?"] : ["What is this?"]));
  find("reasons").replaceChildren(...item.reasons.map((reason) => isolated(reason, "li")));
  find("said").replaceChildren(...item.said.map(saidLine));
  showAnswer(item);
  showButtons(item);
  find("chooser").hidden = true;
  find("back").disabled = place === 0;
}

function saidLine({ class: name, probability }) {
  const line = document.createElement("li"), track = document.createElement("div");
  track.className = "track";
  track.append(document.createElement("span"));
  track.firstChild.style.width = percent(probability);
  line.append(isolated(name), isolated(percent(probability), "span"), track);
  return line;
}

function showAnswer(item) {
  const line = find("answered");
  line.hidden = item.answer === null;
  if (item.answer === null) return;
  const { verdict, correction } = item.answer;
  const words = { right: "right", unsure: "unsure", remove: isOfLabels() ? "remove" : "none of the classes" };
  line.replaceChildren("✓ answered: ", verdict === "wrong" ? isolated(correction) : words[verdict]);
}

// The class that the network would give in place of the label.
function suggestion(item) {
  return item.said.map((one) => one.class).find((name) => name !== item.label);
}

function button(key, action, chosen, kind, ...text) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = kind;
  made.classList.toggle("chosen", chosen);
  const words = document.createElement("span");
  words.append(...text);
  made.append(words);
  if (key) made.append(isolated(key, "kbd"));
  made.addEventListener("click", action);
  return made;
}

function showButtons(item) {
  const told = item.answer?.verdict, correction = item.answer?.correction;
  const other = suggestion(item), made = [];
  if (isOfLabels()) made.push(button("R", () => give("right"), told === "right" || correction === item.label, "button wide", "Right, it is ", isolated(item.label)));
  if (other !== undefined) made.push(button("S", () => give("wrong", other), correction === other, isOfLabels() ? "button plain wide" : "button wide", isOfLabels() ? "No, it is " : "It is ", isolated(other)));
  made.push(button("X", () => give("remove"), told === "remove", "button plain", isOfLabels() ? "Remove it" : "None of these"));
  made.push(button("U", () => give("unsure"), told === "unsure", "button plain", "Unsure"));
  if (review.classes.length > QUICK) made.push(button("C", choose, false, "button plain wide", "Another class …"));
  find("verdicts").replaceChildren(...made);
  const quick = review.classes.length > QUICK ? [] : review.classes.map((name, index) =>
    button(String(index + 1), () => give("wrong", name), correction === name, "", isolated(name)));
  find("quick").replaceChildren(...quick);
}

// A correction may be a function of the item that is shown when its turn comes.
function give(verdict, chosen = null) {
  inTurn(async () => {
    if (isDone) return;
    const number = review.order[place];
    const correction = typeof chosen === "function" ? chosen(review.items[number]) : chosen;
    if (correction === undefined) return;
    const { answer } = await ask("api/answers", { number, verdict, correction });
    review.items[number].answer = answer;
    const open = firstOpen(place + 1);
    if (open < 0) isDone = true; else place = open;
    show();
  });
}

function undo() {
  inTurn(async () => {
    const { number } = await ask("api/undo", {});
    if (number === null) return;
    const { items } = await ask("api/review");
    review.items = items;
    place = review.order.indexOf(number);
    isDone = false;
    show();
  });
}

function move(step) {
  inTurn(async () => {
    if (isDone && step < 0) isDone = false;
    else if (place + step < 0) return;
    else if (place + step >= review.order.length) isDone = true;
    else place += step;
    show();
  });
}

function choose() {
  find("chooser").hidden = false;
  find("search").value = "";
  showMatches();
  find("search").focus();
  find("chooser").scrollIntoView({ block: "nearest" });
}

function matches() {
  const typed = find("search").value.trim().toLowerCase();
  const names = review.classes.filter((name) => name.toLowerCase().includes(typed));
  const begins = (name) => name.toLowerCase().startsWith(typed);
  return [...names.filter(begins), ...names.filter((name) => !begins(name))].slice(0, MAX_MATCHES);
}

function showMatches() {
  marked = 0;
  find("matches").replaceChildren(...matches().map((name, index) => {
    const option = document.createElement("li");
    option.role = "option";
    option.id = `match-${index}`;
    option.append(isolated(name));
    option.addEventListener("click", () => give("wrong", name));
    return option;
  }));
  mark(0);
}

function mark(index) {
  const options = [...find("matches").children];
  marked = Math.max(0, Math.min(index, options.length - 1));
  options.forEach((option, at) => option.setAttribute("aria-selected", String(at === marked)));
  options[marked]?.scrollIntoView({ block: "nearest" });
  find("search").setAttribute("aria-activedescendant", options.length ? `match-${marked}` : "");
}

function searchKey(event) {
  if (event.key === "ArrowDown") mark(marked + 1);
  else if (event.key === "ArrowUp") mark(marked - 1);
  else if (event.key === "Enter") {
    const name = matches()[marked];
    if (name !== undefined) { find("search").blur(); give("wrong", name); }
  } else if (event.key === "Escape") {
    find("chooser").hidden = true;
    find("search").blur();
  } else return;
  event.preventDefault();
}

function key(event) {
  if (review === null || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input") || find("test-dialog").open) return;
  const actions = {
    r: () => isOfLabels() && give("right"),
    s: () => give("wrong", suggestion),
    c: choose, "/": choose, x: () => give("remove"), delete: () => give("remove"), u: () => give("unsure"),
    z: undo, backspace: undo, arrowleft: () => move(-1), arrowright: () => move(1),
  };
  const digit = /^[1-9]$/.test(event.key) && review.classes.length <= QUICK ? review.classes[Number(event.key) - 1] : undefined;
  const action = digit !== undefined ? () => give("wrong", digit) : actions[event.key.toLowerCase()];
  const always = ["z", "backspace", "arrowleft"].includes(event.key.toLowerCase());
  if (action === undefined || (isDone && !always)) return;
  event.preventDefault();
  action();
}

document.addEventListener("keydown", key);
find("search").addEventListener("keydown", searchKey);
find("search").addEventListener("input", showMatches);
find("back").addEventListener("click", () => move(-1));
find("forth").addEventListener("click", () => move(1));
find("undo").addEventListener("click", undo);
find("again").addEventListener("click", () => { isDone = false; place = 0; show(); });
find("show-test").addEventListener("click", () => find("test-dialog").showModal());
find("test-no").addEventListener("click", () => find("test-dialog").close());
find("test-yes").addEventListener("click", () => {
  find("test-dialog").close();
  inTurn(async () => {
    find("count").textContent = "the test is being read …";
    await ask("api/test", { understood: true });
    isDone = false;
    await load();
  });
});
inTurn(load);
