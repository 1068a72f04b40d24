"use strict";
const SHOWN = ["jawOpen", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "eyeBlinkLeft", "eyeBlinkRight",
  "browInnerUp", "browDownLeft"];
const COLORS = ["#2459c4", "#c4243f", "#d9822b", "#6b3fb5", "#128a5b", "#4fb286", "#8a6d12", "#5c6370"];
const LEVELS = { valence: "#b0309a", arousal: "#8a93a0" };
const SECONDS = 10;
const viewer = document.querySelector("model-viewer");
const state = document.getElementById("state");
const picture = document.querySelector("canvas.picture");
const curves = document.querySelector("canvas.curves");
const lines = [];
SHOWN.forEach((name, row) => add(name, COLORS[row], ({ arkit }) => arkit[name], (value) => value));
const past = [];
let person = 0;

function add(name, color, of, height) {
  const item = document.createElement("li"), mark = document.createElement("i"), output = document.createElement("output");
  mark.style.background = color;
  item.append(mark, name, output);
  document.getElementById("legend").append(item);
  lines.push({ name, color, of, height, output });
}

function addLevels(emotion) {  // from -1 to 1, over the whole height
  for (const [name, color] of Object.entries(LEVELS)) {
    if (name in emotion && !lines.some((line) => line.name === name)) {
      add(name, color, (face) => face.emotion[name], (value) => (value + 1) / 2);
    }
  }
}

function pose({ arkit, head: [yaw, pitch, roll] }) {
  scene().traverse((node) => { if (node.morphTargetDictionary) node.rotation.set(pitch, yaw, roll, "YXZ"); });
  setWeights(arkit);
}

function draw(now) {
  const pen = curves.getContext("2d");
  pen.clearRect(0, 0, curves.width, curves.height);
  pen.lineWidth = 2;
  lines.forEach(({ color, of, height }) => {
    pen.strokeStyle = color;
    pen.beginPath();
    let drawing = false;
    for (const { time, face } of past) {
      if (!face) { drawing = false; continue; }
      const x = curves.width * (1 - (now - time) / SECONDS), y = (curves.height - 4) * (1 - height(of(face))) + 2;
      if (drawing) pen.lineTo(x, y); else pen.moveTo(x, y);
      drawing = true;
    }
    pen.stroke();
  });
}

function take(frame) {
  past.push(frame);
  while (past[0].time < frame.time - SECONDS) past.shift();
  const rate = past.length > 1 ? (past.length - 1) / (frame.time - past[0].time) : 0;
  state.value = `${rate.toFixed(0)} frames/s, ${(1000 * frame.latency).toFixed(0)} ms behind the camera, ` +
    `${frame.dropped} dropped` + (frame.face ? "" : ", no face");
  if (frame.person !== person) {
    person = frame.person;
    viewer.src = `head.glb?${person}`;
  }
  if (frame.face) {
    addLevels(frame.face.emotion);
    lines.forEach(({ of, output }) => { output.value = of(frame.face).toFixed(2); });
    if (viewer.loaded) pose(frame.face);
  }
  draw(frame.time);
  document.body.dataset.frames = frame.number;
}

async function show(blob) {
  const bitmap = await createImageBitmap(blob);
  if (picture.width !== bitmap.width) picture.width = bitmap.width;
  if (picture.height !== bitmap.height) picture.height = bitmap.height;
  picture.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

const socket = new WebSocket(`ws://${location.host}/pictures`);
socket.onmessage = ({ data }) => { if (typeof data === "string") take(JSON.parse(data)); else show(data); };
socket.onclose = () => { state.value = "the capture has ended"; };
