"use strict";
/* The page holds everything: the 3D viewer (gzip) and the head in base64, the values as JSON. */
const data = JSON.parse(document.getElementById("data").textContent);
const viewer = document.querySelector("model-viewer");
const video = document.querySelector("video");
const tools = document.getElementById("tools");
const below = document.getElementById("below");

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function makeSvg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function content(id) {
  return new Blob([Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0))]);
}

/* A photo: a slider for each target. */
function showSliders() {
  const rows = {};
  const set = (values) => {
    for (const [name, value] of Object.entries(values)) {
      rows[name].slider.value = value;
      rows[name].shown.value = value.toFixed(2);
    }
    setWeights(values);
  };
  const list = make("div", { className: "sliders" });
  for (const [name, value] of Object.entries(data.weights)) {
    const low = Math.min(0, value), high = Math.max(1, value);
    const slider = make("input", { type: "range", min: low, max: high, step: 0.01, value, name });
    const shown = make("output", { value: value.toFixed(2) });
    slider.addEventListener("input", () => set({ [name]: Number(slider.value) }));
    rows[name] = { slider, shown };
    list.append(make("label", {}, name, slider, shown));
  }
  const neutral = Object.fromEntries(Object.keys(data.weights).map((name) => [name, 0]));
  tools.append(
    make("button", { textContent: "as captured", onclick: () => set(data.weights) }),
    make("button", { textContent: "neutral", onclick: () => set(neutral) }),
  );
  below.append(list);
}

/* A clip: curves; a click in one seeks the clip and the head. */
function showCurves() {
  const { times, curves } = data;
  const last = times[times.length - 1] || 1;
  let now = 0, playing = false, begun = 0;
  const bar = make("input", { type: "range", className: "time", min: 0, max: last, step: 0.001, value: 0, name: "time" });
  const clock = make("output", { value: "0.00 s" });
  const play = make("button", { textContent: "play" });
  const marks = [];
  const seek = (time, fromVideo) => {
    now = Math.min(Math.max(time, 0), last);
    bar.value = now;
    clock.value = now.toFixed(2) + " s";
    viewer.currentTime = now;
    if (video && !fromVideo) video.currentTime = now;
    for (const move of marks) move(now);
  };
  const step = (stamp) => {
    if (!playing) return;
    const time = video ? video.currentTime : (stamp - begun) / 1000;
    if (time >= last || (video && video.ended)) stop();
    seek(time, true);
    requestAnimationFrame(step);
  };
  const stop = () => {
    playing = false;
    if (video) video.pause();
    play.textContent = "play";
  };
  play.onclick = () => {
    if (playing) return stop();
    if (now >= last - 0.01) seek(0);
    playing = true;
    begun = performance.now() - now * 1000;
    if (video) video.play();
    play.textContent = "pause";
    requestAnimationFrame(step);
  };
  bar.addEventListener("input", () => seek(Number(bar.value)));
  tools.append(play, bar, clock);
  if (video) {
    const clip = document.querySelector(".clip");
    const over = make("button", { textContent: clip.dataset.second, ariaPressed: "false" });
    over.onclick = () => {
      const on = clip.classList.toggle("over");
      over.ariaPressed = String(on);
    };
    tools.append(over);
  }
  for (const curve of curves) below.append(curveRow(curve, last, seek, marks));
  stayInPlace();
  viewer.play({ repetitions: 1 });  // only an animation that has begun can be sought in
  viewer.pause();
  seek(0);
}

/* The head turns in its place: where it is in the room would take it out of sight. */
function stayInPlace() {
  for (const clip of scene().animationsByName.values()) {
    clip.tracks = clip.tracks.filter((track) => !track.name.endsWith(".position"));
  }
}

function curveRow({ name, values, low, high }, last, seek, marks) {
  const { times, away } = data;
  const svg = makeSvg("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none" });
  const at = (value) => (100 - (100 * (value - low)) / (high - low || 1)).toFixed(1);
  let path = "", gap = 0;
  times.forEach((time, row) => {
    const isBack = gap < away.length && time >= away[gap][1];
    if (isBack) gap += 1;
    path += (row === 0 || isBack ? "M" : "L") + ((1000 * time) / last).toFixed(1) + " " + at(values[row]);
  });
  for (const [from, to] of away) {
    svg.append(makeSvg("rect", { x: (1000 * from) / last, width: (1000 * (to - from)) / last, y: 0, height: 100 }));
  }
  const mark = makeSvg("line", { x1: 0, x2: 0, y1: 0, y2: 100 });
  svg.append(makeSvg("path", { d: path }), mark);
  const shown = make("output");
  marks.push((now) => {
    const x = (1000 * now) / last;
    mark.setAttribute("x1", x);
    mark.setAttribute("x2", x);
    const isAway = away.some(([from, to]) => from < now && now < to);
    shown.value = isAway ? "" : values[rowAt(times, now)].toFixed(2);
  });
  const jump = (event) => {
    const box = svg.getBoundingClientRect();
    seek((last * (event.clientX - box.left)) / box.width);
  };
  svg.addEventListener("pointerdown", jump);
  svg.addEventListener("pointermove", (event) => event.buttons && jump(event));
  return make("div", { className: "curve" }, make("span", { textContent: name }), svg, shown);
}

function rowAt(times, now) {
  let low = 0, high = times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= now + 1e-6) low = middle; else high = middle - 1;
  }
  return low;
}

viewer.addEventListener("load", () => {
  if (data.weights) showSliders();
  if (data.times) showCurves();
  document.body.dataset.ready = "yes";
}, { once: true });

(async () => {
  const engine = await new Response(content("engine").stream().pipeThrough(new DecompressionStream("gzip"))).blob();
  document.head.append(make("script", { src: URL.createObjectURL(engine) }));
  viewer.src = URL.createObjectURL(content("model"));
})();
