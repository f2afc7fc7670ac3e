// The page: the list of slides, which one is shown, with which runs and layers, and the address that says so.
import { OUTLINES, Pane, colour } from "/static/pane.js";
import { Correction } from "/static/correct.js";

const id = (name) => document.getElementById(name);
const address = (slide) => `/slides/${encodeURIComponent(slide)}`;
const asked = (run) => (run ? `?run=${encodeURIComponent(run)}` : "");
const LAYERS = [
  ["heatmap", "Heatmap", "probability of tumour per tile", []],
  ["segmentation", "Segmentation", "what the run calls tumour", [["", "segmentation"]]],
  ["truth", "Annotation", "what was drawn as tumour", [["", "truth"]]],
  ["errors", "Errors", "segmentation against annotation",
    [["found", "found"], ["false alarm", "false"], ["missed", "missed"], ["not annotated", "unjudged"]]],
  ["uncertainty", "Uncertainty", "how far answers to turned and mirrored tiles lie apart", []],
  ["quality", "Quality", "tiles whose answer is worth less", []],
  ["next", "To annotate next", "squares that should teach most", [["", "next"]]],
];
// What `next_regions` says of a square, in words.
const WHY = { unsure: "the classifier is unsure here", unlike: "looks unlike all that is annotated",
  "unsure and unlike": "the classifier is unsure, and it looks unlike all that is annotated" };
const FAULTS = ["out of focus", "folded", "under ink"];  // as thirds of the map of quality
const MAPS = { heatmap: 1, uncertainty: 0.5, quality: 1 };  // and the value of their brightest colour
const layers = Object.fromEntries(LAYERS.map(([name]) => [name, { on: false, opacity: 0.5 }]));
Object.keys(MAPS).forEach((name) => { layers[name].threshold = 0; });

let cohort = { slides: [], runs: [], remarks: [], classes: [] };
let shown = {}, panes = [], correction = null, chosen = false;

const hash = (values) => `#${new URLSearchParams(Object.entries(values).filter(([, value]) => value || value === 0))}`;

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

async function get(url, kind = "json") {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return kind === "json" ? answer.json() : [JSON.parse(answer.headers.get("X-Grid")), new Uint8Array(await answer.arrayBuffer())];
}

let said = [];
function note(...lines) {
  said = lines;
  id("notes").replaceChildren(...[...cohort.remarks, ...lines].filter(Boolean).map((l) => element("p", { textContent: l })));
}

// ---- the list
const outcome = (slide, run) => slide.runs[run] ?? { state: "none" };
const readable = (slide) => !["missing", "unreadable"].includes(slide.status);
const usable = (slide) => !slide.status || slide.status === "ok";

function score(slide, run) {
  const { state, dice, mm2, reason } = outcome(slide, run);
  if (!usable(slide)) return [`${slide.status.replaceAll("_", " ")}: ${slide.reason}`, "bad"];
  if (state === "failed") return [`failed: ${reason}`, "bad"];
  if (state === "none") return [run ? "not segmented yet" : "no run yet", "muted"];
  return [typeof dice === "number" ? `Dice ${dice.toFixed(3)} · ${mm2} mm²` : `tumour ${mm2} mm²`, ""];
}

function ordered() {
  const wanted = id("filter").value.trim().toLowerCase(), run = shown.run, far = Number.MAX_VALUE;
  const worth = {
    // Failures are what one looks for first, what was not measured comes last.
    worst: (s) => (!usable(s) || outcome(s, run).state === "failed" ? -1 : outcome(s, run).dice ?? far),
    area: (s) => -(outcome(s, run).mm2 ?? -1),
  }[id("sort").value];
  const slides = cohort.slides.filter((s) => s.id.toLowerCase().includes(wanted));
  if (worth) slides.sort((a, b) => worth(a) - worth(b));
  if (id("sort").value === "name") slides.sort((a, b) => a.id.localeCompare(b.id));
  return slides;
}

