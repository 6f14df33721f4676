// Optional comfort: a button for light and dark, and a folded table of contents on narrow screens. All works without.
(function () {
  var root = document.documentElement, button = document.getElementById("theme");
  var names = { "": "Theme: automatic", light: "Theme: light", dark: "Theme: dark" };
  function show(theme) {
    if (theme) root.setAttribute("data-theme", theme); else root.removeAttribute("data-theme");
    button.textContent = names[theme];
  }
  var asked = /theme=(light|dark)/.exec(location.hash);
  show(asked ? asked[1] : "");
  button.hidden = false;
  button.addEventListener("click", function () {
    var now = root.getAttribute("data-theme") || "";
    show({ "": "dark", dark: "light", light: "" }[now]);
  });
  if (window.matchMedia("(max-width: 70rem)").matches) {
    document.querySelector(".contents details").removeAttribute("open");
  }
})();
