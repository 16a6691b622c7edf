"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    head.firstElementChild.addEventListener("click", () => {
      const numeric = head.classList.contains("number");
      const turn = { ascending: "descending", descending: "ascending" };
      const order = turn[head.ariaSort] || (numeric ? "descending" : "ascending");
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => row.cells[index].dataset.key;
      const compare = (a, b) => {
        if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
        return sign * (numeric ? key(a) - key(b) : key(a).localeCompare(key(b)));
      };
      body.append(...[...body.rows].sort(compare));
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.ariaSort = order;
    });
  });
}

const dialog = document.querySelector("dialog");
dialog.addEventListener("click", () => dialog.close());

for (const gallery of document.querySelectorAll("section.gallery")) {
  const search = gallery.querySelector("input");
  const buttons = [...gallery.querySelectorAll(".tag")];
  const cards = [...gallery.querySelectorAll(".card")].map((element) => ({
    element,
    tags: new Set(JSON.parse(element.dataset.tags)),
    text: element.querySelector("figcaption").textContent.toLowerCase(),
  }));
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/);
    const wanted = buttons.filter((button) => button.ariaPressed === "true").map((button) => button.dataset.tag);
    let shown = 0;
    for (const card of cards) {
      const fits = wanted.every((tag) => card.tags.has(tag)) && words.every((word) => card.text.includes(word));
      card.element.hidden = !fits;
      shown += fits;
    }
    gallery.querySelector(".empty").hidden = shown > 0;
  };
  search.addEventListener("input", filter);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
      filter();
    });
  }
  for (const { element } of cards) {
    element.querySelector(".picture").addEventListener("click", () => {
      dialog.querySelector("img").src = element.querySelector("img").src;
      const lines = [...element.querySelectorAll("figcaption > strong, figcaption > p:not(.tags)")];
      dialog.querySelector("p").textContent = lines.map((line) => line.textContent).join("\n");
      dialog.showModal();
    });
  }
}
