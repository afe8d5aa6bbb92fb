// The pages work without this. It puts the code of a link into the form, renews what
// changed, and shows a conversation as it goes on. All that comes is set as text.
"use strict";

// What is parsed is a page of ours, from here, and no script in it runs.
const ours = window.trustedTypes
  ? trustedTypes.createPolicy("ours", { createHTML: (s) => s })
  : { createHTML: (s) => s };

const login = document.getElementById("login");
if (login && location.hash.length < 2) login.elements.code.focus();
if (login && location.hash.length > 1) {
  login.elements.code.value = location.hash.slice(1);
  history.replaceState(null, "", "/login");
  login.querySelector("button").focus();
}

const main = document.querySelector("main[data-live], main[data-renew]");
if (main) {
  let busy = false, again = false, timer = 0;
  const renew = async () => {
    if (busy) { again = true; return; }
    // What somebody is writing is not taken away from under them.
    const at = document.activeElement;
    if (at && main.contains(at) && at.matches("input, textarea, select")) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) { location.reload(); return; }
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(ours.createHTML(await answer.text()), "text/html");
      const open = Array.from(main.querySelectorAll("details[open]"), (d) => d.id);
      const next = page.querySelector("main");
      if (!next.dataset.renew) clearInterval(timer);
      main.replaceChildren(...next.childNodes);
      for (const d of main.querySelectorAll("details")) d.open = open.includes(d.id);
    } finally {
      busy = false;
      if (again) { again = false; renew(); }
    }
  };
  if (main.dataset.renew) timer = setInterval(renew, 1000 * main.dataset.renew);
  else new EventSource("/live").addEventListener("change", renew);
}

const talk = document.getElementById("talk");
if (talk) {
  const doing = document.getElementById("doing"), form = document.getElementById("say");
  let growing = null;
  const add = (kind, text) => {
    const line = document.createElement("li");
    line.className = kind;
    line.textContent = text;
    talk.append(line);
    line.scrollIntoView({ block: "nearest" });
    return line;
  };
  form.scrollIntoView({ block: "end" }); // the newest is at the end
  const stream = new EventSource(talk.dataset.stream);
  stream.addEventListener("message", (e) => {
    const m = JSON.parse(e.data);
    if (growing && m.kind === "answer") { growing.remove(); growing = null; }
    if (m.text) add(m.kind, m.text);
    if (m.kind === "answer") doing.textContent = "";
  });
  stream.addEventListener("progress", (e) => {
    const p = JSON.parse(e.data);
    if (p.kind === "text") {
      growing = growing || add("answer", "");
      growing.textContent += p.text;
    } else if (p.kind === "finished") {
      doing.textContent = "";
    } else {
      doing.textContent = p.text;
    }
  });
  stream.addEventListener("closed", () => { stream.close(); add("host", "The host ended this conversation."); });
  const send = async () => {
    const text = form.elements.text.value;
    if (!text.trim()) return;
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams({ text }), headers: { Accept: "application/json" } });
    if (!answer.ok) { add("host", "This was not sent: " + answer.status); return; }
    add("mine", text);
    form.elements.text.value = "";
  };
  form.addEventListener("submit", (e) => { e.preventDefault(); send(); });
  form.elements.text.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); send(); }
  });
}
