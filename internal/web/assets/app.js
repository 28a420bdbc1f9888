"use strict";
(() => {
let ui; // undefined if nobody is signed in
const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// make returns a new element.
function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

const number = n => n.toLocaleString("en-US");
const plural = (n, thing) => number(n) + " " + thing + (n === 1 ? "" : "s");

// Status messages.

let toast;
function say(text, ...more) {
  if (!toast) document.body.append(toast = make("div", {class: "toast", role: "status"}));
  toast.replaceChildren(text ? make("p", {}, text) : "", ...more);
  toast.hidden = !text;
  clearTimeout(say.timer);
  if (text) say.timer = setTimeout(() => say(""), more.length ? 20000 : 8000);
}

// Requests. A session that has ended asks to sign in, and then goes on.

const json = {Accept: "application/json"};
const unreachable = "The server can’t be reached. Try again.";

async function ask(url, fields) {
  for (;;) {
    let response, answer;
    try {
      response = await fetch(url, {
        method: fields ? "POST" : "GET", cache: "no-store",
        headers: json, body: fields && new URLSearchParams(fields),
      });
      answer = await response.json();
    } catch {
      throw new Error(unreachable);
    }
    if (response.ok) return answer;
    if (response.status !== 401 || !await signInAgain()) throw new Error(answer.error);
  }
}

let again; // the promise of an open sign-in dialog
function signInAgain() {
  const dialog = find("#again");
  if (!dialog) return false;
  hideValues();
  again ??= new Promise(resolve => {
    const form = find("form", dialog), error = find("#again-error");
    const end = result => { again = null; form.onsubmit = dialog.onclose = null; dialog.close(); resolve(result); };
    dialog.onclose = () => end(false);
    form.onsubmit = async event => {
      event.preventDefault();
      const fields = new URLSearchParams(new FormData(form));
      error.hidden = true;
      try {
        const response = await fetch(form.action, {method: "POST", headers: json, body: fields});
        const answer = await response.json();
        if (!response.ok) throw new Error(answer.error);
        if (answer.user !== document.body.dataset.user) { leaving = true; location.reload(); return; }
        all("input[type=password], input.masked", form).forEach(i => { i.value = ""; });
        end(true);
      } catch (e) {
        error.textContent = e.message;
        error.hidden = false;
      }
    };
    dialog.showModal();
  });
  return again;
}

// busy runs fn, and says so on the button if it takes long.
async function busy(button, fn) {
  if (button.getAttribute("aria-busy")) return;
  const label = button.textContent;
  const timer = setTimeout(() => { button.setAttribute("aria-busy", "true"); button.textContent = "Wait…"; }, 300);
  try {
    await fn();
  } catch (e) {
    say(e.message);
  } finally {
    clearTimeout(timer);
    if (button.getAttribute("aria-busy")) { button.removeAttribute("aria-busy"); button.textContent = label; }
  }
}

// Values. [data-value] has the address of one value; a data-version chooses an
// earlier one.

const shown = new Map(); // from the element with data-value to its box and timer
const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u00a0\u2000-\u200a\u202f\u205f\u3000\u034f\u115f\u1160\u2800\u3164\uffa0]/gu;

async function fetchValue(place) {
  const url = place.dataset.value || find("th a", place).href + "/value";
  return (await ask(url, place.dataset.version ? {version: place.dataset.version} : {})).value;
}

function hide(place) {
  const entry = shown.get(place);
  if (!entry) return;
  shown.delete(place);
  clearInterval(entry.timer);
  find("textarea", entry.box).value = "";
  const had = entry.box.contains(document.activeElement);
  entry.box.remove();
  const button = find("[data-do=show]", place);
  if (button) { button.textContent = "Show"; if (had) button.focus(); }
}

function hideValues() {
  const any = shown.size > 0;
  [...shown.keys()].forEach(hide);
  return any;
}

function describe(value) {
  const bytes = new TextEncoder().encode(value).length;
  const lines = value.split("\n").length - (value.endsWith("\n") ? 1 : 0);
  let text = plural(bytes, "byte");
  if (lines > 1) text += ", " + plural(lines, "line");
  if (value.endsWith("\n")) text += ", ends with a line break";
  return text;
}

function marks(value) {
  const found = new Set([...value.matchAll(invisible)].map(m => m[0]).filter(c => c !== "\n"));
  const codes = [...found].slice(0, 6).map(c => "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0"));
  const notes = [];
  if (codes.length) notes.push("Contains characters that can’t be seen: " + codes.join(", "));
  if (/^[ \n]|[ \n]$/.test(value.replace(/\n$/, ""))) notes.push("Has white space at an end");
  return notes.join(". ");
}

