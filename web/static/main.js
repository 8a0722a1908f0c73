// Brings the parts of the page together: what is drawn or chosen goes to the server, and its answer to the layers.

import { Answer } from "./answer.js";
import { Layers } from "./layers.js";
import { paintPixels, percent } from "./paint.js";
import { Photo } from "./photo.js";
import { Refused, ask, askForArrays, connect, unpackCrop } from "./server.js";
import { PEN, Sketch } from "./sketch.js";
import { Training } from "./training.js";

const element = (id) => document.getElementById(id);

let network = null; // that the page reads with: {filters, activation, classes, epochs}
let title = ""; // of the model that was given
let ready = false; // whether there is a session
let opened = null; // a digit of a photo that is shown in the layers; null: one of the drawing
let chosen = null; // the place of the digit of the drawing that a person has chosen; null: where the pen was
let shown = null; // the digit that is in the layers now
let correcting = false; // whether the person is saying which digit it is

const sketch = new Sketch(element("sheet"), element("sheet-hint"), () => {
  opened = chosen = null;
  correcting = false;
  refresh();
});
const layers = new Layers();
const answer = new Answer(refresh, (filter) => chooseFilter(filter));
const training = new Training(complain);
new Photo((digit) => {
  opened = digit;
  correcting = false;
  refresh();
  element("layers").scrollIntoView({ block: "start" });
  element("layers").focus({ preventScroll: true });
});

function chooseFilter(filter) {
  layers.choose(filter);
  answer.filter = filter;
  answer.paintFilters();
}

// -- one request after the other: what has changed meanwhile goes with the next one -----------------------------------

let running = false;
let changed = false;

async function refresh() {
  changed = true;
  if (running || !ready) return;
  running = true;
  let answering = request();
  while (answering) {
    try {
      const showAnswer = await answering;
      answering = changed && ready ? request() : null; // the server works on it while this answer is drawn
      showAnswer();
      if (element("problem").dataset.from === "refresh") complain("");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      complain(error.message, "refresh");
      answering = null;
    }
  }
  running = false;
}

// Ask about what is drawn or opened now; gives a function that shows the answer.
async function request() {
  changed = false;
  if (opened) return explainOpened(opened);
  return sketch.strokes.length ? readDrawing() : showNothingDrawn;
}

async function readDrawing() {
  const start = performance.now();
  const { size, strokes } = sketch;
  const found = await askForArrays("/draw", { size, pen: PEN, strokes, at: chosen ?? sketch.at, label: answer.label });
  const time = performance.now() - start;
  return () => {
    if (opened || !sketch.strokes.length) return; // a person went on meanwhile
    element("speed").textContent = `${time.toFixed(0)} ms`;
    element("drawn-text").textContent = found.lines.join(" / ") || "–";
    sketch.found(found.digits, found.shown);
    showFound(found.digits, found.shown);
    if (found.shown === null) showNothing("No digit is found in the drawing yet.");
    else show({ ...found.digits[found.shown], kind: "drawing" }, found);
  };
}

async function explainOpened(digit) {
  const found = await askForArrays("/explain", { crop: digit.crop, label: answer.label });
  return () => {
    if (opened !== digit) return;
    element("found").replaceChildren();
    show({ ...digit, kind: "photo" }, found);
  };
}

// -- showing ----------------------------------------------------------------------------------------------------------

function showNothing(line) {
  shown = null;
  element("no-digit").textContent = line;
  element("no-digit").hidden = false;
  element("network").hidden = element("answer").hidden = true;
}

function showNothingDrawn() {
  sketch.found([], null);
  element("drawn-text").textContent = "–";
  element("speed").textContent = "";
  element("found").replaceChildren();
  showNothing("Nothing is drawn yet. What you draw above goes through the network here, number by number.");
}

function show(digit, explanation) {
  shown = digit;
  element("no-digit").hidden = true;
  element("network").hidden = element("answer").hidden = false;
  layers.show(explanation, network);
  answer.show(explanation, network, layers.filter);
  showVerdict();
}

