(function () {
  "use strict";
  // A chart's title would pop up wherever the pointer rests; the accessible name stays.
  document.querySelectorAll("figure svg > title").forEach(function (title) {
    title.parentNode.setAttribute("aria-label", title.textContent);
    title.parentNode.removeAttribute("aria-labelledby");
    title.remove();
  });
  var tip = document.getElementById("tip");
  function show(event) {
    var of = event.target.closest && event.target.closest("[data-tip]");
    var text = of && of.getAttribute("data-tip");
    if (!text) { tip.hidden = true; return; }
    tip.textContent = text;
    tip.hidden = false;
    var box = tip.getBoundingClientRect();
    var x = event.clientX + 14, y = event.clientY + 14;
    if (x + box.width > innerWidth - 6) x = Math.max(6, event.clientX - box.width - 12);
    if (y + box.height > innerHeight - 6) y = Math.max(6, event.clientY - box.height - 12);
    tip.style.left = x + "px";
    tip.style.top = y + "px";
  }
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", function () { tip.hidden = true; }, true);
})();
