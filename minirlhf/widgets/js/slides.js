// Shows one slide at a time. Keys: → ↓ Space PageDown next, ← ↑ PageUp back, Home, End, N notes.
(() => {
  const slides = [...document.querySelectorAll("section")]
  const body = document.body
  let now = 0

  const button = (label, name, action) => {
    const one = document.createElement("button")
    one.textContent = label
    one.setAttribute("aria-label", name)
    one.addEventListener("click", action)
    return one
  }
  const nav = document.createElement("nav")
  const count = document.createElement("span")
  count.setAttribute("aria-live", "polite")
  nav.append(
    button("←", "previous slide", () => show(now - 1)), " ", count, " ",
    button("→", "next slide", () => show(now + 1)), " ",
    button("N", "speaker's notes", () => body.classList.toggle("with-notes")),
  )

  // a table that is too long for the screen gets smaller letters
  function fit(slide) {
    for (let size = 100; size > 45 && slide.scrollHeight > slide.clientHeight; size -= 5) {
      slide.style.fontSize = `${size}%`
    }
  }

  function show(wanted) {
    now = Math.min(Math.max(wanted, 0), slides.length - 1)
    slides.forEach((slide, i) => slide.classList.toggle("now", i === now))
    fit(slides[now])
    count.textContent = `${now + 1} / ${slides.length}`
    history.replaceState(null, "", `#${now + 1}`)
  }

  const steps = {
    ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1,
    Home: -Infinity, End: Infinity,
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === " " && event.target instanceof HTMLButtonElement) return
    if (event.key in steps) show(now + steps[event.key])
    else if (event.key.toLowerCase() === "n") body.classList.toggle("with-notes")
    else return
    event.preventDefault()
  })
  addEventListener("hashchange", () => show(Number(location.hash.slice(1)) - 1 || 0))

  body.classList.add("one-by-one")
  body.append(nav)
  show(Number(location.hash.slice(1)) - 1 || 0)
})()
