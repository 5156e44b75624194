// The page to draw on. What is drawn is kept as strokes; the server is asked for one reading after the other, always the newest.

const PEN = 24;
const STEP = 8;
const RETRY = 2000;

const element = (id) => document.getElementById(id);
const canvas = element("canvas");
const paper = canvas.getContext("2d");

/** Lines of points [x, y] in pixels of the canvas. */
let strokes = [];
/** The line that is being drawn, if one is. */
let stroke = null;
/** An opened picture: its file, and how it looks if the browser can show it. */
let picture = null;
/** Where the keyboard's pen is; null until a key moves it. */
let pen = null;
/** The newest reading. */
let reading = null;
let selected = 0;
let classes = [...Array(10).keys()].map(String);
let training = false;

// Drawing

function at(event) {
  const box = canvas.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * canvas.width;
  const y = ((event.clientY - box.top) / box.height) * canvas.height;
  return [x, y];
}

function begin(point) {
  if (picture) clear();
  stroke = [point];
  strokes.push(stroke);
  changed();
}

function clear() {
  strokes = [];
  stroke = null;
  picture = null;
  changed();
}

function undo() {
  stroke = null;
  if (picture) picture = null;
  else strokes.pop();
  changed();
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  begin(at(event));
});
canvas.addEventListener("pointermove", (event) => {
  if (!stroke || !canvas.hasPointerCapture(event.pointerId)) return;
  const events = event.getCoalescedEvents?.() ?? [];
  stroke.push(...(events.length ? events : [event]).map(at));
  changed();
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => { stroke = null; });
}

canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const move = moves[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (move) {
    pen ??= [canvas.width / 2, canvas.height / 2];
    const inside = (value, most) => Math.min(Math.max(value, 0), most);
    pen = [inside(pen[0] + STEP * move[0], canvas.width), inside(pen[1] + STEP * move[1], canvas.height)];
    if (stroke) stroke.push(pen);
    changed();
  } else if (event.key === " ") {
    pen ??= [canvas.width / 2, canvas.height / 2];
    if (stroke) stroke = null;
    else begin(pen);
    draw();
  } else if (event.key === "z") undo();
  else if (event.key === "Delete" || event.key === "Backspace") clear();
  else return;
  event.preventDefault();
});
canvas.addEventListener("blur", () => { pen = null; stroke = null; draw(); });
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && !event.target.closest("input")) {
    event.preventDefault();
    undo();
  }
});
element("clear").addEventListener("click", clear);
element("undo").addEventListener("click", undo);

function ink(context, colour) {
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = PEN;
  context.lineCap = "round";
  context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(...points[0]);
    // A point alone is a dot.
    for (const point of points.length > 1 ? points.slice(1) : points) context.lineTo(...point);
    context.stroke();
  }
}

/** Scale and place of the picture, fitted into the canvas. */
function fit(image) {
  const scale = Math.min(canvas.width / image.width, canvas.height / image.height);
  return { scale, x: (canvas.width - image.width * scale) / 2, y: (canvas.height - image.height * scale) / 2 };
}

function draw() {
  const style = getComputedStyle(canvas);
  const accent = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  paper.clearRect(0, 0, canvas.width, canvas.height);
  let place = { scale: 1, x: 0, y: 0 };
  if (picture?.image) {
    place = fit(picture.image);
    const { width, height } = picture.image;
    paper.imageSmoothingEnabled = place.scale < 1;
    paper.drawImage(picture.image, place.x, place.y, width * place.scale, height * place.scale);
  }
  ink(paper, style.color);
  paper.lineWidth = 2;
  paper.strokeStyle = accent;
  const digits = reading?.digits ?? [];
  if (picture ? picture.image : digits.length > 1) {
    digits.forEach((digit, index) => {
      const [x, y, width, height] = digit.place.map((length) => length * place.scale);
      paper.setLineDash(index === selected ? [] : [4, 4]);
      paper.strokeRect(place.x + x - 4, place.y + y - 4, width + 8, height + 8);
    });
    paper.setLineDash([]);
  }
  if (pen) {
    paper.beginPath();
    paper.arc(...pen, PEN / 2, 0, 2 * Math.PI);
    paper.stroke();
  }
  element("hint").hidden = strokes.length > 0 || picture !== null;
}

// Pictures from elsewhere

async function open(file) {
  // The server reads PGM, which browsers do not show.
  const image = await createImageBitmap(file).catch(() => null);
  picture = { file, image };
  strokes = [];
  stroke = null;
  changed();
}

element("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) open(file);
  event.target.value = "";
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files][0];
  if (file) open(file);
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); canvas.classList.add("drop"); });
}
for (const name of ["dragleave", "drop"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); canvas.classList.remove("drop"); });
}
document.addEventListener("drop", (event) => {
  const [file] = event.dataTransfer.files;
  if (file) open(file);
});

// Asking the server

let asking = false;
let stale = false;

function changed() {
  draw();
  stale = true;
  if (!asking) ask();
}

/** One request at a time; what changed meanwhile is asked next. */
async function ask() {
  asking = true;
  while (stale) {
    stale = false;
    try {
      show(await read());
    } catch (error) {
      show(null, error.message);
    }
  }
  asking = false;
}

