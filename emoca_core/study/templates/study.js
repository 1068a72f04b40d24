"use strict";
// Names under which crowd platforms put their participant's number into the link.
const NAMES = ["participant", "PROLIFIC_PID", "workerId", "participantId", "participant_id", "survey_code", "external_id",
  "subject", "rid"];
const BLANK = 300; // milliseconds without a picture between two trials
const by = (selector) => document.querySelector(selector);
const card = by("#card"), trial = by("#trial"), picture = by("figure img"), text = by("#text");
let texts, participant, now;
let accepting = false, paused = false, begun = 0, spent = 0;

// Talking to the study.

const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function ask(question, values = {}) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await fetch(`api/${question}`, { method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ participant, ...values }) });
      if (response.status < 500 && response.status !== 429) {
        by("#trouble").hidden = true;
        if (response.ok) return await response.json();
        return { refused: response.status };
      }
    } catch { /* no connection: the answer is sent again, and counts once */ }
    complain(texts.trouble.connection);
    await wait(Math.min(8000, 500 * 2 ** attempt));
  }
}

function complain(message) {
  by("#trouble").textContent = message;
  by("#trouble").hidden = false;
}

function giveUp(message) {
  card.hidden = trial.hidden = true;
  complain(message);
}

// Cards to read.

function show({ heading, paragraphs, button }, then, decline) {
  trial.hidden = true;
  card.hidden = false;
  card.querySelector("h1").textContent = heading;
  by("#paragraphs").replaceChildren(...paragraphs.map((words) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = words;
    return paragraph;
  }));
  const go = by("#go");
  go.hidden = !button;
  go.textContent = button || "";
  go.onclick = () => { go.onclick = null; then(); };
  by("#decline").hidden = !decline;
  by("#decline").textContent = texts.decline;
  by("#decline").onclick = decline || null;
  scrollTo(0, 0);
  if (button && !decline) go.focus({ preventScroll: true }); // nobody agrees by a key that was still down
}

function finish() {
  show(texts.finished);
  if (now.code) {
    by("#code span").textContent = texts.code;
    by("#code output").textContent = now.code;
    by("#code").hidden = false;
  }
  if (now.link) {
    by("#link").textContent = texts.completion_link;
    by("#link").href = now.link;
    by("#link").hidden = false;
  }
}

// Trials.

function preload(name) {
  if (name) new Image().src = `pictures/${name}`;
}

async function load(name) {
  for (let attempt = 0; ; attempt += 1) {
    picture.src = `pictures/${name}` + (attempt ? `?${attempt}` : "");
    try {
      await picture.decode();
      by("#trouble").hidden = true;
      return;
    } catch {
      complain(texts.trouble.connection);
      await wait(Math.min(8000, 500 * 2 ** attempt));
    }
  }
}

async function next() {
  if (!now.trial) return finish();
  card.hidden = true;
  trial.hidden = false;
  picture.hidden = true;
  text.textContent = "";
  const { kind, picture: name, label } = now.trial;
  const progress = by("progress");
  progress.max = now.total;
  progress.value = now.done;
  by("#count").textContent = (kind === "practice" ? `${texts.practice} · ` : "") +
    texts.progress.replace("{done}", now.done).replace("{total}", now.total);
  trial.querySelector("h2").textContent = kind === "catch" ? "\u00a0" : texts.question;
  const choices = by("#choices");
  choices.replaceChildren(...now.choices.map((choice, place) => {
    const button = document.createElement("button"), key = document.createElement("kbd");
    key.textContent = place + 1;
    button.append(key, texts.labels[choice]);
    button.onclick = () => answer(choice, button);
    return button;
  }));
  choices.className = "waiting";
  preload(now.following);
  await Promise.all([wait(BLANK), kind === "catch" ? null : load(name)]);
  text.textContent = kind === "catch" ? texts.catch.replace("{label}", texts.labels[label]) : "";
  picture.hidden = kind === "catch";
  spent = 0;
  begun = performance.now();
  accepting = true;
  choices.className = "";
  document.body.dataset.shown = now.done;
  if (document.hidden) pause();
}

async function answer(label, button) {
  if (!accepting || paused) return;
  accepting = false;
  button.classList.add("chosen");
  const milliseconds = Math.min(86400000, Math.round(spent + performance.now() - begun)), before = now;
  const state = await ask("answer", { trial: now.done, label, milliseconds });
  await take(state);
  if (now && now.trial && before.trial.kind === "practice" && now.trial.kind !== "practice") show(texts.practice_over, next);
  else if (now) next();
}

// Another window of the same participant may have gone on: then the study says where.
async function take(state) {
  now = state.refused ? await ask("state") : state;
  if (now.refused || !now.known) {
    now = null;
    giveUp(texts.trouble.link);
  }
}

function pause() {
  if (paused || !accepting) return;
  paused = true;
  spent += performance.now() - begun;
  show(texts.paused, () => {
    paused = false;
    card.hidden = true;
    trial.hidden = false;
    begun = performance.now();
  });
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || trial.hidden || !accepting) return;
  const button = /^[1-9]$/.test(event.key) ? by("#choices").children[event.key - 1] : null;
  if (!button) return;
  event.preventDefault();
  button.click();
});
document.addEventListener("visibilitychange", () => { if (document.hidden) pause(); });

// The way in.

function findParticipant() {
  const given = new URLSearchParams(location.search);
  const name = NAMES.map((one) => given.get(one)).find((value) => value);
  if (name) return name;
  const random = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0"));
  given.set("participant", random.join(""));
  history.replaceState(null, "", `?${given}`); // so that a reload goes on
  return random.join("");
}

async function agree() {
  const state = await ask("begin", { consent: true });
  if (state.refused === 403) return giveUp(texts.trouble.full);
  await take(state);
  if (now) show(texts.instructions, next);
}

async function start() {
  texts = await (await fetch("texts.json")).json();
  by("#pause").textContent = texts.pause;
  by("#pause").onclick = pause;
  picture.alt = texts.picture;
  participant = findParticipant();
  now = await ask("state");
  if (now.refused) return giveUp(texts.trouble.link);
  if (!now.known && now.full) return giveUp(texts.trouble.full);
  if (!now.known) return show(texts.consent, agree, () => show(texts.declined));
  if (!now.trial) return finish();
  return show(now.done ? texts.welcome_back : texts.instructions, next);
}

start();
