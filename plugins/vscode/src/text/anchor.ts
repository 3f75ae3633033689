// A place in a text that others edit meanwhile.

/** A change as VS Code tells of it: `length` characters at `offset` became `text`. */
export interface Change {
  offset: number;
  length: number;
  text: string;
}

/**
 * Where an offset is after a change.
 *
 * What is written at the very place goes before it, so that a link lands behind what was typed meanwhile; where the
 * place itself was deleted, it is where the deletion was.
 */
export function shifted(offset: number, { offset: at, length, text }: Change): number {
  if (at > offset) {
    return offset;
  }
  return at + length <= offset ? offset - length + text.length : at + text.length;
}

/** A text as a paragraph of its own behind what stands on `line` before `character`, and before what stands after it. */
export function paragraph(text: string, line: string, character: number): string {
  const before = line.slice(0, character).trim() === "" ? "" : "\n\n";
  const after = line.slice(character).trim() === "" ? "" : "\n\n";
  return `${before}${text}${after}`;
}