function list() {
  const slides = ordered();
  id("count").textContent = slides.length === cohort.slides.length ? slides.length : `${slides.length} of ${cohort.slides.length}`;
  const held = new Map([...id("slides").children].map((entry) => [entry.dataset.slide, entry]));
  id("slides").replaceChildren(...slides.map((slide) => {
    const [text, kind] = score(slide, shown.run);
    const entry = held.get(slide.id) ?? element("li", {},
      element("a", {}, element("img", { alt: "", loading: "lazy", ...(readable(slide) && { src: `${address(slide.id)}/tiles/8/0_0.jpg` }) }),
        element("span", {}, element("b", { textContent: slide.id }), element("small"), element("i"))));
    entry.querySelector("img").classList.toggle("none", !readable(slide));
    entry.dataset.slide = slide.id;
    entry.firstChild.href = hash({ slide: slide.id, run: shown.run, beside: shown.beside });
    entry.classList.toggle("current", slide.id === shown.slide);
    entry.querySelector("small").textContent = text;
    entry.querySelector("small").className = kind;
    entry.querySelector("i").textContent = [slide.split, slide.annotated && "annotated", slide.saved && "corrected"].filter(Boolean).join(" · ");
    return entry;
  }));
}

// What is worth annotating next, best first; an address that leads to the square in the middle of the view.
function listNext() {
  const all = cohort.slides.flatMap((s) => (outcome(s, shown.run).next ?? []).map((region) => ({ ...region, slide: s.id })));
  const { clientWidth, clientHeight } = id("panes"), room = Math.min(clientWidth / (shown.beside ? 2 : 1), clientHeight);
  const now = JSON.stringify([all, shown.run, shown.beside, room]);
  if (now === id("regions").dataset.now) return;
  id("regions").dataset.now = now;
  id("next-regions").hidden = !all.length;
  id("next-count").textContent = all.length;
  id("regions").replaceChildren(...all.sort((a, b) => a.rank - b.rank).map(({ rank, why, slide, box: [left, top, right, bottom] }) => {
    const place = { x: (left + right) / 2, y: (top + bottom) / 2, zoom: Number((room / 2 / Math.max(right - left, bottom - top)).toPrecision(4)) };
    // Shown, whatever layers were chosen before: who asks for a square wants to see it.
    const onclick = () => { layers.next.on = true; available(); };
    return element("li", {}, element("a", { href: hash({ slide, run: shown.run, beside: shown.beside, ...place }), onclick },
      element("b", { textContent: `${rank}. ${slide}` }), element("small", { textContent: WHY[why] ?? why })));
  }));
}

function step(by) {
  const slides = ordered(), at = slides.findIndex((s) => s.id === shown.slide);
  const next = slides[(at + by + slides.length) % slides.length];
  if (next) go({ slide: next.id });
}

// ---- the layers
function togglePanel() {
  id("toggles").replaceChildren(...LAYERS.map(([name, title, what, swatches], i) => {
    const box = element("input", { type: "checkbox", id: `layer-${name}`, checked: layers[name].on });
    const slider = element("input", { type: "range", min: 0.1, max: 1, step: 0.05, value: layers[name].opacity, title: "opacity" });
    slider.setAttribute("aria-label", `opacity of ${title}`);
    box.onchange = () => { layers[name].on = box.checked; chosen = true; redraw(); };
    slider.oninput = () => { layers[name].opacity = Number(slider.value); redraw(); };
    const legend = swatches.map(([words, outline]) => {
      const [, , fill, dashes] = OUTLINES.find(([o]) => o === outline);
      const mark = element("span", { className: "swatch" });
      Object.assign(mark.style, { background: `${fill}66`, border: `2px ${dashes.length ? "dashed" : "solid"} ${fill}` });
      return element("span", { className: "legend" }, mark, words);
    });
    const parts = [element("label", { htmlFor: box.id }, box, element("b", { textContent: title }), element("kbd", { textContent: i + 1 })),
      element("small", { textContent: what })];
    if (legend.length) parts.push(element("div", {}, ...legend));
    parts.push(element("label", { className: "slide" }, "opacity", slider));
    if (name === "heatmap") parts.push(...thresholdParts());
    else if (name === "quality") parts.push(element("div", {}, ...FAULTS.map(fault)));
    else if (name in MAPS) parts.push(ramp(MAPS[name]));
    return element("fieldset", { id: `set-${name}` }, ...parts);
  }));
}

function fault(words, i) {
  const mark = element("span", { className: "swatch" });
  mark.style.background = `rgb(${colour((i + 1) / FAULTS.length)})`;
  return element("span", { className: "legend" }, mark, words);
}

function ramp(most) {
  const bar = element("div", { className: "ramp" }), stops = [...Array(11).keys()].map((i) => `rgb(${colour(i / 10)})`);
  bar.style.background = `linear-gradient(to right, ${stops})`;
  return element("div", { className: "ends" }, "0", bar, `${most}`);
}

