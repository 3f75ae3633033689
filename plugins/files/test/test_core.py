"""The core: what becomes of files, whatever they are called, and what a person is told."""

import os
import signal
import subprocess

from support import CORE, HOME, Case, imgctl, png, prompt, write_png, write_upscaler

NAMES = [
    b"fox one.txt",
    b"-n x.txt",
    b"it's \"quoted\" $(touch x) `y` {seed}.txt",
    b"line\nbreak\n.txt",
    b"l\xe4tin \xff\x01.txt",
    b"100%41 \\0101 *?[a].md",
    "süß 画.txt".encode(),
    b".hidden",
    b"no ending",
]


class Generate(Case):
    def test_pictures_lie_beside_files_of_any_name(self):
        files = [self.write(name, b"a red apple, %d\n" % at) for at, name in enumerate(NAMES)]
        self.assertEqual(self.core("generate", *files), 0, self.err)
        self.assertEqual(len(self.names()), 2 * len(NAMES))
        for at, name in enumerate(NAMES):
            stem = name if name in (b".hidden", b"no ending") else name.rpartition(b".")[0]
            path = os.path.join(self.folder, stem + b".png")
            self.assertEqual(png(path)[:2], (256, 256))
            self.assertEqual(prompt(path), f"a red apple, {at}")
        self.assertEqual(self.last_note()[0], "9 pictures are finished")
        self.assertTrue(self.last_note()[1].startswith("fox one.png, -n x.png, it's \"quoted\""), self.last_note())

    def test_a_picture_never_overwrites_a_file(self):
        file = self.write("fox.txt")
        self.write("fox.png", b"mine")
        os.symlink("/nowhere", os.path.join(self.folder, b"fox-2.png"))
        for number in (3, 4):
            self.assertEqual(self.core("generate", file), 0, self.err)
            self.assertEqual(self.out, os.path.join(self.folder, b"fox-%d.png\n" % number))
            self.assertEqual(self.last_note(), ("The picture is finished", f"fox-{number}.png"))
        with open(os.path.join(self.folder, b"fox.png"), "rb") as kept:
            self.assertEqual(kept.read(), b"mine")

    def test_two_at_once_get_two_names(self):
        file = self.write("fox.txt")
        both = [self.start([CORE, "generate", file]) for _ in range(2)]
        self.assertEqual([one.communicate(timeout=120) and one.returncode for one in both], [0, 0])
        self.assertEqual(self.names(), [b"fox-2.png", b"fox.png", b"fox.txt"])

    def test_the_prompt_is_no_argument_of_any_process(self):
        self.settings("generate --steps 1000")
        file = self.write("fox.txt", b"a secret apple")
        running = self.start([CORE, "generate", file])
        self.wait(lambda: imgctl("jobs", "--state", "running"))
        processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True).stdout
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=120)
        self.assertIn(b"imgctl generate -", processes)
        self.assertNotIn(b"secret", processes)

    def test_the_notification_shows_the_picture_and_the_first_one_is_closed(self):
        file = self.write("a <b> & c.txt")
        self.assertEqual(self.core("generate", file), 0, self.err)
        first, closed, last = self.notes()
        self.assertEqual(closed, [b"closed"])
        self.assertIn(b"stop=Cancel", first)
        self.assertEqual(first[-2:], ["Drawing a picture…".encode(), b"a &lt;b&gt; &amp; c.txt"])
        self.assertEqual(last[last.index(b"-i") + 1], os.path.join(self.folder, b"a <b> & c.png"))
        self.assertEqual(self.last_note(), ("The picture is finished", "a &lt;b&gt; &amp; c.png"))

    def refused(self, file, why):
        before = self.names()
        self.assertEqual(self.core("generate", file), 1)
        self.assertEqual(self.last_note()[0], "No picture")
        self.assertIn(why, self.last_note()[1])
        self.assertEqual(self.names(), before)

    def test_what_cannot_be_drawn_is_told_with_what_to_do(self):
        self.refused("smb://server/share/fox.txt", "fox.txt: it is not on this computer: copy it here first")
        self.refused("file://other/fox.txt", "it is not on this computer")
        self.refused("trash:///fox.txt", "it is not on this computer")
        self.refused(self.folder, "it is a folder: select files")
        self.refused(self.folder + b"/gone.txt", "gone.txt: there is no such file")
        self.refused(self.write("empty.txt", b" \n"), "there is no text in it")
        self.refused(self.write("latin.txt", b"s\xfc\xdf"), "not UTF-8")
        self.settings("generate --sampler nonsense")
        self.refused(self.write("fox.txt"), "--sampler `nonsense` is not known hint: known are `ddim`")
        self.settings("generate --steps many")
        self.refused(self.write("fox.txt"), "`--num-inference-steps` cannot be `many`")

    def test_a_missing_program_is_told(self):
        path = ":".join(folder for folder in os.environ["PATH"].split(":") if not os.path.exists(f"{folder}/imgctl"))
        if os.path.exists("/usr/bin/imgctl") or os.path.exists("/usr/local/bin/imgctl"):
            self.skipTest("imgctl is installed for all")
        self.assertEqual(self.core("generate", self.write("fox.txt"), PATH=path), 1)
        self.assertIn("imgctl is not found: install it", self.last_note()[1])

    def test_of_several_the_good_ones_are_drawn(self):
        files = [self.write("bad.txt", b""), self.write("fox.txt")]
        self.assertEqual(self.core("generate", *files), 1)
        self.assertEqual(self.last_note(), ("1 of 2 pictures failed", "bad.txt: there is no text in it"))
        self.assertEqual(self.names(), [b"bad.txt", b"fox.png", b"fox.txt"])

    def test_nothing_selected_and_wrong_verbs_are_told(self):
        self.assertEqual(self.core("generate"), 2)
        self.assertEqual(self.last_note()[1], "Nothing is selected.")
        self.assertEqual(self.core("paint"), 2)
        self.assertIn(b"usage: imgd-files", self.err)

    def test_bash_does_as_dash_does(self):
        file = self.write(NAMES[4])
        self.assertEqual(self.call(["bash", "--posix", CORE, "generate", file]), 0, self.err)
        self.assertEqual(self.names(), sorted([NAMES[4], NAMES[4][:-4] + b".png"]))