// A button with its crop for each digit of a drawing of several.
function showFound(digits, index) {
  const box = element("found");
  if (digits.length < 2) {
    box.replaceChildren();
    return;
  }
  while (box.childElementCount > digits.length) box.lastChild.remove();
  while (box.childElementCount < digits.length) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...["canvas", "strong", "span"].map((name) => document.createElement(name)));
    box.append(button);
  }
  digits.forEach((digit, i) => {
    const button = box.children[i];
    const [x, y, width, height] = digit.box;
    paintPixels(button.firstChild, unpackCrop(digit.crop));
    button.children[1].textContent = digit.value;
    button.lastChild.textContent = percent(digit.confidence);
    button.setAttribute("aria-pressed", i === index);
    button.onclick = () => {
      chosen = [x + width / 2, y + height / 2];
      correcting = false;
      refresh();
    };
  });
}

// -- "this is wrong" --------------------------------------------------------------------------------------------------

function showVerdict() {
  const box = element("verdict");
  const key = `${shown.kind} ${shown.value} ${correcting}`;
  if (box.dataset.key !== key) { // made anew only when needed: a button must not vanish under a finger
    box.dataset.key = key;
    box.innerHTML = '<span>Read as <strong></strong> <span class="quiet"></span></span>';
    box.querySelector("strong").textContent = shown.value;
    box.append(...(correcting ? digitButtons() : [button("This is wrong", () => correct(true))]));
  }
  box.querySelector(".quiet").textContent = `in the ${shown.kind}, ${percent(shown.confidence)} sure (mean of five places)`;
}

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

function correct(now) {
  correcting = now;
  showVerdict();
  element("verdict").querySelector("button").focus();
}

function digitButtons() {
  const question = document.createElement("span");
  question.textContent = "It is a";
  const digits = Array.from({ length: 10 }, (_, digit) => {
    const made = button(digit, () => keep(digit));
    made.className = "digit";
    return made;
  });
  return [question, ...digits, button("Cancel", () => correct(false))];
}

async function keep(label) {
  const { crop, value, kind } = shown;
  try {
    const { count, folder } = await ask("/correct", { crop, label: String(label), read: String(value), kind });
    correcting = false;
    showVerdict();
    const kept = document.createElement("span");
    kept.className = "quiet";
    kept.textContent = `Kept as a ${label}, ${count} in ${folder}/ now: python analyze.py --evaluate ${folder}/manifest.tsv`;
    element("verdict").append(kept);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    complain(error.message);
  }
}

// -- the network ------------------------------------------------------------------------------------------------------

function complain(line, from = "") {
  const box = element("problem");
  box.textContent = line;
  box.dataset.from = from;
  box.hidden = !line;
}

function showNetwork(about, own) {
  network = about;
  const activation = about.activation === "relu" ? "ReLU" : "no activation";
  const epochs = `${about.epochs} ${about.epochs === 1 ? "epoch" : "epochs"}`;
  element("model").textContent =
    `${own ? "your network" : title}: ${about.filters} filters, ${activation}, ${about.classes.length} classes, ${epochs}`;
  element("use-given").hidden = !own;
  element("use-given").textContent = `Back to ${title}`;
  refresh();
}

let given = null;

element("use-given").addEventListener("click", async () => {
  if (await training.try(() => ask("/given"))) {
    training.reset();
    showNetwork(given, false);
  }
});

element("undo").addEventListener("click", () => sketch.undo());
element("clear").addEventListener("click", () => sketch.clear());
element("example").addEventListener("click", () => sketch.example());
addEventListener("keydown", (event) => {
  if (event.target.matches("input, select")) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    sketch.undo();
  } else if (event.key === "Escape") {
    sketch.clear();
  }
});

connect({
  session(data) {
    const wasLost = element("problem").dataset.from === "connection";
    given = data.network;
    title = given.title;
    ready = true;
    training.reset();
    showNetwork(given, false);
    if (wasLost) complain("");
  },
  training(report) {
    training.take(report);
    if (report.state !== "failed" || report.network.epochs) showNetwork(report.network, training.points.length > 0);
  },
  refused(line) {
    complain(line);
  },
  lost() {
    ready = false;
    complain("The connection to the server is lost, and with it what was trained here. Trying again …", "connection");
  },
});
