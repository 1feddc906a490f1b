// Tables of many columns do not fit a narrow screen. site.css makes each row a block there, in which a cell says the title of its column.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.docutils")) {
    const titles = [...table.querySelectorAll("thead th")].map((title) => title.textContent.trim());
    if (titles.length < 4) continue;
    table.classList.add("many-columns");
    // A block is no part of a table any more, unless it says so.
    table.setAttribute("role", "table");
    for (const row of table.rows) {
      row.setAttribute("role", "row");
      [...row.cells].forEach((cell, index) => {
        cell.setAttribute("role", cell.tagName === "TH" ? "columnheader" : "cell");
        const isTold = index && titles[index] && cell.textContent.trim();
        cell.dataset.title = isTold ? titles[index] + ": " : "";
      });
    }
  }
});