async function read() {
  if (!picture && strokes.length === 0) return null;
  const body = picture ? picture.file : await drawing();
  const type = body.type.startsWith("image/") ? body.type : "application/octet-stream";
  const saliency = element("why").checked;
  return request(`/read?detail=true&saliency=${saliency}`, { method: "POST", body, headers: { "content-type": type } });
}

/** The strokes as a PNG, black on white. */
function drawing() {
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [canvas.width, canvas.height];
  const context = sheet.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, sheet.width, sheet.height);
  ink(context, "black");
  return new Promise((resolve) => sheet.toBlob(resolve, "image/png"));
}

async function request(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer. It may have been stopped.");
  }
  element("access").hidden = response.status !== 401;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answers ${response.status}.`);
  return answer;
}

element("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", element("token").value);
  element("token").value = "";
  about();
  changed();
});

// Showing the answer

function show(answer, problem = "") {
  reading = answer;
  selected = Math.min(selected, Math.max((answer?.digits.length ?? 0) - 1, 0));
  element("problem").textContent = problem;
  element("problem").hidden = problem === "";
  element("text").textContent = answer ? (name(answer) ?? answer.text) : "–";
  choices(answer && answer.digits.length > 1 ? answer.digits : []);
  explain(answer?.digits[selected]);
  draw();
}

/** A button for each digit. Those that are there stay: a new answer must not take away what is clicked or has the focus. */
function choices(digits) {
  const group = element("digits");
  while (group.children.length > digits.length) group.lastChild.remove();
  while (group.children.length < digits.length) {
    const index = group.children.length;
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => { selected = index; show(reading); });
    group.append(button);
  }
  digits.forEach((digit, index) => {
    const button = group.children[index];
    button.textContent = classes[digit.digit];
    button.setAttribute("aria-pressed", index === selected);
    button.setAttribute("aria-label", `digit ${index + 1}: ${classes[digit.digit]}, ${percent(digit.confidence)}`);
  });
}

/** The name of the only thing that was read, if its class is not just a digit. */
function name(answer) {
  const [only, ...others] = answer.digits;
  return others.length === 0 && classes[only.digit] !== String(only.digit) ? classes[only.digit] : null;
}

const percent = (probability) => `${(100 * probability).toFixed(1)} %`;

function explain(digit) {
  element("seen").hidden = !digit;
  const rows = [...element("bars").children];
  rows.forEach((row, index) => {
    const probability = digit?.probabilities[index] ?? 0;
    row.querySelector(".fill").style.width = `${100 * probability}%`;
    row.querySelector(".value").textContent = digit ? percent(probability) : "";
    row.classList.toggle("best", index === digit?.digit);
  });
  if (!digit) return;
  element("prepared").textContent = `What the network sees: ${digit.prepared}.`;
  const image = element("image");
  image.setAttribute("aria-label", `The ${classes[digit.digit]} as the network sees it, 28 by 28 pixels`);
  const pixels = new ImageData(28, 28);
  const shown = element("why").checked ? digit.saliency : undefined;
  const most = Math.max(...(shown ?? []).map(Math.abs), 1e-9);
  digit.image.forEach((grey, index) => {
    pixels.data.set(shown ? tinted(grey, shown[index] / most) : [grey, grey, grey, 255], 4 * index);
  });
  image.getContext("2d").putImageData(pixels, 0, 0);
}

/** Grey, dimmed and tinted by evidence from -1 (against, blue) to 1 (for, orange), as in the lab. */
function tinted(grey, evidence) {
  const strength = Math.sqrt(Math.abs(evidence));
  const tint = evidence < 0 ? [70, 150, 255] : [255, 150, 20];
  return [...tint.map((value) => (1 - strength) * 0.4 * grey + strength * value), 255];
}

element("why").addEventListener("change", changed);

function bars() {
  element("bars").replaceChildren(...classes.map((label) => {
    const row = document.createElement("li");
    row.classList.toggle("named", label.length > 1);
    for (const part of ["label", "track", "value"]) {
      const span = document.createElement("span");
      span.className = part;
      row.append(span);
    }
    row.querySelector(".label").textContent = label;
    row.querySelector(".track").append(Object.assign(document.createElement("div"), { className: "fill" }));
    return row;
  }));
}

/** What answers; and while it is being trained, its newest opinion. */
async function about() {
  try {
    const model = await request("/model");
    const accuracy = model.val_accuracy === null ? "" : `, validation ${(100 * model.val_accuracy).toFixed(2)} %`;
    element("model").textContent = `${model.session}: ${model.data}, epoch ${model.epoch}, step ${model.step}${accuracy}`;
    element("model").title = `${model.arch}: ${model.parameters} parameters on ${model.device}`;
    element("model").classList.toggle("live", model.training);
    if (model.classes.join() !== classes.join()) {
      classes = model.classes;
      bars();
      if (reading) show(reading);
    }
    if (model.training || training) changed();
    training = model.training;
  } catch (error) {
    element("model").textContent = error.message;
    training = false;
  }
}

element("origin").textContent = location.origin;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
bars();
draw();
about();
setInterval(() => { if (!document.hidden) about(); }, RETRY);
