"use strict";
// A search field shows of its list only the items that have all the words typed into it.
for (const field of document.querySelectorAll("input[data-list]")) {
  const items = [...document.getElementById(field.dataset.list).children];
  const count = field.parentElement.querySelector("output");
  const apply = () => {
    const words = field.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const item of items) {
      item.hidden = !words.every((word) => item.dataset.words.includes(word));
      shown += !item.hidden;
    }
    count.textContent = shown + " of " + items.length;
  };
  field.addEventListener("input", apply);
  field.parentElement.hidden = false;
  apply();
}
// One sound at a time.
document.addEventListener("play", (event) => {
  for (const sound of document.querySelectorAll("audio")) {
    if (sound !== event.target) sound.pause();
  }
}, true);
