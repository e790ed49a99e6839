// Light, dark or as the system says; and what the page looks like on paper.

const THEMES = ["system", "light", "dark"];
const THEME_KEY = "trace-theme";

/** What was chosen last; a browser may forbid files to remember anything. */
function rememberedTheme() {
  try {
    return THEMES.includes(localStorage.getItem(THEME_KEY)) ? localStorage.getItem(THEME_KEY) : "system";
  } catch {
    return "system";
  }
}

function setTheme(theme) {
  const root = document.documentElement;
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  byId("theme").textContent = "theme: " + theme;
  draw();
}

function nextTheme() {
  const now = document.documentElement.dataset.theme || "system";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  setTheme(next);
  try {
    localStorage.setItem(THEME_KEY, next);
  } catch {
    // Then it holds for this visit.
  }
}

/** So many rows are printed at most: some forty pages. */
const PRINTED = 2000;

/** Paper shows all rows that are open, on white. */
function toPaper() {
  document.documentElement.dataset.paper = "";
  const lines = runs.map((_, r) => linesOf(r).map((l) => l.at));
  box.replaceChildren(...state.list.slice(0, PRINTED).map((node) => rowOf(node, lines)));
  const more = state.list.length - PRINTED;
  if (more > 0) box.append(element("p", "more", "and " + more + " rows that are not printed: close rows, or choose the critical path alone, to have others here"));
  drawOverview();
}

function fromPaper() {
  delete document.documentElement.dataset.paper;
  drawRows();
  drawOverview();
}
