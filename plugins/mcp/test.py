"""Tests of `imgctl mcp` from outside: with the official Python client, and with bare lines of JSON.

Run by test.sh beside this file. The one argument is an empty folder that everything happens in.
"""

import base64
import hashlib
import json
import os
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters

WORK = Path(sys.argv[1])
IMGD, IMGCTL = os.environ["IMGD"], os.environ["IMGCTL"]
PICTURES, ALLOWED = WORK / "pictures", WORK / "allowed"
# Nothing takes longer on any machine, unless it hangs.
LIMIT = 120
ENVIRONMENT = {
    "HOME": str(WORK / "home"),
    "PATH": os.environ["PATH"],
    "LANG": "C.UTF-8",
    "XDG_RUNTIME_DIR": str(WORK / "run"),
    "IMGD_BIN": IMGD,
}
ARGUMENTS = ["mcp", "--output-dir", str(PICTURES), "--allow-dir", str(ALLOWED)]


def server(*more):
    return StdioServerParameters(
        command=IMGCTL, args=[*ARGUMENTS, *more], env=ENVIRONMENT, cwd=str(WORK)
    )


def imgctl(*arguments):
    """The lines of `imgctl … --json`."""
    run = subprocess.run(
        [IMGCTL, *arguments, "--json"],
        env=ENVIRONMENT, cwd=WORK, capture_output=True, text=True, timeout=LIMIT, check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def jobs():
    return {job["job_id"]: job for job in imgctl("jobs", "--all") if job["event"] == "job"}


async def until(condition, what):
    with anyio.move_on_after(LIMIT):
        while not condition():
            await anyio.sleep(0.05)
        return
    raise AssertionError(f"not within {LIMIT} s: {what}")


def png_size(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n", data[:8]
    return struct.unpack(">II", data[16:24])


def text(result):
    return "\n".join(block.text for block in result.content if block.type == "text")


def images(result):
    return [base64.b64decode(block.data) for block in result.content if block.type == "image"]


def good(result):
    assert not result.is_error, text(result)
    return result.structured_content


def refused(result, field, says):
    assert result.is_error, text(result)
    error = result.structured_content["error"]
    assert error["field"] == field, error
    assert says in error["message"], error
    assert error["message"] in text(result)
    return error


async def tools_are_described(client):
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {
        "generate_image", "edit_image", "upscale_image", "list_models", "job_status", "cancel_job",
    }
    for tool in tools.values():
        assert tool.description and tool.title, tool.name
        for name, field in tool.input_schema["properties"].items():
            assert len(field["description"]) > 10, (tool.name, name)
    width = tools["generate_image"].input_schema["properties"]["width_px"]
    assert (width["minimum"], width["maximum"]) == (8, 4096), width
    assert tools["list_models"].annotations.read_only_hint
    assert tools["cancel_job"].annotations.destructive_hint
    listed = good(await client.call_tool("list_models", {}))
    assert listed["default"]["name"] == "starter", listed["default"]
    assert [model["name"] for model in listed["models"]] == ["starter"]
    assert "dpmpp_2m" in [sampler["name"] for sampler in listed["samplers"]]


async def a_picture_comes_with_its_path_and_its_settings(client):
    heard = []

    async def hear(progress, total, message):
        heard.append((progress, total, message))

    request = {"prompt": "a red apple", "seed": 7, "num_inference_steps": 6, "wait_secs": LIMIT}
    result = await client.call_tool("generate_image", request, progress_callback=hear)
    made = good(result)
    assert made["state"] == "succeeded" and made["fraction"] == 1.0, made
    [picture], [inline] = made["pictures"], images(result)
    path = Path(picture["path"])
    assert path == PICTURES / "a-red-apple-7.png", path
    assert str(path) in text(result)
    assert path.read_bytes() == inline and not picture["is_preview"]
    assert hashlib.sha256(inline).hexdigest() == picture["sha256"]
    assert png_size(inline) == (256, 256) == (picture["width_px"], picture["height_px"])
    settings = picture["settings"]
    assert (settings["seed"], settings["model"], settings["num_inference_steps"]) == (7, "starter", 6)
    # it only grows, and says what it is at
    values = [value for value, _, _ in heard]
    assert len(values) >= 3 and values == sorted(set(values)), heard
    assert all(total == 100 for _, total, _ in heard) and values[-1] <= 100, heard
    assert any("step" in message and "of 6" in message for _, _, message in heard), heard
    # the same picture is one file
    again = good(await client.call_tool("generate_image", request))
    assert again["pictures"][0]["path"] == str(path)
    assert [file.name for file in PICTURES.iterdir()] == ["a-red-apple-7.png"]
    # another one is not written over it
    other = good(await client.call_tool("generate_image", {**request, "num_inference_steps": 3}))
    assert other["pictures"][0]["path"] == str(PICTURES / "a-red-apple-7-2.png")
    assert path.read_bytes() == inline
    two = await client.call_tool(
        "generate_image", {**request, "num_inference_steps": 1, "num_images": 2, "seed": "20"}
    )
    assert [picture["seed"] for picture in good(two)["pictures"]] == [20, 21]
    assert len(images(two)) == 2


async def what_is_wrong_is_said_so_that_a_model_can_do_better(client):
    call = client.call_tool
    refused(await call("generate_image", {}), "prompt", "missing")
    refused(await call("generate_image", {"prompt": "x", "width_px": 12}), "width_px", "multiple of 8")
    refused(await call("generate_image", {"prompt": "x", "width_px": 9999}), "width_px", "4096")
    refused(await call("generate_image", {"prompt": "x", "size": "1x1"}), "size", "no field")
    error = refused(await call("generate_image", {"prompt": "x", "sampler": "eulr"}), "sampler", "eulr")
    assert "euler" in json.dumps(error), error
    refused(await call("generate_image", {"prompt": "x", "model": "/etc"}), "model", "not a path")
    refused(await call("generate_image", {"prompt": "x", "model": "nothing"}), "model", "nothing")
    refused(await call("edit_image", {"prompt": "x"}), "image_path", "no picture")
    refused(await call("job_status", {"job_id": "abcd"}), "job_id", "no such job")
    unknown = await call("job_status", {"job_id": "0" * 32})
    assert unknown.is_error and unknown.structured_content["error"]["reason"] == "JOB_NOT_FOUND"
    no_upscaler = await call("upscale_image", {"image_path": str(PICTURES / "a-red-apple-7.png")})
    assert no_upscaler.is_error and no_upscaler.structured_content["error"]["field"] == "upscaler", text(no_upscaler)
    try:
        await call("draw_me_a_sheep", {})
    except Exception as error:  # the protocol's own error, whatever this client calls it
        assert "generate_image" in str(error), error
    else:
        raise AssertionError("a tool that is not there was called")


async def pictures_are_edited_and_nothing_else_is_read(client):
    source = PICTURES / "a-red-apple-7.png"
    common = {"prompt": "a green apple", "seed": 3, "num_inference_steps": 6, "wait_secs": LIMIT}
    by_path = await client.call_tool("edit_image", {**common, "image_path": str(source), "strength": 0.5})
    settings = good(by_path)["pictures"][0]["settings"]
    assert settings["strength"] == 0.5, settings
    assert images(by_path)[0] != source.read_bytes()
    brought = {"image_base64": base64.b64encode(source.read_bytes()).decode(), "strength": 0.5}
    by_bytes = await client.call_tool("edit_image", {**common, **brought})
    assert images(by_bytes) == images(by_path)
    # a mask that is black everywhere but in a corner
    (ALLOWED / "mask.png").write_bytes(mask_png(256))
    masked = await client.call_tool(
        "edit_image",
        {**common, "image_path": str(source), "mask_path": str(ALLOWED / "mask.png"), "strength": 1.0},
    )
    assert images(masked)[0] != images(by_path)[0] and good(masked)["state"] == "succeeded"

    outside = WORK / "outside"
    outside.mkdir()
    (outside / "private.png").write_bytes(source.read_bytes())
    (ALLOWED / "notes.txt").write_text("a secret")
    (ALLOWED / "link.png").symlink_to(outside / "private.png")
    words = set()
    for path in [
        outside / "private.png", outside / "nothing.png", ALLOWED / "link.png", ALLOWED / "../outside/private.png",
        Path("/etc/passwd"), WORK / "home/.local/share/imgd/journal.db",
    ]:
        result = await client.call_tool("edit_image", {**common, "image_path": str(path)})
        refused(result, "image_path", "outside")
        words.add(text(result))
    # whether anything is there cannot be told from the words
    assert len(words) == 1, words
    result = await client.call_tool("edit_image", {**common, "image_path": str(ALLOWED / "notes.txt")})
    refused(result, "image_path", "no PNG, JPEG or WebP")
    assert "secret" not in json.dumps(result.structured_content)
    refused(await client.call_tool("edit_image", {**common, "image_path": "a.png"}), "image_path", "absolute")
    refused(await client.call_tool("edit_image", {**common, "image_base64": "no!"}), "image_base64", "base64")


def mask_png(side):
    """White in the upper left quarter, black elsewhere."""
    import zlib

    row = lambda y: b"\0" + bytes(255 if x < side // 2 and y < side // 2 else 0 for x in range(side))
    chunk = lambda kind, data: (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(row(y) for y in range(side)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


LONG = {"prompt": "a long way", "num_inference_steps": 1000, "wait_secs": 3600}


async def a_cancelled_call_ends_its_job(client):
    before = set(jobs())
    began = anyio.Event()

    async def hear(progress, total, message):
        if "step" in (message or ""):
            began.set()

    async with anyio.create_task_group() as group:
        async def draw():
            await client.call_tool("generate_image", LONG, progress_callback=hear)

        group.start_soon(draw)
        with anyio.fail_after(LIMIT):
            await began.wait()
        # the client sends notifications/cancelled for the call it gives up
        group.cancel_scope.cancel()
    [job_id] = set(jobs()) - before
    await until(lambda: jobs()[job_id]["state"] == "cancelled", "the job of a cancelled call ends")
    # the connection is as good as before
    assert (await client.list_tools()).tools


async def a_job_that_nobody_waits_for_is_asked_for_later(client):
    request = {"prompt": "a blue boat", "seed": 5, "num_inference_steps": 4, "wait_secs": 0}
    submitted = await client.call_tool("generate_image", request)
    job = good(submitted)
    assert job["state"] in ("queued", "running", "succeeded"), job
    assert job["job_id"] in text(submitted) or job["state"] == "succeeded"
    status = await client.call_tool("job_status", {"job_id": job["job_id"], "wait_secs": LIMIT})
    finished = good(status)
    assert finished["state"] == "succeeded" and len(images(status)) == 1, finished
    assert Path(finished["pictures"][0]["path"]) == PICTURES / "a-blue-boat-5.png"
    bare = await client.call_tool("job_status", {"job_id": job["job_id"], "with_pictures": False})
    assert good(bare)["pictures"] == finished["pictures"] and images(bare) == []

    long = good(await client.call_tool("generate_image", {**LONG, "wait_secs": 0}))
    ended = good(await client.call_tool("cancel_job", {"job_id": long["job_id"]}))
    await until(lambda: jobs()[long["job_id"]]["state"] == "cancelled", "cancel_job ends a job")
    assert ended["job_id"] == long["job_id"]


async def what_the_user_draws_is_no_affair_of_a_model(client):
    [job] = [line for line in imgctl("generate", "a private affair", "--steps", "1", "--detach")]
    for tool in ("job_status", "cancel_job"):
        result = await client.call_tool(tool, {"job_id": job["job_id"]})
        assert result.is_error and "affair" not in text(result), text(result)
        assert result.structured_content["error"]["reason"] == "JOB_NOT_FOUND"


async def nothing_is_kept_of_private_pictures():
    async with Client(server("--private")) as client:
        before = set(jobs())
        result = await client.call_tool("generate_image", {"prompt": "a marked badger", "num_inference_steps": 2, "seed": 1})
        made = good(result)
        assert made["job_id"] == "" and len(images(result)) == 1
        assert Path(made["pictures"][0]["path"]).exists()
        assert set(jobs()) == before
    kept = WORK / "home/.local"
    for file in kept.rglob("*"):
        if file.is_file():
            assert b"marked badger" not in file.read_bytes(), file


async def standard_output_is_the_protocol_and_its_end_ends_the_work():
    """Without any client's help, and with the handshake of older clients."""
    before = set(jobs())
    child = subprocess.Popen(
        [IMGCTL, *ARGUMENTS], env=ENVIRONMENT, cwd=WORK, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )

    def send(message):
        child.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        child.stdin.flush()

    def receive():
        line = child.stdout.readline()
        assert line.endswith("\n"), repr(line)
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0", message
        return message

    initialize = {
        "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "bare", "version": "0"},
    }
    send({"id": 1, "method": "initialize", "params": initialize})
    info = receive()["result"]
    assert info["serverInfo"]["name"] == "imgd" and info["protocolVersion"] == "2024-11-05", info
    send({"method": "notifications/initialized"})
    call = {"name": "generate_image", "arguments": LONG, "_meta": {"progressToken": "t"}}
    send({"id": 2, "method": "tools/call", "params": call})
    message = receive()
    while "step" not in message.get("params", {}).get("message", ""):
        assert message["method"] == "notifications/progress", message
        assert message["params"]["progressToken"] == "t"
        message = receive()
    [job_id] = set(jobs()) - before
    child.stdin.close()
    for line in child.stdout:
        json.loads(line)
    assert child.wait(timeout=LIMIT) == 0, child.stderr.read()
    await until(lambda: jobs()[job_id]["state"] == "cancelled", "the end of the client ends what it waits for")
    # a client that comes and goes is no failure
    empty = subprocess.run([IMGCTL, *ARGUMENTS], env=ENVIRONMENT, cwd=WORK, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
    assert (empty.returncode, empty.stdout) == (0, b""), empty
    for flag, folder, hint in [("--allow-dir", "/nonexistent", b"that is there"), ("--output-dir", IMGCTL, b"may write to")]:
        wrong = subprocess.run([IMGCTL, "mcp", flag, folder], env=ENVIRONMENT, cwd=WORK, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
        assert wrong.returncode == 1 and folder.encode() in wrong.stderr and hint in wrong.stderr and wrong.stdout == b"", wrong


async def main():
    ALLOWED.mkdir()
    passed = failed = 0

    async def run(test, *arguments):
        nonlocal passed, failed
        began = time.monotonic()
        try:
            with anyio.fail_after(5 * LIMIT):
                await test(*arguments)
        except BaseException:
            failed += 1
            print(f"FAILED {test.__name__}")
            traceback.print_exc()
        else:
            passed += 1
            print(f"ok {test.__name__} ({time.monotonic() - began:.1f} s)")

    async with Client(server()) as client:
        # the first call starts the daemon
        for test in [
            tools_are_described,
            a_picture_comes_with_its_path_and_its_settings,
            what_is_wrong_is_said_so_that_a_model_can_do_better,
            pictures_are_edited_and_nothing_else_is_read,
            a_cancelled_call_ends_its_job,
            a_job_that_nobody_waits_for_is_asked_for_later,
            what_the_user_draws_is_no_affair_of_a_model,
        ]:
            await run(test, client)
    await run(nothing_is_kept_of_private_pictures)
    await run(standard_output_is_the_protocol_and_its_end_ends_the_work)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


anyio.run(main)
