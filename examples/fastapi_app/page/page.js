// URLs are relative to the page's own, below /t/acme/ and at acme.localhost.
const byId = (id) => document.getElementById(id);
const inWords = (value) => (value === "todo" ? "To do" : value.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase()));

async function call(method, path, body) {
  const response = await fetch(`api/${path}`, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const content = response.headers.get("content-type")?.includes("json") ? await response.json() : null;
  if (!response.ok) {
    const detail = content?.detail;
    const text = Array.isArray(detail) ? detail.map((each) => `${each.loc.at(-1)}: ${each.msg}`).join("; ") : detail;
    throw Object.assign(new Error(text ?? response.statusText), { status: response.status });
  }
  return content;
}

// Text of users is inserted as text, never as markup.
function element(name, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function say(text) {
  byId("message").hidden = !text;
  byId("message").textContent = text ?? "";
}

function attempt(action) {
  return async (event) => {
    event?.preventDefault();
    say();
    try {
      await action(event);
    } catch (error) {
      say(error.message);
    }
  };
}

function onSubmit(id, action) {
  byId(id).addEventListener(
    "submit",
    attempt(async (event) => {
      const form = event.target;
      await action(Object.fromEntries(new FormData(form)));
      form.reset();
    }),
  );
}

function show(id, person) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
  byId("who").textContent = person ?? "";
  byId("log-out").hidden = !person;
}

// Without a tenant

function showAccount(account) {
  show("start", account.name);
  byId("account-login").hidden = true;
  byId("account").hidden = false;
  byId("tenants").replaceChildren(
    ...account.tenants.map((tenant) =>
      element("li", {}, element("span", { text: tenant.name }), tenant.status === "active"
        ? element("button", { text: "Open", "aria-label": `Open ${tenant.name}`, onclick: attempt(() => open(tenant)) })
        : element("span", { class: "soft", text: inWords(tenant.status) })),
    ),
  );
}

async function open(tenant) {
  const place = await call("POST", `account/tenants/${tenant.key}`);
  location.assign(place.path);
}

async function start() {
  onSubmit("sign-up", async (form) => location.assign((await call("POST", "sign-up", form)).path));
  onSubmit("account-login", async (form) => showAccount(await call("POST", "account/login", form)));
  byId("log-out").addEventListener("click", attempt(async () => {
    await call("POST", "account/logout");
    location.reload();
  }));
  await ifLoggedIn("account", showAccount, () => show("start"));
}

// At a tenant

async function enter(member) {
  show("tracker", member.display_name);
  const projects = await call("GET", "projects");
  byId("projects").replaceChildren(
    ...projects.map((project) =>
      element("li", {}, element("a", { href: `#${project.key}` },
        element("span", { text: project.name }),
        element("small", { text: `${project.open_tasks} open, ${project.done_tasks} done` }))),
    ),
  );
  if (!location.hash && projects.length) location.replace(`#${projects[0].key}`);
  else await showBoard();
}

const projectKey = () => decodeURIComponent(location.hash.slice(1));

async function showBoard() {
  if (!projectKey() || byId("tracker").hidden) return;
  const { project, columns } = await call("GET", `projects/${encodeURIComponent(projectKey())}`);
  byId("board-area").hidden = false;
  byId("project").textContent = project.name;
  for (const link of byId("projects").querySelectorAll("a")) {
    link.toggleAttribute("aria-current", link.hash === `#${project.key}`);
  }
  const names = Object.keys(columns);
  byId("board").replaceChildren(
    ...names.map((name, index) => {
      const tickets = columns[name].map((task) => ticket(task, names[index - 1], names[index + 1]));
      return element("section", { "aria-label": inWords(name) },
        element("h2", { text: `${inWords(name)} ` }, element("small", { text: tickets.length })),
        element("ul", {}, ...tickets));
    }),
  );
}

function ticket(task, before, after) {
  const move = (status, arrow) => element("button", {
    class: "arrow", text: arrow, "aria-label": `Move ${task.ref} to ${inWords(status)}`,
    onclick: attempt(async () => {
      await call("PATCH", `projects/${projectKey()}/tasks/${task.number}`, { status });
      await showBoard();
    }),
  });
  return element("li", {},
    element("small", { text: task.ref }),
    element("p", { text: task.title }),
    element("div", {},
      element("small", { text: task.assignee?.display_name ?? "" }),
      ...(before ? [move(before, "←")] : []),
      ...(after ? [move(after, "→")] : [])));
}

async function startTenant(tenant) {
  document.title = byId("place").textContent = tenant.name;
  onSubmit("tenant-login", async (form) => enter(await call("POST", "login", form)));
  onSubmit("new-task", async (form) => {
    await call("POST", `projects/${projectKey()}/tasks`, form);
    await showBoard();
  });
  byId("log-out").addEventListener("click", attempt(async () => {
    await call("POST", "logout");
    location.reload();
  }));
  addEventListener("hashchange", attempt(showBoard));
  await ifLoggedIn("me", enter, () => show("login"));
}

async function ifLoggedIn(path, then, otherwise) {
  let answer;
  try {
    answer = await call("GET", path);
  } catch (error) {
    if (error.status !== 401 && error.status !== 403) throw error;
    otherwise();
    return;
  }
  await then(answer);
}

await attempt(async () => {
  const { tenant } = await call("GET", "here");
  await (tenant ? startTenant(tenant) : start());
})();