function show(place, value, note) {
  hide(place);
  const long = value.length > 65536;
  const text = make("textarea", {readonly: "", class: "mono-field", dir: "auto", spellcheck: "false", translate: "no",
    rows: Math.min(12, value.split("\n").length), "aria-label": "Value"});
  text.value = long ? value.slice(0, 4096) : value;
  const clock = make("span", {class: "muted small", role: "status"});
  const keep = make("button", {type: "button", class: "row"}, "Keep showing");
  const close = make("button", {type: "button", class: "row"}, "Hide");
  const tools = make("div", {class: "actions"}, clock, keep, close);
  if (long) {
    const link = make("a", {download: "value.txt", class: "button row"}, "Download all of it");
    link.href = URL.createObjectURL(new Blob([value]));
    tools.prepend(link);
  }
  const info = [note, long ? "The first 4 KiB of " + describe(value) : describe(value), marks(value)].filter(Boolean).join(". ") + ".";
  let box = make("div", {class: "shown"}, make("p", {class: "small muted"}, info), text, tools);
  if (place.tagName === "TR") {
    box = make("tr", {class: "shown"}, make("td", {colspan: place.cells.length}, ...box.childNodes));
    place.after(box);
  } else {
    place.append(box);
  }
  const entry = {box, left: 60};
  const tick = () => { clock.textContent = "Hidden again in " + entry.left + " s"; if (entry.left-- <= 0) hide(place); };
  tick();
  entry.timer = setInterval(tick, 1000);
  keep.onclick = () => { clearInterval(entry.timer); clock.textContent = "Shown until you leave the page"; keep.remove(); close.focus(); };
  close.onclick = () => hide(place);
  shown.set(place, entry);
  const button = find("[data-do=show]", place);
  if (button) button.textContent = "Hide";
  return text;
}

// copy copies what get returns. Passing the promise to the clipboard keeps the
// click valid while the value is fetched.
async function copy(get, fallback, secret) {
  const text = get();
  if (isSecureContext && navigator.clipboard?.write && window.ClipboardItem) {
    try {
      const blob = text.then(t => new Blob([t], {type: "text/plain"}));
      await navigator.clipboard.write([new ClipboardItem({"text/plain": blob})]);
      if (!secret) return say("Copied.");
      const empty = make("button", {type: "button", class: "row"}, "Empty the clipboard");
      empty.onclick = async () => { await navigator.clipboard.writeText(""); say("The clipboard is empty."); };
      return say("Copied. It stays in the clipboard until you copy something else.", empty);
    } catch {
      await text; // says why, if that failed
    }
  }
  const field = fallback(await text);
  field.focus();
  field.select();
  say("Press " + (/Mac/.test(navigator.platform) ? "⌘C" : "Ctrl+C") + " to copy the selected text.");
}

