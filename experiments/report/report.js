"use strict";
// Three small things: tabs, tooltips, and the viewer of episodes. Text from a run reaches the page
// through textContent alone.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

function element(tag, { css = "", text = "" } = {}, children = []) {
  const node = document.createElement(tag);
  if (css) node.className = css;
  if (text) node.textContent = text;
  node.append(...children.filter(Boolean));
  return node;
}

// ---- tabs ----

const tabs = $$('[role="tab"]');

function openTab(name, { focus = false } = {}) {
  const chosen = tabs.find((tab) => tab.hash === `#${name}`) ?? tabs[0];
  for (const tab of tabs) {
    const selected = tab === chosen;
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
    $(tab.hash).hidden = !selected;
  }
  if (focus) chosen.focus();
}

function setUpTabs() {
  document.body.classList.add("tabs");
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      history.replaceState(null, "", tab.hash);
      openTab(tab.hash.slice(1));
    });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === " ") tab.click();
      if (event.key === " " || step) event.preventDefault();
      if (!step) return;
      event.stopPropagation();
      const next = tabs[(i + step + tabs.length) % tabs.length];
      next.click();
      next.focus();
    });
  });
  window.addEventListener("hashchange", () => openTab(location.hash.slice(1)));
  openTab(location.hash.slice(1));
}

// ---- tooltips: a <title> becomes one that appears at once, and on focus ----

function setUpTips() {
  const tip = $("#tip");
  const place = (x, y) => {
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - box.width - 6))}px`;
    tip.style.top = `${y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const title of $$("svg title")) {
    const mark = title.parentElement;
    const text = title.textContent;
    mark.setAttribute("aria-label", text.replaceAll("\n", ", "));
    mark.setAttribute("role", "img");
    title.remove();
    mark.addEventListener("pointermove", (event) => {
      tip.textContent = text;
      tip.hidden = false;
      place(event.clientX, event.clientY);
    });
    mark.addEventListener("pointerleave", hide);
    mark.addEventListener("focus", () => {
      const box = mark.getBoundingClientRect();
      tip.textContent = text;
      tip.hidden = false;
      place(box.left + box.width / 2, box.top + box.height / 2);
    });
    mark.addEventListener("blur", hide);
  }
  window.addEventListener("scroll", hide, { passive: true });
}

// ---- viewer ----

const pairs = JSON.parse($("#data").textContent).pairs;
const wrongTurns = (pair) => (pair.imagined ? pair.imagined.turns.filter((t) => t.wrong).length : 0);
const filters = {
  all: () => true,
  wrong: (pair) => wrongTurns(pair) > 0,
  differ: (pair) => pair.imagined !== null && pair.imagined.success !== pair.real.success,
};
let shown = pairs;
let current = 0;

function outcome(episode) {
  const num = episode.turns.length;
  return `${episode.success ? "won" : "not won"} in ${num} ${num === 1 ? "turn" : "turns"}`;
}

/** The words of `text` that are not in the longest common subsequence with `other`, marked. */
function marked(text, other) {
  const a = text.split(/(\s+)/);
  const b = other.split(/(\s+)/);
  if (a.length * b.length > 1e6) return [text];
  const length = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1
        : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  const out = [];
  for (let i = 0, j = 0; i < a.length; i++) {
    while (j < b.length && a[i] !== b[j] && length[i][j + 1] > length[i + 1][j]) j++;
    if (j < b.length && a[i] === b[j]) {
      out.push(a[i]);
      j++;
    } else {
      out.push(a[i].trim() ? element("mark", { text: a[i] }) : a[i]);
    }
  }
  return out;
}

function verdict(turn) {
  const parts = [];
  if (turn.reward) parts.push(`reward ${turn.reward}`);
  if (turn.success) parts.push("task done");
  else if (turn.terminated) parts.push("ended");
  if (turn.confidence !== null) parts.push(`confidence ${turn.confidence.toFixed(2)}`);
  return parts.join(", ");
}

