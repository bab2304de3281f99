(function () {
  "use strict";
  var tip = document.getElementById("tip");
  function place(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    var box = tip.getBoundingClientRect();
    var left = x + 14, top = y + 14;
    if (left + box.width > innerWidth - 6) left = Math.max(6, x - box.width - 12);
    if (top + box.height > innerHeight - 6) top = Math.max(6, y - box.height - 12);
    tip.style.left = left + "px";
    tip.style.top = top + "px";
  }
  function show(event) {
    var of = event.target.closest && event.target.closest("[data-tip]");
    var text = of && of.getAttribute("data-tip");
    if (text) place(text, event.clientX, event.clientY);
    else tip.hidden = true;
  }
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", function () { tip.hidden = true; }, true);

  // The points of a chart by keyboard: the chart takes the focus, the arrow keys go from point to
  // point, from left to right.
  function middle(mark) {
    var box = mark.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  }
  document.querySelectorAll("figure svg").forEach(function (chart) {
    // A chart's title would pop up wherever the pointer rests; the accessible name stays.
    var title = chart.querySelector("title");
    if (title) {
      chart.setAttribute("aria-label", title.textContent);
      chart.removeAttribute("aria-labelledby");
      title.remove();
    }
    var marks = Array.from(chart.querySelectorAll('[data-tip]:not([data-tip=""])'));
    if (!marks.length) return;
    chart.setAttribute("tabindex", "0");
    var at = -1;
    function leave() {
      if (at >= 0) marks[at].classList.remove("at");
      tip.hidden = true;
    }
    chart.addEventListener("keydown", function (event) {
      var last = marks.length - 1;
      var to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last }[event.key];
      if (event.key === "Escape") leave();
      if (to === undefined) return;
      event.preventDefault();
      if (at < 0) {
        marks.sort(function (a, b) { return middle(a)[0] - middle(b)[0]; });
      }
      leave();
      at = Math.min(Math.max(to, 0), last);
      marks[at].classList.add("at");
      var center = middle(marks[at]);
      place(marks[at].getAttribute("data-tip"), center[0], center[1]);
    });
    chart.addEventListener("blur", leave);
  });
})();