const actions = {
  async show(button) {
    const place = button.closest("[data-value]");
    if (shown.has(place)) return hide(place);
    show(place, await fetchValue(place)).focus();
  },
  copy(button) {
    const place = button.closest("[data-value]");
    return copy(() => fetchValue(place), value => show(place, value), true);
  },
  // text copies the text of the element whose ID is in data-from.
  text(button) {
    const from = document.getElementById(button.dataset.from);
    return copy(async () => from.value ?? from.textContent, () => ({
      focus() {}, select() { getSelection().selectAllChildren(from); },
    }), button.hasAttribute("data-secret"));
  },
  generate(button) {
    const box = button.closest("[data-generator]");
    const length = Math.min(256, Math.max(8, Number(find("[name=length]", box).value) || 32));
    let alphabet = find("[name=alphabet]", box).value;
    if (find("[name=lookalikes]", box).checked) alphabet = alphabet.replace(/[0O1lI|5S2Z8B]/g, "");
    const field = find("#value");
    field.value = random(length, alphabet);
    field.dispatchEvent(new Event("input", {bubbles: true}));
    say("Generated " + length + " characters. You can copy the value once it is saved.");
  },
  exact(button) {
    const on = button.getAttribute("aria-pressed") !== "true";
    sessionStorage.setItem("exact", on ? "1" : "");
    exactTimes(on);
  },
  close(button) { button.closest("dialog").close(); },
};

// random returns characters of the alphabet, each with the same probability.
function random(length, alphabet) {
  const limit = 256 - 256 % alphabet.length;
  let out = "";
  while (out.length < length) {
    for (const b of crypto.getRandomValues(new Uint8Array(64))) {
      if (b < limit && out.length < length) out += alphabet[b % alphabet.length];
    }
  }
  return out;
}

function exactTimes(on) {
  find("#exact")?.setAttribute("aria-pressed", on);
  for (const t of all("time")) {
    t.dataset.relative ??= t.textContent;
    t.textContent = on ? t.title : t.dataset.relative;
  }
}

// The list: filtering while typing, and the selection.

function filter(input) {
  const table = document.getElementById(input.dataset.filter);
  if (!table) return;
  hideValues();
  const wanted = input.value.toLowerCase();
  let count = 0;
  for (const row of all("tbody tr", table)) {
    row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    if (!row.hidden) count++;
  }
  const total = find("#matches");
  if (total) total.textContent = wanted ? number(count) + " of " + total.dataset.total : total.dataset.total;
  const none = find("#no-match");
  if (none) { none.hidden = count > 0; table.hidden = count === 0; }
}

function counted(form) {
  const n = all("[name=select]:checked", form).length;
  const text = find("[data-selected]", form);
  if (text) text.textContent = n + " selected";
  const every = find("[data-every]", form);
  if (every) every.checked = n > 0 && n === all("tbody tr:not([hidden]) [name=select]", form).length;
}

// Forms: leaving with input that isn't saved asks first; a session that has
// ended is renewed before anything is sent.

let dirty = false, leaving = false;
const checked = new WeakSet();

async function check(form, submitter) {
  try {
    await ask(ui + "/session");
  } catch (e) {
    if (again === null && find("#again")?.open === false && /ended/.test(e.message)) return; // not now
  }
  checked.add(form);
  form.requestSubmit(submitter);
}

// send sends a form, and shows a page that answers it in place of this one. An error
// without a form is only a message, so that what was typed stays. A form that the browser
// sends is stored on its disk to restore the session, unless it has a password.
const sendsItself = form => all("input[type=password]", form).some(i => i.value);

function send(form, submitter) {
  const request = new XMLHttpRequest();
  request.open("POST", submitter?.getAttribute("formaction") ?? form.getAttribute("action"));
  request.responseType = "document";
  request.overrideMimeType("text/html");
  request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
  request.onloadend = () => {
    const to = request.getResponseHeader("Location"), page = request.response;
    if (to) return location.assign(to);
    if (!page || request.status >= 400 && !find("main form", page)) {
      leaving = false;
      return say(page?.querySelector("main p")?.textContent ?? unreachable);
    }
    hideValues();
    if (history.state !== "answer") { history.replaceState("form", ""); history.pushState("answer", ""); }
    document.title = page.title;
    document.body.replaceWith(document.adoptNode(page.body));
    leaving = dirty = false;
    toast = null;
    begin();
    if (find("#errors")) return;
    (find("#main [autofocus]") ?? find("#main")).focus();
    scrollTo(0, 0);
  };
  request.send(new URLSearchParams(new FormData(form, submitter)));
}

