// The sheet: strokes by mouse, finger, pen or keyboard; undo and clear; and boxes around what was found.

import { confidenceColour } from "./paint.js";

const WIDTH = 640; // pixels of a drawing, whatever the sheet measures on the screen
const PEN = 15;
const KEY_STEP = 10;
const EXAMPLE = [ // a 5
  [352, 84, 290, 84, 282, 148, 310, 138, 342, 144, 362, 168, 364, 200, 346, 228, 316, 240, 286, 234, 268, 218],
];

export class Sketch {
  // changed(): a stroke has become longer, or is gone.
  constructor(canvas, hint, changed) {
    this.canvas = canvas;
    this.hint = hint;
    this.changed = changed;
    this.strokes = [];
    this.cleared = []; // the strokes before the last clearing, which can be undone too
    this.digits = [];
    this.pen = null; // [x, y, down] when the keyboard draws
    this.at = null; // the last place of the pen
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (this.drawing = null));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.dropPen());
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
  }

  get size() {
    return [WIDTH, this.height];
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth) return;
    this.canvas.width = clientWidth * devicePixelRatio;
    this.canvas.height = clientHeight * devicePixelRatio;
    this.height = Math.round((WIDTH * clientHeight) / clientWidth);
    this.paint();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = WIDTH / box.width;
    return [Math.round((event.clientX - box.left) * scale), Math.round((event.clientY - box.top) * scale)];
  }

  begin(event) {
    if (event.button !== 0 || this.drawing) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pen = null;
    this.drawing = event.pointerId;
    this.strokes.push([]);
    this.extend(this.place(event));
  }

  move(event) {
    if (this.drawing !== event.pointerId) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const one of moves.length ? moves : [event]) this.extend(this.place(one), false);
    this.update();
  }

  extend([x, y], update = true) {
    const stroke = this.strokes.at(-1);
    if (stroke.at(-2) !== x || stroke.at(-1) !== y) stroke.push(x, y);
    this.at = [x, y];
    if (update) this.update();
  }

  update() {
    this.hint.hidden = true;
    this.paint();
    this.changed();
  }

  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    this.pen ??= { x: WIDTH / 2, y: Math.round(this.height / 3), down: false };
    const pen = this.pen;
    if (step) {
      pen.x = Math.min(WIDTH - PEN, Math.max(PEN, pen.x + KEY_STEP * step[0]));
      pen.y = Math.min(this.height - PEN, Math.max(PEN, pen.y + KEY_STEP * step[1]));
    } else {
      pen.down = !pen.down;
      if (pen.down) this.strokes.push([]);
    }
    if (pen.down) this.extend([pen.x, pen.y]);
    this.hint.hidden = true;
    this.paint();
  }

  dropPen() {
    this.pen = null;
    this.paint();
  }

  undo() {
    if (this.strokes.length) this.strokes.pop();
    else [this.strokes, this.cleared] = [this.cleared, []];
    this.afterErasing();
  }

  clear() {
    if (this.strokes.length) [this.strokes, this.cleared] = [[], this.strokes];
    this.afterErasing();
  }

  afterErasing() {
    if (this.pen) this.pen.down = false;
    this.at = this.strokes.at(-1)?.slice(-2) ?? null;
    this.paint();
    this.hint.hidden = this.strokes.length > 0;
    this.changed();
  }

  example() {
    const down = (this.height - 320) / 2;
    this.strokes = EXAMPLE.map((stroke) => stroke.map((value, i) => (i % 2 ? value + down : value)));
    this.at = null;
    this.update();
  }

  // Show the boxes around what was found. digits: as the server sends them; shown: the index of the chosen one.
  found(digits, shown) {
    this.digits = digits;
    this.shown = shown;
    this.paint();
  }

  paint() {
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const scale = this.canvas.width / WIDTH;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, WIDTH, this.height);
    context.lineWidth = PEN;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = style.color;
    for (const stroke of this.strokes) {
      context.beginPath();
      context.moveTo(stroke[0], stroke[1]);
      for (let i = 0; i < stroke.length; i += 2) context.lineTo(stroke[i], stroke[i + 1]);
      context.stroke();
    }
    this.digits.forEach((digit, i) => this.paintBox(context, digit, i === this.shown));
    if (this.pen) this.paintPen(context, style.color);
  }

  paintBox(context, { value, confidence, box: [x, y, width, height] }, shown) {
    const gap = 10;
    context.strokeStyle = context.fillStyle = confidenceColour(confidence);
    context.lineWidth = shown ? 3 : 1.5;
    context.beginPath();
    context.roundRect(x - gap, y - gap, width + 2 * gap, height + 2 * gap, 8);
    context.stroke();
    const text = `${value}  ${(100 * confidence).toFixed(0)}%`;
    context.font = "600 15px system-ui, sans-serif";
    const labelWidth = context.measureText(text).width + 14;
    const left = Math.min(Math.max(2, x - gap), WIDTH - labelWidth - 2);
    const top = Math.max(2, y - gap - 24);
    context.beginPath();
    context.roundRect(left, top, labelWidth, 22, 6);
    context.fill();
    context.fillStyle = "#fff";
    context.fillText(text, left + 7, top + 16);
  }

  paintPen(context, colour) {
    const { x, y, down } = this.pen;
    context.beginPath();
    context.arc(x, y, down ? PEN / 2 : PEN / 2 + 4, 0, 7);
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.stroke();
  }
}

export { PEN };
