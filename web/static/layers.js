// The layers on one crop: what the network sees, one feature map in large, what pooling keeps of it, the arithmetic of
// one place, and all filters as tiles.

import { largest, paintPixels, paintSigned, plain, signed, strength } from "./paint.js";

const IMAGE = 28;
const MAP = 26;
const POOLED = 13;
const TILES = 64; // that are shown unless one asks for all
const SVG = "http://www.w3.org/2000/svg";

const element = (id) => document.getElementById(id);

export class Layers {
  constructor() {
    this.filter = 0; // the one in large
    this.isChosen = false; // by a person; otherwise it is one that adds much to the logit
    this.place = null; // [row, column] in the map that a person points at; null: where the map is strongest
    this.all = false; // whether there is a tile for each filter, however many
    const area = element("map-area");
    area.addEventListener("pointermove", (event) => this.point(event, area));
    area.addEventListener("pointerdown", (event) => this.point(event, area));
    area.addEventListener("keydown", (event) => this.key(event));
    element("more-tiles").addEventListener("click", () => {
      this.all = true;
      this.show(this.found, this.network);
    });
    for (const id of ["pixels", "taps", "nine-products"]) {
      element(id).append(...Array.from({ length: 9 }, () => document.createElement("span")));
    }
  }

  // found: an explanation, unpacked. network: {filters, activation, ...}.
  show(found, network) {
    this.found = found;
    this.network = network;
    this.findLimits();
    this.keepOrChoose(found.filter_terms);
    paintPixels(element("crop"), found.crop);
    this.showTiles();
    this.showFilter();
  }

  // The number that gets the full colour, for each filter: its largest, so that a faint map is seen too, but not its noise.
  findLimits() {
    const { found, network } = this;
    const all = Array.from({ length: network.filters }, (_, filter) => largest(mapOf(found, filter)));
    const least = Math.max(...all) / 4;
    this.limits = all.map((limit) => Math.max(limit, least));
  }

  // Another filter only when it adds twice as much: otherwise it would change all the time while somebody draws.
  keepOrChoose(terms) {
    const best = terms.indexOf(Math.max(...terms));
    if (this.filter >= terms.length) this.isChosen = false;
    const stays = this.isChosen || (this.filter < terms.length && 2 * terms[this.filter] > terms[best]);
    if (!stays) {
      this.filter = best;
      this.markTile();
    }
  }

  choose(filter) {
    this.filter = filter;
    this.isChosen = true;
    this.markTile();
    this.showFilter();
  }

  // -- one filter in large ---------------------------------------------------------------------------------------

  showFilter() {
    const { found, filter } = this;
    const limit = this.limits[filter];
    element("map-name").textContent = `filter ${filter + 1}`;
    paintSigned(element("map"), found.convolved, MAP, limit, filter * MAP * MAP);
    paintSigned(element("pooled"), found.pooled, POOLED, limit, filter * POOLED * POOLED);
    this.showPlace();
  }

  strongest() {
    const map = mapOf(this.found, this.filter);
    let best = 0;
    map.forEach((value, i) => {
      if (Math.abs(value) > Math.abs(map[best])) best = i;
    });
    return [Math.floor(best / MAP), best % MAP];
  }

  showPlace() {
    const [row, column] = this.place ?? this.strongest();
    const windowRow = row >> 1, windowColumn = column >> 1;
    marks("crop-marks", [[column, row, 3]]);
    marks("map-marks", [[2 * windowColumn, 2 * windowRow, 2, "window"], [column, row, 1]], this.keptPath());
    marks("pooled-marks", [[windowColumn, windowRow, 1]]);
    this.showArithmetic(row, column);
  }

  keptPath() {
    const first = this.filter * MAP * MAP;
    let path = "";
    for (let i = 0; i < MAP * MAP; i++) {
      if (this.found.kept[first + i]) path += `M${(i % MAP) + 0.5} ${Math.floor(i / MAP) + 0.5}h0`;
    }
    return path;
  }