function sizeOf(field) {
  const line = document.getElementById(field.id + "-size");
  if (!line) return;
  let value = field.value;
  if (find("[name=crlf]", field.form)?.checked) value = value.replace(/\n/g, "\r\n");
  line.textContent = value ? ["Stored as " + describe(value), marks(value)].filter(Boolean).join(". ") + "." : "";
}

// Long work. A [data-progress] shows one kind of it. The page is loaded again when it
// ends.

const works = () => all("[data-progress]");

async function poll() {
  let work = {};
  try {
    const response = await fetch(ui + "/server/progress", {cache: "no-store", headers: json});
    if (response.status === 401) return;
    work = await response.json();
  } catch { /* the server may be restarting */ }
  let ended = false;
  for (const box of works()) {
    const p = work[box.dataset.progress];
    if (!p) continue;
    if (!p.running) { ended ||= !box.hidden; continue; }
    box.hidden = false;
    find("span", box).textContent = number(p.done) + (p.total ? " of " + number(p.total) : "");
    const bar = find("progress", box);
    if (p.total) { bar.max = p.total; bar.value = p.done; } else bar.removeAttribute("value");
  }
  if (ended && !leaving) location.reload();
  else watch();
}

function watch() {
  clearTimeout(watch.timer);
  watch.timer = setTimeout(poll, 2000);
}

// Keyboard.

const rows = () => all("tbody tr:not([hidden]):not(.shown)");
const rowOf = e => e?.closest?.("tbody tr:not(.shown)");
let going = 0;

function move(by) {
  const list = rows();
  if (!list.length) return false;
  const at = list.indexOf(rowOf(document.activeElement));
  const next = list[at < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(list.length - 1, Math.max(0, at + by))];
  find("th a, td a, a", next)?.focus();
  return true;
}

function press(selector, root = document) {
  const e = root && find(selector, root);
  if (!e) return false;
  e.click();
  return true;
}

function shortcut(key) {
  const row = rowOf(document.activeElement), value = document.activeElement.closest?.("[data-value]");
  if (going) {
    going = 0;
    return press(`[data-go="${CSS.escape(key)}"]`);
  }
  switch (key) {
    case "/": { const f = find("[data-filter]"); f?.focus(); f?.select(); return !!f; }
    case "j": case "ArrowDown": return key === "j" || row ? move(1) : false;
    case "k": case "ArrowUp": return key === "k" || row ? move(-1) : false;
    case "n": return press("[data-key=n]");
    case "i": return press("[data-key=i]");
    case "e": { const link = row && find("th a", row); if (link && find("[data-key=n]")) { location.href = link.href + "/edit"; return true; } return press("[data-key=e]"); }
    case "x": { const box = row && find("[name=select]", row); if (box) { box.checked = !box.checked; counted(box.form); } return !!box; }
    case "s": return press("[data-do=show]", value);
    case "c": return press("[data-do=copy]", value);
    case "g": going = setTimeout(() => { going = 0; }, 1500); return true;
    case "?": find("#keys").showModal(); return true;
  }
  return false;
}

function escape() {
  if (hideValues()) return true;
  const f = find("[data-filter]");
  if (f?.value && document.activeElement === f) { f.value = ""; filter(f); return true; }
  const open = all("details.menu[open]");
  open.forEach(d => { d.open = false; find("summary", d).focus(); });
  if (open.length) return true;
  if (document.activeElement?.matches("input, textarea, select")) { document.activeElement.blur(); return true; }
  return false;
}

// One listener for each event.

const on = (event, fn, target = document) => target.addEventListener(event, fn);

