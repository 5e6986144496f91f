"use strict";

// One image is open at a time (scene); its pictures come from the server as data URIs. A slider sends a request as soon
// as the one before is answered, with the newest values: requests never queue up.

const find = (selector) => document.querySelector(selector);
const findAll = (selector) => [...document.querySelectorAll(selector)];
const layout = find(".layout");
const sliders = findAll(".slider input[data-start]");
const values = Object.fromEntries(sliders.map((slider) => [slider.id, Number(slider.dataset.start)]));
const classes = findAll("[data-class]").map((chip) => ({ name: chip.innerText.trim(), colour: chip.dataset.colour }));

let scene = null; // what the server has told of the open image
let source = null; // a File, or the number of an example
let pixel = null; // [row, column] of the marked pixel
let opened = 0; // images that have been asked for
let refining = false, outdated = false;

async function send(path, body, isFile = false) {
  try {
    const options = body === undefined ? {} : { method: "POST", body: isFile ? body : JSON.stringify(body) };
    const response = await fetch(path, options);
    const answer = await response.json();
    return { ...answer, status: response.status };
  } catch {
    return { status: 0, error: "no answer from the server; is the command still running?" };
  }
}

function say(text, isError = false) {
  find("#status").textContent = text;
  find("#status").classList.toggle("error", isError);
  find("#status").classList.toggle("long", text.length > 60);
}

// Opening

async function open(chosen) {
  const turn = ++opened;
  const isFile = chosen instanceof File;
  if (isFile && chosen.size > Number(layout.dataset.imageBytes)) {
    const megabytes = Number(layout.dataset.imageBytes) / 2 ** 20;
    return say(`${chosen.name}: larger than ${megabytes} MB; megabytes=NUMBER of the command sets the limit`, true);
  }
  say("the network is looking at the image …");
  const answer = await (isFile ? send("images", chosen, true) : send(`examples/${chosen}`, {}));
  if (turn !== opened) return; // another image has been chosen meanwhile
  if (answer.error) return say(isFile ? answer.error.replace("this file", chosen.name) : answer.error, true);
  scene = answer;
  source = chosen;
  mark(null);
  for (const chip of findAll("[data-example]")) chip.setAttribute("aria-pressed", chip.dataset.example === String(chosen));
  for (const frame of findAll(".frame")) frame.style.aspectRatio = `${scene.width} / ${scene.height}`;
  for (const photo of findAll(".photo")) photo.src = scene.image;
  find("#network .labels").src = scene.network;
  find("#crf .labels").src = scene.network; // until the CRF has answered
  find("#time").textContent = "";
  say(describe());
  if (find("#of").value === "largest") find("#scores .heat").src = scene.scores;
  else showScores();
  await refine();
}

function describe() {
  const name = source instanceof File ? source.name : find(`[data-example="${source}"]`).title;
  const size = `${name}: ${scene.file_width} × ${scene.file_height}`;
  if (scene.file_width === scene.width && scene.file_height === scene.height) return size;
  return `${size}, shrunk to ${scene.width} × ${scene.height}, which is what the network and the CRF get; sxy and sg count its pixels`;
}

async function showScores() {
  const of = find("#of").value;
  for (const chip of findAll("[data-class]")) chip.setAttribute("aria-pressed", chip.dataset.class === of);
  if (!scene) return;
  const answer = await send(`scenes/${scene.name}/scores/${of}`);
  if (find("#of").value !== of) return;
  if (answer.status === 410) return open(source);
  if (answer.error) return say(answer.error, true);
  find("#scores .heat").src = answer.scores;
}

// Refining

async function refine() {
  outdated = true;
  if (refining) return;
  refining = true;
  while (outdated && scene) {
    outdated = false;
    await refineOnce();
  }
  refining = false;
}

async function refineOnce() {
  const asked = scene;
  const answer = await send(`scenes/${asked.name}/refine`, { values, pixel });
  if (scene !== asked) return;
  if (answer.status === 410) return void open(source); // the server has dropped the image, or was started again
  if (answer.error) return say(answer.error, true);
  if (find("#status").classList.contains("error")) say(describe());
  find("#crf .labels").src = answer.labels;
  find("#time").textContent = `${Math.round(answer.milliseconds)} ms`;
  if (answer.pixel && pixel) showPixel(answer.pixel);
}

function set(slider, value) {
  values[slider.id] = value;
  slider.value = value;
  slider.parentElement.querySelector("[type=number]").value = value;
}