  showArithmetic(row, column) {
    const { found, filter, network } = this;
    const products = [];
    const taps = found.filters.subarray(9 * filter, 9 * filter + 9);
    const pixels = Array.from(taps, (_, tap) => {
      const pixel = found.crop[IMAGE * (row + Math.floor(tap / 3)) + column + (tap % 3)] / 255 - 0.5;
      products.push(pixel * taps[tap]);
      return pixel;
    });
    numbers("pixels", pixels, 0.5);
    numbers("taps", taps, largest(taps));
    numbers("nine-products", products, largest(products));
    const sum = products.reduce((total, product) => total + product, 0);
    const place = filter * MAP * MAP + MAP * row + column;
    const value = found.convolved[place];
    const relu = network.activation === "relu";
    const bias = relu ? ` ${spaced(found.filter_biases[filter])} bias` : "";
    element("sum").innerHTML = `nine products: ${plain(sum, 3)}${bias} ${relu ? "→ ReLU" : ""} = <strong></strong>`;
    element("sum").querySelector("strong").textContent = plain(value, 3);
    const where = `row ${row + 1}, column ${column + 1} of the feature map`;
    element("keeps").textContent = found.kept[place]
      ? `${where}: the first largest of its 2×2, so pooling keeps it.`
      : `${where}: another one of its 2×2 is kept.`;
  }

  // -- pointing at a place ---------------------------------------------------------------------------------------

  point(event, target, filter = this.filter) {
    if (!this.found) return;
    const box = target.getBoundingClientRect();
    const at = (from, length) => Math.min(MAP - 1, Math.max(0, Math.floor((MAP * from) / length)));
    this.place = [at(event.clientY - box.top, box.height), at(event.clientX - box.left, box.width)];
    if (filter !== this.filter) this.choose(filter);
    else this.showPlace();
  }

  key(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step || !this.found) return;
    event.preventDefault();
    const place = this.place ?? this.strongest();
    this.place = place.map((value, axis) => Math.min(MAP - 1, Math.max(0, value + step[axis])));
    this.showPlace();
  }

  // -- all filters -----------------------------------------------------------------------------------------------

  showTiles() {
    const { found, network, limits } = this;
    const count = this.all ? network.filters : Math.min(TILES, network.filters);
    this.makeTiles(count);
    const filterLimit = largest(found.filters);
    this.tiles.forEach(([map, taps, pooled], filter) => {
      paintSigned(map, found.convolved, MAP, limits[filter], filter * MAP * MAP);
      paintSigned(taps, found.filters, 3, filterLimit, 9 * filter);
      paintSigned(pooled, found.pooled, POOLED, limits[filter], filter * POOLED * POOLED);
    });
    const more = element("more-tiles");
    more.hidden = count === network.filters;
    more.textContent = `Show all ${network.filters} filters`;
  }

  makeTiles(count) {
    const box = element("tiles");
    if (box.childElementCount === count) return;
    this.tiles = [];
    box.classList.toggle("few", count <= 8);
    box.replaceChildren(
      ...Array.from({ length: count }, (_, filter) => {
        const tile = document.createElement("button");
        tile.type = "button";
        tile.className = "tile";
        tile.title = `filter ${filter + 1}`;
        tile.setAttribute("aria-label", tile.title);
        const canvases = [0, 1, 2].map(() => document.createElement("canvas"));
        tile.append(...canvases);
        tile.addEventListener("click", () => this.choose(filter));
        canvases[0].addEventListener("pointermove", (event) => this.point(event, canvases[0], filter));
        this.tiles.push(canvases);
        return tile;
      }),
    );
    this.markTile();
  }

  markTile() {
    [...element("tiles").children].forEach((tile, filter) => {
      tile.setAttribute("aria-pressed", filter === this.filter);
    });
  }
}

function mapOf(found, filter) {
  return found.convolved.subarray(filter * MAP * MAP, (filter + 1) * MAP * MAP);
}

function spaced(value) {
  const text = signed(value, 3);
  return `${text[0]} ${text.slice(1)}`;
}

// Nine numbers in a square of 3x3, each on its colour.
function numbers(id, values, limit) {
  [...element(id).children].forEach((cell, i) => {
    cell.textContent = plain(values[i]);
    cell.style.setProperty("--tint", values[i] > 0 ? "var(--plus)" : "var(--minus)");
    cell.style.setProperty("--much", 0.55 * strength(values[i], limit));
  });
}

// Squares [x, y, side, class] over a map, and a path of dots.
function marks(id, squares, path = "") {
  const shapes = squares.map(([x, y, side, name]) => {
    const shape = document.createElementNS(SVG, "rect");
    for (const [key, value] of Object.entries({ x, y, width: side, height: side })) shape.setAttribute(key, value);
    if (name) shape.classList.add(name);
    return shape;
  });
  if (path) {
    const dots = document.createElementNS(SVG, "path");
    dots.setAttribute("d", path);
    shapes.unshift(dots);
  }
  element(id).replaceChildren(...shapes);
}
