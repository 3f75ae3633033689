// One request from its first event to its pictures. Its life is the stream: aborting it cancels the job in the daemon.

import type { Duration__Output as Duration } from "../contract/google/protobuf/Duration";
import type { GenerateRequest } from "../contract/imgd/v1/GenerateRequest";
import type { GenerateResponse__Output as Response } from "../contract/imgd/v1/GenerateResponse";
import type { Settings__Output as Settings } from "../contract/imgd/v1/Settings";
import { type Connection, metadata } from "./connection";
import { contractBroken, Failure, toFailure } from "./failure";
import { Assembly, type Picture } from "./picture";

/** What happens on the way. */
export type Progress =
  | { kind: "queued"; position: number }
  | { kind: "loading"; model: string; fraction: number }
  | { kind: "started"; settings: Settings; evaluations: number }
  | { kind: "step"; step: number; count: number; etaSecs: number | undefined; preview: Buffer | undefined }
  | { kind: "notice"; reason: string; message: string };

/** What came of it. */
export interface Drawing {
  jobId: string;
  pictures: Picture[];
}

/** Draws. Fails with the reason `CANCELLED` once `signal` is aborted. */
export function draw(
  connection: Connection,
  request: GenerateRequest,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<Drawing> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(new Failure("CANCELLED", "cancelled"));
      return;
    }
    const drawing: Drawing = { jobId: "", pictures: [] };
    const assembly = new Assembly();
    let isFinished = false;
    const stream = connection.image.Generate(request, metadata());
    const cancel = () => stream.cancel();
    signal.addEventListener("abort", cancel);
    const end = (failure?: Failure) => {
      signal.removeEventListener("abort", cancel);
      if (failure === undefined) {
        resolve(drawing);
      } else {
        stream.cancel();
        reject(failure);
      }
    };
    stream.on("data", (response: Response) => {
      try {
        drawing.jobId = response.job_id;
        if (response.image) {
          const picture = assembly.accept(response.image);
          if (picture) {
            drawing.pictures.push(picture);
          }
        }
        isFinished ||= response.event === "finished";
        const progress = toProgress(response);
        if (progress) {
          onProgress(progress);
        }
      } catch (error) {
        end(toFailure(error));
      }
    });
    stream.on("error", (error) => end(toFailure(error)));
    stream.on("end", () =>
      end(isFinished ? undefined : contractBroken("the events ended before the work was finished")),
    );
  });
}

/** The event in fewer words; `undefined` for parts of pictures, the end, and events of a later daemon. */
function toProgress(response: Response): Progress | undefined {
  const { queued, loading, started, step, notice } = response;
  if (queued) {
    return { kind: "queued", position: queued.position };
  }
  if (loading) {
    return { kind: "loading", model: loading.model, fraction: loading.fraction };
  }
  if (started?.settings) {
    return { kind: "started", settings: started.settings, evaluations: started.evaluation_count };
  }
  if (step) {
    const preview = step.preview?.png.length ? step.preview.png : undefined;
    return { kind: "step", step: step.index, count: step.count, etaSecs: toSecs(step.eta), preview };
  }
  if (notice) {
    return { kind: "notice", reason: notice.reason, message: notice.message };
  }
  return undefined;
}

/** A duration in seconds; `undefined` where there is none. */
export function toSecs(duration: Duration | null): number | undefined {
  return duration === null ? undefined : Number(duration.seconds) + duration.nanos / 1e9;
}
