// Two maps of the same videos: what lies under the pointer is shown in both, and played.
const data = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg";
const planes = [...document.querySelectorAll(".plane")];
const card = document.getElementById("video");
const dots = planes.map(() => []);
const hidden = new Set();
let current = -1, playButton = null;

const make = (tag, attributes, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

const play = () => {
  const clip = data.clips[data.points[current].clip];
  if (clip.sound !== null) player.play(playButton, { sound: clip.sound, from: 0, seconds: clip.seconds, length: clip.seconds });
};

const show = (number) => {
  if (number === current) return;
  player.stop();
  for (const marks of dots) {
    if (current >= 0) marks[current].classList.remove("current");
    marks[number].classList.add("current");
    marks[number].parentNode.append(marks[number]); // on top
  }
  current = number;
  const point = data.points[number], clip = data.clips[point.clip];
  const picture = clip.pictures.length
    ? make("img", { alt: "the first picture of " + clip.id, src: "data:image/jpeg;base64," + document.getElementById("picture-" + clip.pictures[0][1]).textContent })
    : make("div", { class: "none" }, "no picture");
  playButton = make("button", { type: "button", class: "play", "aria-pressed": "false", "aria-label": "Play " + point.label });
  playButton.disabled = clip.sound === null;
  playButton.addEventListener("click", play);
  const source = /^https?:\/\/\S+$/i.test(clip.url)
    ? make("a", { class: "id", href: clip.url, rel: "noopener noreferrer nofollow" }, clip.id)
    : make("span", { class: "id", title: clip.url }, clip.id);
  const rows = data.senses.map((name, at) => make("li", { class: point.answers[at] === point.label ? "right" : "wrong" },
    make("span", { class: "quiet" }, name + ": "), point.answers[at]));
  card.replaceChildren(make("div", { class: "moment" }, make("div", { class: "look" }, picture, playButton),
    make("div", { class: "where" }, make("b", {}, point.label), make("span", { class: "quiet" }, point.group)), source), make("ul", { class: "answers" }, ...rows));
};

// The videos in a direction, the nearest first; what lies aside counts as twice as far.
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const next = (map, [x, y]) => {
  if (current < 0) return 0;
  const here = data.points[current][map];
  let best = current, least = Infinity;
  data.points.forEach((point, number) => {
    const right = point[map][0] - here[0], up = point[map][1] - here[1];
    const along = right * x + up * y, aside = Math.abs(right * y) + Math.abs(up * x);
    if (along > 1e-6 && !hidden.has(point.group) && along + 2 * aside < least) {
      best = number;
      least = along + 2 * aside;
    }
  });
  return best;
};

planes.forEach((plane, at) => {
  const map = plane.dataset.map;
  const drawing = document.createElementNS(NS, "svg");
  drawing.setAttribute("viewBox", "-1.06 -1.06 2.12 2.12");
  drawing.setAttribute("aria-hidden", "true");
  data.points.forEach((point, number) => {
    const dot = document.createElementNS(NS, "circle");
    dot.setAttribute("cx", point[map][0]);
    dot.setAttribute("cy", -point[map][1]);
    dot.setAttribute("r", Math.max(0.012, Math.min(0.03, 0.4 / Math.sqrt(data.points.length))));
    dot.style.fill = data.colours[point.group];
    dot.addEventListener("pointerenter", () => show(number));
    dot.addEventListener("click", () => { show(number); play(); });
    dots[at].push(dot);
    drawing.append(dot);
  });
  plane.append(drawing);
  plane.addEventListener("keydown", (event) => {
    if (STEPS[event.key]) {
      event.preventDefault();
      show(next(map, STEPS[event.key]));
    }
    if (event.key === "Enter" && current >= 0) play();
  });
});

document.getElementById("groups").append(...Object.entries(data.colours).map(([group, colour]) => {
  const swatch = make("i", {});
  swatch.style.background = colour;
  const button = make("button", { type: "button", "aria-pressed": "true" }, swatch, group);
  button.addEventListener("click", () => {
    const on = hidden.delete(group) || (hidden.add(group), false);
    button.setAttribute("aria-pressed", String(on));
    data.points.forEach((point, number) => {
      if (point.group === group) for (const marks of dots) marks[number].classList.toggle("off", !on);
    });
  });
  return button;
}));
if (data.points.length) show(0);