on("click", event => {
  const button = event.target.closest("[data-do]");
  if (button && actions[button.dataset.do]) {
    event.preventDefault();
    busy(button, async () => actions[button.dataset.do](button));
  }
  all("details.menu[open]").forEach(d => { if (!d.contains(event.target)) d.open = false; });
});

on("input", event => {
  const t = event.target;
  if (t.form?.hasAttribute("data-guard")) dirty = true;
  if (t.dataset.filter) filter(t);
  if (t.form && (t.tagName === "TEXTAREA" || t.name === "crlf")) all("textarea", t.form).forEach(sizeOf);
});

on("change", async event => {
  const t = event.target;
  if (t.hasAttribute("data-every")) {
    all("tbody tr:not([hidden]) [name=select]", t.form).forEach(i => { i.checked = t.checked; });
  }
  if (t.hasAttribute("data-every") || t.name === "select") counted(t.form);
  if (t.type === "file" && t.files[0]) {
    const field = document.getElementById(t.dataset.into);
    if (t.files[0].size > 3 << 20) return say("The file is larger than 3 MiB.");
    field.value = await t.files[0].text();
    const format = find("[name=format]", t.form), end = /\.(json|ya?ml)$/i.exec(t.files[0].name)?.[1].toLowerCase();
    if (format && end) format.value = end === "yml" ? "yaml" : end;
    t.value = "";
    field.dispatchEvent(new Event("input", {bubbles: true}));
  }
});

on("paste", event => {
  const t = event.target, into = t.id === "name" && find("#value");
  const parts = into && !into.value && /^\s*(?:export\s+)?([^\s=]+)=([^\n]*)\n?$/.exec(event.clipboardData.getData("text"));
  if (!parts) return;
  event.preventDefault();
  t.value = parts[1];
  into.value = parts[2].replace(/^(["'])(.*)\1$/, "$2");
  into.dispatchEvent(new Event("input", {bubbles: true}));
  say("Split at the equals sign into a name and a value.");
});

on("submit", event => {
  const form = event.target;
  if (form.method !== "post" || form.closest("dialog")) return;
  if (leaving) return event.preventDefault(); // sent already
  if (ui && !checked.has(form)) {
    event.preventDefault();
    return check(form, event.submitter);
  }
  checked.delete(form);
  if (form.hasAttribute("data-download")) { // the page stays
    const box = find("[data-progress]");
    if (!box.hidden) event.preventDefault(); // it runs
    box.hidden = false;
    return watch();
  }
  leaving = true;
  if (sendsItself(form)) return;
  event.preventDefault();
  send(form, event.submitter);
});

on("popstate", event => { if (event.state === "form") location.reload(); }, window);

on("keydown", event => {
  if (event.key === "Escape" && !find("dialog[open]")) { if (escape()) event.preventDefault(); return; }
  const field = event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, dialog");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form) {
    event.preventDefault();
    event.target.form.requestSubmit(find("button.main", event.target.form));
    return;
  }
  if (field || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !ui || document.body.dataset.keys) return;
  if (shortcut(event.key)) event.preventDefault();
});

on("beforeunload", event => { if (dirty && !leaving) event.preventDefault(); }, window);
on("pagehide", () => { hideValues(); say(""); }, window);
on("pageshow", event => { leaving = false; if (event.persisted) { dirty = false; location.reload(); } }, window);

// At the start, and after an answer to a form.

function begin() {
  ui = document.body.dataset.ui;
  all("[data-script]").forEach(e => { e.hidden = false; });
  if (sessionStorage.getItem("exact")) exactTimes(true);
  find("#errors")?.focus();
  all("[data-guard] textarea").forEach(sizeOf);
  if (works().some(box => !box.hidden)) watch();
  all("form").forEach(f => { if (find("[name=select]", f)) counted(f); });
  const typed = find("[data-filter]");
  if (typed?.value) filter(typed);
  if (find("[data-guard]") && find("#errors, [data-dirty]")) dirty = true;
}

document.documentElement.classList.add("script");
begin();
})();
