// Shows the widgets of an exported page: no kernel, no network, no other library. It reads the
// widget state that the page holds, gives each widget a model with the calls that anywidget's have,
// and lets it draw itself in place of its static picture.
(async () => {
  const holder = document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]');
  const states = holder ? JSON.parse(holder.textContent).state : {};
  const places = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]');
  for (const place of places) {
    const entry = states[JSON.parse(place.textContent).model_id];
    if (!entry || entry.model_module !== "anywidget") continue;
    const state = { ...entry.state };
    for (const { path, data } of entry.buffers || []) {
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      let owner = state;
      for (const key of path.slice(0, -1)) owner = owner[key];
      owner[path[path.length - 1]] = new DataView(bytes.buffer);
    }
    const listeners = {};
    const call = (event, ...values) => (listeners[event] || []).forEach((f) => f(...values));
    const model = {
      get: (key) => state[key],
      set: (key, value) => {
        state[key] = value;
        call(`change:${key}`, model, value);
        call("change", model);
      },
      on: (events, f) => events.split(" ").forEach((e) => (listeners[e] ||= []).push(f)),
      off: (event, f) => {
        if (!event) for (const e of Object.keys(listeners)) delete listeners[e];
        else listeners[event] = f ? (listeners[event] || []).filter((g) => g !== f) : [];
      },
      save_changes: () => {},
      send: () => {}, // nobody listens: there is no Python behind this page
    };
    const css = document.createElement("style");
    css.textContent = state._css || "";
    document.head.append(css);
    const source = new Blob([state._esm], { type: "text/javascript" });
    const widget = (await import(URL.createObjectURL(source))).default;
    const element = document.createElement("div");
    place.after(element);
    await widget.initialize?.({ model });
    await widget.render?.({ model, el: element });
    (window.minirlhfModels ||= []).push(model);
  }
  document.documentElement.dataset.widgets = "ready";
})();
