// A photo: dropped, pasted, chosen or taken; what was read in it; its stages.

import { Refused, sendPhoto } from "./server.js";

const element = (id) => document.getElementById(id);
const LARGEST = 32 * 2 ** 20; // bytes: the server refuses more, and a browser cannot show that line

export class Photo {
  // open(digit): a person wants to see this digit, {value, confidence, crop, box}, in the layers.
  constructor(open) {
    this.open = open;
    for (const id of ["file", "camera"]) {
      element(id).addEventListener("change", (event) => {
        if (event.target.files.length) this.read(event.target.files[0]);
        event.target.value = "";
      });
    }
    document.addEventListener("paste", (event) => {
      const file = event.clipboardData.files[0];
      if (file) this.read(file);
    });
    this.acceptDrops();
    element("copy").addEventListener("click", () => this.copy());
  }

  acceptDrops() {
    const dropping = element("dropping");
    const hasFile = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      dropping.hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) dropping.hidden = true;
    });
    addEventListener("drop", (event) => {
      dropping.hidden = true;
      if (!hasFile(event)) return;
      event.preventDefault();
      this.read(event.dataTransfer.files[0]);
    });
  }

  say(line, bad = false) {
    const state = element("photo-state");
    state.textContent = line;
    state.classList.toggle("bad", bad);
    state.hidden = !line;
  }

  async read(file) {
    const number = (this.latest = (this.latest ?? 0) + 1); // of several photos, the last one is shown
    element("photo").scrollIntoView({ block: "nearest" });
    element("photo-result").hidden = true;
    if (file.size > LARGEST) {
      this.say(`${file.name}: the file has more than ${LARGEST / 2 ** 20} MB; save the photo smaller`, true);
      return;
    }
    this.say(`Reading ${file.name} …`);
    const start = performance.now();
    try {
      const found = await sendPhoto(file);
      if (number === this.latest) this.show(found, file.name, performance.now() - start);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (number === this.latest) this.say(error.message, true);
    }
  }

  show(found, name, milliseconds) {
    const count = found.digits.length;
    const what = count ? `${many(count, "digit")} in ${many(found.lines.length, "line")}` : "no digits found";
    this.say(`${name}: ${what}, in ${(milliseconds / 1000).toFixed(1)} s.`);
    element("annotated").src = found.annotated;
    element("photo-text").textContent = found.lines.join("\n") || "no digits found";
    element("copy").disabled = !count;
    element("boxes").replaceChildren(...found.digits.map((digit) => this.box(digit, found.size)));
    element("photo-stages").replaceChildren(...found.stages.map(stage));
    element("photo-result").hidden = false;
  }

  box(digit, [width, height]) {
    const button = document.createElement("button");
    const [x, y, wide, high] = digit.box;
    button.type = "button";
    button.title = `${digit.value}, ${(100 * digit.confidence).toFixed(0)} % sure: open it in the layers`;
    button.setAttribute("aria-label", button.title);
    button.style.left = `${(100 * x) / width}%`;
    button.style.top = `${(100 * y) / height}%`;
    button.style.width = `${(100 * wide) / width}%`;
    button.style.height = `${(100 * high) / height}%`;
    button.addEventListener("click", () => {
      for (const other of element("boxes").children) other.setAttribute("aria-pressed", other === button);
      this.open(digit);
    });
    return button;
  }

  async copy() {
    const text = element("photo-text");
    try {
      await navigator.clipboard.writeText(text.textContent);
      element("copy").textContent = "Copied";
    } catch { // a browser allows it only on this machine or over HTTPS: then the text is selected, for Ctrl C
      getSelection().selectAllChildren(text);
      element("copy").textContent = "Selected: copy it";
    }
    setTimeout(() => (element("copy").textContent = "Copy"), 2000);
  }
}

function many(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function stage({ title, picture }) {
  const figure = document.createElement("figure");
  const image = document.createElement("img");
  const caption = document.createElement("figcaption");
  image.src = picture;
  image.alt = caption.textContent = title;
  figure.append(image, caption);
  return figure;
}
