// Curves of window.CURVES with uPlot: drawn where they come into sight, again where light and dark change.
(function () {
  "use strict";
  const THIN = 1, THICK = 2, MARKS = 8; // widths in pixels; markers of a curve
  const colors = new Map(); // of the scheme that holds; a picture asks for them a hundred times
  const css = (name) => {
    if (colors.has(name)) return colors.get(name);
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const color = getComputedStyle(probe).color; // of light-dark() the one that holds
    probe.remove();
    colors.set(name, color);
    return color;
  };
  document.addEventListener("scheme", () => colors.clear());
  const paint = (row) => (window.isDark() ? row.dark : row.color);
  const svg = (row) =>
    `<svg width="34" height="14" viewBox="-17 -7 34 14" aria-hidden="true"><g class="look" fill="none">` +
    `<path d="M-17 0H17" stroke-width="2" stroke-dasharray="${row.dash.join(" ")}"/>` +
    `<path d="${row.marker}" transform="scale(0.8)" stroke-width="1.5"/></g></svg>`;

  function number(value) {
    if (value == null) return "";
    const size = Math.abs(value);
    return size && (size < 0.001 || size >= 1e5) ? value.toExponential(1).replace(".0e", "e") : String(Number(value.toPrecision(4)));
  }
  const count = (value) =>
    value >= 1e6 ? `${number(value / 1e6)}M` : value >= 1e4 ? `${number(value / 1e3)}k` : String(value);

  function markers(chart, panel) {
    return (u) => {
      const { ctx } = u, dots = devicePixelRatio;
      panel.lines.forEach((line, index) => {
        if (!u.series[index + 1].show || line.thin) return;
        const row = chart.rows[line.row], path = new Path2D(row.marker);
        const there = panel.x.map((_, i) => i).filter((i) => line.y[i] != null);
        const every = Math.max(1, Math.floor(there.length / MARKS));
        const first = Math.floor((every * (line.row + 1)) / chart.rows.length) % every; // not all on each other
        there.filter((_, i) => i % every === first).forEach((i) => {
          const [left, top] = [u.valToPos(panel.x[i], "x", true), u.valToPos(line.y[i], "y", true)];
          const { left: x, top: y, width, height } = u.bbox;
          if (!(left >= x && left <= x + width && top >= y && top <= y + height)) return;
          ctx.save();
          ctx.translate(left, top);
          ctx.scale(0.75 * dots, 0.75 * dots);
          ctx.fillStyle = row.hollow ? css("--page") : paint(row);
          ctx.strokeStyle = paint(row);
          ctx.lineWidth = 1.5;
          ctx.fill(path);
          ctx.stroke(path);
          ctx.restore();
        });
      });
    };
  }

  function levels(panel) {
    return (u) => {
      const { ctx, bbox } = u;
      for (const level of panel.levels) {
        const y = u.valToPos(level.y, "y", true);
        if (!(y >= bbox.top && y <= bbox.top + bbox.height)) continue;
        ctx.save();
        ctx.strokeStyle = css("--quiet");
        ctx.lineWidth = devicePixelRatio;
        ctx.setLineDash([]);
        ctx.beginPath();
        ctx.moveTo(bbox.left, y);
        ctx.lineTo(bbox.left + bbox.width, y);
        ctx.stroke();
        ctx.restore();
      }
    };
  }

  function draw(chart, panel, place, output) {
    const drawable = (value) => (chart.log && !(value > 0) ? null : value);
    const data = [panel.x, ...panel.lines.map((line) => line.y.map(drawable))];
    const y = chart.log
      ? { distr: 3 }
      : chart.accuracies
        ? { distr: 100, fwd: (v) => -Math.log10(Math.max(100 - v, 1e-3)), inv: (v) => 100 - 10 ** -v }
        : {};
    if (chart.accuracies) {
      const all = [...panel.lines.flatMap((line) => line.y), ...panel.levels.map((level) => level.y)];
      const errors = all.filter((value) => value != null).map((value) => 100 - value);
      y.range = [Math.max(0, 100 - 1.15 * Math.max(...errors)), 100 - Math.max(1e-3, Math.min(...errors)) / 1.15];
    }
    const read = (u) => (output.textContent = values(u, chart, panel));
    const axis = { stroke: () => css("--quiet"), grid: { stroke: () => css("--grid"), width: 1 }, ticks: { show: false } };
    const ticks = chart.accuracies
      ? {
          splits: (u) => chart.accuracies.filter((tick) => tick >= u.scales.y.min && tick <= u.scales.y.max),
          filter: (u, all) => all, // else those of decades alone have words
        }
      : {};
    const series = panel.lines.map((line) => ({
      stroke: () => paint(chart.rows[line.row]),
      width: line.thin ? THIN : THICK,
      alpha: line.thin ? 0.45 : 1,
      dash: line.thin ? [] : chart.rows[line.row].dash,
      spanGaps: true,
      points: { show: false },
    }));
    const options = {
      width: place.clientWidth,
      height: place.clientHeight,
      legend: { show: false },
      cursor: { y: false, points: { show: false } },
      scales: { x: { time: false, distr: chart.logx ? 3 : 1 }, y },
      axes: [
        { ...axis, values: (u, all) => all.map((value) => (value == null ? "" : count(value))), space: 60, size: 32 },
        { ...axis, ...ticks, values: (u, all) => all.map(number), size: 56 },
      ],
      series: [{}, ...series],
      hooks: {
        draw: [levels(panel), markers(chart, panel)],
        setCursor: [read],
        setSeries: [read],
        ready: [read],
      },
    };
    return new uPlot(options, data, place);
  }

  // What the lines that stand for a row have at the cursor, or last had before it; without one, at the end.
  function values(u, chart, panel) {
    const at = u.cursor.idx ?? panel.x.length - 1;
    const texts = panel.lines.map((line, index) => {
      if (!u.series[index + 1].show || line.thin) return "";
      const value = line.y.slice(0, at + 1).findLast((one) => one != null);
      const seed = line.seed == null ? "" : `, seed ${line.seed}`;
      return value == null ? "" : `${chart.rows[line.row].label}${seed} ${number(value)}`;
    });
    return `${count(panel.x[at])} ${chart.x}: ${texts.filter(Boolean).join(" · ") || "nothing measured yet"}`;
  }

  function keys(u, panel) {
    return (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const to = Math.min(panel.x.length - 1, Math.max(0, (u.cursor.idx ?? (step > 0 ? -1 : panel.x.length)) + step));
      u.setCursor({ left: u.valToPos(panel.x[to], "x"), top: 0 });
    };
  }

  function start(figure) {
    const chart = window.CURVES[figure.dataset.chart];
    const plots = [];
    const legend = figure.querySelector(".legend"), panels = figure.querySelector(".panels");
    const scale = figure.querySelector(".scale");
    const hiddenRows = new Set();
    const sight = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) entry.target.drawn();
    }, { rootMargin: "300px" });

    const show = (u, panel) =>
      u.batch(() => panel.lines.forEach((line, i) => u.setSeries(i + 1, { show: !hiddenRows.has(line.row) })));
    const looks = () =>
      legend.querySelectorAll(".look").forEach((look, index) => {
        look.setAttribute("stroke", paint(chart.rows[index]));
        look.lastChild.setAttribute("fill", chart.rows[index].hollow ? "none" : paint(chart.rows[index]));
      });

    chart.rows.forEach((row, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.innerHTML = svg(row);
      button.append(row.label);
      button.addEventListener("click", () => {
        hiddenRows[hiddenRows.has(index) ? "delete" : "add"](index);
        button.setAttribute("aria-pressed", String(!hiddenRows.has(index)));
        plots.forEach(({ u, panel }) => show(u, panel));
      });
      legend.append(button);
    });
    looks();

    chart.panels.forEach((panel) => {
      const box = document.createElement("div");
      box.className = "panel";
      box.dataset.task = panel.task;
      box.innerHTML = `<p class="name"><strong></strong><span></span></p><div class="plot" tabindex="0" role="group"></div><output aria-live="polite"></output>`;
      box.querySelector("strong").textContent = panel.title;
      box.querySelector("span").textContent = panel.levels.map((level) => `― ${level.words}`).join(", ");
      const place = box.querySelector(".plot"), output = box.querySelector("output");
      place.setAttribute("aria-label", `${panel.title}: ${chart.y} over ${chart.x}; left and right read the values`);
      box.drawn = () => {
        sight.unobserve(box);
        const one = { panel, u: draw(chart, panel, place, output) };
        one.again = () => {
          one.u.destroy();
          one.u = draw(chart, panel, place, output);
          show(one.u, panel);
        };
        show(one.u, panel);
        plots.push(one);
        place.addEventListener("keydown", (event) => keys(one.u, panel)(event));
        new ResizeObserver(() => one.u.setSize({ width: place.clientWidth, height: place.clientHeight })).observe(place);
      };
      panels.append(box);
      sight.observe(box);
    });

    if ("log" in chart) {
      scale.hidden = false;
      scale.setAttribute("aria-pressed", String(chart.log));
      scale.addEventListener("click", () => {
        chart.log = !chart.log;
        scale.setAttribute("aria-pressed", String(chart.log));
        plots.forEach((one) => one.again());
      });
    }
    document.addEventListener("scheme", () => {
      looks();
      plots.forEach(({ u }) => u.redraw(false));
    });
    document.addEventListener("filter", ({ detail: task }) => {
      for (const box of panels.children) box.hidden = Boolean(task) && box.dataset.task !== task;
      (figure.closest(".log") ?? figure).hidden = [...panels.children].every((box) => box.hidden);
    });
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".curves").forEach(start));
})();
