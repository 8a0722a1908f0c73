// The last layer: the probabilities, and what made the logit of one class: by filter, by pixel, by place.

import { largest, paintSigned, percent, plain, signed } from "./paint.js";

const element = (id) => document.getElementById(id);

export class Answer {
  // choose(label): a person wants to see how this class's logit was made, null: that of the class that wins.
  // chooseFilter(filter): a person points at the bar of a filter.
  constructor(choose, chooseFilter) {
    this.choose = choose;
    this.label = null;
    element("filter-terms").addEventListener("click", (event) => {
      const share = event.offsetX / event.currentTarget.clientWidth;
      chooseFilter(Math.floor(share * this.found.filter_terms.length));
    });
    new ResizeObserver(([{ contentRect }]) => {
      const canvas = element("filter-terms");
      canvas.width = contentRect.width * devicePixelRatio;
      canvas.height = contentRect.height * devicePixelRatio;
      if (this.found) this.paintFilters();
    }).observe(element("filter-terms"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.found && this.showTerms());
  }

  show(found, network, filter) {
    this.found = found;
    this.network = network;
    this.filter = filter;
    this.showClasses();
    this.showTerms();
  }

  showClasses() {
    const { found, network } = this;
    const box = element("classes");
    if (box.childElementCount !== network.classes.length) this.makeClasses(box);
    [...box.children].forEach((row, label) => {
      row.setAttribute("aria-pressed", label === found.label);
      row.querySelector("i").style.width = `${100 * found.probabilities[label]}%`;
      row.querySelector(".share").textContent = percent(found.probabilities[label]);
    });
  }

  makeClasses(box) {
    box.replaceChildren(
      ...this.network.classes.map((name, label) => {
        const row = document.createElement("button");
        row.type = "button";
        row.innerHTML = '<span class="name"></span><span class="bar"><i></i></span><span class="share"></span>';
        row.querySelector(".name").textContent = name;
        row.addEventListener("click", () => this.toggle(label));
        return row;
      }),
    );
  }

  toggle(label) {
    this.label = this.label === label ? null : label;
    this.choose(this.label);
  }

  showTerms() {
    const { found, network } = this;
    const name = network.classes[found.label];
    const logit = found.logits[found.label];
    element("term-class").textContent = name;
    element("total").innerHTML = `logit of ${name}: ${plain(logit)}<small></small>`;
    element("total").querySelector("small").textContent =
      `e^${plain(logit)} is ${percent(found.probabilities[found.label])} of the sum over all classes`;
    this.paintFilters();
    paintSigned(element("pixel-terms"), found.pixel_terms, 28, largest(found.pixel_terms));
    paintSigned(element("place-terms"), found.place_terms, 13, largest(found.place_terms));
    const filters = `${network.filters} filters`;
    equation("by-filter", [[filters, total(found.filter_terms)], ["bias", found.bias]]);
    const rest = network.activation === "relu" ? [["filter biases", found.pixel_rest]] : [];
    equation("by-pixel", [["784 pixels", total(found.pixel_terms)], ...rest, ["bias", found.bias]]);
    equation("by-place", [["169 places", total(found.place_terms)], ["bias", found.bias]]);
  }

  paintFilters() {
    const canvas = element("filter-terms");
    const terms = this.found.filter_terms;
    const { width, height } = canvas;
    const style = getComputedStyle(document.documentElement);
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const top = Math.max(0, ...terms), bottom = Math.min(0, ...terms);
    const unit = (height - 4) / (top - bottom || 1);
    const zero = 2 + top * unit;
    const step = width / terms.length;
    const bar = Math.min(0.75 * step, 48 * devicePixelRatio);
    terms.forEach((term, filter) => {
      const left = (filter + 0.5) * step - bar / 2;
      if (filter === this.filter) {
        context.fillStyle = style.getPropertyValue("--line");
        context.fillRect(filter * step, 0, step, height);
      }
      context.fillStyle = style.getPropertyValue(term > 0 ? "--plus" : "--minus");
      context.fillRect(left, Math.min(zero, zero - term * unit), bar, Math.max(1, Math.abs(term * unit)));
    });
    context.fillStyle = style.getPropertyValue("--quiet");
    context.fillRect(0, zero, width, devicePixelRatio);
  }
}

const total = (numbers) => numbers.reduce((sum, value) => sum + value, 0);

// "64 filters +9.13  bias +0.05  = 9.18": the sum is added up here, from the terms that are shown.
function equation(id, terms) {
  const line = element(id);
  line.replaceChildren();
  for (const [name, value] of [...terms, ["", total(terms.map(([, term]) => term))]]) {
    const part = document.createElement("span");
    const quiet = document.createElement("em");
    quiet.textContent = name;
    if (name) part.append(quiet, ` ${signed(value)}`);
    else part.append(`= ${plain(value)}`);
    line.append(part, " ");
  }
}
