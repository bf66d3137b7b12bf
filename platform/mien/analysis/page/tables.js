{
  // A filter for tables that are longer than a glance, and rows in the order of any column.
  const MIN_ROWS = 8;

  const filter = (table, rows) => {
    const label = table.querySelector(".filter");
    const input = label.querySelector("input");
    const told = table.querySelector(".filtered");
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    label.hidden = false;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) row.hidden = !words.every((word) => texts.get(row).includes(word));
      const num = rows.filter((row) => !row.hidden).length;
      told.textContent = words.length ? `${num} of ${rows.length} rows` : "";
    });
  };

  // Numbers by size, texts by letters; what is missing comes last either way.
  const compare = (column, sign) => (a, b) => {
    const [left, right] = [a.cells[column], b.cells[column]];
    const isLeftNone = left.classList.contains("none");
    const isRightNone = right.classList.contains("none");
    if (isLeftNone || isRightNone) return isLeftNone - isRightNone;
    if (left.dataset.value && right.dataset.value) return sign * (left.dataset.value - right.dataset.value);
    return sign * left.textContent.localeCompare(right.textContent, "en", { numeric: true });
  };

  const sort = (table, rows) => {
    const heads = [...table.querySelectorAll("th")];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const direction = head.ariaSort === "ascending" ? "descending" : "ascending";
        for (const other of heads) other.ariaSort = null;
        head.ariaSort = direction;
        const body = table.querySelector("tbody");
        body.append(...rows.toSorted(compare(column, direction === "ascending" ? 1 : -1)));
      });
    });
  };

  for (const table of document.querySelectorAll(".table")) {
    const rows = [...table.querySelectorAll("tbody tr")];
    if (rows.length > MIN_ROWS) filter(table, rows);
    if (rows.length > 1) sort(table, rows);
  }
}
