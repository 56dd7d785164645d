// A whole line of text from data; `visible` in core.js is for single tokens.

/** A whole text: control characters and marks made visible, spaces left as they are. */
function visibleLine(text) {
  return text.split(" ").map((word) => (word === "" ? "" : visible(word, 60))).join(" ");
}
