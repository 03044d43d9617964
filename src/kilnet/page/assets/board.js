// The board: asks for the runs, keeps what is ticked, draws their curves, compares and deletes.
const at = (id) => document.getElementById(id);
const table = at("leaderboard");
const token = JSON.parse(at("data-runs").textContent).token;
const ticked = new Map(); // ids, in the order of ticking, with names
const rowTexts = new Map();
let version = "", timer = 0, asked = 0, drawn = "", doomed = "";
let wanted = new URLSearchParams(); // what was asked for last; what is being typed now is asked for when typing pauses

async function answer(url, options) {
  const found = await fetch(url, options);
  const content = await found.json();
  if (!found.ok) throw new Error(content.detail);
  return content;
}

function query() {
  const words = new URLSearchParams();
  for (const name of ["where", "sort"]) if (at(name).value.trim()) words.set(name, at(name).value.trim());
  if (at("reverse").checked) words.set("reverse", "1");
  return words;
}

function parsed(html) {
  const box = document.createElement("template");
  box.innerHTML = html; // made by the server from templates that escape every name
  return box.content;
}

function show(found) {
  version = found.version;
  if (found.head !== table.dataset.head) {
    table.dataset.head = found.head;
    table.tHead.replaceChildren(parsed(found.head));
  }
  for (const button of table.tHead.querySelectorAll("button")) {
    const isThis = button.dataset.sort === found.sorted_by;
    button.closest("th").setAttribute("aria-sort", isThis ? (found.is_rising ? "ascending" : "descending") : "none");
  }
  const body = table.tBodies[0];
  const rows = new Map([...body.rows].map((row) => [row.dataset.id, row]));
  const wanted = found.rows.map(([id, html]) => {
    let row = rows.get(id);
    if (!row || rowTexts.get(id) !== html) {
      const focus = row?.contains(document.activeElement) ? [...row.querySelectorAll("a, input, button")].indexOf(document.activeElement) : -1;
      const fresh = parsed(html).querySelector("tr");
      if (row) row.replaceWith(fresh);
      if (focus >= 0) fresh.querySelectorAll("a, input, button")[focus]?.focus({ preventScroll: true });
      row = fresh;
      rowTexts.set(id, html);
      row.querySelector("input").checked = ticked.has(id);
    }
    return row;
  });
  const kept = new Set(wanted);
  for (const row of [...body.rows]) if (!kept.has(row)) { rowTexts.delete(row.dataset.id); row.remove(); }
  wanted.forEach((row, place) => { if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null); });
  at("counted").textContent = found.summary;
  at("keys").replaceChildren(...found.keys.map((key) => Object.assign(document.createElement("option"), { value: key })));
  for (const id of [...ticked.keys()]) if (!found.all.includes(id)) ticked.delete(id);
  say();
}

async function renew(isNew = true) {
  clearTimeout(timer);
  const mine = ++asked;
  let wait = 2;
  if (isNew) {
    wanted = query();
    history.replaceState(null, "", `?${wanted}${location.hash}`);
  }
  const words = new URLSearchParams(wanted);
  if (!isNew) words.set("seen", version);
  if (isNew || !document.hidden) {
    try {
      const found = await answer(`/api/runs?${words}`);
      if (mine !== asked) return; // something else has been asked meanwhile
      wait = found.wait ?? wait;
      if (found.rows) show(found);
      at("problem").textContent = found.problem ?? "";
      await draw();
    } catch (error) {
      if (mine !== asked) return;
      at("problem").textContent = error.message;
    }
  }
  if (mine === asked) timer = setTimeout(() => renew(false), 1000 * wait);
}

function say() {
  at("ticked").textContent = ticked.size ? `${ticked.size} ticked` : "";
  at("compare").disabled = ticked.size < 2;
}

async function draw() {
  const words = new URLSearchParams([...ticked.keys()].map((id) => ["run", id]));
  words.set("of", document.querySelector("[name=measure]:checked").value);
  const html = (await answer(`/api/curves?${words}`)).html;
  if (html === drawn) return;
  drawn = html;
  const hadFocus = at("curve-chart").contains(document.activeElement);
  at("curve-chart").replaceChildren(parsed(html));
  activateCharts(at("curve-chart"));
  if (hadFocus) at("curve-chart").querySelector("svg")?.focus({ preventScroll: true });
}

function tick(row, isTicked) {
  const box = row.querySelector("input");
  if (box.disabled) return;
  box.checked = isTicked;
  if (isTicked) ticked.set(row.dataset.id, row.querySelector("th").dataset.name);
  else ticked.delete(row.dataset.id);
}

table.addEventListener("change", (event) => {
  tick(event.target.closest("tr"), event.target.checked);
  say();
  draw().catch((error) => { at("problem").textContent = error.message; });
});
table.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.sort) {
    const isAgain = button.closest("th").ariaSort !== "none";
    at("sort").value = button.dataset.sort;
    at("reverse").checked = isAgain && !at("reverse").checked;
    renew();
    return;
  }
  const row = button.closest("tr");
  doomed = row.dataset.id;
  at("deletion-name").textContent = row.querySelector("th").dataset.name;
  at("deletion-do").textContent = `Delete ${row.querySelector("th").dataset.name}`;
  at("deletion-problem").textContent = "";
  at("deletion").showModal();
  at("deletion-keep").focus();
});
at("deletion-keep").addEventListener("click", () => at("deletion").close());
at("deletion-do").addEventListener("click", async () => {
  try {
    await answer("/api/delete", {
      method: "POST",
      headers: { "content-type": "application/json", "x-kilnet-token": token },
      body: JSON.stringify({ run: doomed }),
    });
    at("deletion").close();
    at("where").focus();
    renew();
  } catch (error) {
    at("deletion-problem").textContent = error.message;
  }
});
at("tick-tied").addEventListener("click", () => {
  for (const row of table.tBodies[0].querySelectorAll("tr.tied")) tick(row, true);
  say();
  draw();
});
at("untick").addEventListener("click", () => {
  for (const row of table.tBodies[0].rows) row.querySelector("input").checked = false;
  ticked.clear();
  say();
  draw();
});
document.querySelectorAll("[name=measure]").forEach((radio) => radio.addEventListener("change", () => draw()));
at("compare").addEventListener("click", async () => {
  const words = new URLSearchParams([...ticked.keys()].map((id) => ["run", id]));
  at("compare-status").textContent = `Comparing ${ticked.size} runs …`;
  at("compare").disabled = true;
  try {
    at("ranking").replaceChildren(parsed((await answer(`/api/comparison?${words}`)).html));
    activateScrolls(at("ranking"));
    at("compare-status").textContent = "Done.";
  } catch (error) {
    at("compare-status").textContent = error.message;
  }
  say();
});
let pause = 0;
at("ask").addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(renew, 300); });
at("ask").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(pause); renew(); });

const words = new URLSearchParams(location.search);
at("where").value = words.get("where") ?? "";
at("sort").value = location.search ? words.get("sort") ?? "" : "accuracy";
at("reverse").checked = words.has("reverse");
renew();