class Cancel(Case):
    def cancelled(self, stop, **environment):
        self.settings("generate --steps 1000")
        running = self.start([CORE, "generate", self.write("a.txt"), self.write("b.txt")], **environment)
        self.wait(lambda: any(job["in_flight"] for job in imgctl("jobs", "--state", "running")))
        job = imgctl("jobs", "--state", "running")[0]["job_id"]
        stop(running)
        _, self.err = running.communicate(timeout=120)
        self.assertEqual(running.returncode, 130)
        self.assertEqual(imgctl("jobs", "show", job)[0]["state"], "cancelled")
        self.assertEqual(imgctl("jobs"), [])
        self.assertEqual(self.names(), [b"a.txt", b"b.txt"])

    def test_the_button_ends_all_of_it(self):
        click = os.path.join(self.folder, b"../click-%d" % os.getpid())
        self.cancelled(lambda _: open(click, "w").close(), NOTIFY_CLICK=os.fsdecode(click))
        self.assertEqual(self.last_note(), ("Cancelled", "No picture was made."))

    def test_so_does_a_signal_and_nothing_is_left(self):
        before = set(os.listdir(os.environ["TMPDIR"]))
        self.cancelled(lambda running: running.send_signal(signal.SIGTERM))
        self.assertEqual({name for name in os.listdir(os.environ["TMPDIR"]) if "imgd-files" in name} - before, set())
        self.assertEqual(self.last_note(), ("Cancelled", "No picture was made."))


