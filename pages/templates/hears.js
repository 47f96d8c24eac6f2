// What moves a unit: search, look, listen. Everything is drawn from the page's data when asked for.
const data = JSON.parse(document.getElementById("data").textContent);
const SHOWN = 100, SHORTEST = 0.5;

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
};
const label = (name) => name.replace(/^(n\d{8} (?=\S)|\/[a-z]\/(?=\S))/, "");
const digits = (value) => (value === 0 ? "0" : Math.abs(value) >= 999.5 ? Math.round(value).toString() : value.toPrecision(3));
const duration = (seconds) => (seconds < 1 ? digits(1000 * seconds) + " ms" : digits(seconds) + " s");
const percent = (share) => digits(100 * share) + " %";

// Pairs of [class, correlation] of a unit, per teacher, with whether chance gives as much.
const namesOf = (layer, unit) =>
  Object.entries(layer.names).map(([teacher, units]) => {
    const flat = units[unit], pairs = [];
    for (let at = 0; at < flat.length; at += 2) {
      pairs.push({ name: label(data.classes[teacher][flat[at]]), r: flat[at + 1], sure: flat[at + 1] > layer.chance[teacher] });
    }
    return { teacher, chance: layer.chance[teacher], pairs };
  });

// The units in one list, each with the words that find it and how sure its name is.
const entries = [];
for (const layer of data.layers) {
  for (let unit = 0; unit < layer.units; unit++) {
    let title = "", margin = -Infinity;
    if (layer.classes.length) {
      title = label(layer.classes[unit]);
    } else {
      for (const { chance, pairs } of namesOf(layer, unit)) {
        if (pairs.length && pairs[0].sure && pairs[0].r - chance > margin) {
          title = pairs[0].name;
          margin = pairs[0].r - chance;
        }
      }
    }
    const more = namesOf(layer, unit).flatMap(({ pairs }) => pairs.filter(({ sure }) => sure).map(({ name }) => name));
    const words = [layer.name, unit, layer.classes.length ? layer.classes[unit] : "", title, ...more].join(" ");
    entries.push({ layer, unit, title, margin, words: " " + words.toLowerCase().replace(/[/_,]+/g, " "), moved: layer.moments[unit].length > 0 });
  }
}
const address = ({ layer, unit }) => "#" + encodeURIComponent(layer.name) + "/" + unit;

const field = document.getElementById("words"), choice = document.getElementById("layer");
const list = document.getElementById("found"), count = document.getElementById("count");
let found = [], current = null;

