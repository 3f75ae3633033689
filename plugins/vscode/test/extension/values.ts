// VS Code's small values, as far as the extension uses them.

import { join } from "node:path";

export class Uri {
  constructor(
    readonly scheme: string,
    readonly path: string,
  ) {}
  static file = (path: string) => new Uri("file", path);
  static joinPath = (base: Uri, ...parts: string[]) => new Uri(base.scheme, join(base.path, ...parts));
  get fsPath(): string {
    return this.path;
  }
  toString(): string {
    return `${this.scheme}://${this.path}`;
  }
}

export class Position {
  constructor(
    readonly line: number,
    readonly character: number,
  ) {}
}

export class Selection {
  constructor(
    readonly start: Position,
    readonly end: Position,
  ) {}
  get isEmpty(): boolean {
    return this.start.line === this.end.line && this.start.character === this.end.character;
  }
}

export class Disposable {
  constructor(readonly dispose: () => void) {}
  static from = (...all: { dispose(): void }[]) => new Disposable(() => all.forEach((one) => one.dispose()));
}

export class EventEmitter<T> {
  private readonly listeners = new Set<(value: T) => void>();
  event = (listener: (value: T) => void) => {
    this.listeners.add(listener);
    return new Disposable(() => this.listeners.delete(listener));
  };
  fire(value: T): void {
    [...this.listeners].forEach((listener) => listener(value));
  }
  dispose(): void {
    this.listeners.clear();
  }
}

export class ThemeIcon {
  constructor(readonly id: string) {}
}

export class WorkspaceEdit {
  readonly inserts: { uri: Uri; position: Position; text: string }[] = [];
  insert(uri: Uri, position: Position, text: string): void {
    this.inserts.push({ uri, position, text });
  }
}

/** A document in memory. */
export class TextDocument {
  constructor(
    readonly uri: Uri,
    readonly languageId: string,
    public text: string,
  ) {}
  offsetAt({ line, character }: Position): number {
    const before = this.text.split("\n").slice(0, line);
    return before.reduce((sum, text) => sum + text.length + 1, 0) + character;
  }
  positionAt(offset: number): Position {
    const lines = this.text.slice(0, offset).split("\n");
    return new Position(lines.length - 1, lines.at(-1)?.length ?? 0);
  }
  lineAt(line: number): { text: string } {
    return { text: this.text.split("\n")[line] ?? "" };
  }
  getText(selection?: Selection): string {
    return selection ? this.text.slice(this.offsetAt(selection.start), this.offsetAt(selection.end)) : this.text;
  }
}
