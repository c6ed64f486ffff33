// The script of Palk's pages. It asks the server for JSON (see docs/web.md) and changes files by the verbs of
// WebDAV. Names come from people: they are only ever put into the page as text.
"use strict";

// ---- asking the server ----

const byId = (id) => document.getElementById(id);

/** Something that was not done. `code` is a word of the server, or "away" if it cannot be reached. */
class Trouble extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }

  static away() {
    return new Trouble("away", "The server cannot be reached.");
  }
}

const LEADS = {
  "over-quota": "Your quota is used up: ",
  "too-big": "The file is too big: ",
  "no-space": "There is no room left: ",
  "too-few-nodes": "Too few nodes are there: ",
};

/** Numbers of bytes as people read them. */
function readable(text) {
  return text
    .replace(/(\d{4,}) of the (\d{4,}) bytes/g, (_, some, all) => `${size(Number(some))} of the ${size(Number(all))}`)
    .replace(/(\d{4,}) bytes/g, (_, bytes) => size(Number(bytes)));
}

function troubleOf(status, code, text) {
  const said = readable(text.trim()) || `The server answered with status ${status}.`;
  const lead = LEADS[code] || "";
  const rest = lead ? said : said.charAt(0).toUpperCase() + said.slice(1);
  return new Trouble(code || `status-${status}`, lead + rest.replace(/\.?$/, "."));
}

