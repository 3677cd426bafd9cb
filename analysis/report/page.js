"use strict";
// The page's own program: draws the figures, shows a trial's tables, browses completions.
// Texts of models are data: they reach the page through textContent alone.
(() => {
  const byId = (id) => document.getElementById(id);
  const sweep = JSON.parse(byId("sweep").textContent);
  const trials = new Map(sweep.trials.map((trial) => [trial.id, trial]));
  const unpacked = new Map();
  const PAGE = 10;
  const FILTERS = ["trial", "change", "error", "difficulty", "construct", "family", "criterion", "side"];

  function element(tag, options = {}, ...children) {
    const made = document.createElement(tag);
    const { className, ...properties } = options;
    if (className) made.className = className;
    Object.assign(made, properties);
    for (const child of children) made.append(child);
    return made;
  }

  // Blocks -------------------------------------------------------------------------------

  function unpack(id) {
    if (!unpacked.has(id)) unpacked.set(id, read(id));
    return unpacked.get(id);
  }

  async function read(id) {
    const holder = byId(id);
    if (!holder) return null;
    const bytes = Uint8Array.from(atob(holder.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  // Figures ------------------------------------------------------------------------------

  async function drawFigures() {
    const documents = JSON.parse(byId("documents").textContent);
    for (const [name, document_] of Object.entries(documents)) {
      const options = {
        renderer: "svg",
        actions: { export: true, source: false, compiled: false, editor: false },
        downloadFileName: name,
      };
      await window.vegaEmbed(byId(`figure-${name}`), document_, options);
    }
    document.body.dataset.figures = "drawn";
  }

  // Links and state ----------------------------------------------------------------------

  function link(text, filters) {
    const query = new URLSearchParams(filters);
    return element("a", { href: `#browse?${query}` }, text);
  }

  function filtersOf(hash) {
    if (!hash.startsWith("#browse?")) return null;
    const query = new URLSearchParams(hash.slice("#browse?".length));
    return Object.fromEntries(FILTERS.map((name) => [name, query.get(name) || ""]));
  }

  let filters = Object.fromEntries(FILTERS.map((name) => [name, ""]));
  let first = 0;
  let shown = 0;

  function go(hash) {
    const found = filtersOf(hash);
    if (!found) return;
    filters = found;
    first = 0;
    showCompletions().then(() => byId("browser").scrollIntoView());
  }

  document.addEventListener("click", (event) => {
    const anchor = event.target.closest("a[href^='#browse?']");
    if (!anchor) return;
    event.preventDefault();
    history.replaceState(null, "", anchor.getAttribute("href"));
    go(anchor.getAttribute("href"));
  });
  window.addEventListener("hashchange", () => go(location.hash));

  // Sorting --------------------------------------------------------------------------------

  function sortBy(heading) {
    const table_ = heading.closest("table");
    const column = [...heading.parentNode.children].indexOf(heading);
    const order = heading.dataset.order === "down" ? "up" : "down";
    for (const other of heading.parentNode.children) other.dataset.order = "";
    heading.dataset.order = order;
    const text = (row) => row.children[column].textContent;
    const compare = (first, second) => {
      const [a, b] = [parseFloat(text(first)), parseFloat(text(second))];
      if (Number.isNaN(a) !== Number.isNaN(b)) return Number.isNaN(a) ? 1 : -1;
      const found = Number.isNaN(a) ? text(second).localeCompare(text(first)) : a - b;
      return order === "up" ? found : -found;
    };
    table_.tBodies[0].append(...[...table_.tBodies[0].rows].sort(compare));
  }

  for (const heading of document.querySelectorAll("#verdicts th, #comparisons th")) {
    heading.dataset.order = "";
    heading.addEventListener("click", () => sortBy(heading));
  }

  // A trial's tables ---------------------------------------------------------------------

  const known = (value) => value !== undefined && value !== null;

  function table({ headings, lines }) {
    const cell = ([text, filters]) => element("td", {}, filters ? link(text, filters) : text);
    const head = element("tr", {}, ...headings.map((text) => element("th", {}, text)));
    const body = lines.map((cells) => element("tr", {}, ...cells.map(cell)));
    const made = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
    return element("div", { className: "scroll" }, made);
  }

  async function showTables(id) {
    const body = byId("tables-body");
    const name = id ? trials.get(id).tables : null;
    const block = name ? await unpack(name) : null;
    if (!block) {
      body.replaceChildren(element("p", { className: "note" }, "This trial has no results yet."));
      return;
    }
    const parts = block.tables.map((shown) => element("div", {}, element("h3", {}, shown.title), table(shown)));
    body.replaceChildren(element("div", { className: "pair" }, ...parts));
  }

  // Completions --------------------------------------------------------------------------

  function choice(name, label, values, texts = values) {
    const select = element("select", { id: `filter-${name}` });
    values.forEach((value, index) => select.append(element("option", { value }, texts[index] || "all")));
    if (!values.includes(filters[name])) filters[name] = values[0];
    select.value = filters[name];
    select.addEventListener("change", () => {
      filters[name] = select.value;
      first = 0;
      showCompletions();
    });
    return element("label", {}, label, select);
  }

  function showControls(view) {
    const ids = sweep.trials.filter((trial) => trial.block).map((trial) => trial.id);
    const criteria = sweep.criteria.flatMap((criterion) => [criterion, `-${criterion}`]);
    const criterionTexts = sweep.criteria.flatMap((criterion) => [`reaches ${criterion}`, `fails ${criterion}`]);
    const facts = view.items.map((item) => item.prompt);
    const sorted = (values) => ["", ...[...new Set(values)].sort()];
    const errors = view.items.flatMap((item) => [...item.ours, ...item.theirs]).map((sample) => sample.error);
    byId("controls").replaceChildren(
      choice("trial", "trial", ids, ids.map((id) => trials.get(id).name)),
      choice("change", "change", ["", "flips", ...sweep.changes], ["", "rescued or regressed", ...sweep.changes]),
      choice("difficulty", "difficulty", ["", ...new Set(facts.map((fact) => fact.difficulty))]),
      choice("error", "error class", sorted(errors).filter((value, index) => value || !index)),
      choice("criterion", "criterion", ["", ...criteria], ["", ...criterionTexts]),
      choice("side", "error and criterion of", ["trained", "baseline"]),
      choice("construct", "construct", sorted(facts.flatMap((fact) => fact.constructs))),
      choice("family", "family", sorted(facts.map((fact) => fact.family))),
    );
  }

  function matches(item) {
    const samples = filters.side === "baseline" ? item.theirs : item.ours;
    const fails = filters.criterion.startsWith("-");
    const criterion = fails ? filters.criterion.slice(1) : filters.criterion;
    return (
      (!filters.change || item.change === filters.change ||
        (filters.change === "flips" && ["rescued", "regressed"].includes(item.change))) &&
      (!filters.difficulty || item.prompt.difficulty === filters.difficulty) &&
      (!filters.family || item.prompt.family === filters.family) &&
      (!filters.construct || item.prompt.constructs.includes(filters.construct)) &&
      (!filters.error || samples.some((sample) => sample.error === filters.error)) &&
      (!criterion || samples.some((sample) => sample.criteria.includes(criterion) !== fails))
    );
  }

  async function viewOf(id) {
    const trial = trials.get(id);
    const [block, baseline, prompts] = await Promise.all(
      [unpack(trial.block), trial.baseline ? unpack(trial.baseline) : null, unpack("prompts")]);
    const unknown = { text: "", columns: {}, difficulty: "", family: "", constructs: [] };
    const items = Object.entries(block.answers).map(([name, answer]) => ({
      id: name,
      ours: answer.samples,
      theirs: baseline && baseline.answers[name] ? baseline.answers[name].samples : [],
      change: answer.change,
      prompt: prompts[name] || unknown,
    }));
    return { block, baseline, items };
  }

  async function showCompletions() {
    const known = sweep.trials.filter((trial) => trial.block);
    if (!known.length) {
      byId("cards").replaceChildren(element("p", { className: "note" }, "No trial has a result yet."));
      return;
    }
    if (!known.some((trial) => trial.id === filters.trial)) filters.trial = known[0].id;
    const view = await viewOf(filters.trial);
    showControls(view);
    byId("stored").textContent = storedText(view);
    const found = view.items.filter(matches);
    shown = found.length;
    const last = Math.min(first + PAGE, shown);
    byId("position").textContent = shown ? `${first + 1} to ${last} of ${shown} prompts` : "no prompts";
    byId("back").disabled = first === 0;
    byId("forward").disabled = last >= shown;
    byId("cards").replaceChildren(...found.slice(first, last).map((item) => card(item, view)));
    document.body.dataset.shown = String(shown);
  }

  function storedText({ block, baseline }) {
    const stored = Object.keys(block.answers).length;
    const whole = stored === block.num_prompts
      ? `All ${stored} prompts of this trial are here.`
      : `${stored} of ${block.num_prompts} prompts of this trial are here: ${block.num_flips_left_out
        ? `its flips but ${block.num_flips_left_out}` : "all flips"}, and an even sample of the others over ` +
        "difficulty, change and error class. The tables count all of them.";
    const limits = [block, baseline].filter((part) => part && part.text_limit).map((part) => part.text_limit);
    const cut = limits.length ? ` Completions above ${Math.min(...limits)} characters are shortened in their middle.` : "";
    const prompts = sweep.prompt_problem ? ` Prompts are not shown: ${sweep.prompt_problem}` : "";
    return whole + cut + prompts;
  }

  function card(item, { block, baseline }) {
    const head = element("header", {},
      element("strong", {}, item.id),
      ...(item.change ? [element("span", { className: `badge ${item.change}` }, item.change)] : []),
      element("span", {}, item.prompt.difficulty),
      link(`family ${item.prompt.family}`, { trial: filters.trial, family: item.prompt.family }));
    const prompt = element("div", { className: "prompt" });
    if (item.prompt.text) prompt.append(element("p", {}, item.prompt.text));
    for (const [name, text] of Object.entries(item.prompt.columns)) {
      prompt.append(element("details", {}, element("summary", {}, name), element("pre", {}, indented(text))));
    }
    const sides = element("div", { className: "sides" },
      side("baseline", item.theirs, baseline), side("trained", item.ours, block));
    return element("article", { className: "card" }, head, prompt, sides);
  }

  function indented(text) {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }

  function side(title, samples, block) {
    const made = element("div", {}, element("h4", {}, title));
    if (!samples.length) made.append(element("p", { className: "note" }, "not in this report"));
    for (const sample of samples) {
      const criteria = sweep.criteria.map((criterion) =>
        element("span", { className: `criterion ${sample.criteria.includes(criterion) ? "on" : "off"}` },
          `${sample.criteria.includes(criterion) ? "\u2713" : "\u2717"} ${criterion}`));
      const where = sample.path ? ` at ${sample.path}` : "";
      const flags = [`${sample.tokens} tokens`, ...(sample.is_truncated ? ["truncated"] : []),
        ...(sample.is_thinking ? ["think block"] : [])];
      const named = (names, values) => (names || []).map((name, index) => `${name} ${values[index] ?? "-"}`);
      const rewards = named(block.components, sample.rewards);
      const measures = named((block.measures || []).map((name) => name.replaceAll("_", " ")), sample.measures || []);
      made.append(
        element("p", { className: "facts" }, ...criteria),
        element("p", { className: "facts" }, element("b", {}, sample.error), `${where}; ${flags.join(", ")}`),
        ...(rewards.length ? [element("p", { className: "facts" }, rewards.join(" \u00b7 "))] : []),
        ...(measures.length ? [element("p", { className: "facts" }, measures.join(" \u00b7 "))] : []),
        ...(sample.scores || []).length ? [scores(sample.scores)] : [],
        element("pre", { className: sample.criteria.includes(sweep.primary_criterion) ? "pass" : "fail" },
          ...marked(sample.text, sample.spans || [])));
    }
    return made;
  }

  // Positions count characters, as in the records; indices of a string count UTF-16 units.
  function marked(text, spans) {
    if (!spans.length) return [text];
    const letters = Array.from(text);
    const part = (start, end) => letters.slice(start, end).join("");
    const parts = [];
    let position = 0;
    for (const span of spans) {
      if (span.start < position) continue;
      parts.push(part(position, span.start),
        element("mark", { className: span.is_fault ? "fault" : "good" }, part(span.start, span.end)),
        element("sup", { className: span.is_fault ? "fault" : "good" }, span.label));
      position = span.end;
    }
    return [...parts, part(position)];
  }

  function scores(found) {
    const badges = found.map((score) => {
      const good = known(score.value) ? (score.is_negative ? 1 - score.value : score.value) : null;
      const className = `criterion ${good === null ? "" : good >= 0.5 ? "on" : "off"}`;
      const value = known(score.value) ? Number(score.value.toFixed(2)) : "missing";
      return element("span", { className }, `${score.name}${score.is_negative ? " (fault)" : ""} ${value}`);
    });
    return element("p", { className: "facts" }, ...badges);
  }

  byId("back").addEventListener("click", () => { first = Math.max(0, first - PAGE); showCompletions(); });
  byId("forward").addEventListener("click", () => { if (first + PAGE < shown) { first += PAGE; showCompletions(); } });

  const picker = byId("tables-trial");
  for (const trial of sweep.trials) picker.append(element("option", { value: trial.id }, trial.name));
  picker.addEventListener("change", () => showTables(picker.value));

  filters = filtersOf(location.hash) || filters;
  Promise.all([drawFigures(), showTables(picker.value), showCompletions()]).then(() => {
    document.body.dataset.ready = "yes";
    if (filtersOf(location.hash)) byId("browser").scrollIntoView();
  });
})();
