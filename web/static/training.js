// Training: the choices, the buttons, the curves. The server trains; here is shown what it reports.

import { Refused, ask, modelFile } from "./server.js";
import { percent } from "./paint.js";

const element = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const BOX = { width: 260, height: 190, left: 38, right: 52, top: 10, bottom: 24 };

export class Training {
  // complain(line): something was refused.
  constructor(complain) {
    this.complain = complain;
    this.reset();
    element("recipe").addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    element("train-on").addEventListener("click", () => this.train({}));
    element("stop").addEventListener("click", () => this.try(() => ask("/stop")));
    element("save").addEventListener("click", () => this.try(() => this.save()));
  }

  // Nothing is trained: at the start, or when the page reads with the given model again.
  reset() {
    this.points = [];
    this.state = "none";
    element("share").value = 0;
    element("training").textContent = "Nothing is trained yet.";
    this.show();
  }

  async try(work) {
    try {
      await work();
      this.complain("");
      return true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.complain(error.message);
      return false;
    }
  }

  begin() {
    const recipe = {
      filters: element("filters").valueAsNumber,
      activation: element("activation").value,
      learning_rate: element("rate").valueAsNumber,
    };
    this.points = [];
    element("training").textContent = "A process for it is starting …";
    return this.train({ recipe });
  }

  async train(message) {
    const before = this.state;
    this.state = "training";
    this.show();
    const epochs = element("epochs").value;
    if (!(await this.try(() => ask("/train", { ...message, epochs: epochs ? Number(epochs) : null })))) {
      this.state = before;
      this.show();
    }
  }

  async save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await modelFile());
    link.download = "model.npz";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // A report of the server, see `messages.training`.
  take(report) {
    this.state = report.state;
    this.points.push(...report.points);
    element("share").value = report.share;
    if (report.error) this.complain(report.error);
    else this.say(report);
    this.show();
  }

  say({ state, share, network }) {
    const last = this.points.at(-1);
    if (!last.epoch && !share && state === "training") {
      element("training").textContent = "New weights. The first training ever has to be compiled: some seconds.";
      return;
    }
    const now = state === "training" ? `Epoch ${network.epochs + 1} …` : `Stopped after epoch ${last.epoch}:`;
    const reached = `${percent(last.test_accuracy)} of the test set read right, ${last.seconds.toFixed(2)} s an epoch`;
    element("training").textContent = last.epoch ? `${now} ${reached}` : now;
  }

  show() {
    const running = this.state === "training";
    element("train-new").disabled = running;
    element("train-on").disabled = this.state !== "stopped";
    element("stop").disabled = !running;
    element("save").disabled = !this.points.length;
    plot(element("loss"), this.points, lossScale(this.points), [
      ["learned", "loss", "training"], ["test", "test_loss", "test"],
    ]);
    plot(element("accuracy"), this.points, accuracyScale(this.points), [
      ["learned", "accuracy", "training"], ["test", "test_accuracy", "test"],
    ]);
  }
}

// -- curves -----------------------------------------------------------------------------------------------------------

function values(points, names) {
  return points.flatMap((point) => names.map((name) => point[name])).filter((value) => value !== null);
}

// A scale: ticks, their text, and at(value), 0 at the bottom and 1 at the top. Losses have a logarithmic one.
function lossScale(points) {
  const all = values(points, ["loss", "test_loss"]).filter((value) => value > 0);
  const ticks = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
  const low = Math.max(0, ticks.findLastIndex((tick) => tick <= Math.min(0.1, ...all)));
  const high = Math.max(ticks.findIndex((tick) => tick >= Math.max(3, ...all)), low + 1);
  const [bottom, top] = [Math.log(ticks[low]), Math.log(ticks[high])];
  return {
    ticks: ticks.slice(low, high + 1), text: String,
    at: (value) => (Math.log(Math.max(value, ticks[low])) - bottom) / (top - bottom),
  };
}

// From a round percentage below the epochs after the first, so that their differences are seen.
function accuracyScale(points) {
  const all = values(points.filter((point) => point.epoch), ["accuracy", "test_accuracy"]);
  const worst = all.length ? Math.min(...all) : 0;
  const low = [0.98, 0.95, 0.9, 0.8, 0.5].find((bound) => worst >= bound) ?? 0;
  return {
    ticks: [0, 1, 2, 3, 4].map((i) => low + (i * (1 - low)) / 4),
    text: (value) => `${Number((100 * value).toFixed(1))}%`,
    at: (value) => Math.max(0, (value - low) / (1 - low)),
  };
}

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// lines: [class, field of a point, label at its end].
function plot(svg, points, scale, lines) {
  svg.setAttribute("viewBox", `0 0 ${BOX.width} ${BOX.height}`);
  const right = BOX.width - BOX.right, bottom = BOX.height - BOX.bottom;
  const epochs = Math.max(1, points.at(-1)?.epoch ?? 1);
  const x = (epoch) => BOX.left + ((right - BOX.left) * epoch) / epochs;
  const y = (value) => bottom - (bottom - BOX.top) * scale.at(value);
  const shapes = scale.ticks.flatMap((tick) => [
    shape("line", { class: "grid", x1: BOX.left, x2: right, y1: y(tick), y2: y(tick) }),
    shape("text", { x: BOX.left - 6, y: y(tick) + 4, "text-anchor": "end" }, scale.text(tick)),
  ]);
  shapes.push(
    shape("text", { x: BOX.left, y: BOX.height - 6, "text-anchor": "middle" }, "0"),
    shape("text", { x: right, y: BOX.height - 6, "text-anchor": "middle" }, points.length ? `epoch ${epochs}` : "epoch"),
  );
  const ends = [];
  for (const [name, field, label] of lines) {
    const known = points.filter((point) => point[field] !== null);
    if (!known.length) continue;
    const places = known.map((point) => `${x(point.epoch).toFixed(1)} ${y(point[field]).toFixed(1)}`);
    shapes.push(shape("path", { class: name, d: `M${places.join("L")}` }));
    if (known.length <= 30) {
      known.forEach((point) => {
        shapes.push(shape("circle", { class: name, r: 2.5, cx: x(point.epoch), cy: y(point[field]) }));
      });
    }
    ends.push({ name, label, y: y(known.at(-1)[field]) });
  }
  ends.sort((one, other) => one.y - other.y);
  if (ends.length > 1) ends[1].y = Math.max(ends[1].y, ends[0].y + 12); // labels must not cover each other
  for (const end of ends) shapes.push(shape("text", { class: end.name, x: right + 5, y: end.y + 4 }, end.label));
  svg.replaceChildren(...shapes);
}
