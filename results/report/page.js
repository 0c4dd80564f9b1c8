// The report page without its curves: light or dark, and which tables are shown. All numbers are in the page already.
(function () {
  "use strict";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function kept() {
    try {
      return localStorage.getItem("scheme");
    } catch {
      return null; // a browser may keep nothing for a file
    }
  }

  function keep(scheme) {
    try {
      localStorage.setItem("scheme", scheme);
    } catch {
      return;
    }
  }

  const isDark = () => (root.dataset.scheme ? root.dataset.scheme === "dark" : system.matches);
  if (["light", "dark"].includes(kept())) root.dataset.scheme = kept(); // before anything is drawn

  function told() {
    document.dispatchEvent(new CustomEvent("scheme", { detail: isDark() }));
  }

  function scheme() {
    const button = document.getElementById("scheme");
    const name = () => (button.textContent = isDark() ? "Light" : "Dark");
    button.hidden = false;
    name();
    button.addEventListener("click", () => {
      root.dataset.scheme = isDark() ? "light" : "dark";
      keep(root.dataset.scheme);
      name();
      told();
    });
    system.addEventListener("change", () => {
      name();
      told();
    });
  }

  // What is hidden: an article by its profile and place, a block by its task, a row by its words; and what is then empty.
  function filter() {
    const form = document.getElementById("filter");
    const articles = [...document.querySelectorAll("article")];
    const value = (id) => document.getElementById(id)?.value ?? "";

    function apply() {
      const words = value("words").toLowerCase().split(/\s+/).filter(Boolean);
      const has = (text) => words.every((word) => text.toLowerCase().includes(word));
      const fits = (tasks) => !value("task") || tasks.split(" ").includes(value("task"));
      let count = 0;
      for (const article of articles) {
        const { profile, place, tasks } = article.dataset;
        const about = has(article.querySelector("h3").textContent);
        let rows = 0;
        for (const part of article.querySelectorAll(".block, .claims")) {
          const here = fits(part.dataset.tasks ?? tasks);
          let left = 0;
          for (const row of part.querySelectorAll("tbody tr")) {
            row.hidden = !(about || has(row.textContent + part.querySelector("h4").textContent));
            left += !row.hidden;
          }
          part.hidden = !here || !left;
          rows += part.hidden ? 0 : left;
        }
        const wanted = (!value("profile") || profile === value("profile")) && (!value("place") || place === value("place"));
        article.hidden = !wanted || !fits(tasks) || !(rows || (about && !words.length));
        count += !article.hidden;
      }
      document.getElementById("shown").textContent = `${count} of ${articles.length} tables`;
      document.dispatchEvent(new CustomEvent("filter", { detail: value("task") }));
    }

    // A link to a table that is filtered out shows all again.
    function follow() {
      const target = document.getElementById(location.hash.slice(1));
      if (target?.closest("[hidden]")) {
        form.reset();
        apply();
        target.scrollIntoView();
      }
    }

    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply)); // after the fields are empty
    addEventListener("hashchange", follow);
    apply();
  }

  window.isDark = isDark;
  document.addEventListener("DOMContentLoaded", () => {
    scheme();
    filter();
  });
})();
