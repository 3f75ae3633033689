// A picture's link as a document's language writes it.

import { isAbsolute, relative, sep } from "node:path";

import { Failure } from "../client/failure";

/** How links are written. */
export type Style = "markdown" | "mdx" | "html" | "asciidoc";

/** The setting `imgd.linkStyle`. */
export type StyleSetting = "auto" | "markdown" | "html" | "asciidoc";

/** VS Code's names of languages and how their links are written. */
const STYLES: Record<string, Style> = {
  markdown: "markdown",
  quarto: "markdown",
  mdx: "mdx",
  html: "html",
  vue: "html",
  svelte: "html",
  astro: "html",
  asciidoc: "asciidoc",
};

/** An alternative text has at most this many characters. */
const MAX_ALT = 160;

/** A picture to link to. */
export interface Link {
  /** Path from the document to the picture, with `/`; not encoded. */
  path: string;
  alt: string;
  /** Whether it stands on a line of its own. */
  isAlone: boolean;
  /** In pixels, where it is known. */
  size?: [number, number] | undefined;
}

/** How links are written in a document. Fails where nobody said and the language has none that is known. */
export function styleOf(languageId: string, setting: StyleSetting): Style {
  const own = STYLES[languageId];
  if (setting === "auto" || (setting === "markdown" && own === "mdx")) {
    if (own === undefined) {
      throw new Failure("INVALID_FIELD", `no link to a picture is known for the language \`${languageId}\``, {
        hint: "it is for Markdown, MDX, HTML and AsciiDoc; the setting imgd.linkStyle names one for all documents",
      });
    }
    return own;
  }
  return setting;
}

/** The path from a document's folder to a file, as links write it: with `/`, and never a scheme. */
export function relativePath(folder: string, file: string): string {
  const path = relative(folder, file);
  const slashed = (isAbsolute(path) ? file : path).split(sep).join("/");
  // `a:b.png` would be an address of the scheme `a`.
  return /^[^/]*:/.test(slashed) ? `./${slashed}` : slashed;
}

/** The link's text. */
export function link(style: Style, { path, alt, isAlone, size }: Link): string {
  const text = oneLine(alt);
  switch (style) {
    case "markdown":
      return `![${escape(text, /[\\`*_[\]<>]/g)}](${encoded(path)})`;
    case "mdx":
      return `![${escape(text, /[\\`*_[\]<>{}]/g)}](${encoded(path)})`;
    case "html": {
      const sides = size ? ` width="${size[0]}" height="${size[1]}"` : "";
      return `<img src="${entities(encoded(path))}" alt="${entities(text)}"${sides}>`;
    }
    case "asciidoc":
      return `image:${isAlone ? ":" : ""}${encoded(path)}["${text.replaceAll('"', '\\"').replaceAll("]", "\\]")}"]`;
  }
}

/** An alternative text: one line, not too long, cut between words. */
export function oneLine(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  const characters = [...line];
  if (characters.length <= MAX_ALT) {
    return line;
  }
  const cut = characters.slice(0, MAX_ALT - 1).join("");
  const space = cut.lastIndexOf(" ");
  return `${(space > MAX_ALT / 2 ? cut.slice(0, space) : cut).replace(/[\s,.;:]+$/, "")}…`;
}

/** Every part of a path as an address has it; brackets too, which Markdown and AsciiDoc would end a link at. */
function encoded(path: string): string {
  const part = (text: string) =>
    encodeURIComponent(text).replace(/[()'!*]/g, (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`);
  return path.split("/").map(part).join("/");
}

function escape(text: string, special: RegExp): string {
  return text.replace(special, (found) => `\\${found}`);
}

function entities(text: string): string {
  const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (found) => names[found] ?? found);
}
