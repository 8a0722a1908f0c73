// Arrays of numbers become pictures: grey for pixels, orange above zero and blue below it for everything else.

const PLUS = [232, 101, 14];
const MINUS = [36, 104, 214];

function image(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  return [context, context.createImageData(width, height)];
}

// Pixels 0..255, ink bright on dark, as the network sees them.
export function paintPixels(canvas, pixels, side = 28) {
  const [context, picture] = image(canvas, side, side);
  for (let i = 0; i < pixels.length; i++) {
    picture.data.fill(pixels[i], 4 * i, 4 * i + 3);
    picture.data[4 * i + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
}

// How strong the colour of a number is, 0..1; limit: the number that gets the full colour.
export function strength(value, limit) {
  return Math.min(1, Math.abs(value) / (limit || 1)) ** 0.75;
}

// Numbers of both signs; zero is transparent. first: where the side * side numbers begin.
export function paintSigned(canvas, numbers, side, limit, first = 0) {
  const [context, picture] = image(canvas, side, side);
  for (let i = 0; i < side * side; i++) {
    const value = numbers[first + i];
    picture.data.set(value > 0 ? PLUS : MINUS, 4 * i);
    picture.data[4 * i + 3] = 255 * strength(value, limit);
  }
  context.putImageData(picture, 0, 0);
}

export function largest(numbers) {
  let most = 0;
  for (const value of numbers) most = Math.max(most, Math.abs(value));
  return most;
}

// A number with its sign, in a width that hardly changes.
export function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) !== 0 ? "−" : "+") + text;
}

export function plain(value, digits = 2) {
  const text = signed(value, digits);
  return text[0] === "+" ? text.slice(1) : text;
}

export function percent(share) {
  return `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 0 : 1)} %`;
}

// The colour of a confidence: green when sure, amber when not so sure, red for a guess; as in annotated photos.
export function confidenceColour(confidence) {
  if (confidence >= 0.9) return "#168c54";
  return confidence >= 0.6 ? "#d08700" : "#cd2d2d";
}
