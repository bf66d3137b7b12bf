"use strict";
{
  // Light and dark: as the system says, until a person says otherwise. A page on a disk may have no memory.
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = (() => {
    try {
      return localStorage.getItem("mien-theme");
    } catch {
      return null;
    }
  })();

  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const tell = () => { button.textContent = isDark() ? "Light" : "Dark"; };

  if (remembered === "light" || remembered === "dark") root.dataset.theme = remembered;
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("mien-theme", root.dataset.theme);
    } catch { /* it is forgotten with the page */ }
    tell();
  });
  system.addEventListener("change", tell);
  tell();

  // What is folded away is printed too, but for long tables of numbers that nobody opened.
  const MAX_ROWS = 40;
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded = folded.filter((one) => one.querySelectorAll("tbody tr").length <= MAX_ROWS);
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
}
