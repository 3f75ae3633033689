// What the daemon has kept: finished pictures, newest first, and their files.

import type { GenerateRequest__Output as Request } from "../contract/imgd/v1/GenerateRequest";
import type { GetImageResponse__Output as ImagePart } from "../contract/imgd/v1/GetImageResponse";
import type { Job__Output as Job } from "../contract/imgd/v1/Job";
import type { JobImage__Output as JobImage } from "../contract/imgd/v1/JobImage";
import type { ListImagesResponse__Output as ImagePage } from "../contract/imgd/v1/ListImagesResponse";
import type { ListJobsResponse__Output as JobPage } from "../contract/imgd/v1/ListJobsResponse";
import type { Settings__Output as Settings } from "../contract/imgd/v1/Settings";
import { ask, type Connection, metadata } from "./connection";
import { contractBroken, toFailure } from "./failure";
import { Assembly, type Picture } from "./picture";

/** Jobs that are asked for at once. */
const PAGE_SIZE = 20;

/** Pictures of one job that the gallery shows; the others are for `imgctl get`. */
const PICTURES_OF_A_JOB = 24;

/** A finished picture that the daemon keeps. */
export interface Kept {
  jobId: string;
  index: number;
  prompt: string;
  settings: Settings;
  /** What was asked for. Pictures that came with it are left out by the daemon. */
  request: Request;
  sizeBytes: number;
  /** When it was finished, in milliseconds since 1970. */
  finishedMs: number;
}

/** A page of pictures; `next` is empty after the last. */
export interface Page {
  pictures: Kept[];
  next: string;
}

/** The newest pictures, or those after a page. Jobs that have made none are passed over. */
export async function recent(connection: Connection, token = ""): Promise<Page> {
  const request = { page_size: PAGE_SIZE, page_token: token };
  const page = await ask<JobPage>((metadata, options, answer) =>
    connection.job.ListJobs(request, metadata, options, answer),
  );
  const pictures: Kept[] = [];
  for (const job of page.jobs.filter((job) => job.images_done > 0)) {
    pictures.push(...(await ofJob(connection, job)));
  }
  if (page.next_page_token !== "" && page.next_page_token === token) {
    throw contractBroken("a page names itself as the next");
  }
  return { pictures, next: page.next_page_token };
}

async function ofJob(connection: Connection, job: Job): Promise<Kept[]> {
  const request = { job_id: job.id, page_size: PICTURES_OF_A_JOB };
  const page = await ask<ImagePage>((metadata, options, answer) =>
    connection.job.ListImages(request, metadata, options, answer),
  );
  return page.images.flatMap((image) => kept(job, image) ?? []);
}

function kept(job: Job, image: JobImage): Kept | undefined {
  const settings = image.metadata?.settings;
  if (image.state !== "IMAGE_STATE_DONE" || !settings || !job.request) {
    return undefined;
  }
  return {
    jobId: job.id,
    index: image.image_index,
    prompt: job.images[image.image_index]?.prompt ?? job.request.prompt,
    settings,
    request: job.request,
    sizeBytes: Number(image.size_bytes),
    finishedMs: Number(image.finished?.seconds ?? 0) * 1000,
  };
}

/** A kept picture's file, or its thumbnail: a JPEG of at most 256x256 pixels. */
export function fetchPicture(
  connection: Connection,
  jobId: string,
  index: number,
  thumbnail = false,
): Promise<Picture> {
  return new Promise((resolve, reject) => {
    const assembly = new Assembly(!thumbnail);
    const stream = connection.job.GetImage({ job_id: jobId, image_index: index, thumbnail }, metadata());
    stream.on("data", (part: ImagePart) => {
      try {
        const picture = part.chunk ? assembly.accept(part.chunk) : undefined;
        if (picture) {
          resolve(picture);
        }
      } catch (error) {
        stream.cancel();
        reject(toFailure(error));
      }
    });
    stream.on("error", (error) => reject(toFailure(error)));
    // Without effect where the picture is complete.
    stream.on("end", () => reject(contractBroken("a picture ended before its last part")));
  });
}

/** Width and height of a picture in pixels: with a second pass, that one's. */
export function sizeOf(settings: Settings): [number, number] {
  const { hires } = settings;
  return hires ? [hires.width_px, hires.height_px] : [settings.width_px, settings.height_px];
}
