// One picture on its way, or at its end.

import type { Progress } from "./client/drawing";
import type { Failure } from "./client/failure";
import type { Picture } from "./client/picture";
import type { GenerateRequest } from "./contract/imgd/v1/GenerateRequest";
import { fraction, progressWords } from "./text/words";

/** One picture on its way, or at its end. */
export class Run {
  private readonly controller = new AbortController();
  words = "connecting";
  fraction: number | undefined;
  preview: Buffer | undefined;
  notices: string[] = [];
  picture: Picture | undefined;
  failure: Failure | undefined;
  /** Where the picture was written. */
  savedAt: string | undefined;

  /** `title`: what a person knows it by, mostly the prompt. `again`: why the request cannot be made again, if so. */
  constructor(
    readonly title: string,
    readonly request: GenerateRequest,
    readonly cannotRepeat?: string,
  ) {}

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get isBusy(): boolean {
    return this.picture === undefined && this.failure === undefined;
  }

  /** Ends it; the daemon stops within one evaluation of the network. */
  cancel(): void {
    this.words = "cancelling";
    this.controller.abort();
  }

  /** Takes in what happened. */
  take(progress: Progress): void {
    if (progress.kind === "notice") {
      this.notices.push(progress.message);
      return;
    }
    if (!this.signal.aborted) {
      this.words = progressWords(progress);
    }
    this.fraction = fraction(progress);
    if (progress.kind === "step" && progress.preview) {
      this.preview = progress.preview;
    }
  }
}
