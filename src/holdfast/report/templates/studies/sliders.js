// Sliders: moves the marks of a figure to their numbers at another setting. Without this script the figure stands at its own.
(function () {
  function text(v) { return v.toFixed(2); }
  var draw = {
    box: function (x, y, m, v) {
      if (!show(m.id + "w", v) | !show(m.id + "b", v) | !show(m.id + "m", v)) return;
      var q = v.map(x), up = m.y - m.half, down = m.y + m.half;
      put(m.id + "w", "M" + text(q[0]) + " " + m.y + "H" + text(q[1]) + "M" + text(q[3]) + " " + m.y + "H" + text(q[4]));
      put(m.id + "b", "M" + text(q[1]) + " " + down + "H" + text(q[3]) + "V" + up + "H" + text(q[1]) + "Z");
      put(m.id + "m", "M" + text(q[2]) + " " + down + "V" + up);
    },
    point: function (x, y, m, v) {
      if (show(m.id, v)) group(m.id).querySelector("use").setAttribute("x", text(x(v)));
    },
    ridge: function (x, y, m, v) {
      if (!show(m.id, v)) return;
      var step = (m.right - m.left) / (v.length - 1), base = text(y(m.line));
      var top = v.map(function (h, i) { return "L" + text(x(m.left + i * step)) + " " + text(y(m.line - h / 1000)); });
      put(m.id, "M" + text(x(m.left)) + " " + base + top.join("") + "L" + text(x(m.right)) + " " + base);
    },
    cloud: function (x, y, m, v, place) {
      if (!show(m.id, v)) return;
      var across = m.across[m.which[place]];
      put(m.id, v.map(function (h, i) { return "M" + text(x(across[i] / 1000)) + " " + text(y(h / 1000)) + "h.1"; }).join(""));
    },
    text: function (x, y, m, v) { if (group(m.id)) group(m.id).querySelector("text").textContent = v; }
  };
  function group(id) { return document.getElementById(id); }
  function show(id, v) { var g = group(id); if (g) g.style.display = v ? "" : "none"; return g && v !== null; }
  function put(id, path) { group(id).querySelector("path").setAttribute("d", path); }

  [].forEach.call(document.querySelectorAll(".sliders"), function (box) {
    var data, inputs = box.querySelectorAll("input"), reset = box.querySelector(".reset");
    function move() {
      data = data || JSON.parse(group("data-" + box.dataset.figure).textContent);
      var at = data.sizes.map(function () { return 0; }), own = true;
      [].forEach.call(inputs, function (input) {
        at[+input.dataset.place] = +input.value;
        own = own && input.value === input.dataset.start;
        var title = input.dataset.titles.split("|")[+input.value];
        input.nextElementSibling.textContent = title;
        input.setAttribute("aria-valuetext", title);
      });
      var place = at.reduce(function (sum, v, i) { return sum * data.sizes[i] + v; }, 0);
      data.plots.forEach(function (plot) {
        var s = plot.scale, x = function (v) { return s[0] + s[1] * v; }, y = function (v) { return s[2] + s[3] * v; };
        plot.marks.forEach(function (m) { draw[m.kind](x, y, m, m.values[place], place); });
      });
      reset.disabled = own;
    }
    [].forEach.call(inputs, function (input) { input.addEventListener("input", move); });
    reset.addEventListener("click", function () {
      [].forEach.call(inputs, function (input) { input.value = input.dataset.start; });
      move();
    });
    box.hidden = false;
  });
})();
