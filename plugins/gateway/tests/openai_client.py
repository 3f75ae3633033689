"""The official `openai` client against a gateway: `OPENAI_BASE_URL` and `OPENAI_API_KEY` say which."""

import base64
import io
import json
import os
import subprocess
import unittest
import urllib.request

import openai

PNG = b"\x89PNG\r\n\x1a\n"
IMGCTL = os.environ["IMGCTL"]

client = openai.OpenAI(max_retries=0, timeout=180)


def bytes_of(item):
    return base64.b64decode(item.b64_json)


def size_of(png):
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


class Generations(unittest.TestCase):
    def test_a_program_for_gpt_image_1_works_unchanged(self):
        answer = client.images.generate(model="gpt-image-1", prompt="a red apple", quality="low")
        self.assertTrue(bytes_of(answer.data[0]).startswith(PNG))
        self.assertEqual(answer.output_format, "png")
        self.assertEqual(answer.quality, "low")
        self.assertEqual(answer.size, "%dx%d" % size_of(bytes_of(answer.data[0])))
        self.assertEqual(answer.usage.total_tokens, 0)

    def test_a_program_for_dall_e_3_works_unchanged(self):
        answer = client.images.generate(
            model="dall-e-3", prompt="a cat", size="256x256", quality="standard", style="vivid", n=1, user="u-1")
        self.assertIsNone(answer.data[0].b64_json)
        # without a key, as programs do
        with urllib.request.urlopen(answer.data[0].url) as response:
            self.assertEqual(response.headers["Content-Type"], "image/png")
            self.assertTrue(response.read().startswith(PNG))

    def test_the_same_seed_is_the_same_file(self):
        extra = {"seed": 11, "steps": 3, "cfg_scale": 2.5, "negative_prompt": "blur", "sampler": "euler"}
        first, again = (client.images.generate(prompt="a fox", n=2, extra_body=extra) for _ in range(2))
        self.assertEqual([bytes_of(item) for item in first.data], [bytes_of(item) for item in again.data])
        self.assertEqual([item.seed for item in first.data], [11, 12])
        self.assertNotEqual(*[bytes_of(item) for item in first.data])

    def test_formats(self):
        for name, beginning in [("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")]:
            answer = client.images.generate(
                prompt="a fox", output_format=name, extra_body={"steps": 1}, size="64x128")
            self.assertTrue(bytes_of(answer.data[0]).startswith(beginning))
            self.assertEqual((answer.output_format, answer.size), (name, "64x128"))


class Streams(unittest.TestCase):
    def test_partial_images_come_before_the_picture(self):
        stream = client.images.generate(
            prompt="a sailing boat", stream=True, partial_images=3, extra_body={"steps": 8})
        events = list(stream)
        partial = [event for event in events if event.type == "image_generation.partial_image"]
        self.assertEqual([event.partial_image_index for event in partial], [0, 1, 2])
        self.assertTrue(all(size_of(bytes_of(event)) == (256, 256) for event in partial))
        self.assertEqual(events[-1].type, "image_generation.completed")
        self.assertEqual(size_of(bytes_of(events[-1])), (256, 256))
        self.assertEqual(len(events), 4)

    def test_who_leaves_a_stream_ends_the_work(self):
        stream = client.images.generate(
            prompt="a castle", stream=True, partial_images=3, extra_body={"steps": 1000})
        next(iter(stream))
        stream.close()
        for _ in range(600):
            jobs = subprocess.run([IMGCTL, "--json", "jobs", "--all", "--limit", "1"], capture_output=True, check=True)
            state = json.loads(jobs.stdout.splitlines()[0])["state"]
            if state != "running":
                break
        self.assertEqual(state, "cancelled")


class Edits(unittest.TestCase):
    def setUp(self):
        answer = client.images.generate(prompt="a cat on grass", extra_body={"steps": 2})
        self.picture = bytes_of(answer.data[0])

    def file(self):
        return "picture.png", io.BytesIO(self.picture), "image/png"

    def test_a_picture_is_changed_by_a_prompt(self):
        answer = client.images.edit(
            model="gpt-image-1", image=self.file(), prompt="a dog on grass", input_fidelity="high",
            extra_body={"steps": 2, "seed": 4})
        self.assertEqual(size_of(bytes_of(answer.data[0])), size_of(self.picture))
        self.assertNotEqual(bytes_of(answer.data[0]), self.picture)

    def test_a_mask_says_where(self):
        # the picture's own size, transparent on the left: one row of filter byte and RGBA, compressed by zlib
        import struct
        import zlib

        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        row = b"\0" + b"\0\0\0\0" * 128 + b"\0\0\0\xff" * 128
        mask = PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 256, 256, 8, 6, 0, 0, 0)) + chunk(
            b"IDAT", zlib.compress(row * 256)) + chunk(b"IEND", b"")
        answer = client.images.edit(
            image=self.file(), mask=("mask.png", mask, "image/png"), prompt="a dog", extra_body={"steps": 2})
        self.assertEqual(size_of(bytes_of(answer.data[0])), (256, 256))

    def test_an_edit_is_streamed(self):
        events = list(client.images.edit(
            image=self.file(), prompt="a dog", stream=True, partial_images=1, extra_body={"steps": 4}))
        self.assertEqual([event.type for event in events], ["image_edit.partial_image", "image_edit.completed"])

    def test_variations(self):
        answer = client.images.create_variation(image=self.file(), n=2, response_format="b64_json")
        self.assertEqual([size_of(bytes_of(item)) for item in answer.data], [(256, 256)] * 2)


class Models(unittest.TestCase):
    def test_models_are_listed_and_retrieved(self):
        names = [model.id for model in client.models.list()]
        self.assertIn("starter", names)
        self.assertIn("gpt-image-1", names)
        self.assertEqual(client.models.retrieve("starter").object, "model")


class Errors(unittest.TestCase):
    def test_a_wrong_field_is_a_bad_request_that_names_it(self):
        for fields, param in [
            ({"size": "7x7"}, "size"),
            ({"n": 99}, "n"),
            ({"background": "transparent"}, "background"),
            ({"extra_body": {"sampler": "nonesuch"}}, "sampler"),
            ({"extra_body": {"setps": 3}}, "setps"),
        ]:
            with self.assertRaises(openai.BadRequestError) as caught:
                client.images.generate(prompt="a", **fields)
            self.assertEqual(caught.exception.param, param)

    def test_an_unknown_model_is_not_found(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            client.images.generate(prompt="a", model="nonesuch")
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_a_wrong_key_is_an_authentication_error(self):
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(api_key="wrong", max_retries=0).models.list()


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