class Vary(Case):
    def test_a_variation_has_the_pictures_prompt_and_size(self):
        file = self.write("a fox.txt", "ein süßer\nFuchs, \\n 100%".encode())
        self.settings("generate --steps 2 --size 64x128", "vary --steps 4")
        self.assertEqual(self.core("generate", file), 0, self.err)
        picture = os.path.join(self.folder, b"a fox.png")
        self.assertEqual(self.core("vary", picture), 0, self.err)
        varied = os.path.join(self.folder, b"a fox-variation.png")
        self.assertEqual(png(varied)[:2], (64, 128))
        self.assertEqual(prompt(varied), "ein süßer\nFuchs, \\n 100%")
        self.assertEqual(imgctl("history", "-n", "1")[0]["settings"]["strength"], 0.5)

    def test_other_programs_pictures_have_one_too(self):
        picture = os.path.join(self.folder, b"\xff.png")
        text = "ein süßes 画\nNegative prompt: x\nSteps: 9, Sampler: Euler".encode()
        write_png(picture, 64, [(b"tEXt", b"Software\0x"), (b"iTXt", b"parameters\0\0\0de\0Einstellungen\0" + text)])
        self.settings("vary --steps 4 --strength 0.75")
        self.assertEqual(self.core("vary", picture), 0, self.err)
        self.assertEqual(imgctl("history", "-n", "1")[0]["request"]["prompt"], "ein süßes 画")
        self.assertEqual(imgctl("history", "-n", "1")[0]["settings"]["strength"], 0.75)

    def test_a_text_beside_the_picture_is_the_prompt_of_one_that_has_none(self):
        picture = os.path.join(self.folder, b"photo.png")
        write_png(picture, 64)
        self.write("photo.txt", b"a green pear")
        self.assertEqual(self.core("vary", picture), 0, self.err)
        self.assertEqual(imgctl("history", "-n", "1")[0]["request"]["prompt"], "a green pear")

    def test_what_is_no_picture_is_refused(self):
        self.assertEqual(self.core("vary", self.write("fox.png", b"no picture")), 1)
        self.assertEqual(self.last_note(), ("No picture", "fox.png: it is no PNG, JPEG or WebP picture"))


class Upscale(Case):
    def test_a_picture_is_enlarged_beside_itself(self):
        write_upscaler(HOME / ".local/share/imgd/upscalers/2x-tiny.safetensors")
        picture = os.path.join(self.folder, b"a fox \xff.png")
        write_png(picture, 48)
        self.assertEqual(self.core("upscale", picture), 0, self.err)
        self.assertEqual(png(os.path.join(self.folder, b"a fox \xff-upscaled.png"))[:2], (96, 96))
        self.settings("upscale --scale 3")
        self.assertEqual(self.core("upscale", picture), 0, self.err)
        self.assertEqual(png(os.path.join(self.folder, b"a fox \xff-upscaled-2.png"))[:2], (144, 144))

    def test_without_an_upscaler_it_is_told_where_to_put_one(self):
        (HOME / ".local/share/imgd/upscalers/2x-tiny.safetensors").unlink(missing_ok=True)
        picture = os.path.join(self.folder, b"fox.png")
        write_png(picture, 48)
        self.assertEqual(self.core("upscale", picture), 1)
        self.assertIn("there is no upscaler in", self.last_note()[1])
        self.assertIn("hint: put its safetensors file there", self.last_note()[1])


class Notify(Case):
    def test_gdbus_stands_in_for_notify_send(self):
        file = self.write("it's \\ <x>.txt")
        self.assertEqual(self.core("generate", file, NOTIFY_FAILS="1"), 0, self.err)
        note = [part.decode() for part in self.notes()[-1]]
        self.assertEqual(note[0], "gdbus")
        self.assertEqual(note[-5:-3], ["'The picture is finished'", "'it\\'s \\\\ &lt;x&gt;.png'"])

    def test_osascript_gets_texts_as_arguments(self):
        file = self.write('" & (do shell script "x").txt')
        self.assertEqual(self.core("generate", file, NOTIFY_FAILS="1", GDBUS_FAILS="1"), 0, self.err)
        note = [part.decode() for part in self.notes()[-1]]
        self.assertEqual(note[0], "osascript")
        self.assertEqual(note[-2:], ["The picture is finished", '" & (do shell script "x").png'])
        self.assertNotIn("do shell", " ".join(note[:-1]))
