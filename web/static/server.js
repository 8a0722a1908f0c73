// The one connection to the server: a stream of events, which is the session, and the requests of this session.

let session = null;

export class Refused extends Error {} // the server's one line about what is wrong

async function post(path, body, headers = {}) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", body, headers: { "X-Session": session ?? "", ...headers } });
  } catch {
    throw new Refused("the server does not answer: is draw.py still running?");
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({ error: `the server has failed (${answer.status})` }));
  throw new Refused(error);
}

// Ask for JSON with JSON.
export async function ask(path, message = {}) {
  return (await post(path, JSON.stringify(message), { "Content-Type": "application/json" })).json();
}

// Ask for an answer with arrays: a length, JSON of that length, and the arrays that it lists, as they are.
export async function askForArrays(path, message) {
  const body = await (await post(path, JSON.stringify(message), { "Content-Type": "application/json" })).arrayBuffer();
  const length = new DataView(body).getUint32(0, true);
  const answer = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, length)));
  let from = 4 + length;
  for (const [name, kind, count] of answer.arrays) {
    answer[name] = new (kind === "uint8" ? Uint8Array : Float32Array)(body, from, count);
    from += answer[name].byteLength;
  }
  return answer;
}

export async function sendPhoto(file) {
  return (await post("/photo", file, { "X-Name": encodeURIComponent(file.name || "the picture") })).json();
}

export async function modelFile() {
  return (await post("/model", "{}")).blob();
}

// Open the session. on: { session, training, refused, lost }, functions that get what the event says.
export function connect(on) {
  const stream = new EventSource("/events");
  stream.addEventListener("session", (event) => {
    const data = JSON.parse(event.data);
    session = data.name;
    on.session(data);
  });
  stream.addEventListener("training", (event) => on.training(JSON.parse(event.data)));
  stream.addEventListener("refused", (event) => {
    stream.close();
    on.refused(JSON.parse(event.data).error);
  });
  stream.addEventListener("error", () => {
    session = null; // the browser tries again by itself; that will be a new session
    on.lost();
  });
}

// The 28x28 bytes of a crop, which is sent in Base64.
export function unpackCrop(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
