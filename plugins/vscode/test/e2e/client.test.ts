// The client against a real daemon, which it starts itself.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { ask, connect, type Connection, type ConnectOptions } from "../../src/client/connection";
import { draw, type Progress } from "../../src/client/drawing";
import { Failure } from "../../src/client/failure";
import { fetchPicture, recent } from "../../src/client/library";
import type { Picture } from "../../src/client/picture";
import type { GenerateRequest } from "../../src/contract/imgd/v1/GenerateRequest";
import type { GetJobResponse__Output as GetJob } from "../../src/contract/imgd/v1/GetJobResponse";
import type { ListJobsResponse__Output as ListJobs } from "../../src/contract/imgd/v1/ListJobsResponse";
import { pngSize, recipe } from "../../src/recipe";
import { fileName } from "../../src/text/slug";
import { type Home, IMGCTL, makeHome, PROTO_FOLDER, until } from "../support/home";

const home: Home = makeHome();
const options: ConnectOptions = {
  protoFolder: PROTO_FOLDER,
  socket: "",
  imgctl: IMGCTL,
  autostart: true,
  env: home.env,
};
let connection: Connection;
const never = new AbortController().signal;

/** Draws one picture and gives what happened. */
async function drawn(
  request: GenerateRequest,
  signal = never,
  onProgress: (progress: Progress) => void = () => undefined,
) {
  const progress: Progress[] = [];
  const drawing = await draw(connection, request, signal, (event) => {
    progress.push(event);
    onProgress(event);
  });
  return { progress, jobId: drawing.jobId, picture: drawing.pictures[0] as Picture };
}

/** The failure that a promise ends with. */
async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const error = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(error instanceof Failure, String(error));
  return error;
}

before(async () => {
  const refused = await failureOf(connect({ ...options, autostart: false }));
  assert.equal(refused.reason, "DAEMON_UNAVAILABLE");
  assert.match(refused.message, /nobody listens/);
  let wasStarting = false;
  connection = await connect({ ...options, onStarting: () => (wasStarting = true) });
  assert.ok(wasStarting);
});

after(() => {
  connection?.close();
  home.end();
});

test("starting loads no model, and a second connection starts nothing", async () => {
  assert.equal(connection.socket, home.socket);
  assert.equal(connection.status.started_by, "STARTED_BY_CLIENT");
  assert.deepEqual(connection.status.models, []);
  const again = await connect({ ...options, onStarting: () => assert.fail("it runs") });
  assert.equal(again.status.pid, connection.status.pid);
  again.close();
});

test("a picture comes with progress and previews, and is the one that imgctl draws", async () => {
  const { progress, picture } = await drawn({ prompt: "a red apple", seed: "7", preview_every_n_steps: 1 });
  const kinds = progress.map(({ kind }) => kind);
  assert.deepEqual([...new Set(kinds)], ["queued", "loading", "started", "step"]);
  const steps = progress.filter((event) => event.kind === "step");
  assert.deepEqual(
    steps.map(({ step }) => step),
    steps.map((_, at) => at + 1),
  );
  assert.equal(steps.at(-1)?.step, steps[0]?.count);
  for (const { preview } of steps.slice(0, -1)) {
    assert.ok(preview && pngSize(preview), "every step has a preview");
  }
  assert.deepEqual(pngSize(picture.bytes), [256, 256]);
  const theirs = join(home.folder, "theirs.png");
  execFileSync(IMGCTL, ["-q", "generate", "-", "--seed", "7", "-o", theirs], {
    env: home.env,
    input: "a red apple\n",
    timeout: 120_000,
  });
  assert.deepEqual(picture.bytes, readFileSync(theirs));
});

test("a seed of 64 bits goes there and back, and into the picture's recipe", async () => {
  const seed = "18446744073709551615";
  const { picture } = await drawn({ prompt: "a blue bird", seed, num_inference_steps: 2 });
  assert.equal(picture.metadata.settings?.seed, seed);
  const known = recipe(picture.bytes);
  assert.deepEqual([known?.prompt, known?.seed, known?.num_inference_steps], ["a blue bird", seed, 2]);
  const { picture: again } = await drawn(known ?? {});
  assert.deepEqual(again.bytes, picture.bytes);
});

