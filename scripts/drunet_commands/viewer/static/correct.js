// Outlines drawn and edited with Annotorious, and saved as the annotation of the next round.
const id = (name) => document.getElementById(name);
const open = (ring) => ring.slice(0, -1);
const closed = (ring) => [...ring, ring[0]];
const box = (points) => ({
  minX: Math.min(...points.map((p) => p[0])), minY: Math.min(...points.map((p) => p[1])),
  maxX: Math.max(...points.map((p) => p[0])), maxY: Math.max(...points.map((p) => p[1])),
});
const COLOURS = { tumour: "#c80000", non_tumour: "#0072b2", ignore: "#808080" };

// A region as Annotorious has it: one outline without holes can be edited corner by corner by all its versions.
function selector(polygons) {
  if (polygons.length === 1 && polygons[0].length === 1) {
    const points = open(polygons[0][0]);
    return { type: "POLYGON", geometry: { points, bounds: box(points) } };
  }
  const parts = polygons.map((rings) => ({ rings: rings.map((r) => ({ points: open(r) })), bounds: box(rings[0]) }));
  return { type: "MULTIPOLYGON", geometry: { polygons: parts, bounds: box(polygons.map((rings) => rings[0]).flat()) } };
}

function polygonsOf({ type, geometry }) {
  if (type === "MULTIPOLYGON") return geometry.polygons.map((p) => p.rings.map((r) => closed(r.points)));
  return [[closed(geometry.points)]];
}

export class Correction {
  constructor(pane, address, run, classes, say) {
    Object.assign(this, { pane, address, run, classes, say, known: new Map() });
    pane.hidden = ["segmentation", "errors"];
    this.style = (a) => {
      const stroke = COLOURS[this.meaning(this.known.get(a.id)?.name ?? this.drawn().name)];
      return { fill: stroke, fillOpacity: 0.2, stroke, strokeWidth: 2, strokeOpacity: 1 };
    };
    this.anno = AnnotoriousOSD.createOSDAnnotator(pane.viewer, {
      drawingEnabled: false, drawingMode: "click", autoSave: true, style: this.style,
    });
    this.anno.setDrawingTool("polygon");
    this.anno.on("createAnnotation", (a) => {
      this.known.set(a.id, this.drawn());
      this.drawing(false);
    });
    for (const event of ["create", "update", "delete"]) this.anno.on(`${event}Annotation`, () => { this.changed = true; });
    this.anno.on("selectionChanged", ([a]) => {
      if (this.known.has(a?.id)) id("class").value = this.known.get(a.id).name.toLowerCase();
    });
    id("class").replaceChildren(...Object.values(classes).flat().map((name) => new Option(name, name.toLowerCase())));
    id("class").onchange = () => this.setClass();
    id("draw").onclick = () => this.drawing(!this.anno.isDrawingEnabled());
    id("delete").onclick = () => this.anno.getSelected().forEach((a) => this.anno.removeAnnotation(a.id));
    id("undo").onclick = () => this.anno.undo();
    id("save").onclick = () => this.save();
    id("begin").onchange = () => this.load(id("begin").value);
    id("correction").hidden = false;
    this.hint("Click a region to move its corners, or draw a new one: click corner by corner, and the first one again.");
  }

  // What a class means, by the names that the configuration gives it, without regard to case.
  meaning(name) {
    const held = ([, names]) => names.some((n) => n.toLowerCase() === name.toLowerCase());
    return (Object.entries(this.classes).find(held) ?? ["ignore"])[0];
  }

  drawn() { return { name: id("class").selectedOptions[0].text, metadata: {} }; }

  hint(text, wrong = false) {
    id("hint").textContent = text;
    id("hint").className = wrong ? "wrong" : "";
  }

  async begin() {
    const answer = await fetch(`${this.address}/correction?${this.run ? `run=${encodeURIComponent(this.run)}` : ""}`);
    if (!answer.ok) return this.hint(await answer.text(), true);
    this.beginnings = await answer.json();
    const words = { saved: "what was saved here", run: `the outline of run ${this.run}`, annotation: "the annotation of the sheet" };
    const names = Object.keys(words).filter((name) => name in this.beginnings);
    id("begin").replaceChildren(...names.map((n) => new Option(words[n], n)), new Option("nothing", ""));
    this.load(names[0] ?? "");
  }

  load(name) {
    id("begin").value = name;
    this.known.clear();
    const regions = this.beginnings[name] ?? [];
    this.anno.setAnnotations(regions.map(({ polygons, name, metadata }) => {
      const key = crypto.randomUUID();
      this.known.set(key, { name, metadata });
      return { id: key, bodies: [], target: { annotation: key, selector: selector(polygons) } };
    }));
  }

  drawing(on) {
    this.anno.setDrawingEnabled(on);
    id("draw").setAttribute("aria-pressed", on);
  }

  setClass() {
    for (const a of this.anno.getSelected()) this.known.get(a.id).name = this.drawn().name;
    this.changed = true;
    this.anno.setStyle(this.style);
  }

  regions() {
    return this.anno.getAnnotations().map((a) => ({ polygons: polygonsOf(a.target.selector), ...this.known.get(a.id) }));
  }

  async save() {
    this.anno.cancelSelected();
    const answer = await fetch(`${this.address}/correction`, {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ kind: id("kind").value, regions: this.regions() }),
    });
    if (!answer.ok) return this.hint(`Not saved. ${await answer.text()}`, true);
    const saved = await answer.json();
    this.changed = false;
    this.hint(`Saved (${saved.origin}) as ${saved.file}. For the sheet: annotation ${saved.annotation}, `
      + `annotation_kind ${saved.annotation_kind}.`);
    this.say();
  }

  // Whether nothing would be lost, or the user does not mind.
  mayClose() { return !this.changed || confirm("Leave without saving these outlines?"); }

  close() {
    this.anno.destroy();
    this.pane.hidden = [];
    this.pane.draw();
    id("correction").hidden = true;
  }
}
