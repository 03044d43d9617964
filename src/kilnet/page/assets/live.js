// A page that follows what it is about: it asks its server now and then, and replaces the sections that have changed.
const focusable = "a[href], button, input, select, summary, [tabindex]";

function renewed(section, html) {
  const fold = section.querySelector("details.fold");
  const controls = [...section.querySelectorAll(focusable)];
  const focus = controls.indexOf(document.activeElement);
  const sorted = [...section.querySelectorAll("th[aria-sort]")].findIndex((head) => head.ariaSort && head.ariaSort !== "none");
  const turned = sorted >= 0 && section.querySelectorAll("th[aria-sort]")[sorted].ariaSort === "descending";
  const isLong = [...section.querySelectorAll(".more")].some((button) => button.textContent.startsWith("Show the first"));
  const head = fold.querySelector("summary");
  const box = document.createElement("template");
  box.innerHTML = html; // made by the server from templates that escape every name
  fold.replaceChildren(head, box.content);
  activateTables(section);
  activateCharts(section);
  activateScrolls(section);
  const button = section.querySelectorAll("th[aria-sort] button")[sorted];
  button?.click();
  if (turned) button?.click();
  if (isLong) section.querySelector(".more")?.click();
  if (focus >= 0) [...section.querySelectorAll(focusable)][focus]?.focus({ preventScroll: true });
}

async function follow() {
  let wait = 5;
  if (!document.hidden) {
    try {
      const answer = await fetch(`${document.body.dataset.live}&seen=${document.body.dataset.version}`);
      if (!answer.ok) throw new Error((await answer.json()).detail);
      const now = await answer.json();
      wait = now.wait;
      if (now.version !== document.body.dataset.version) {
        const sections = [...document.querySelectorAll("main > section")];
        if (sections.map((section) => section.id).join() !== now.sections.map(([id]) => id).join()) {
          location.reload(); // there is a section that was not there before
          return;
        }
        document.getElementById("subtitle").textContent = now.subtitle;
        now.sections.forEach(([id, html, version]) => {
          const section = document.getElementById(id);
          if (section.dataset.version !== version) renewed(section, html);
          section.dataset.version = version;
        });
        document.body.dataset.version = now.version;
      }
      if (now.over) return;
    } catch (error) {
      document.getElementById("subtitle").textContent = `Not followed any more: ${error.message}. Load the page again.`;
      wait = 10;
    }
  }
  setTimeout(follow, 1000 * wait);
}

if (document.body.dataset.live) setTimeout(follow, 1000);