const search = () => {
  const words = field.value.toLowerCase().replace(/[/_,:#]+/g, " ").split(/\s+/).filter(Boolean);
  const exact = ({ layer, unit, title }) =>
    (words.includes(String(unit)) ? 2 : 0) + (words.length && title.toLowerCase() === words.join(" ") ? 1 : 0);
  found = entries.filter(
    (entry) => (!choice.value || entry.layer.name === choice.value) && words.every((word) => entry.words.includes(" " + word)),
  );
  found = found.map((entry, at) => ({ entry, at, score: exact(entry) }));
  found.sort((a, b) =>
    b.score - a.score ||
    // Classes by their name first; then units, those with the surest names first.
    (words.length ? (b.entry.layer.classes.length > 0) - (a.entry.layer.classes.length > 0) : 0) ||
    (b.entry.margin === a.entry.margin ? 0 : b.entry.margin - a.entry.margin) ||
    b.entry.moved - a.entry.moved ||
    a.at - b.at);
  found = found.map(({ entry }) => entry);
  count.textContent = found.length.toLocaleString("en") + " of " + entries.length.toLocaleString("en") + (found.length > SHOWN ? ", the first " + SHOWN + " shown" : "");
  list.replaceChildren(...found.slice(0, SHOWN).map((entry) => {
    const link = element("a", { href: address(entry) },
      element("span", { class: "unit" }, entry.layer.name + " " + entry.unit),
      element("span", { class: entry.title ? "name" : "name quiet" }, entry.title || (entry.moved ? "no name" : "moved by nothing")));
    return element("li", {}, link);
  }));
  mark();
};
const mark = () => {
  for (const link of list.querySelectorAll("a")) {
    if (current && link.getAttribute("href") === address(current)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
};

// A moment to look at and to hear.
const card = (layer, [at, step, value], rank, most) => {
  const clip = data.clips[at];
  const start = layer.from + step * layer.hop, middle = start + layer.hears / 2;
  let from = Math.max(0, start), seconds = start + layer.hears - from;
  const end = Math.max(20, clip.seconds); // what the network heard of it
  seconds = Math.min(seconds, end - from);
  const wide = layer.hears < SHORTEST;
  if (wide) {
    from = Math.max(0, Math.min(middle - SHORTEST / 2, end - SHORTEST));
    seconds = SHORTEST;
  }
  const within = Math.max(0, middle) % clip.seconds;
  const nearest = clip.pictures.reduce((best, one) => (!best || Math.abs(one[0] - within) < Math.abs(best[0] - within) ? one : best), null);
  const picture = nearest
    ? element("img", { alt: "the picture at " + duration(nearest[0]) + " of " + clip.id, src: "data:image/jpeg;base64," + document.getElementById("picture-" + nearest[1]).textContent })
    : element("div", { class: "none" }, "no picture");
  const said = "moment " + rank + ", " + duration(seconds) + " around " + within.toFixed(2) + " s";
  const play = element("button", { type: "button", class: "play", "aria-pressed": "false", "aria-label": "Play " + said, title: clip.sound === null ? "there was no room for its sound (--megabytes)" : "play " + said });
  if (clip.sound === null) play.disabled = true;
  else play.addEventListener("click", () => player.play(play, { sound: clip.sound, from, seconds, length: clip.seconds }));
  // The clip as a line, with what is played on it.
  const bar = element("div", { class: "line", "aria-hidden": "true" });
  const begin = from % clip.seconds;
  const parts = seconds >= clip.seconds ? [[0, clip.seconds]]
    : begin + seconds > clip.seconds ? [[begin, clip.seconds], [0, begin + seconds - clip.seconds]] : [[begin, begin + seconds]];
  for (const [left, right] of parts) {
    const part = element("i");
    part.style.left = (100 * left) / clip.seconds + "%";
    part.style.width = Math.max(1, (100 * (right - left)) / clip.seconds) + "%";
    bar.append(part);
  }
  const strength = element("div", { class: "bar", title: "the greatest of this unit: " + digits(most) }, element("i"));
  strength.firstChild.style.width = Math.max(0, Math.min(100, (100 * value) / most)) + "%";
  const where = element("div", { class: "where" }, element("span", {}, "at " + (clip.start + within).toFixed(2) + " s"), element("b", { class: "n" }, layer.share ? percent(value) : digits(value)));
  const source = /^https?:\/\/\S+$/i.test(clip.url)
    ? element("a", { class: "id", href: clip.url, rel: "noopener noreferrer nofollow" }, clip.id)
    : element("span", { class: "id", title: clip.url }, clip.id);
  return element("li", { class: "moment" }, element("div", { class: "look" }, picture, play), bar, where, strength, source);
};

const detail = document.getElementById("unit");
const show = (entry) => {
  player.stop();
  current = entry;
  const { layer, unit } = entry, flat = layer.moments[unit], moments = [];
  for (let at = 0; at < flat.length; at += 3) moments.push(flat.slice(at, at + 3));
  const head = layer.classes.length > 0;
  const title = element("h2", { id: "title" }, layer.name + " " + unit + (head ? ": " + label(layer.classes[unit]) : ""));
  const facts = element("p", { class: "note" },
    (head ? "The moments that sound most like this class. " : "") + "An output every " + duration(layer.hop) + " hears " + duration(layer.hears) + "; " +
    (layer.hears < SHORTEST ? "played is half a second, with that in its middle." : "that is what is played" + (layer.hears > 5 ? ", a clip shorter than it repeated." : ".")));
  const names = element("div", { class: "columns" }, ...namesOf(layer, unit).map(({ teacher, chance, pairs }) => {
    const bars = element("ol", { class: "bars" }, ...pairs.map(({ name, r, sure }) => {
      const back = element("i");
      back.style.width = 100 * Math.min(1, r) + "%";
      return element("li", { class: sure ? null : "unsure" }, back, element("span", { class: "name" }, name), element("span", { class: "n" }, r.toFixed(2)));
    }));
    return element("div", {}, element("div", { class: "teacher" }, "agrees with " + teacher + (pairs.some(({ sure }) => sure) ? "" : ", no more than by chance") + " (by chance " + (chance ?? 0).toFixed(2) + ")"), bars);
  }));
  const most = moments.length ? Math.max(...moments.map((moment) => Math.abs(moment[2]))) || 1 : 1;
  const grid = moments.length
    ? element("ol", { class: "moments" }, ...moments.map((moment, at) => card(layer, moment, at + 1, most)))
    : element("p", { class: "quiet" }, "Nothing in these clips moves it.");
  detail.replaceChildren(title, facts, ...(head || !names.children.length ? [] : [names]), grid);
  mark();
};

const byAddress = new Map(entries.map((entry) => [address(entry), entry]));
const follow = () => {
  const entry = byAddress.get(location.hash);
  if (entry) {
    show(entry);
    document.getElementById("search").scrollIntoView({ block: "nearest" });
  } else if (!current && found.length) {
    show(found[0]);
  }
};
const move = (by) => {
  const at = found.indexOf(current);
  const next = found[at < 0 ? 0 : at + by];
  if (next) location.hash = address(next);
};
field.addEventListener("input", search);
choice.addEventListener("change", () => { search(); if (found.length && !found.includes(current)) location.hash = address(found[0]); });
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && found.length) location.hash = address(found[0]);
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    move(event.key === "ArrowDown" ? 1 : -1);
  }
});
document.getElementById("previous").addEventListener("click", () => move(-1));
document.getElementById("next").addEventListener("click", () => move(1));
document.getElementById("any").addEventListener("click", () => {
  const moved = found.filter((entry) => entry.moved);
  if (moved.length) location.hash = address(moved[Math.floor(Math.random() * moved.length)]);
});
window.addEventListener("hashchange", follow);
search();
follow();