test("cancelling midway ends the job in the daemon", async () => {
  const controller = new AbortController();
  let step = 0;
  const failure = await failureOf(
    drawn({ prompt: "a tall ship", num_inference_steps: 900, request_id: "to-cancel" }, controller.signal, (event) => {
      if (event.kind === "step" && (step = event.step) === 3) controller.abort();
    }),
  );
  assert.ok(failure.isCancelled);
  assert.ok(step < 900, `it went on to step ${step}`);
  await until("the daemon to say that it is cancelled", async () => {
    const { jobs } = await ask<ListJobs>((metadata, deadline, answer) =>
      connection.job.ListJobs({}, metadata, deadline, answer),
    );
    return jobs.find((job) => job.request?.request_id === "to-cancel")?.state === "JOB_STATE_CANCELLED";
  });
});

test("the library has the picture, its settings, its file and a thumbnail", async () => {
  const { jobId, picture } = await drawn({ prompt: "a green door", seed: "3", num_inference_steps: 2 });
  const { pictures } = await recent(connection);
  const kept = pictures[0];
  assert.deepEqual(
    [kept?.jobId, kept?.prompt, kept?.settings.seed, kept?.sizeBytes],
    [jobId, "a green door", "3", picture.bytes.length],
  );
  assert.ok(Math.abs((kept?.finishedMs ?? 0) - Date.now()) < 600_000);
  assert.deepEqual((await fetchPicture(connection, jobId, 0)).bytes, picture.bytes);
  const thumbnail = await fetchPicture(connection, jobId, 0, true);
  assert.deepEqual([...thumbnail.bytes.subarray(0, 3)], [0xff, 0xd8, 0xff]);
  const missing = await failureOf(fetchPicture(connection, jobId, 1));
  assert.equal(missing.reason, "IMAGE_NOT_FOUND");
  assert.equal(
    (await ask<GetJob>((m, d, answer) => connection.job.GetJob({ job_id: jobId }, m, d, answer))).job?.client,
    "vscode",
  );
});

test("a wrong request names its field, and says what would be right", async () => {
  const wrong = await failureOf(drawn({ prompt: "x", width_px: 7 }));
  assert.deepEqual([wrong.reason, wrong.field], ["INVALID_FIELD", "width_px"]);
  const sampler = await failureOf(drawn({ prompt: "x", sampler: "dpm++2m" }));
  assert.equal(sampler.field, "sampler");
  assert.match(`${sampler.message} ${sampler.hint}`, /dpmpp_2m/);
  const model = await failureOf(drawn({ prompt: "x", model: "nonesuch" }));
  assert.equal(model.reason, "MODEL_NOT_FOUND");
});

test("a picture to begin from changes what is drawn, by its strength", async () => {
  const { picture: from } = await drawn({ prompt: "a red apple", seed: "7" });
  const input = (strength: number) => ({
    prompt: "a green apple",
    seed: "9",
    input: { init_image: from.bytes, strength },
  });
  const { picture: near } = await drawn(input(0.3));
  const { picture: far } = await drawn(input(0.9));
  assert.equal(near.metadata.settings?.strength, 0.3);
  assert.notDeepEqual(near.bytes, far.bytes);
  assert.equal(recipe(near.bytes), undefined, "its recipe is not whole without the other picture");
});

test("what is private is in no library", async () => {
  const { jobId } = await drawn({ prompt: "a secret", private: true, num_inference_steps: 1 });
  assert.ok((await recent(connection)).pictures.every((kept) => kept.jobId !== jobId && kept.prompt !== "a secret"));
});

test("files are named as imgctl names them", async () => {
  const names = join(home.folder, "names");
  mkdirSync(names);
  const prompts = [
    "A red apple, on a table!",
    "Ein Apfel für Größe №5",
    "赤いリンゴ と ½",
    "…",
    "a_b c-d ".repeat(9),
    "İstanbul ß ǅ",
  ];
  for (const prompt of prompts) {
    const options = ["--seed", "3", "--steps", "1", "--private", "-o", `${names}/`];
    execFileSync(IMGCTL, ["-q", "generate", "-", ...options], { env: home.env, input: prompt, timeout: 120_000 });
  }
  assert.deepEqual(readdirSync(names).sort(), prompts.map((prompt) => fileName(prompt, "3", "png")).sort());
});