/** Asks for something, and fails with a Trouble if it is not done. */
async function ask(method, address, { headers = {}, body, signal } = {}) {
  let response;
  try {
    response = await fetch(address, {
      method,
      body,
      signal,
      headers: { "X-Palk": "1", ...headers },
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    reachable(false);
    throw Trouble.away();
  }
  reachable(true);
  if (response.status === 401) signedOut();
  if (!response.ok) {
    const text = await response.text().catch(() => "");
    throw troubleOf(response.status, response.headers.get("palk-error"), text);
  }
  return response;
}

const askJson = async (method, address, options) => (await ask(method, address, options)).json();

/** A path as an address has it. */
const encoded = (path) => path.split("/").map(encodeURIComponent).join("/");
const davAddress = (path) => "/dav/" + encoded(path);
const apiAddress = (what, path, query) => {
  const values = new URLSearchParams(query || {}).toString();
  return `/api/${what}/${encoded(path)}${values ? "?" + values : ""}`;
};
const folderAddress = (path, at) =>
  "/files/" + (path ? encoded(path) + "/" : "") + (at ? "?at=" + at : "");

const joined = (folder, name) => (folder ? folder + "/" + name : name);
const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);
const folderOf = (path) => path.slice(0, Math.max(0, path.lastIndexOf("/")));

// ---- what people read ----

function size(bytes) {
  if (bytes < 1000) return bytes + " B";
  const units = ["kB", "MB", "GB", "TB", "PB"];
  let value = bytes;
  let unit = "";
  for (unit of units) {
    value /= 1000;
    if (value < 999.95) break;
  }
  return value.toFixed(1) + " " + unit;
}

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const date = (ms) => DATE.format(new Date(ms));
const exactDate = (ms) => EXACT.format(new Date(ms));
const counted = (number, one, many = one + "s") => `${number.toLocaleString()} ${number === 1 ? one : many}`;

function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const two = (number) => String(number).padStart(2, "0");
  if (seconds < 60) return seconds + " s";
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  if (hours < 24) return `${hours} h ${two(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

/** An element with this text. */
function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function button(text, act, kind = "") {
  const made = element("button", text, { type: "button" });
  if (kind) made.className = kind;
  made.addEventListener("click", act);
  return made;
}

/** A short message at the foot of the page, with something that can be done about it. */
function toast(text, { act, label = "Undo", isBad = false } = {}) {
  const shown = element("div");
  shown.append(element("span", text));
  if (isBad) shown.classList.add("bad");
  const close = () => shown.remove();
  if (act) {
    shown.append(button(label, () => {
      close();
      act();
    }));
  }
  shown.append(button("Close", close));
  byId("toasts").append(shown);
  while (byId("toasts").childElementCount > 3) byId("toasts").firstElementChild.remove();
  setTimeout(close, act || isBad ? 15000 : 5000);
}

const tell = (error) => {
  if (error.name !== "AbortError") toast(error.message, { isBad: true });
};

/** Does something, and says so if it fails. */
async function attempt(act) {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof Trouble) && error.name !== "AbortError") console.error(error);
    tell(error);
    return undefined;
  }
}

function show(shown, isShown = true) {
  const found = typeof shown === "string" ? byId(shown) : shown;
  if (found) found.hidden = !isShown;
}

function trouble(id, error) {
  byId(id).textContent = error ? error.message : "";
  show(id, Boolean(error));
}

// ---- the banner: the server is away, somebody has been signed out, a node is down ----

const banner = { isAway: false, isOut: false, cluster: "" };

function drawBanner() {
  const away = "The server cannot be reached. It is tried again by itself; nothing that was stored is lost.";
  const out = "You are signed out.";
  const text = banner.isOut ? out : banner.isAway ? away : banner.cluster;
  if (!byId("banner")) return;
  byId("banner-text").textContent = text;
  byId("banner").classList.toggle("bad", banner.isOut || banner.isAway);
  byId("banner-link").href = "/sign-in?next=" + encodeURIComponent(location.pathname);
  show("banner-link", banner.isOut);
  show("banner", text !== "");
}

function signedOut() {
  banner.isOut = true;
  drawBanner();
}

function reachable(isThere) {
  if (banner.isAway === !isThere) return;
  banner.isAway = !isThere;
  drawBanner();
  if (!isThere) lookForServer();
}

/** Asks until the server is there again, and then begins where things stood. */
async function lookForServer() {
  while (banner.isAway) {
    await pause(3000);
    try {
      await fetch("/health", { cache: "no-store" });
      reachable(true);
      document.dispatchEvent(new Event("palk-back"));
    } catch {
      // Later, then.
    }
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ---- dialogs ----

function openDialog(id) {
  const dialog = byId(id);
  if (!dialog.open) dialog.showModal();
  return dialog;
}

/** Waits for an answer out of several; undefined if the dialog is closed without one. */
function choose(text, answers, forAll) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = text;
  byId("confirm-all").checked = false;
  show("confirm-all-label", Boolean(forAll));
  return new Promise((resolve) => {
    let chosen;
    byId("confirm-answers").replaceChildren(...answers.map(([label, value, kind]) =>
      button(label, () => {
        chosen = value;
        dialog.close();
      }, kind)));
    dialog.addEventListener("close", () => resolve({ chosen, isForAll: byId("confirm-all").checked }), { once: true });
    dialog.showModal();
  });
}

/** Asks for a name, and does something with it; stays open and says why if that fails. What `act` gives is the
    name of a row, which has the focus then. */
function askName({ title, label = "Name", value = "", verb, act }) {
  const dialog = byId("ask-name");
  const input = byId("ask-name-value");
  byId("ask-name-title").textContent = title;
  byId("ask-name-label").textContent = label;
  byId("ask-name-do").textContent = verb;
  input.value = value;
  trouble("ask-name-trouble", null);
  dialog.querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    try {
      const name = await act(input.value);
      dialog.close();
      if (name !== undefined) focusRow(name);
    } catch (error) {
      trouble("ask-name-trouble", error);
      input.focus();
    }
  };
  dialog.showModal();
  const dot = value.lastIndexOf(".");
  input.setSelectionRange(0, dot > 0 ? dot : value.length);
}

// ---- the folder ----

const ROWS_AT_ONCE = 300;
const ENTRIES_MAX = 100000;
const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

const folder = {
  path: "",
  at: "",
  entries: [],
  shown: [],
  drawn: 0,
  chosen: new Set(),
  sort: { key: "name", isDown: false },
  account: null,
  load: 0,
};

const isFolder = (entry) => entry.bytes === undefined;
const entryAt = (name) => folder.entries.find((entry) => entry.name === name);
const chosenEntries = () => folder.shown.filter((entry) => folder.chosen.has(entry.name));
const pathOf = (entry) => joined(folder.path, entry.name);

/** The folder that the address names, and the moment. */
function readAddress() {
  const parts = location.pathname.slice("/files/".length).split("/").filter((part) => part !== "");
  let path = "";
  try {
    path = parts.map(decodeURIComponent).join("/");
  } catch {
    path = "";
  }
  return { path, at: new URLSearchParams(location.search).get("at") || "" };
}

function goTo(path, at = "") {
  history.pushState(null, "", folderAddress(path, at));
  return openFolder();
}

/** Shows what the address names. */
async function openFolder() {
  const { path, at } = readAddress();
  const isOther = path !== folder.path || at !== folder.at;
  Object.assign(folder, { path, at });
  if (isOther) {
    folder.entries = [];
    folder.chosen.clear();
    byId("filter").value = "";
  }
  document.title = (nameOf(path) || "Files") + " - Palk";
  drawPath();
  await reload();
}

/** The listing of a folder, page by page. */
async function* pagesOf(path, at = "") {
  let after = "";
  do {
    const page = await askJson("GET", apiAddress("list", path, { ...(after && { after }), ...(at && { at }) }));
    yield page;
    after = page.after;
  } while (after);
}

async function entriesOf(path) {
  const entries = [];
  for await (const page of pagesOf(path)) entries.push(...page.entries);
  return entries;
}

/** Reads the folder, a page at a time; what has come is shown meanwhile. */
async function reload() {
  const load = ++folder.load;
  const isCurrent = () => load === folder.load;
  const entries = [];
  try {
    for await (const page of pagesOf(folder.path, folder.at)) {
      if (!isCurrent()) return;
      const isFirst = entries.length === 0 && folder.entries.length === 0;
      entries.push(...page.entries);
      if (isFirst && page.after) {
        folder.entries = entries.slice();
        drawEntries();
      }
      if (page.after && entries.length >= ENTRIES_MAX) {
        toast(`Only the first ${ENTRIES_MAX.toLocaleString()} entries are shown.`);
        break;
      }
    }
    if (!isCurrent()) return;
    folder.entries = entries;
    drawEntries();
  } catch (error) {
    if (!isCurrent()) return;
    if (error.code === "away" && folder.entries.length > 0) return;
    folder.entries = [];
    drawEntries(error.message);
  }
}

function drawPath() {
  const links = [element("a", "Files", { href: folderAddress("", folder.at) })];
  const parts = folder.path ? folder.path.split("/") : [];
  parts.forEach((part, number) => {
    const path = parts.slice(0, number + 1).join("/");
    links.push(element("span", "/"), element("a", part, { href: folderAddress(path, folder.at) }));
  });
  byId("crumbs").replaceChildren(...links);
  byId("crumbs").lastElementChild.setAttribute("aria-current", "page");
  byId("zip-all").href = apiAddress("zip", folder.path ? folder.path + "/" : "", folder.at && { at: folder.at });
  show("then", folder.at !== "");
  if (folder.at) {
    byId("then-text").textContent = `As it was on ${exactDate(Number(folder.at) / 1000)}. Nothing can be changed here.`;
  }
  document.querySelectorAll(".change").forEach((one) => {
    one.disabled = folder.at !== "";
  });
}

function inOrder(one, other) {
  if (isFolder(one) !== isFolder(other)) return isFolder(one) ? -1 : 1;
  const { key, isDown } = folder.sort;
  const names = byName.compare(one.name, other.name);
  const order = key === "name" ? names : (one[key] ?? 0) - (other[key] ?? 0) || names;
  return isDown ? -order : order;
}

function drawEntries(failure) {
  const wanted = byId("filter").value.trim().toLowerCase();
  const fits = (entry) => entry.name.toLowerCase().includes(wanted);
  folder.shown = folder.entries.filter(fits).sort(inOrder);
  const names = new Set(folder.entries.map((entry) => entry.name));
  for (const name of [...folder.chosen]) if (!names.has(name)) folder.chosen.delete(name);
  const focused = document.activeElement?.closest?.("#rows tr")?.dataset.name;
  folder.drawn = 0;
  byId("rows").replaceChildren();
  drawMore();
  if (focused !== undefined) focusRow(focused);
  const nothing = wanted ? "Nothing here has this in its name." : "Nothing is here yet. Drop files here to upload them.";
  byId("none").textContent = failure || (folder.at ? "Nothing was here." : nothing);
  show("none", folder.shown.length === 0);
  show("entries", folder.shown.length > 0);
  drawChosen();
}

function drawMore() {
  const some = folder.shown.slice(folder.drawn, folder.drawn + ROWS_AT_ONCE);
  byId("rows").append(...some.map(drawRow));
  folder.drawn += some.length;
  const left = folder.shown.length - folder.drawn;
  byId("more-rows").textContent = `Show more (${left.toLocaleString()} left)`;
  show("show-more", left > 0);
}

const focusRow = (name) => rowOf(name)?.querySelector("td.name a").focus();
const rowOf = (name) => [...byId("rows").children].find((row) => row.dataset.name === name);

function drawRow(entry) {
  const row = byId("row").content.firstElementChild.cloneNode(true);
  const find = (selector) => row.querySelector(selector);
  const link = find("td.name a");
  row.dataset.name = entry.name;
  row.className = isFolder(entry) ? "folder" : "file";
  row.draggable = folder.at === "";
  row.classList.toggle("chosen", folder.chosen.has(entry.name));
  find("use").setAttribute("href", "/icons.svg#" + iconOf(entry));
  link.textContent = entry.name;
  link.title = entry.name;
  link.href = addressOf(entry);
  find("td.check input").setAttribute("aria-label", "Select " + entry.name);
  find("td.check input").checked = folder.chosen.has(entry.name);
  find("td.more button").setAttribute("aria-label", "What to do with " + entry.name);
  if (!isFolder(entry)) {
    find("td.size").textContent = size(entry.bytes);
    find("time").dateTime = new Date(entry.modified_ms).toISOString();
    find("time").textContent = date(entry.modified_ms);
    find("td.nodes").textContent = entry.nodes + " of 4";
    find("td.nodes").classList.toggle("few", entry.nodes < 4);
  }
  return row;
}

/** Where a file's bytes are, or the page of a folder. */
function addressOf(entry) {
  if (isFolder(entry)) return folderAddress(pathOf(entry), folder.at);
  return folder.at ? apiAddress("old", pathOf(entry), { at: folder.at }) : davAddress(pathOf(entry));
}

const KINDS = {
  picture: "png jpg jpeg gif webp avif",
  audio: "mp3 m4a flac ogg wav",
  video: "mp4 webm mov",
  archive: "zip gz tar xz 7z bz2 zst",
  text: "txt md log csv json xml html css js ts rs py c h cpp java go rb php sh toml yaml yml ini conf sql svg tex srt",
};

function kindOf(name) {
  const end = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  const found = Object.entries(KINDS).find(([, ends]) => ends.split(" ").includes(end));
  return found ? found[0] : "file";
}

const iconOf = (entry) => (isFolder(entry) ? "folder" : kindOf(entry.name));

function drawChosen() {
  for (const row of byId("rows").children) {
    const isChosen = folder.chosen.has(row.dataset.name);
    row.classList.toggle("chosen", isChosen);
    row.querySelector("td.check input").checked = isChosen;
  }
  const some = chosenEntries();
  const bytes = some.reduce((sum, entry) => sum + (entry.bytes || 0), 0);
  byId("selection-count").textContent = `${some.length.toLocaleString()} selected${bytes ? ", " + size(bytes) : ""}`;
  document.querySelectorAll("#selection .one").forEach((one) => show(one, some.length === 1));
  show("selection", some.length > 0);
  byId("select-all").checked = some.length > 0 && some.length === folder.shown.length;
}

function chooseRow(name, isChosen) {
  if (isChosen) folder.chosen.add(name);
  else folder.chosen.delete(name);
  drawChosen();
}

// ---- what can be done with files ----

function openEntry(entry) {
  if (isFolder(entry)) return goTo(pathOf(entry), folder.at);
  return openPreview(entry);
}

/** A server takes longer addresses, but not much longer ones. */
const ADDRESS_MAX = 8000;

/** Has the browser fetch something as a file; without a name under the one that the server says. */
function fetchAsFile(address, name) {
  const link = element("a", "", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

function download(entries) {
  if (entries.length === 1 && !isFolder(entries[0])) return fetchAsFile(addressOf(entries[0]), entries[0].name);
  const wanted = new URLSearchParams(entries.map((entry) => ["name", entry.name]));
  if (folder.at) wanted.append("at", folder.at);
  const address = apiAddress("zip", folder.path ? folder.path + "/" : "");
  if (wanted.toString().length < ADDRESS_MAX) return fetchAsFile(`${address}?${wanted}`, "");
  // The names are too many for an address, so they go as a form.
  const form = element("form", undefined, { method: "post", action: address, target: "_blank" });
  for (const [name, value] of wanted) form.append(element("input", undefined, { type: "hidden", name, value }));
  form.hidden = true;
  document.body.append(form);
  form.submit();
  form.remove();
  return undefined;
}

function checkName(name) {
  if (name === "." || name === "..") throw new Trouble("name", "This cannot be a name.");
  if (/[/\\]/.test(name)) throw new Trouble("name", "A name has no / and no \\ in it.");
}

const taken = (name) => (error) => {
  if (["exists", "changed", "not-allowed"].includes(error.code)) {
    throw new Trouble("exists", `There is something called ${name} already. Take another name.`);
  }
  throw error;
};

const move = (from, to) =>
  ask("MOVE", davAddress(from), { headers: { Destination: davAddress(to), Overwrite: "F" } });

function rename(entry) {
  askName({
    title: "Rename " + entry.name,
    label: "New name",
    value: entry.name,
    verb: "Rename",
    act: async (name) => {
      if (name === entry.name) return name;
      checkName(name);
      const to = joined(folder.path, name);
      await move(pathOf(entry), to).catch(taken(name));
      folder.chosen.clear();
      await reload();
      toast(`Renamed to ${name}.`, { act: () => undo([to]) });
      return name;
    },
  });
}

function newFolder() {
  askName({
    title: "New folder",
    verb: "Make it",
    act: async (name) => {
      checkName(name);
      await ask("MKCOL", davAddress(joined(folder.path, name))).catch((error) => {
        throw error.code === "exists" ? new Trouble("exists", `There is something called ${name} already.`) : error;
      });
      await reload();
      return name;
    },
  });
}

async function remove(entries) {
  if (entries.length === 0) return;
  const what = entries.length === 1 ? entries[0].name : counted(entries.length, "entry", "entries");
  if (folder.account && !folder.account.keeps) {
    const text = `Delete ${what}? This server keeps nothing that is deleted, so it cannot be undone.`;
    const { chosen } = await choose(text, [["Cancel", false], ["Delete", true, "danger"]]);
    if (!chosen) return;
  }
  const done = [];
  await attempt(async () => {
    for (const entry of entries) {
      await ask("DELETE", davAddress(pathOf(entry)));
      done.push(pathOf(entry));
    }
  });
  folder.chosen.clear();
  await reload();
  byId("entries").focus();
  if (done.length > 0) {
    const text = `Deleted ${done.length === 1 ? nameOf(done[0]) : done.length + " entries"}.`;
    const isUndoable = !folder.account || folder.account.keeps;
    toast(text, isUndoable ? { act: () => undo(done) } : {});
  }
  refreshAccount();
}

/** Takes back the last change of each of these paths. */
async function undo(paths) {
  await attempt(async () => {
    for (const path of paths) await ask("POST", apiAddress("undo", path));
    toast("It is as it was before.");
  });
  await reload();
  refreshAccount();
}

async function moveInto(paths, to) {
  const moved = [];
  await attempt(async () => {
    for (const path of paths) {
      const target = joined(to, nameOf(path));
      if (path === target) continue;
      await move(path, target).catch(taken(nameOf(path)));
      moved.push(target);
    }
  });
  folder.chosen.clear();
  await reload();
  if (moved.length > 0) {
    const what = moved.length === 1 ? nameOf(moved[0]) : moved.length + " entries";
    toast(`Moved ${what} to ${to || "the top folder"}.`, { act: () => undo(moved) });
  }
}

/** Lets somebody walk to a folder, and moves there. */
function moveByDialog(entries) {
  const paths = entries.map(pathOf);
  const names = new Set(paths);
  let to = folder.path;
  const draw = async (path) => {
    to = path;
    byId("move-to-path").textContent = "/" + path;
    trouble("move-to-trouble", null);
    try {
      const folders = (await entriesOf(path)).filter((entry) => isFolder(entry) && !names.has(joined(path, entry.name)));
      const rows = folders.map((entry) => walkRow(entry.name, () => draw(joined(path, entry.name))));
      if (path) rows.unshift(walkRow("Up", () => draw(folderOf(path))));
      byId("move-to-folders").replaceChildren(...rows);
    } catch (error) {
      trouble("move-to-trouble", error);
    }
  };
  byId("move-to-title").textContent = entries.length === 1 ? `Move ${entries[0].name} to` : `Move ${entries.length} entries to`;
  byId("move-to-do").onclick = () => {
    byId("move-to").close();
    moveInto(paths, to);
  };
  draw(to);
  openDialog("move-to");
}

function walkRow(text, act) {
  const row = element("li");
  row.append(button(text, act, "row"));
  return row;
}

// ---- what was ----

function listRow(text, small, ...acts) {
  const row = element("li");
  const what = element("span", text, { class: "what" });
  if (small) what.append(element("small", small));
  row.append(what, ...acts);
  return row;
}

async function showVersions(entry) {
  const path = pathOf(entry);
  byId("versions-title").textContent = "Versions of " + entry.name;
  byId("versions-list").replaceChildren();
  trouble("versions-trouble", null);
  const change = async (act) => {
    try {
      await act();
      await reload();
      if (entryAt(entry.name)) return await draw();
      return byId("versions").close();
    } catch (error) {
      return trouble("versions-trouble", error);
    }
  };
  const draw = async () => {
    const versions = await askJson("GET", apiAddress("versions", path));
    byId("versions-list").replaceChildren(...versions.map((own) => versionRow(entry, path, own, change)));
  };
  byId("versions-undo").onclick = () => change(async () => {
    await ask("POST", apiAddress("undo", path));
    toast("The last change is undone.", { act: () => undo([path]), label: "Redo" });
  });
  openDialog("versions");
  await draw().catch((error) => trouble("versions-trouble", error));
}

function versionRow(entry, path, own, change) {
  const when = exactDate((own.stored_ms ?? own.from / 1000));
  if (!own.version) return listRow("A folder", `since ${exactDate(own.from / 1000)}`);
  const notes = [size(own.bytes), own.by && `stored by ${own.by}`];
  if (own.until === null) notes.push("this is the file now");
  else if (own.expires_ms) notes.push(`kept until ${date(own.expires_ms)}`);
  const get = element("a", "Download", {
    class: "button",
    href: apiAddress("old", path, { version: own.version }),
    download: entry.name,
  });
  const acts = [get];
  if (own.until !== null && !folder.at) {
    acts.push(button("Restore", () => change(async () => {
      await ask("POST", apiAddress("restore", path, { version: own.version }));
      toast(`${entry.name} is the version of ${when} again.`, { act: () => undo([path]) });
    })));
  }
  return listRow(when, notes.filter(Boolean).join(", "), ...acts);
}

async function showDeleted() {
  const where = folder.path;
  byId("deleted-title").textContent = "Deleted in " + (nameOf(where) || "Files");
  byId("deleted-list").replaceChildren();
  trouble("deleted-trouble", null);
  const draw = async () => {
    const { entries, more } = await askJson("GET", apiAddress("deleted", where));
    const rows = entries.map((entry) => {
      const shown = where ? entry.path.slice(where.length + 1) : entry.path;
      const what = entry.bytes === null ? "folder" : size(entry.bytes);
      const restore = button("Restore", async () => {
        try {
          // What it was just before it went.
          await ask("POST", apiAddress("restore", entry.path, { at: entry.gone - 1 }));
          toast(`${nameOf(entry.path)} is back.`, { act: () => undo([entry.path]) });
          await Promise.all([draw(), reload()]);
          refreshAccount();
        } catch (error) {
          trouble("deleted-trouble", error);
        }
      });
      return listRow(shown, `${what}, deleted or moved ${date(entry.gone / 1000)}`, restore);
    });
    if (more > 0) rows.push(listRow(`${more.toLocaleString()} more are not shown.`));
    if (rows.length === 0) rows.push(listRow("Nothing that was deleted here is kept."));
    byId("deleted-list").replaceChildren(...rows);
  };
  openDialog("deleted-names");
  await draw().catch((error) => trouble("deleted-trouble", error));
}

function askForTime() {
  const now = new Date(Date.now() - new Date().getTimezoneOffset() * 60000);
  const input = byId("ask-time-value");
  input.max = now.toISOString().slice(0, 19);
  input.value = input.value || input.max;
  byId("ask-time").querySelector("form").onsubmit = () => {
    const ms = new Date(input.value).getTime();
    if (!Number.isNaN(ms)) goTo(folder.path, String(ms * 1000));
  };
  openDialog("ask-time");
}

/** Makes the folder what it was at the moment that is shown, once somebody has read what that means. */
async function restoreFolder() {
  await attempt(async () => {
    const address = (more) => apiAddress("restore", folder.path, { at: folder.at, ...more });
    const look = await askJson("POST", address({ look: "yes" }));
    const parts = [
      look.back && `${counted(look.back, "file")} come back`,
      look.changed && `${counted(look.changed, "file")} become an earlier version`,
      look.gone && `${counted(look.gone, "file")} go`,
    ].filter(Boolean);
    if (parts.length === 0) {
      toast("All files are as they were then already.");
      return;
    }
    const text = `Make ${nameOf(folder.path) || "everything"} what it was then? ${parts.join(", ")}.`;
    const { chosen } = await choose(text, [["Cancel", false], ["Restore", true, "primary"]]);
    if (!chosen) return;
    await askJson("POST", address());
    await goTo(folder.path);
    const path = folder.path;
    toast("The folder is as it was then.", path ? { act: () => undo([path]) } : {});
  });
}

// ---- preview ----

const TEXT_BYTES_MAX = 256 * 1024;

/** Shows a file: never as a page, and what is text only as text. */
async function openPreview(entry) {
  const address = addressOf(entry);
  const kind = kindOf(entry.name);
  byId("preview-name").textContent = entry.name;
  byId("preview-download").href = address;
  byId("preview-download").download = entry.name;
  byId("preview-before").onclick = () => previewBeside(entry, -1);
  byId("preview-next").onclick = () => previewBeside(entry, 1);
  byId("preview").dataset.name = entry.name;
  const body = byId("preview-body");
  body.replaceChildren();
  openDialog("preview");
  const cannot = () => {
    if (byId("preview").dataset.name === entry.name) body.replaceChildren(element("p", "This file cannot be shown here. Download it to look at it.", { class: "empty" }));
  };
  if (kind === "picture") {
    const picture = element("img", undefined, { alt: entry.name });
    picture.addEventListener("error", cannot);
    picture.src = address;
    body.append(picture);
  } else if (kind === "audio" || kind === "video") {
    const player = element(kind, undefined, { controls: "", preload: "metadata" });
    player.addEventListener("error", cannot);
    player.src = address;
    body.append(player);
  } else if (kind === "text" || entry.bytes <= 4096) {
    await previewText(entry, address, body, cannot);
  } else {
    cannot();
  }
}

async function previewText(entry, address, body, cannot) {
  try {
    const headers = entry.bytes > 0 ? { Range: `bytes=0-${TEXT_BYTES_MAX - 1}` } : {};
    const bytes = await (await ask("GET", address, { headers })).arrayBuffer();
    const text = new TextDecoder("utf-8").decode(bytes);
    if (byId("preview").dataset.name !== entry.name) return;
    if (text.includes("\u0000")) {
      cannot();
      return;
    }
    body.replaceChildren(element("pre", text, { tabindex: "0" }));
    if (entry.bytes > TEXT_BYTES_MAX) body.append(element("p", `The first ${size(TEXT_BYTES_MAX)} are shown.`));
  } catch (error) {
    body.replaceChildren(element("p", error.message, { class: "trouble" }));
  }
}

function previewBeside(entry, step) {
  const files = folder.shown.filter((one) => !isFolder(one));
  const at = files.findIndex((one) => one.name === entry.name);
  const beside = files[at + step];
  if (beside) openPreview(beside);
}

function closePreview() {
  byId("preview").dataset.name = "";
  // A player that is taken away stops.
  byId("preview-body").replaceChildren();
}

// ---- uploads ----

const TRANSFERS_AT_ONCE = 3;
/** A file up to so long is sent by one request; a longer one goes on where it broke off. */
const WHOLE_BYTES_MAX = 8 * 1024 * 1024;
/** So much of a longer one is sent by one request: a multiple of a MiB, as the server keeps whole ones. */
const PART_BYTES = 64 * 1024 * 1024;

const uploads = {
  all: [],
  running: 0,
  folders: new Map(),
  answerForAll: null,
  asking: Promise.resolve(),
};

const isOpen = (transfer) => ["waiting", "running", "paused", "failed"].includes(transfer.state);

/** Files with the folders that they are in, out of what was dropped. */
async function dropped(items) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  const walk = async (entry, path) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push({ file, path: joined(path, file.name) });
      return;
    }
    const inside = joined(path, entry.name);
    found.push({ path: inside });
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const one of some) await walk(one, inside);
    }
  };
  for (const entry of entries) await walk(entry, "");
  return found;
}

/** Puts files in line: `found` has them with their paths from the folder on that they go to. */
function enqueue(found, to) {
  uploads.answerForAll = null;
  // Somebody may have removed since what was made then.
  if (!uploads.all.some(isOpen)) uploads.folders.clear();
  for (const { file, path } of found) {
    const target = joined(to, path);
    if (!file) {
      attempt(() => makeFolders(target, to).then(reloadSoon));
      continue;
    }
    const left = uploads.all.find((own) => own.state === "unfinished" && own.path === target && own.bytes === file.size);
    if (left) Object.assign(left, { file, base: to, state: "waiting" });
    else addTransfer({ file, path: target, base: to });
  }
  pump();
}

function addTransfer({ file, path, base, pending }) {
  const transfer = {
    file,
    path,
    base,
    bytes: file ? file.size : pending.bytes,
    id: pending?.id || null,
    sent: pending?.arrived || 0,
    state: file ? "waiting" : "unfinished",
    note: "",
    isNew: true,
    speed: 0,
    marks: [],
    // Counts how often it was begun and paused: what an earlier turn comes to is of no account.
    turn: 0,
    abort: null,
  };
  const shown = byId("transfer").content.firstElementChild.cloneNode(true);
  shown.querySelector(".what").textContent = nameOf(path);
  shown.querySelector(".what").title = path;
  shown.querySelector(".pause").addEventListener("click", () => pauseOrGoOn(transfer));
  shown.querySelector(".cancel").addEventListener("click", () => cancel(transfer));
  transfer.shown = shown;
  byId("transfer-list").append(shown);
  uploads.all.push(transfer);
  drawTransfer(transfer);
  return transfer;
}

function pump() {
  while (uploads.running < TRANSFERS_AT_ONCE) {
    const next = uploads.all.find((transfer) => transfer.state === "waiting");
    if (!next) break;
    run(next);
  }
  drawTransfers();
}

async function run(transfer) {
  transfer.turn += 1;
  const { turn } = transfer;
  const isMine = () => transfer.turn === turn;
  uploads.running += 1;
  Object.assign(transfer, { state: "running", note: "", marks: [] });
  drawTransfer(transfer);
  try {
    await makeFolders(folderOf(transfer.path), transfer.base);
    await (transfer.bytes <= WHOLE_BYTES_MAX ? sendWhole(transfer, turn) : sendParts(transfer, turn));
    if (isMine()) Object.assign(transfer, { state: "done", sent: transfer.bytes });
  } catch (error) {
    if (isMine()) await failed(transfer, error).catch((later) => fail(transfer, later));
  }
  uploads.running -= 1;
  drawTransfer(transfer);
  if (transfer.state === "done") reloadSoon();
  pump();
}

/** Ends a turn that somebody has ended by a pause. */
function checkTurn(transfer, turn) {
  if (transfer.turn !== turn) throw new DOMException("paused", "AbortError");
}

const fail = (transfer, error) => Object.assign(transfer, { state: "failed", note: error.message });

/** What becomes of a transfer that did not get through. */
async function failed(transfer, error) {
  if (["exists", "changed", "status-412"].includes(error.code) && transfer.isNew) {
    await settleName(transfer);
    return;
  }
  fail(transfer, error);
}

/** The name is taken: somebody says what is to be done, one question at a time. */
function settleName(transfer) {
  uploads.asking = uploads.asking.catch(() => {}).then(async () => {
    let answer = uploads.answerForAll;
    if (!answer) {
      const text = `There is a file called ${nameOf(transfer.path)} already.`;
      const answers = [["Skip", "skip"], ["Keep both", "both"], ["Replace", "replace", "primary"]];
      const { chosen, isForAll } = await choose(text, answers, true);
      answer = chosen || "skip";
      if (isForAll) uploads.answerForAll = answer;
    }
    if (answer === "skip") {
      transfer.state = "done";
      transfer.note = "skipped: the name is taken";
      if (transfer.id) await ask("DELETE", `/api/upload/${transfer.id}`).catch(() => {});
      return;
    }
    if (answer === "replace") transfer.isNew = false;
    else transfer.path = await freeName(transfer.path);
    // An upload is for the path that it was begun for.
    if (answer === "both" && transfer.id) {
      await ask("DELETE", `/api/upload/${transfer.id}`).catch(() => {});
      Object.assign(transfer, { id: null, sent: 0 });
    }
    transfer.state = "waiting";
  });
  return uploads.asking;
}

/** `a (2).txt`, or the next number that nothing has. */
async function freeName(path) {
  const name = nameOf(path);
  const dot = name.lastIndexOf(".");
  const [stem, end] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  const names = new Set((await entriesOf(folderOf(path))).map((entry) => entry.name));
  for (let number = 2; ; number += 1) {
    const free = `${stem} (${number})${end}`;
    if (!names.has(free)) return joined(folderOf(path), free);
  }
}

/** Makes the folders of a path that are missing; each is asked for once. */
async function makeFolders(path, base = "") {
  const parts = path.split("/").filter(Boolean);
  const begin = base ? base.split("/").length : 0;
  for (let count = begin + 1; count <= parts.length; count += 1) {
    const one = parts.slice(0, count).join("/");
    if (!uploads.folders.has(one)) {
      const made = ask("MKCOL", davAddress(one)).catch((error) => {
        if (error.code === "exists") return;
        uploads.folders.delete(one);
        throw error;
      });
      uploads.folders.set(one, made);
    }
    await uploads.folders.get(one);
  }
}

/** Sends bytes, and tells how far it is. */
function send(transfer, method, address, bytes, headers, begin) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    for (const [name, value] of Object.entries({ "X-Palk": "1", ...headers })) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => moved(transfer, begin + event.loaded);
    request.onload = () => {
      reachable(true);
      if (request.status === 401) signedOut();
      if (request.status < 300) resolve();
      else reject(troubleOf(request.status, request.getResponseHeader("palk-error"), request.responseText));
    };
    request.onerror = () => {
      reachable(false);
      reject(Trouble.away());
    };
    request.onabort = () => reject(new DOMException("paused", "AbortError"));
    transfer.abort = () => request.abort();
    request.send(bytes);
  });
}

const mtime = (transfer) => ({ "X-OC-Mtime": String(Math.floor(transfer.file.lastModified / 1000)) });

async function sendWhole(transfer, turn) {
  const headers = { ...mtime(transfer), ...(transfer.isNew && { "If-None-Match": "*" }) };
  for (let tries = 0; ; tries += 1) {
    checkTurn(transfer, turn);
    try {
      await send(transfer, "PUT", davAddress(transfer.path), transfer.file, headers, 0);
      return;
    } catch (error) {
      checkTurn(transfer, turn);
      await beforeNextTry(transfer, error, tries);
    }
  }
}

/** Sends a long file: begins, or goes on where an earlier try has come to, in this tab or another. */
async function sendParts(transfer, turn) {
  for (let tries = 0; ; ) {
    checkTurn(transfer, turn);
    try {
      if (!transfer.id) await beginUpload(transfer);
      const address = `/api/upload/${transfer.id}`;
      const { arrived } = await askJson("GET", address);
      checkTurn(transfer, turn);
      moved(transfer, arrived);
      if (arrived === transfer.bytes) {
        await ask("POST", address + (transfer.isNew ? "?new" : ""));
        return;
      }
      const part = transfer.file.slice(arrived, Math.min(arrived + PART_BYTES, transfer.bytes));
      await send(transfer, "PUT", `${address}?offset=${arrived}`, part, {}, arrived);
      tries = 0;
    } catch (error) {
      checkTurn(transfer, turn);
      // It was given up elsewhere, or is too old.
      if (error.code === "no-such-file" && transfer.id && tries < 5) transfer.id = null;
      // What was sent before is still coming to an end.
      else if (error.code === "changed" && transfer.id && tries < 5) await pause(500);
      else await beforeNextTry(transfer, error, tries);
      tries += 1;
    }
  }
}

async function beginUpload(transfer) {
  const modified = transfer.file.lastModified;
  const known = await askJson("GET", "/api/uploads/");
  const same = known.find((own) => own.path === transfer.path && own.bytes === transfer.bytes && own.modified_ms === modified);
  if (same && !uploads.all.some((other) => other !== transfer && other.id === same.id && other.state === "running")) {
    transfer.id = same.id;
    return;
  }
  const query = { bytes: transfer.bytes, modified, ...(transfer.isNew && { new: "" }) };
  const begun = await askJson("POST", apiAddress("uploads", transfer.path, query));
  transfer.id = begun.id;
}

/** Waits a while where trying again may help, longer each time; else fails. */
async function beforeNextTry(transfer, error, tries) {
  const mayHelp = ["away", "temporary", "too-few-nodes", "in-doubt", "unreachable"].includes(error.code);
  if (!mayHelp) throw error;
  transfer.note = `${error.message} It is tried again.`;
  drawTransfer(transfer);
  const wait = pause(Math.min(15000, 1000 * 2 ** Math.min(tries, 4)));
  const back = new Promise((resolve) => document.addEventListener("palk-back", resolve, { once: true }));
  await Promise.race([wait, back]);
  transfer.note = "";
}

/** Notes how far a transfer is, and how fast it has been in the last seconds. */
function moved(transfer, sent) {
  const now = performance.now();
  transfer.sent = sent;
  transfer.marks.push([now, sent]);
  while (transfer.marks.length > 2 && now - transfer.marks[0][0] > 4000) transfer.marks.shift();
  const [began, before] = transfer.marks[0];
  if (now - began > 400) transfer.speed = Math.max(0, (sent - before) / ((now - began) / 1000));
  drawTransfer(transfer);
}

function pauseOrGoOn(transfer) {
  if (transfer.state === "unfinished") {
    pickAgain(transfer);
    return;
  }
  if (transfer.state === "paused" || transfer.state === "failed") {
    transfer.state = "waiting";
  } else if (isOpen(transfer)) {
    transfer.state = "paused";
    transfer.turn += 1;
    transfer.abort?.();
  }
  drawTransfer(transfer);
  pump();
}

async function cancel(transfer) {
  transfer.state = "cancelled";
  transfer.turn += 1;
  transfer.abort?.();
  if (transfer.id) await attempt(() => dropUpload(transfer.id));
  transfer.shown.remove();
  uploads.all = uploads.all.filter((other) => other !== transfer);
  drawTransfers();
}

/** Gives up an upload. Its last request may still be ending. */
async function dropUpload(id) {
  for (let tries = 0; ; tries += 1) {
    try {
      await ask("DELETE", `/api/upload/${id}`);
      return;
    } catch (error) {
      if (error.code === "no-such-file") return;
      if (tries === 5) throw error;
      await pause(500);
    }
  }
}

/** An upload of an earlier visit goes on when somebody gives the file again. */
function pickAgain(transfer) {
  const input = element("input", undefined, { type: "file" });
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (!file) return;
    if (file.size !== transfer.bytes || file.name !== nameOf(transfer.path)) {
      toast(`This is another file: ${nameOf(transfer.path)} has ${size(transfer.bytes)}.`, { isBad: true });
      return;
    }
    Object.assign(transfer, { file, base: folderOf(transfer.path), state: "waiting" });
    drawTransfer(transfer);
    pump();
  });
  input.click();
}

function stateText(transfer) {
  const far = `${size(transfer.sent)} of ${size(transfer.bytes)}`;
  switch (transfer.state) {
    case "waiting": return "waiting";
    case "paused": return `${far}, paused`;
    case "done": return transfer.note || `${size(transfer.bytes)}, stored`;
    case "failed": return transfer.note;
    case "unfinished": return `${far} have come in an earlier visit. Give the file again to go on.`;
    default: {
      if (transfer.note) return transfer.note;
      if (!transfer.speed) return far;
      const left = span((transfer.bytes - transfer.sent) / transfer.speed * 1000);
      return `${far}, ${size(transfer.speed)}/s, ${left} left`;
    }
  }
}

function drawTransfer(transfer) {
  const find = (selector) => transfer.shown.querySelector(selector);
  const labels = { paused: "Resume", failed: "Try again", unfinished: "Choose file" };
  transfer.shown.classList.toggle("failed", transfer.state === "failed");
  find(".what").textContent = nameOf(transfer.path);
  find("progress").value = transfer.bytes ? transfer.sent / transfer.bytes : Number(transfer.state === "done");
  find("progress").setAttribute("aria-label", "How much of " + nameOf(transfer.path) + " is there");
  find(".state").textContent = stateText(transfer);
  find(".pause").textContent = labels[transfer.state] || "Pause";
  show(find(".pause"), transfer.state !== "done");
  find(".cancel").textContent = transfer.state === "unfinished" ? "Discard" : "Cancel";
  show(find(".cancel"), transfer.state !== "done");
  drawTransfers();
}

function drawTransfers() {
  const open = uploads.all.filter(isOpen);
  const moving = open.filter((transfer) => transfer.state !== "paused" && transfer.state !== "failed");
  const unfinished = uploads.all.filter((transfer) => transfer.state === "unfinished").length;
  const title = open.length > 0 ? `Uploading ${counted(open.length, "file")}` : unfinished > 0 ? "Unfinished uploads" : "Uploads";
  byId("transfers-title").textContent = title;
  byId("transfers-pause").textContent = moving.length > 0 ? "Pause all" : "Resume all";
  show("transfers-pause", open.length > 0);
  show("transfers-clear", uploads.all.some((transfer) => transfer.state === "done"));
  show("transfers", uploads.all.length > 0);
}

function pauseAll() {
  const isMoving = (transfer) => transfer.state === "waiting" || transfer.state === "running";
  const moving = uploads.all.filter(isMoving);
  if (moving.length > 0) {
    // Those that wait first, or they would begin as others end.
    moving.sort((one) => (one.state === "waiting" ? -1 : 1)).forEach(pauseOrGoOn);
    return;
  }
  uploads.all.filter((transfer) => transfer.state === "paused" || transfer.state === "failed").forEach(pauseOrGoOn);
}

function clearDone() {
  uploads.all.filter((transfer) => transfer.state === "done").forEach((transfer) => transfer.shown.remove());
  uploads.all = uploads.all.filter((transfer) => transfer.state !== "done");
  drawTransfers();
}

let reloadTimer = 0;

/** The folder is read again a moment after the last of several files has come. */
function reloadSoon() {
  clearTimeout(reloadTimer);
  reloadTimer = setTimeout(() => {
    reload();
    refreshAccount();
  }, 300);
}

async function showUnfinished() {
  const known = await askJson("GET", "/api/uploads/");
  // One that is still being sent, by a program or another tab, was touched a moment ago.
  const isLeft = (own) => own.bytes !== null && !uploads.all.some((transfer) => transfer.id === own.id);
  known.filter(isLeft).forEach((pending) => addTransfer({ path: pending.path, pending }));
}

// ---- the account ----

async function refreshAccount() {
  try {
    folder.account = await askJson("GET", "/api/account");
  } catch {
    return;
  }
  const { bytes, kept_bytes: kept, quota_bytes: quota, room_bytes: room } = folder.account;
  const rest = quota !== null ? ` of ${size(quota)} used` : room !== null ? ` used, room for ${size(room)}` : " used";
  byId("usage-text").textContent = size(bytes) + rest;
  byId("usage-text").title = kept ? `and ${size(kept)} kept for undo` : "";
  show("usage");
  show("usage-meter", quota !== null);
  if (quota !== null) {
    Object.assign(byId("usage-meter"), { max: quota || 1, high: 0.9 * quota, optimum: 0, value: bytes });
    byId("usage-meter").textContent = rest;
  }
  show("to-status", folder.account.is_admin);
  banner.cluster = clusterText(folder.account);
  drawBanner();
}

function clusterText(account) {
  const up = `${account.nodes_up} of 4 nodes are there`;
  if (account.state === "unavailable") return `Some files cannot be read now: ${up}.`;
  if (!account.can_store) return `Files can be read, and nothing can be stored or changed now: ${up}.`;
  if (account.nodes_to_spare === 0) return `All files can be read and stored, but no more node may be lost now: ${up}.`;
  return "";
}

// ---- keys, clicks, drag and drop ----

const ACTS = {
  open: ([entry]) => openEntry(entry),
  download,
  rename: ([entry]) => rename(entry),
  move: moveByDialog,
  versions: ([entry]) => showVersions(entry),
  delete: remove,
  none: () => {
    folder.chosen.clear();
    drawChosen();
  },
};

const CHANGES = new Set(["rename", "move", "delete"]);

function act(name, entries) {
  if (entries.length === 0 && name !== "none") return;
  if (folder.at && CHANGES.has(name)) return;
  attempt(async () => ACTS[name](entries));
}

function openMenu(row, opener) {
  const menu = byId("menu");
  menu.dataset.name = row.dataset.name;
  menu.showPopover();
  const place = opener.getBoundingClientRect();
  const left = Math.max(8, Math.min(place.right - menu.offsetWidth, innerWidth - menu.offsetWidth - 8));
  const below = Math.min(place.bottom + 4, innerHeight - menu.offsetHeight - 8);
  menu.style.left = left + "px";
  menu.style.top = Math.max(8, below) + "px";
  menu.querySelector("button").focus();
}

let lastChosen = "";

/** Chooses one row, or with Shift all from the last one on. */
function chooseByClick(name, isChosen, isRange) {
  const names = folder.shown.map((entry) => entry.name);
  const [from, to] = [names.indexOf(lastChosen), names.indexOf(name)].sort((one, other) => one - other);
  const some = isRange && from >= 0 ? names.slice(from, to + 1) : [name];
  some.forEach((one) => (isChosen ? folder.chosen.add(one) : folder.chosen.delete(one)));
  lastChosen = name;
  drawChosen();
}

function onRowsClick(event) {
  const row = event.target.closest("tr");
  const entry = row && entryAt(row.dataset.name);
  if (!entry) return;
  if (event.target.closest("td.check")) {
    const box = row.querySelector("td.check input");
    const isChosen = event.target === box ? box.checked : !box.checked;
    chooseByClick(entry.name, isChosen, event.shiftKey);
    return;
  }
  if (event.target.closest("td.more button")) {
    openMenu(row, event.target.closest("button"));
    return;
  }
  if (!event.target.closest("td.name a") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  attempt(async () => openEntry(entry));
}

function moveFocus(row, step) {
  const beside = step > 0 ? row.nextElementSibling : row.previousElementSibling;
  beside?.querySelector("td.name a").focus();
}

function onRowsKey(event) {
  const row = event.target.closest("tr");
  const entry = row && entryAt(row.dataset.name);
  if (!entry || event.altKey || event.metaKey || event.ctrlKey) return;
  const isLink = event.target.matches("td.name a");
  const some = folder.chosen.size > 0 ? chosenEntries() : [entry];
  const keys = {
    ArrowDown: () => moveFocus(row, 1),
    ArrowUp: () => moveFocus(row, -1),
    Delete: () => act("delete", some),
    F2: () => act("rename", [entry]),
    ...(isLink && { " ": () => chooseRow(entry.name, !folder.chosen.has(entry.name)) }),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
}

function onPageKey(event) {
  const isTyping = event.target.matches("input:not([type=checkbox]), textarea") || document.querySelector("dialog[open]");
  if (isTyping || event.altKey) return;
  if (event.key === "/" && !event.ctrlKey) {
    event.preventDefault();
    byId("filter").focus();
  } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    selectAll(true);
  } else if (event.key === "Escape" && folder.chosen.size > 0) {
    ACTS.none();
  } else if (event.key === "Backspace" && folder.path) {
    event.preventDefault();
    goTo(folderOf(folder.path), folder.at);
  } else if (event.key === "ArrowDown" && !event.target.closest("#rows")) {
    const first = byId("rows").querySelector("td.name a");
    if (first && !event.target.closest("button, input, select")) {
      event.preventDefault();
      first.focus();
    }
  }
}

function selectAll(isChosen) {
  folder.chosen = new Set(isChosen ? folder.shown.map((entry) => entry.name) : []);
  drawChosen();
}

/** The folder that something over an element would be dropped into; null for none. */
function dropTarget(target) {
  const row = target.closest("#rows tr.folder");
  if (row) return { path: joined(folder.path, row.dataset.name), shown: row };
  const link = target.closest("#crumbs a");
  if (link) {
    const parts = link.getAttribute("href").split("?")[0].slice("/files/".length).split("/").filter(Boolean);
    return { path: parts.map(decodeURIComponent).join("/"), shown: link };
  }
  return { path: folder.path, shown: byId("drop") };
}

const OWN = "application/x-palk";

function setUpDrop() {
  const area = byId("drop");
  const clear = () => document.querySelectorAll(".over").forEach((one) => one.classList.remove("over"));
  area.addEventListener("dragstart", (event) => {
    const row = event.target.closest?.("#rows tr");
    if (!row) return;
    const isOneOfMany = folder.chosen.has(row.dataset.name);
    const names = isOneOfMany ? [...folder.chosen] : [row.dataset.name];
    event.dataTransfer.setData(OWN, JSON.stringify(names.map((name) => joined(folder.path, name))));
    event.dataTransfer.effectAllowed = "move";
  });
  area.addEventListener("dragover", (event) => {
    if (folder.at) return;
    const isOwn = event.dataTransfer.types.includes(OWN);
    if (!isOwn && !event.dataTransfer.types.includes("Files")) return;
    const target = dropTarget(event.target);
    clear();
    if (isOwn && target.path === folder.path) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = isOwn ? "move" : "copy";
    target.shown.classList.add("over");
  });
  area.addEventListener("dragleave", (event) => {
    if (!area.contains(event.relatedTarget)) clear();
  });
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    clear();
    const { path } = dropTarget(event.target);
    const own = event.dataTransfer.getData(OWN);
    if (own) {
      const paths = JSON.parse(own).filter((one) => one !== path && folderOf(one) !== path);
      if (paths.length > 0) moveInto(paths, path);
      return;
    }
    attempt(async () => enqueue(await dropped(event.dataTransfer.items), path));
  });
  area.addEventListener("dragend", clear);
  // A file that falls beside it would take the place of the page.
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
}

function setUpFolder() {
  const on = (id, kind, act) => byId(id).addEventListener(kind, act);
  show("tools");
  show("select-all");
  show("server-more", false);
  on("rows", "click", onRowsClick);
  on("rows", "keydown", onRowsKey);
  document.addEventListener("keydown", onPageKey);
  on("select-all", "change", (event) => selectAll(event.target.checked));
  on("filter", "input", () => drawEntries());
  on("more-rows", "click", drawMore);
  on("upload-files", "click", () => byId("pick-files").click());
  on("upload-folder", "click", () => byId("pick-folder").click());
  for (const id of ["pick-files", "pick-folder"]) {
    on(id, "change", (event) => {
      const found = [...event.target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
      enqueue(found, folder.path);
      event.target.value = "";
    });
  }
  on("new-folder", "click", newFolder);
  on("deleted", "click", showDeleted);
  on("earlier", "click", askForTime);
  on("then-leave", "click", () => goTo(folder.path));
  on("then-restore", "click", restoreFolder);
  on("transfers-pause", "click", pauseAll);
  on("transfers-clear", "click", clearDone);
  on("preview", "close", closePreview);
  on("preview", "keydown", (event) => {
    if (event.target.matches("audio, video, pre")) return;
    if (event.key === "ArrowLeft") byId("preview-before").click();
    if (event.key === "ArrowRight") byId("preview-next").click();
  });
  document.querySelectorAll("[data-close]").forEach((one) => one.addEventListener("click", () => one.closest("dialog").close()));
  document.querySelectorAll("#selection [data-act]").forEach((one) =>
    one.addEventListener("click", () => act(one.dataset.act, chosenEntries())));
  document.querySelectorAll("#menu [data-act]").forEach((one) =>
    one.addEventListener("click", () => {
      byId("menu").hidePopover();
      const entry = entryAt(byId("menu").dataset.name);
      if (entry) act(one.dataset.act, [entry]);
    }));
  on("menu", "keydown", (event) => {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (!step) return;
    event.preventDefault();
    event.target[step]?.focus();
  });
  document.querySelectorAll("[data-sort]").forEach((one) => one.addEventListener("click", () => sortBy(one)));
  on("crumbs", "click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", link.getAttribute("href"));
    openFolder();
  });
  window.addEventListener("popstate", openFolder);
  window.addEventListener("beforeunload", (event) => {
    if (uploads.all.some((transfer) => transfer.state === "running")) event.preventDefault();
  });
  document.addEventListener("palk-back", () => {
    reload();
    refreshAccount();
  });
  if ("IntersectionObserver" in window) {
    new IntersectionObserver((seen) => {
      if (seen.some((one) => one.isIntersecting)) drawMore();
    }, { rootMargin: "600px" }).observe(byId("show-more"));
  }
  setUpDrop();
  openFolder();
  refreshAccount();
  showUnfinished().catch(() => {});
  setInterval(refreshAccount, 60000);
}

function sortBy(pressed) {
  const key = pressed.dataset.sort;
  const isDown = folder.sort.key === key ? !folder.sort.isDown : key !== "name";
  folder.sort = { key, isDown };
  document.querySelectorAll("th[aria-sort]").forEach((one) => one.removeAttribute("aria-sort"));
  pressed.closest("th").setAttribute("aria-sort", isDown ? "descending" : "ascending");
  drawEntries();
}

// ---- the cluster ----

/** What is wrong, and what to do about it, for each kind of trouble that the server names. */
const TROUBLES = {
  "unreadable": (t) => [`${counted(t.files, "file")} cannot be read: fewer than 2 nodes that hold them are up`, "Bring back the nodes that are away. Nothing is lost by waiting."],
  "damaged": (t) => [`${counted(t.files, "file")} cannot be read: fewer than 2 nodes hold what was stored`, "Store them again, or put back a sound copy of a node's folder and repair."],
  "node-away": (t) => [`Node ${t.node} has not answered ${t.silent_ms === null ? "since the server started" : "for " + span(t.silent_ms)} (${t.why})`, `Start it:  palk storage --id ${t.node}\nor replace it:  palk admin replace ${t.node} --to HOST:PORT`],
  "catalog-in-doubt": () => ["A write to the user database failed half-way, so nothing is changed any more", "Look at the disk of the server's folder, then start the server again."],
  "server-full": () => ["The disk of the server's folder is full: nothing can be stored", "Free room on it, or move the folder to a larger disk. The server goes on by itself."],
  "change-in-doubt": () => ["A change is in doubt: fewer than 3 nodes have confirmed it", "Bring back the nodes that are away. It is settled as soon as 3 nodes are up."],
  "not-leading": () => ["The server has not taken up the nodes' journals yet, so nothing can be changed", "Wait a moment. If it stays so, the server's log says why."],
  "node-catching-up": (t) => [`Node ${t.node} lacks part of the journal or of its pieces; it is being compared`, "Nothing has to be done: it counts again as soon as it is known what it lacks."],
  "pieces-owed": (t) => [`${t.nodes.map((node) => "Node " + node).join(", ")} ${t.nodes.length === 1 ? "lacks" : "lack"} ${counted(t.pieces, "piece")}, ${size(t.bytes)}${t.why ? "; the last try to rebuild one failed: " + t.why : ""}`, t.why ? "See to the cause, then repair now." : "Nothing has to be done: they are rebuilt in the background."],
  "node-disk": (t) => [`Node ${t.node} has trouble with its disk: ${diskText(t.cause)}`, `Look at the disk and the node's log. Replace it if it is failing:  palk admin replace ${t.node} --to HOST:PORT`],
  "node-full": (t) => [t.spare_bytes === 0 ? `Node ${t.node} takes no new files: its disk is full` : `Node ${t.node} is nearly full: ${size(t.spare_bytes)} are left for new files`, "Delete files, or give it a larger disk."],
  "node-unsteady": (t) => [`Node ${t.node} answers again, but ${t.why}`, "Look at its disk and its network. It is taken back by itself if it stays in time."],
  "journal-behind": (t) => [`Node ${t.node} is behind with its journal or snapshot: ${t.why || "the server's log may say why"}`, "Look at its disk. It is tried again by itself, and now by:  palk admin backup"],
};

