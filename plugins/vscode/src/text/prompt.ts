// A prompt out of a document: the selected text, or what the front matter says.

/** Keys of front matter that may hold a prompt, the first that is there. */
const KEYS = ["image_prompt", "imagePrompt", "prompt", "description", "title"];

/** Marks of Markdown that a prompt does not need. */
const MARKS: [RegExp, string][] = [
  [/!?\[([^\]]*)\]\([^)]*\)/g, "$1"],
  [/^\s{0,3}(?:#{1,6}|>|[-*+]|\d+[.)])\s+/gm, ""],
  [/(\*\*|__|~~|`)(.+?)\1/g, "$2"],
];

/** The selected text as a prompt: its lines made one, without Markdown's marks where `isMarkup`. */
export function ofSelection(text: string, isMarkup: boolean): string {
  const plain = isMarkup ? MARKS.reduce((text, [mark, kept]) => text.replace(mark, kept), text) : text;
  return plain.replace(/\s+/g, " ").trim();
}

/** A prompt, and where the front matter that says it ends. */
export interface FrontMatter {
  prompt: string;
  end: number;
}

/** The prompt in a document's front matter, YAML between `---` or TOML between `+++`; `undefined` where there is none. */
export function ofFrontMatter(document: string): FrontMatter | undefined {
  const block = /^\uFEFF?(---|\+\+\+)[ \t]*\r?\n([\s\S]*?)\r?\n\1[ \t]*(?:\r?\n|$)/.exec(document);
  if (!block) {
    return undefined;
  }
  const lines = (block[2] ?? "").split(/\r?\n/);
  const separator = block[1] === "---" ? ":" : "=";
  const found = KEYS.map((key) => value(lines, key, separator)).find((text) => text);
  return found ? { prompt: found, end: block[0].length } : undefined;
}

/** The text of a key at the left margin: plain, in quotes, or a block that begins with `|` or `>`. */
function value(lines: string[], key: string, separator: string): string | undefined {
  const begin = new RegExp(`^${key}[ \\t]*${separator}[ \\t]*(.*)$`);
  const at = lines.findIndex((line) => begin.test(line));
  const rest = begin.exec(lines[at] ?? "")?.[1]?.trim();
  if (rest === undefined) {
    return undefined;
  }
  if (/^[|>][-+]?\d?$/.test(rest) || rest === "") {
    const block = lines.slice(at + 1);
    const end = block.findIndex((line) => /^\S/.test(line));
    return oneLine(block.slice(0, end < 0 ? undefined : end).join(" "));
  }
  const quoted = /^"((?:[^"\\]|\\.)*)"|^'((?:[^']|'')*)'/.exec(rest);
  if (quoted) {
    return oneLine(quoted[1]?.replace(/\\(["\\])/g, "$1") ?? quoted[2]?.replaceAll("''", "'") ?? "");
  }
  return oneLine(rest.replace(/\s#.*$/, ""));
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}
