// The API as a page, made from the server's own OpenAPI document; all text is written as text.
const main = document.getElementById("operations");
const { info, paths, components } = await (await fetch("api/openapi.json")).json();

function element(tag, text, className = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  return schema.format ? `${schema.type} (${schema.format})` : schema.type ?? "";
}

function table(caption, heads, rows) {
  const made = document.createElement("table");
  made.append(element("caption", caption));
  const head = made.createTHead().insertRow();
  for (const text of heads) head.append(Object.assign(element("th", text), { scope: "col" }));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const text of row) line.append(element("td", text));
  }
  return made;
}

function bodyOf(content) {
  return Object.entries(content ?? {}).map(([kind, { schema }]) => `${kind} ${typeOf(schema)}`.trim()).join(", ");
}

document.getElementById("title").textContent = info.title;
document.getElementById("about").textContent = info.description ?? "";
main.replaceChildren();
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const section = document.createElement("section");
    section.append(element("h2", `${method.toUpperCase()} ${path}`), element("p", operation.description ?? ""));
    if (operation.requestBody) {
      section.append(element("p", `Body: ${operation.requestBody.description} (${Object.keys(operation.requestBody.content).join(", ")})`));
    }
    if (operation.parameters?.length) {
      section.append(table("Parameters", ["name", "in", "type", "by default", "meaning"], operation.parameters.map((one) => [
        one.name, one.in, typeOf(one.schema), String(one.schema.default ?? ""), one.description ?? "",
      ])));
    }
    section.append(table("Answers", ["status", "meaning", "body"], Object.entries(operation.responses).map(([status, answer]) => [
      status, answer.description, bodyOf(answer.content),
    ])));
    main.append(section);
  }
}
for (const [name, schema] of Object.entries(components.schemas)) {
  const section = document.createElement("section");
  section.append(element("h2", name), element("p", schema.description ?? ""));
  section.append(table("Fields", ["name", "type", "meaning"], Object.entries(schema.properties ?? {}).map(([field, one]) => [
    field, typeOf(one), one.description ?? "",
  ])));
  main.append(section);
}