function diskText(cause) {
  if (typeof cause === "string") return cause.replaceAll("-", " ");
  const [[kind, why] = ["unknown", ""]] = Object.entries(cause || {});
  return `${kind.replaceAll("-", " ")} ${why || ""}`.trim();
}

function headline(status) {
  const { count, unreadable } = status.files;
  const reading = count === 0 ? "There are no files yet" : unreadable === 0 ? "Every file is readable" : `${unreadable.toLocaleString()} of ${count.toLocaleString()} files cannot be read now`;
  const storing = status.can_store ? "files can be stored" : "no file can be stored";
  const spare = status.nodes_to_spare;
  const sparing = unreadable > 0 ? "" : spare === 0 ? "; no more node may be lost" : `; ${counted(spare, "more node")} may be lost`;
  return `${reading}; ${storing}${sparing}.`;
}

function pairs(list, facts) {
  const shown = facts.filter(([, value]) => value !== undefined && value !== null && value !== "");
  list.replaceChildren(...shown.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function drawStatus(status) {
  byId("state").textContent = status.state.toUpperCase();
  byId("sentence").textContent = headline(status);
  byId("headline").className = "headline " + status.state;
  show("headline");
  show("work");
  byId("troubles").replaceChildren(...status.troubles.map((one) => {
    const words = TROUBLES[one.kind];
    const [what, todo] = words ? words(one) : ["There is something that this page has no words for", "Ask with palk admin status."];
    const row = element("li", what + ".");
    row.append(element("p", todo));
    return row;
  }));
  byId("nodes").replaceChildren(...status.nodes.map(drawNode));
  drawScrub(status.upkeep);
  drawRepair(status);
  drawStored(status);
}

const STATES = { up: "up", probation: "unsteady", late: "late", down: "down", unknown: "not seen yet" };

function drawNode(node) {
  const shown = byId("node").content.firstElementChild.cloneNode(true);
  const state = String(node.state).toLowerCase();
  shown.querySelector("h2").textContent = "Node " + node.node;
  shown.querySelector(".state").textContent = STATES[state] || state;
  shown.querySelector(".state").classList.add(state);
  pairs(shown.querySelector("dl"), [
    ["Address", node.address],
    ["Room", node.room && size(node.room.spare_bytes)],
    ["Missing", node.owed.pieces ? `${counted(node.owed.pieces, "piece")}, ${size(node.owed.piece_bytes)}` : "nothing"],
    ["Errors", node.errors.toLocaleString()],
    ["Last answer", node.silent_ms === null ? "never" : node.silent_ms > 2000 ? span(node.silent_ms) + " ago" : "now"],
  ]);
  return shown;
}

function drawScrub(upkeep) {
  const scrub = upkeep?.scrub;
  const isRunning = Boolean(scrub) && scrub.ended_ms_ago === null;
  const next = upkeep?.next_scrub_ms ? ` The next one begins by itself in ${span(upkeep.next_scrub_ms)}.` : "";
  let text = "There has been none yet." + next;
  if (scrub) {
    const found = scrub.wrong + scrub.missing + scrub.damaged;
    const errors = found ? `found ${counted(found, "error")}, ${scrub.repaired.toLocaleString()} repaired` : "found no errors";
    text = isRunning
      ? `Running (${scrub.phase}): ${scrub.files.toLocaleString()} of ${scrub.files_all.toLocaleString()} files, ${errors}${scrub.left_ms ? ", " + span(scrub.left_ms) + " left" : ""}.`
      : `${scrub.phase === "stopped" ? "Stopped" : "Ended"} ${span(scrub.ended_ms_ago)} ago: ${counted(scrub.files, "file")}, ${errors}.${next}`;
  }
  byId("scrub-text").textContent = text;
  byId("scrub-progress").value = isRunning && scrub.bytes_all ? Math.min(99, 100 * scrub.bytes / scrub.bytes_all) : 0;
  show("scrub-progress", isRunning);
  show("scrub-start", !isRunning);
  show("scrub-stop", isRunning);
}

let mostMissing = 0;

function drawRepair(status) {
  const missing = status.owed.pieces;
  mostMissing = missing === 0 ? 0 : Math.max(mostMissing, missing);
  const done = status.upkeep ? ` ${counted(status.upkeep.healed.pieces, "piece")} rebuilt since the server was started.` : "";
  byId("repair-text").textContent = (missing ? `Missing: ${counted(missing, "piece")}, ${size(status.owed.piece_bytes)}.` : "Nothing is missing.") + done;
  byId("repair-progress").max = mostMissing || 1;
  byId("repair-progress").value = mostMissing - missing;
  show("repair-progress", missing > 0);
}

function drawStored(status) {
  const kept = status.upkeep?.kept;
  pairs(byId("stored"), [
    ["Files", status.files.count.toLocaleString()],
    ["Bytes", size(status.files.bytes)],
    ["Kept for undo", kept && size(kept.bytes)],
    ["Snapshots", kept && kept.snapshots.toLocaleString()],
    ["Transfers", status.transfers && String(status.transfers.stores.running + status.transfers.retrievals.running)],
    ["Version", status.version],
  ]);
}

async function refreshStatus() {
  try {
    drawStatus(await askJson("GET", "/api/status"));
    trouble("work-trouble", null);
  } catch (error) {
    if (error.code !== "away") trouble("work-trouble", error);
  }
}

async function setUpStatus() {
  const on = (id, method, address, done) => byId(id).addEventListener("click", () => attempt(async () => {
    byId(id).disabled = true;
    try {
      await ask(method, address);
      toast(done);
      await refreshStatus();
    } finally {
      byId(id).disabled = false;
    }
  }));
  on("scrub-start", "POST", "/api/scrub", "The scrub has begun.");
  on("scrub-stop", "DELETE", "/api/scrub", "The scrub has ended.");
  on("repair-start", "POST", "/api/repair", "What is missing is tried now.");
  for (;;) {
    if (!document.hidden) await refreshStatus();
    await pause(2000);
  }
}

// ---- signing in ----

/** Whoever has signed in already and comes from a link elsewhere is led on. */
async function setUpSignIn() {
  const response = await fetch("/api/account", { headers: { "X-Palk": "1" }, cache: "no-store" }).catch(() => null);
  if (response?.ok) location.replace(byId("next").value);
}

const PAGES = { "folder": setUpFolder, "status": setUpStatus, "sign-in": setUpSignIn };
PAGES[document.body.dataset.page]?.();
