// What is being drawn, and what was: the state that panel and status bar show.

import * as vscode from "vscode";

import type { Run } from "./run";

/** All runs of this window, the one that is shown last. */
export class Runs {
  private readonly emitter = new vscode.EventEmitter<Run>();
  private readonly busy = new Set<Run>();
  private readonly drawn = new vscode.EventEmitter<Run>();
  /** Fires when a run changed. */
  readonly onDidChange = this.emitter.event;
  /** Fires when a picture was drawn. */
  readonly onDidDraw = this.drawn.event;
  /** The one that the panel shows. */
  shown: Run | undefined;

  /** Those that are not at their end, the oldest first. */
  get running(): Run[] {
    return [...this.busy];
  }

  /** Shows a run, which may be at its end already. */
  show(run: Run): void {
    this.shown = run;
    this.changed(run);
  }

  /** Tells whoever shows it. */
  changed(run: Run): void {
    if (run.isBusy) {
      this.busy.add(run);
    } else if (this.busy.delete(run) && run.picture) {
      this.drawn.fire(run);
    }
    this.emitter.fire(run);
  }

  dispose(): void {
    this.running.forEach((run) => run.cancel());
    this.emitter.dispose();
    this.drawn.dispose();
  }
}
