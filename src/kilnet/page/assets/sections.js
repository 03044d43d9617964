// Sections that fold: a link opens the one it leads to, printing opens all, and the navigation says where one is.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = target?.querySelector("details.fold");
  if (fold && !fold.open) {
    fold.open = true;
    target.scrollIntoView();
  }
}

addEventListener("hashchange", openTarget);
openTarget();
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details.fold")) fold.open = true;
});

const navigation = new Map([...document.querySelectorAll("nav a[href^='#']")].map((link) => [link.hash.slice(1), link]));
const inView = new Set();
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) inView[isIntersecting ? "add" : "delete"](target.id);
  const current = [...navigation.keys()].find((id) => inView.has(id));
  for (const [id, link] of navigation) {
    if (id === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}, { rootMargin: "-10% 0px -60% 0px" });
for (const id of navigation.keys()) {
  const section = document.getElementById(id);
  if (section) watcher.observe(section);
}

// What scrolls sideways can be reached by keyboard.
const scrolled = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth <= target.clientWidth) {
      target.removeAttribute("tabindex");
      continue;
    }
    target.tabIndex = 0;
    target.setAttribute("role", "region");
    target.setAttribute("aria-label", target.querySelector("caption")?.textContent ?? "chart");
  }
});
function activateScrolls(root) {
  for (const element of root.querySelectorAll(".scroll")) scrolled.observe(element);
}

activateScrolls(document);
