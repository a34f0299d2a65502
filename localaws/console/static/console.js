// Draws the charts, again when their values change, and says whether the page is kept up to date.
(() => {
  "use strict";
  const HEIGHT = 170;
  const charts = new Map();
  const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC");
  const time = (seconds) => new Date(seconds * 1e3).toISOString().slice(11, seconds % 60 ? 19 : 16);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A value between two gaps is on no line: it is drawn as a point.
  function isolated(plot, series, areAllShown) {
    const values = plot.data[series];
    const alone = (value, at) => value != null && values[at - 1] == null && values[at + 1] == null;
    return areAllShown ? null : values.flatMap((value, at) => (alone(value, at) ? [at] : []));
  }

  function lines(told) {
    const plain = told.series.length - told.levels;
    return told.series.map(({ label }, number) =>
      number < plain
        ? { label, stroke: color(`--line-${1 + (number % 3)}`), width: 1.5, points: { filter: isolated } }
        : { label, stroke: color("--level"), width: 1, dash: [6, 4], points: { show: false } },
    );
  }

  function drawMarks(plot, marks) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = color("--mark");
    ctx.setLineDash([2, 3]);
    for (const mark of marks) {
      const x = Math.round(plot.valToPos(mark, "x", true));
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  function axis(more) {
    const rule = { stroke: color("--rule"), width: 1 };
    return { stroke: color("--dim"), grid: rule, ticks: rule, font: "11px system-ui, sans-serif", ...more };
  }

  function draw(element) {
    const told = JSON.parse(element.dataset.chart);
    const data = [told.x, ...told.series.map((each) => each.values)];
    const shape = JSON.stringify(told.series.map((each) => each.label));
    const known = charts.get(element);
    if (known && known.shape === shape) {
      known.marks.splice(0, Infinity, ...told.marks);
      known.plot.setData(data);
      return;
    }
    known?.plot.destroy();
    const marks = [...told.marks];
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        tzDate: utc,
        cursor: { drag: { x: false, y: false } },
        scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : 1] } },
        axes: [axis({ values: (_, splits) => splits.map(time) }), axis({ size: 52 })],
        series: [{ label: "AWS's time", value: (_, at) => (at == null ? "–" : time(at)) }, ...lines(told)],
        hooks: { draw: [(it) => drawMarks(it, marks)] },
      },
      data,
      element,
    );
    charts.set(element, { plot, shape, marks });
    sizes.observe(element);
  }

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const known = charts.get(target);
      if (known && target.clientWidth && known.plot.width !== target.clientWidth) {
        known.plot.setSize({ width: target.clientWidth, height: HEIGHT });
      }
    }
  });

  function drawAll() {
    for (const [element, { plot }] of charts) {
      if (!element.isConnected) {
        plot.destroy();
        sizes.unobserve(element);
        charts.delete(element);
      }
    }
    for (const element of document.querySelectorAll(".chart")) {
      if (element.drawnOf !== element.dataset.chart) {
        element.drawnOf = element.dataset.chart;
        draw(element);
      }
    }
  }

  // A log shows its newest lines until somebody scrolls away from them.
  const left = new WeakSet();
  const isAtEnd = (it) => it.scrollTop + it.clientHeight >= it.scrollHeight - 8;
  function followLogs() {
    for (const each of document.querySelectorAll(".log")) {
      if (!left.has(each)) each.scrollTop = each.scrollHeight;
    }
  }
  const noteScroll = ({ target }) => {
    if (target.classList?.contains("log")) left[isAtEnd(target) ? "delete" : "add"](target);
  };
  document.addEventListener("scroll", noteScroll, { capture: true, passive: true });

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [element, { plot }] of charts) {
      plot.destroy();
      charts.delete(element);
      element.drawnOf = null;
    }
    drawAll();
  });

  const say = (text, isLive) => {
    const shown = document.getElementById("liveness");
    if (shown) {
      shown.textContent = text;
      shown.classList.toggle("live", isLive);
    }
  };
  document.addEventListener("htmx:sse:after:connection", () => say("live", true));
  document.addEventListener("htmx:sse:after:message", () => {
    drawAll();
    followLogs();
  });
  document.addEventListener("htmx:sse:error", () => say("not connected; trying again", false));
  document.addEventListener("htmx:sse:close", () => say("ended; reload the page", false));

  drawAll();
  followLogs();
})();
