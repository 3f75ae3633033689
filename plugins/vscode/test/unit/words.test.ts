import assert from "node:assert/strict";
import test from "node:test";

import { Failure, toFailure } from "../../src/client/failure";
import { startFailure } from "../../src/client/start";
import { bytes, duration, failureWords, fraction, progressWords, settingOf } from "../../src/text/words";

test("a failure is a sentence, with what to do behind it", () => {
  const failure = new Failure("INVALID_FIELD", "width_px is 7: it must be a multiple of 8", {
    field: "width_px",
    hint: "use 8",
  });
  assert.equal(failureWords(failure), "imgd: width_px is 7: it must be a multiple of 8. Use 8.");
  assert.equal(failureWords(new Failure("DAEMON_UNAVAILABLE", "imgd is not running")), "imgd is not running.");
  assert.equal(settingOf(failure), "imgd.width");
  assert.equal(settingOf(new Failure("MODEL_NOT_FOUND", "no")), "imgd.model");
  assert.equal(settingOf(new Failure("QUEUE_FULL", "full")), undefined);
  assert.equal(failureWords(toFailure(new Error("broken!"))), "imgd: broken!");
});

test("imgctl's last words are the failure's", () => {
  const stderr =
    "note: starting imgd\nerror: imgd could not start (exit status 78):\n  error: config is wrong\nhint: all it said is in `/x/imgd.log`\n";
  const failure = startFailure(stderr, Object.assign(new Error("Command failed"), { code: 78 }));
  assert.equal(failure.message, "imgd could not start (exit status 78):\n  error: config is wrong");
  assert.deepEqual([failure.reason, failure.hint], ["CONFIG_INVALID", "all it said is in `/x/imgd.log`"]);
  assert.equal(startFailure("", new Error("spawn EACCES")).message, "spawn EACCES");
});

test("progress says step, steps and time", () => {
  const step = { kind: "step", step: 3, count: 12, etaSecs: 7.2, preview: undefined } as const;
  assert.equal(progressWords(step), "step 3 of 12 · 8 s left");
  assert.equal(fraction(step), 0.25);
  assert.equal(progressWords({ ...step, step: 12 }), "finishing");
  assert.equal(progressWords({ kind: "loading", model: "/models/sdxl/", fraction: 0.5 }), "loading sdxl 50 %");
  assert.equal(progressWords({ kind: "queued", position: 2 }), "waiting, 2 before it");
});

test("times and sizes are in units that people use", () => {
  assert.deepEqual([0.2, 59.5, 125, 12000].map(duration), ["1 s", "1 min 0 s", "2 min 5 s", "3 h 20 min"]);
  assert.deepEqual([12, 999, 33_700, 123_456_789].map(bytes), ["12 bytes", "999 bytes", "33.7 kB", "123 MB"]);
});