function thresholdParts() {
  const slider = element("input", { type: "range", id: "threshold", min: 0, max: 1, step: 0.01, value: layers.heatmap.threshold });
  slider.oninput = () => { layers.heatmap.threshold = Number(slider.value); recolour(); };
  return [element("label", { className: "slide" }, "at least", slider), ramp(1),
    element("small", { id: "above" })];
}

function recolour() {
  panes.forEach((pane) => pane.recolour());
  id("above").textContent = panes[0]?.above ?? "";
}

const redraw = () => panes.forEach((pane) => pane.draw());

function toggle(number) {
  const box = id("toggles").querySelectorAll("input[type=checkbox]")[number];
  if (box && !box.disabled) box.click();
}

// ---- what is shown
function go(change) {
  location.hash = hash({ ...shown, ...change });
}

function remember() {
  if (panes[0]?.facts) history.replaceState(null, "", hash({ ...shown, ...panes[0].place() }));
}

function wanted() {
  const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const run = cohort.runs.includes(asked.run) ? asked.run : cohort.runs[0];
  const known = cohort.slides.find((s) => s.id === asked.slide);
  const first = known ?? cohort.slides.find((s) => outcome(s, run).state === "ok") ?? cohort.slides.find(usable) ?? cohort.slides[0];
  const beside = asked.beside === "-" || cohort.runs.includes(asked.beside) ? asked.beside : "";
  const place = [asked.x, asked.y, asked.zoom].every((v) => Number.isFinite(parseFloat(v))) && Number(asked.zoom) > 0
    ? { x: Number(asked.x), y: Number(asked.y), zoom: Number(asked.zoom) } : null;
  return { slide: first?.id, run, beside, place, lost: asked.slide && !known ? `There is no slide ${asked.slide} here.` : "" };
}

function selects() {
  id("run").replaceChildren(...cohort.runs.map((run) => new Option(run)));
  id("beside").replaceChildren(new Option("nothing", ""), new Option("the slide alone", "-"), ...cohort.runs.map((run) => new Option(`run ${run}`, run)));
  id("run").value = shown.run ?? "";
  id("beside").value = shown.beside;
  id("run").disabled = !cohort.runs.length;
}

let turn = 0;
async function show() {
  const mine = ++turn, next = wanted();
  const same = next.slide === shown.slide && next.run === shown.run && next.beside === shown.beside && panes[0]?.facts;
  if (same) return next.place && panes.forEach((pane) => pane.go(next.place));
  if (correction && !correction.mayClose()) return remember();
  correction?.close();
  correction = null;
  shown = { slide: next.slide, run: next.run, beside: next.beside };
  document.body.classList.remove("list-open");
  selects();
  list();
  listNext();
  document.querySelector("#slides .current")?.scrollIntoView({ block: "nearest" });
  const slide = cohort.slides.find((s) => s.id === shown.slide);
  panes.forEach((pane) => pane.destroy());
  panes = [];
  id("panes").dataset.shown = "";
  if (!slide) return note("There is no slide to show.");
  const [text, kind] = score(slide, shown.run);
  id("name").textContent = document.title = slide.id;
  id("score").textContent = kind === "bad" ? "no result" : text;
  id("score").className = kind;
  id("correct").disabled = true;
  note(next.lost, kind === "bad" && `${slide.id}: ${text}. ${slide.mend ?? ""}`);
  if (!readable(slide)) return;
  let facts;
  try {
    facts = await get(address(slide.id) + asked(shown.run));
  } catch (error) {
    return mine === turn && note(next.lost, error.message);
  }
  if (mine !== turn) return;
  if (facts.remark) note(next.lost, facts.remark);
  const runs = [shown.run, ...(shown.beside ? [shown.beside === "-" ? null : shown.beside] : [])];
  // All have their places before any of them measures its own.
  const places = runs.map(() => id("panes").appendChild(element("div", { className: "pane" })));
  panes = places.map((place) => new Pane(place, layers));
  panes.forEach((pane, i) => {
    pane.label.textContent = panes.length > 1 ? (runs[i] ? `${runs[i]}: ${score(slide, runs[i])[0]}` : "the slide alone") : "";
  });
  await Promise.all(panes.map((pane) => pane.show(address(slide.id), facts, next.place)));
  link();
  downloads(facts.files);
  id("correct").disabled = !facts.mpp;
  await Promise.all(panes.map((pane, i) => (i && runs[i] === null ? null : over(pane, slide.id, runs[i], mine))));
  if (mine !== turn) return;
  available();
  id("panes").dataset.shown = slide.id;
}

