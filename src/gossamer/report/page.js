// Draws the charts, one after the other so that a long page stays usable. Everything it needs is in the page.
const { config, specs, charts } = JSON.parse(document.getElementById("chart-data").textContent);

async function draw(target) {
  target.dataset.drawn = "started";
  const chart = charts[target.id];
  const spec = { ...specs[chart.kind], datasets: chart.datasets };
  // ast: expressions are interpreted, not compiled, so that the page's policy can forbid eval.
  const options = { config, renderer: "svg", actions: false, ast: true, tooltip: { theme: "page" } };
  await vegaEmbed(target.firstElementChild, spec, options);
  target.dataset.drawn = "done";
}

async function drawVisible() {
  for (const target of document.querySelectorAll(".chart:not([data-drawn])")) {
    if (target.closest("details:not([open])")) continue; // it has no width yet
    await draw(target);
    await new Promise((resume) => setTimeout(resume));
  }
}

for (const fold of document.querySelectorAll("details")) fold.addEventListener("toggle", drawVisible);
drawVisible();
