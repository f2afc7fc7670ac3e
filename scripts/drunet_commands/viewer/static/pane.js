// One slide with what lies over it, in one canvas above the tiles.
const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137],
  [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37]];

// Outlines: name, its layer, colour, and dashes, so that colour is not all that tells them apart.
export const OUTLINES = [
  ["segmentation", "segmentation", "#ffd60a", []],
  ["truth", "truth", "#56b4e9", []],
  ["unjudged", "errors", "#ffd60a", [2, 4]],
  ["found", "errors", "#00cc88", []],
  ["false", "errors", "#0072b2", [8, 4]],
  ["missed", "errors", "#ff4828", [2, 3]],
  ["next", "next", "#1c2026", [10, 4]],
];

export function colour(p) {
  const at = Math.min(Math.max(p, 0), 1) * (VIRIDIS.length - 1), i = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[i].map((v, c) => v + (at - i) * (VIRIDIS[i + 1][c] - v));
}

const path = (polygons) => {
  const path = new Path2D();
  for (const ring of polygons.flat()) {
    ring.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
};

export class Pane {
  constructor(element, layers) {
    this.element = element;
    this.layers = layers;
    this.viewer = OpenSeadragon({
      element: this.element, drawer: "canvas", showNavigationControl: false, showNavigator: false,
      maxZoomPixelRatio: 4, minZoomImageRatio: 0.7, visibilityRatio: 0.3, animationTime: 0.6,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, imageLoaderLimit: 6,
      crossOriginPolicy: false, timeout: 60000,
    });
    this.canvas = this.viewer.canvas.appendChild(document.createElement("canvas"));
    this.canvas.className = "over";
    this.label = this.element.appendChild(document.createElement("p"));
    this.label.className = "label";
    this.bar = this.element.appendChild(document.createElement("p"));
    this.bar.className = "scale";
    this.viewer.addHandler("update-viewport", () => this.draw());
    // Turned or mirrored, a slide would no longer lie under its layers.
    this.viewer.addHandler("canvas-key", (event) => {
      if (["KeyR", "KeyF"].includes(event.originalEvent.code)) event.preventDefaultAction = true;
    });
  }

  // Show a slide, `facts` as the server tells them; resolves once its first tiles are asked for.
  show(address, facts, place) {
    this.facts = facts;
    this.paths = {};
    this.maps = {};
    const [width, height, top] = [facts.width, facts.height, facts.top];
    return new Promise((resolve, reject) => {
      this.viewer.addOnceHandler("open-failed", () => reject(new Error("the slide cannot be shown")));
      this.viewer.addOnceHandler("open", () => { this.go(place); resolve(); });
      this.viewer.open({
        width, height, tileSize: 256, tileOverlap: 0, minLevel: Math.min(8, top), maxLevel: top,
        getTileUrl: (level, x, y) => `${address}/tiles/${level}/${x}_${y}.jpg`,
      });
    });
  }

  // Where one looks: centre in pixels of the slide, and screen pixels per pixel of it.
  place() {
    const c = this.viewer.viewport.viewportToImageCoordinates(this.viewer.viewport.getCenter());
    return { x: Number(c.x.toFixed(1)), y: Number(c.y.toFixed(1)), zoom: Number(this.zoom().toPrecision(4)) };
  }

  zoom() { return this.viewer.viewport.viewportToImageZoom(this.viewer.viewport.getZoom(true)); }

  go(place, immediately = true) {
    const viewport = this.viewer.viewport;
    if (!place) return viewport.goHome(true);
    viewport.zoomTo(viewport.imageToViewportZoom(place.zoom), null, immediately);
    viewport.panTo(viewport.imageToViewportCoordinates(place.x, place.y), immediately);
  }

  setOutlines(outlines) {
    this.paths = Object.fromEntries(Object.entries(outlines).map(([name, polygons]) => [name, path(polygons)]));
    this.draw();
  }

  setMap(name, grid, cells) {
    this.maps[name] = { grid, cells };
    this.recolour();
  }

  // Colours anew what was fetched once: moving the threshold asks the server for nothing.
  recolour() {
    for (const [name, map] of Object.entries(this.maps)) {
      const { columns, rows } = map.grid, { threshold } = this.layers[name];
      const picture = new ImageData(columns, rows);
      let above = 0;
      map.cells.forEach((value, i) => {
        const p = (value - 1) / 254;
        if (!value || p < threshold) return;
        above += 1;
        picture.data.set([...colour(p), 255], 4 * i);
      });
      map.picture = new OffscreenCanvas(columns, rows);
      map.picture.getContext("2d").putImageData(picture, 0, 0);
      const mm2 = (above * (map.grid.cell * this.facts.mpp) ** 2) / 1e6;
      if (name === "heatmap") this.above = `${mm2.toPrecision(3)} mm² of tiles have ${threshold.toFixed(2)} or more`;
    }
    this.draw();
  }

  draw() {
    const { viewer, canvas, layers } = this, viewport = viewer.viewport;
    if (!viewport || !viewer.world.getItemCount()) return;
    const ratio = window.devicePixelRatio || 1, size = viewport.getContainerSize();
    const [width, height] = [Math.round(size.x * ratio), Math.round(size.y * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const ink = canvas.getContext("2d");
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.clearRect(0, 0, width, height);
    const from = viewport.pixelFromPoint(viewport.imageToViewportCoordinates(0, 0), true);
    const scale = this.zoom();
    ink.setTransform(scale * ratio, 0, 0, scale * ratio, from.x * ratio, from.y * ratio);
    for (const [name, { grid, picture }] of Object.entries(this.maps)) {
      if (!layers[name].on) continue;
      const { x, y, columns, rows, cell } = grid;
      ink.globalAlpha = layers[name].opacity;
      ink.imageSmoothingEnabled = false;
      // The last cells reach past the slide, and are not shown there.
      ink.save();
      ink.beginPath();
      ink.rect(0, 0, this.facts.width, this.facts.height);
      ink.clip();
      ink.drawImage(picture, x, y, columns * cell, rows * cell);
      ink.restore();
    }
    for (const [name, layer, fill, dashes] of OUTLINES) {
      if (!this.paths?.[name] || !layers[layer].on || this.hidden?.includes(layer)) continue;
      const { opacity } = layers[layer];
      ink.fillStyle = ink.strokeStyle = fill;
      ink.globalAlpha = opacity * 0.6;
      if (!["truth", "next"].includes(name)) ink.fill(this.paths[name], "evenodd");
      ink.globalAlpha = Math.min(1, opacity * 2);
      // White beneath the dashes: tissue is of any colour.
      if (name === "next") {
        Object.assign(ink, { strokeStyle: "#fff", lineWidth: 4 / scale });
        ink.setLineDash([]);
        ink.stroke(this.paths[name]);
        ink.strokeStyle = fill;
      }
      ink.lineWidth = 2 / scale;
      ink.setLineDash(dashes.map((d) => d / scale));
      ink.stroke(this.paths[name]);
    }
    this.drawBar(scale);
  }

  drawBar(scale) {
    const mpp = this.facts.mpp;
    this.bar.hidden = !mpp;
    if (!mpp) return;
    const longest = (140 / scale) * mpp, power = 10 ** Math.floor(Math.log10(longest));
    const um = [5, 2, 1].map((f) => f * power).find((l) => l <= longest);
    this.bar.style.width = `${(um / mpp) * scale}px`;
    this.bar.textContent = um >= 1000 ? `${um / 1000} mm` : `${Number(um.toPrecision(1))} µm`;
  }

  destroy() {
    this.viewer.destroy();
    this.element.remove();
  }
}
