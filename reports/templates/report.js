// Sorts tables, fades methods out, and compares with another reference. The page says everything without it.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const make = (tag, text = "", attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // ---- sort: a third click brings the first order back
  const number = (text) => {
    const found = text.replaceAll("\u2212", "-").replaceAll(",", "").match(/^[<≥+±]*\s*(-?\.?\d[\d.]*(?:e[+-]?\d+)?)/);
    return found ? parseFloat(found[1]) : NaN;
  };
  const sort = (table, column, ascending) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [row, row.cells[column]?.textContent.trim() ?? "", +row.dataset.row]);
    const numbers = rows.filter(([, text]) => text && text !== "–").every(([, text]) => !Number.isNaN(number(text)));
    rows.sort(([, a, i], [, b, j]) => {
      if (ascending === null) return i - j;
      const empty = (!a || a === "–") - (!b || b === "–"); // what is not known stays last, either way
      const order = numbers ? number(a) - number(b) : a.localeCompare(b, "en");
      return empty || (ascending ? order : -order) || i - j;
    });
    body.append(...rows.map(([row]) => row));
  };
  const sortable = (table) => {
    [...table.tBodies[0].rows].forEach((row, i) => (row.dataset.row = i));
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", head.textContent, { type: "button", title: "sort" });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        const direction = next === undefined ? "ascending" : next;
        if (direction) head.setAttribute("aria-sort", direction);
        sort(table, column, direction && direction === "ascending");
      });
    });
  };
  document.querySelectorAll("table.sortable").forEach(sortable);

  // ---- filter: rows go, marks in plots fade
  const filter = document.getElementById("filter");
  const boxes = filter.querySelector("fieldset");
  const names = JSON.parse(boxes.dataset.methods);
  const apply = () => {
    boxes.querySelectorAll("input").forEach((box) => {
      document.querySelectorAll(`[data-m="${box.value}"]`).forEach((one) => one.classList.toggle("off", !box.checked));
    });
  };
  names.forEach((name, i) => {
    const label = make("label");
    const box = make("input", "", { type: "checkbox", value: i });
    box.checked = true;
    box.addEventListener("change", apply);
    label.append(box, ` ${name}`);
    boxes.append(label);
  });
  const all = make("button", "all", { type: "button" });
  all.addEventListener("click", () => {
    boxes.querySelectorAll("input").forEach((box) => (box.checked = true));
    apply();
  });
  boxes.append(all);
  filter.hidden = names.length < 3;

  // ---- another reference: the paired t interval of reports/statistics.py, corrected where splits are redrawn
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const compare = (cell, method, base) => {
    const at = new Map(base.seeds.map((seed, i) => [seed, base.values[i]]));
    const pairs = method.seeds.map((seed, i) => [method.values[i], at.get(seed)]).filter(([, b]) => b !== undefined);
    const step = cell.step ?? 1e-12 * Math.max(0, ...pairs.flat().map(Math.abs));
    const differences = pairs
      .map(([a, b]) => (cell.higher_is_better ? a - b : b - a))
      .map((value) => (step > 0 ? Math.round(value / step) * step : value));
    const n = differences.length;
    if (n < 3) return { n };
    const mean = sum(differences) / n;
    if (Math.max(...differences) === Math.min(...differences)) return { n, mean };
    const half = (data.t[n] * Math.sqrt(sum(differences.map((d) => (d - mean) ** 2)) / (n - 1))) / Math.sqrt(n) * Math.sqrt(1 + n * cell.ratio);
    return { n, mean, low: mean - half, high: mean + half };
  };
  const general = (value) => {
    // three digits, as Python's .3g
    if (value === 0) return "0";
    const exponent = +value.toExponential(2).split("e")[1];
    if (exponent >= -4 && exponent < 3) return String(+value.toPrecision(3));
    const [digits, power] = value.toExponential(2).split("e");
    return `${+digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  };
  const signed = (cell, value) => {
    let text = cell.fraction ? (100 * value).toFixed(2) : general(value);
    if (!text.startsWith("-")) text = `+${text}`;
    else if (+text === 0) text = text.replace("-", "+");
    return text.replaceAll("-", "\u2212");
  };
  const area = document.getElementById("switch");
  const chosen = area.querySelector("select");
  const shown = document.getElementById("switched");
  const others = new Set(data.cells.flatMap((cell) => cell.methods.map((method) => method.name)));
  others.forEach((name) => chosen.append(make("option", name, { value: name })));
  const show = () => {
    shown.replaceChildren();
    for (const cell of data.cells) {
      const base = cell.methods.find((method) => method.name === chosen.value);
      const table = make("table", "", { class: "sortable" });
      table.append(make("caption", `${cell.title}: method minus ${chosen.value}, positive is better`));
      const head = table.createTHead().insertRow();
      for (const text of ["method", `effect [${+(100 * data.level).toPrecision(6)}% t interval]`, "n pairs"])
        head.append(make("th", text, { scope: "col" }));
      const body = table.createTBody();
      for (const method of cell.methods.filter((one) => base && one !== base)) {
        const { n, mean, low, high } = compare(cell, method, base);
        const row = body.insertRow();
        row.dataset.m = names.indexOf(method.name);
        row.dataset.exact = JSON.stringify([mean ?? null, low ?? null, high ?? null]);
        row.append(make("th", method.name + (method.competes ? "" : " (upper bound)"), { scope: "row" }));
        const range = low === undefined ? "–" : `[${signed(cell, low)}, ${signed(cell, high)}]`;
        row.append(make("td", mean === undefined ? "–" : `${signed(cell, mean)} ${cell.unit}`.trimEnd() + ` ${range}`));
        row.append(make("td", n));
      }
      const box = make("div", "", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Differences, ${cell.title}` });
      box.append(table);
      shown.append(box);
      sortable(table);
    }
    apply();
  };
  chosen.value = data.cells[0]?.reference ?? "";
  chosen.addEventListener("change", show);
  area.hidden = data.cells.length === 0 || others.size < 2;
})();