for (const slider of sliders) {
  const field = slider.parentElement.querySelector("[type=number]");
  slider.addEventListener("input", () => {
    const step = Number(slider.dataset.step);
    const rounded = Number((Math.round(slider.value / step) * step).toFixed(3));
    const value = Math.min(Math.max(rounded, Number(slider.min)), Number(slider.max));
    if (value === values[slider.id]) return;
    values[slider.id] = field.value = value;
    refine();
  });
  field.addEventListener("change", () => {
    const value = field.value === "" ? NaN : Number(field.value);
    const isValid = value >= Number(slider.min) && value <= Number(slider.max);
    set(slider, isValid ? value : values[slider.id]);
    refine();
  });
}

find("#reset").addEventListener("click", () => {
  for (const slider of sliders) set(slider, Number(slider.dataset.start));
  refine();
});

// One pixel

function mark(place) {
  pixel = place;
  find("#pixel").hidden = true;
  for (const dot of findAll(".mark")) dot.style.display = place ? "block" : "none";
  if (!place) return;
  for (const dot of findAll(".mark")) {
    dot.style.top = `${(100 * (place[0] + 0.5)) / scene.height}%`;
    dot.style.left = `${(100 * (place[1] + 0.5)) / scene.width}%`;
  }
}

function showPixel(view) {
  find("#pixel").hidden = false;
  find("#pixel-title").textContent = `Pixel in row ${view.row}, column ${view.column}, colour ${view.colour.join(", ")}`;
  find("#kernel .heat").src = view.kernel;
  find("#quarter").textContent = number(view.own / 4); // in the middle, because the colours show the square root
  find("#own").textContent = `${number(view.own)} = w1 + w2`;
  find("#kernel-note").textContent =
    `How strongly each pixel asks this one for its own class: k(i, j), before the CRF normalises it. All others together: ${number(view.others)}.`;
  const best = (probabilities) => probabilities.indexOf(Math.max(...probabilities));
  const rows = classes
    .map((one, index) => ({ ...one, index, before: view.before[index], after: view.after[index] }))
    .sort((a, b) => Math.max(b.before, b.after) - Math.max(a.before, a.after))
    .slice(0, 8);
  find("#bars").replaceChildren(...rows.map((row) => drawRow(row, best(view.after))));
}

function drawRow(row, winner) {
  const line = document.createElement("tr");
  line.className = row.index === winner ? "winner" : "";
  const name = line.insertCell();
  const swatch = document.createElement("i");
  swatch.className = "swatch";
  swatch.style.background = row.colour;
  name.append(swatch, row.name);
  const bar = line.insertCell();
  bar.className = "bar";
  for (const share of [row.before, row.after]) {
    const part = document.createElement("div");
    part.style.width = `${100 * share}%`;
    bar.append(part);
  }
  for (const share of [row.before, row.after]) line.insertCell().textContent = `${(100 * share).toFixed(1)} %`;
  return line;
}

const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

for (const frame of findAll(".frame")) {
  frame.addEventListener("click", (event) => {
    if (!scene) return;
    const box = frame.getBoundingClientRect();
    const index = (position, side) => Math.min(Math.max(Math.floor(position * side), 0), side - 1);
    mark([index((event.clientY - box.top) / box.height, scene.height), index((event.clientX - box.left) / box.width, scene.width)]);
    refine();
  });
}

// Saving

find("#save").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [saved, button, preset] = [find("#saved"), find("#save button"), find("#preset").value.trim()];
  button.disabled = true; // until this preset is saved
  saved.textContent = "saving …";
  let answer = await send("presets", { preset, values });
  if (answer.status === 409 && confirm(`crf=${preset} exists already. Replace it?`)) {
    answer = await send("presets", { preset, values, replace: true });
  }
  saved.classList.toggle("error", Boolean(answer.error));
  saved.textContent = answer.error || `saved ${answer.path}; use it: crf=${answer.preset}`;
  button.disabled = false;
});

// Choosing an image and a class

find("#file").addEventListener("change", (event) => {
  if (event.target.files.length) open(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
for (const chip of findAll("[data-example]")) chip.addEventListener("click", () => open(Number(chip.dataset.example)));
for (const chip of findAll("[data-class]")) {
  chip.addEventListener("click", () => {
    find("#of").value = find("#of").value === chip.dataset.class ? "largest" : chip.dataset.class;
    showScores();
  });
}
find("#of").addEventListener("change", showScores);
find("#opacity").addEventListener("input", (event) => document.body.style.setProperty("--opacity", event.target.value));

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
  else say("this is no file; save the image first", true);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) open(event.clipboardData.files[0]);
});

open(0);
