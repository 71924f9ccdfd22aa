// Shows openapi.json without a script from another host.
function element(name, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const { paths, tags, components } = await (await fetch("openapi.json")).json();

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.items) return `list of ${typeOf(schema.items)}`;
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  return schema.format ?? schema.type ?? "anything";
}

const contentOf = ({ content = {} }) =>
  Object.entries(content).map(([type, { schema }]) => `${typeOf(schema)} (${type})`).join(", ");

function operation(path, method, { summary, description, parameters = [], requestBody, responses }) {
  const facts = [
    ...parameters.map((each) => [`${each.name} (${each.in})`, typeOf(each.schema)]),
    ...(requestBody ? [["body", contentOf(requestBody)]] : []),
    ...Object.entries(responses).map(([code, response]) => [code, [response.description, contentOf(response)].filter(Boolean).join(": ")]),
  ];
  return element("article", { class: "card" },
    element("h3", {}, element("code", { text: `${method.toUpperCase()} ${path.slice(1)}` })),
    element("p", { text: description ?? summary }),
    element("dl", {}, ...facts.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })])));
}

function schema(name, { properties = {}, required = [] }) {
  return element("article", { class: "card", id: name },
    element("h3", { text: name }),
    element("dl", {}, ...Object.entries(properties).flatMap(([key, value]) => [
      element("dt", { text: required.includes(key) ? key : `${key} (optional)` }),
      element("dd", { text: typeOf(value) }),
    ])));
}

const all = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, each]) => [path, method, each]));
document.getElementById("operations").replaceChildren(
  ...tags.map((tag) => element("section", {},
    element("h2", { text: inWords(tag.name) }), element("p", { class: "soft", text: tag.description }),
    ...all.filter(([, , each]) => each.tags.includes(tag.name)).map((each) => operation(...each)))),
  element("section", {}, element("h2", { text: "Schemas" }),
    ...Object.entries(components.schemas).map((each) => schema(...each))),
);

function inWords(name) {
  return name.replace(/^./, (c) => c.toUpperCase());
}