function truthNote(turn) {
  if (turn.truth === null) return element("p", { css: "truth", text: "What the world would have said is not known." });
  if (turn.truth.trim() === turn.observation.trim()) {
    return element("p", { css: "truth", text: "The words are right; the reward or the ending is not." });
  }
  return element("p", { css: "truth" }, [
    element("b", { text: "The world says: " }), ...marked(turn.truth, turn.observation),
  ]);
}

function turnCard(turn, { number, imagined }) {
  if (!turn) return element("div", { css: "turn empty" });
  const wrong = imagined && turn.wrong;
  const card = element("div", { css: wrong ? "turn wrong" : "turn" });
  if (wrong) {
    card.tabIndex = 0;
    card.append(element("span", { css: "badge", text: "\u2717 model wrong" }));
  }
  const words = wrong && turn.truth !== null ? marked(turn.observation, turn.truth) : [turn.observation];
  card.append(
    element("p", { css: "act", text: turn.action || "(nothing)" }),
    element("p", { css: "obs" }, words),
    element("p", { css: "meta", text: [`turn ${number}`, verdict(turn)].filter(Boolean).join(", ") }),
  );
  if (wrong) card.append(truthNote(turn));
  return card;
}

function column(label, css, episode) {
  const said = episode ? `${outcome(episode)}${episode.stop ? `, ${episode.stop.replaceAll("_", " ")}` : ""}` : "not dreamed";
  return element("div", { css: `column ${css}` }, [
    element("span", { css: `tag-${css}`, text: label }), " ", element("small", { text: said }),
  ]);
}

function showPair(index) {
  current = index;
  $$("#pairs button").forEach((button, i) => {
    button.setAttribute("aria-current", String(i === index));
    if (i === index) button.scrollIntoView({ block: "nearest" });
  });
  const pair = shown[index];
  const view = $("#pair");
  view.replaceChildren();
  if (!pair) {
    view.append(element("p", { css: "absent", text: "No episode matches." }));
    return;
  }
  const real = pair.real.turns;
  const dream = pair.imagined ? pair.imagined.turns : [];
  const grid = element("div", { css: "turns" }, [
    column("Real", "real", pair.real), column("Imagined", "imagined", pair.imagined),
  ]);
  let parted = dream.length === 0;
  for (let i = 0; i < Math.max(real.length, dream.length); i++) {
    if (!parted && real[i]?.action !== dream[i]?.action) {
      parted = true;
      grid.append(element("p", { css: "part", text: "from here on the two episodes differ in what is done" }));
    }
    grid.append(
      turnCard(real[i], { number: i + 1, imagined: false }),
      turnCard(dream[i], { number: i + 1, imagined: true }),
    );
  }
  view.append(element("h3", { text: pair.goal || pair.task }), element("p", { css: "goal", text: pair.task }), grid);
}

function listPairs(name) {
  $$("[data-filter]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.filter === name)));
  shown = pairs.filter(filters[name]);
  $("#pairs").replaceChildren(...shown.map((pair, i) => {
    const num = wrongTurns(pair);
    const button = element("button", {}, [
      element("span", { css: "task", text: pair.goal || pair.task }),
      element("span", { css: "outcomes" }, [
        element("span", { css: "tag-real", text: `real ${pair.real.success ? "won" : "not won"}` }),
        pair.imagined && element("span", { css: "tag-imagined", text: `imagined ${pair.imagined.success ? "won" : "not won"}` }),
        num ? element("span", { css: "tag-wrong", text: `\u2717 ${num} wrong` }) : null,
      ]),
    ]);
    button.type = "button";
    button.addEventListener("click", () => showPair(i));
    return element("li", {}, [button]);
  }));
  showPair(0);
}

function nextWrong() {
  const cards = $$("#pair .turn.wrong");
  const next = cards[(cards.indexOf(document.activeElement) + 1) % cards.length];
  next?.focus();
}

function setUpViewer() {
  if (!$("#viewer")) return;
  $$("[data-filter]").forEach((b) => b.addEventListener("click", () => listPairs(b.dataset.filter)));
  document.addEventListener("keydown", (event) => {
    if ($("#episodes").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && shown[current + step]) showPair(current + step);
    if (event.key === "w") nextWrong();
  });
  listPairs("all");
}

setUpTabs();
setUpTips();
setUpViewer();
