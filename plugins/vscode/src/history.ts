// The prompts that were used last, kept by VS Code on this machine and not synchronised.

import type { Memento } from "vscode";

const KEY = "imgd.history";

/** Prompts, the newest first, each once. */
export class History {
  constructor(private readonly memory: Memento) {}

  get prompts(): string[] {
    return this.memory.get<string[]>(KEY, []);
  }

  /** Puts a prompt in front and keeps `length` of them; 0 forgets all. */
  async add(prompt: string, length: number): Promise<void> {
    const others = this.prompts.filter((other) => other !== prompt);
    await this.memory.update(KEY, [prompt, ...others].slice(0, length));
  }

  /** Forgets all. */
  async clear(): Promise<void> {
    await this.memory.update(KEY, undefined);
  }
}