async function over(pane, slide, run, mine) {
  const there = run ? outcome(cohort.slides.find((s) => s.id === slide), run) : {};
  const [outlines, ...maps] = await Promise.allSettled([
    get(`${address(slide)}/outlines${asked(run)}`),
    ...Object.keys(MAPS).map((name) => (there[name] ? get(`${address(slide)}/${name}${asked(run)}`, "bytes") : Promise.reject())),
  ]);
  if (mine !== turn) return;
  const next = there.next?.map(({ box: [l, t, r, b] }) => [[[l, t], [r, t], [r, b], [l, b]]]);
  if (outlines.status === "fulfilled") pane.setOutlines({ ...outlines.value, ...(next?.length && { next }) });
  else note(outlines.reason.message);
  Object.keys(MAPS).forEach((name, i) => { if (maps[i].status === "fulfilled") pane.setMap(name, ...maps[i].value); });
}

// Layers that this slide has; before anybody chose, what says most: errors, else the segmentation.
function available() {
  const has = (name) => panes.some((pane) => (name in MAPS ? pane.maps?.[name] : OUTLINES.some(([o, l]) => l === name && pane.paths?.[o])));
  if (!chosen) {
    const best = ["errors", "segmentation", "truth"].find(has);
    LAYERS.forEach(([name]) => { layers[name].on = name === best || (name === "next" && has(name)); });
  }
  for (const [name] of LAYERS) {
    const box = id(`layer-${name}`);
    box.checked = layers[name].on;
    box.disabled = id(`set-${name}`).disabled = !has(name);
  }
  recolour();
  redraw();
}

function link() {
  for (const pane of panes) {
    pane.viewer.addHandler("animation-finish", remember);
    pane.viewer.addHandler("zoom", remember);
    pane.viewer.addHandler("update-viewport", () => {
      const other = panes.find((p) => p !== pane);
      // The one under the pointer leads.
      if (other && leading === pane && other.viewer.viewport) other.go(pane.place());
    });
    pane.element.addEventListener("pointerenter", () => { leading = pane; });
    pane.element.addEventListener("pointerdown", () => { leading = pane; });
  }
  leading = panes[0];
}
let leading = null;

function downloads(files) {
  id("downloads").hidden = !files.length;
  id("downloads").querySelector("ul").replaceChildren(...files.map(({ name, bytes }) => element("li", {},
    element("a", { href: `${address(shown.slide)}/files/${encodeURIComponent(name)}${asked(shown.run)}`, download: "", textContent: name }),
    ` ${bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`}`)));
}

async function correct() {
  if (correction) {
    if (!correction.mayClose()) return;
    correction.close();
    correction = null;
    return available();
  }
  if (id("correct").disabled) return;
  correction = new Correction(panes[0], address(shown.slide), shown.run, cohort.classes, refresh);
  for (const name of ["segmentation", "errors"]) id(`set-${name}`).disabled = true;
  id("close").onclick = correct;
  await correction.begin();
}

async function refresh() {
  const before = JSON.stringify(cohort.slides.find((s) => s.id === shown.slide)?.runs);
  try {
    cohort = await get("/cohort");
  } catch {
    return note("The viewer has ended, or this page's key is of an earlier one: open the address that it prints.");
  }
  list();
  listNext();
  note(...said);
  const after = JSON.stringify(cohort.slides.find((s) => s.id === shown.slide)?.runs);
  // A run that is going on has come to the slide that is looked at.
  if (before && before !== after && !correction) {
    shown.slide = null;
    await show();
  }
}

// ---- the page
for (const name of ["run", "beside"]) id(name).onchange = () => go({ ...panes[0]?.place(), [name]: id(name).value });
id("previous").onclick = () => step(-1);
id("next").onclick = () => step(1);
id("correct").onclick = correct;
id("sort").onchange = id("filter").oninput = list;
for (const part of ["list", "layers"]) {
  id(`show-${part}`).onclick = () => id(`show-${part}`).setAttribute("aria-expanded", document.body.classList.toggle(`${part}-open`));
}
id("panes").addEventListener("pointerdown", () => document.body.classList.remove("list-open", "layers-open"));
addEventListener("hashchange", show);
addEventListener("beforeunload", (event) => correction?.changed && event.preventDefault());
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName) && event.target.type !== "checkbox") return;
  const key = event.key.toLowerCase();
  if (correction && "np".includes(key)) return;
  if (key === "n") step(1);
  else if (key === "p") step(-1);
  else if (key === "c") correct();
  else if ("1234567".includes(key)) toggle(Number(key) - 1);
});
togglePanel();
await refresh();
await show();
setInterval(refresh, 30000);
