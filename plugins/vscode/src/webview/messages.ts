// What goes between the extension and its pages.

/** The picture that the panel shows, but for its bytes. */
export interface RunView {
  title: string;
  /** Where it is, or what came of it. */
  words: string;
  /** Share that is done, 0 to 1; `null` where nobody knows. */
  fraction: number | null;
  state: "busy" | "done" | "failed" | "cancelled";
  /** What to do about a failure. */
  hint: string;
  notices: string[];
  /** Settings, as name and value. */
  details: [string, string][];
  /** Name of the file it was written to; empty where it was not. */
  savedAs: string;
  canRepeat: boolean;
  /** Why it cannot, as a sentence; empty where it can. */
  cannotRepeat: string;
}

export type ToPanel =
  | { kind: "nothing" }
  | { kind: "run"; run: RunView }
  | { kind: "picture"; bytes: Uint8Array; type: string; isPreview: boolean };

export type FromPanel = {
  kind: "ready" | "cancel" | "insert" | "save" | "open" | "again" | "copyPrompt" | "gallery" | "generate";
};

/** A picture of the gallery. */
export interface Item {
  key: string;
  prompt: string;
  details: [string, string][];
  thumbnail: Uint8Array;
  cannotRepeat: string;
}

export type ToGallery =
  | { kind: "busy" }
  | { kind: "items"; items: Item[]; isMore: boolean; isFirst: boolean }
  | { kind: "failed"; words: string };

export type FromGallery =
  | { kind: "ready" | "refresh" | "more" | "generate" }
  | { kind: "show" | "insert" | "save" | "again" | "copyPrompt"; key: string };
