"""The menus of Nautilus, Dolphin and Finder, as they are installed, run as those programs run them."""

import configparser
import os
import plistlib
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from support import HOME, PLUGINS, Case, png, prompt, uri, write_png, write_upscaler

SCRIPTS = HOME / ".local/share/nautilus/scripts"
MENUS = HOME / ".local/share/kio/servicemenus"
SERVICES = HOME / "Library/Services"
UPSCALER = HOME / ".local/share/imgd/upscalers/2x-tiny.safetensors"


class Nautilus(Case):
    def script(self, name, *paths):
        uris = "".join(uri(path) + "\n" for path in paths)
        plain = os.fsdecode(b"".join(path + b"\n" for path in paths))
        names = [os.path.basename(path) for path in paths]
        return self.call(
            [SCRIPTS / name, *names], NAUTILUS_SCRIPT_SELECTED_URIS=uris, NAUTILUS_SCRIPT_SELECTED_FILE_PATHS=plain
        )

    def test_text_files_of_any_name_become_pictures(self):
        files = [self.write(name) for name in (b"a *.txt", b"line\nbreak.txt", b"-\xff%20'.txt", "süß.txt".encode())]
        self.assertEqual(self.script("Generate image from text file", *files), 0, self.err)
        for file in files:
            self.assertEqual(prompt(file[:-4] + b".png"), "a red apple")
        self.assertEqual(self.last_note()[0], "4 pictures are finished")

    def test_pictures_are_varied_and_enlarged(self):
        write_upscaler(UPSCALER)
        picture = os.path.join(self.folder, b"fox.png")
        write_png(picture, 64)
        self.assertEqual(self.script("Variation of this image", picture), 0, self.err)
        self.assertEqual(png(os.path.join(self.folder, b"fox-variation.png"))[:2], (64, 64))
        self.assertEqual(self.script("Upscale", picture), 0, self.err)
        self.assertEqual(png(os.path.join(self.folder, b"fox-upscaled.png"))[:2], (128, 128))

    def test_files_elsewhere_are_refused(self):
        uris = "sftp://host/a.txt\n"
        self.assertEqual(self.call([SCRIPTS / "Upscale"], NAUTILUS_SCRIPT_SELECTED_URIS=uris), 1)
        self.assertEqual(self.last_note(), ("No picture", "a.txt: it is not on this computer: copy it here first"))
        self.assertEqual(self.call([SCRIPTS / "Upscale"], NAUTILUS_SCRIPT_SELECTED_URIS=""), 2)


class Dolphin(Case):
    def menu(self, name):
        menu = configparser.RawConfigParser(interpolation=None)
        menu.optionxform = str
        menu.read(MENUS / name)
        return menu

    def run_action(self, menu, action, *paths):
        """Runs an action as its `Exec` says: words unquoted, `%F` the files."""
        words = shlex.split(menu[f"Desktop Action {action}"]["Exec"].replace("\\\\", "\\"))
        at = words.index("%F")
        words = [word.replace("%%", "%") for word in words[:at]]
        return self.call([*words, *paths])

    def test_menus_have_what_plasma_5_and_6_ask_for(self):
        for name in ("imgd-text.desktop", "imgd-picture.desktop"):
            self.assertTrue(os.access(MENUS / name, os.X_OK))
            entry = self.menu(name)["Desktop Entry"]
            self.assertEqual((entry["Type"], entry["X-KDE-Protocols"]), ("Service", "file"))
            self.assertEqual(entry["X-KDE-ServiceTypes"], "KonqPopupMenu/Plugin")
            for action in entry["Actions"].rstrip(";").split(";"):
                self.assertIn("Name", self.menu(name)[f"Desktop Action {action}"])
            if not shutil.which("desktop-file-validate"):
                continue
            said = subprocess.run(["desktop-file-validate", MENUS / name], capture_output=True, text=True, check=False)
            # It knows the type "Service" by name alone; these two keys are what KDE's menus are made of.
            others = [line for line in said.stdout.splitlines() if 'only valid for type "Application"' not in line]
            self.assertEqual(others, [])

    def test_actions_run_with_the_selected_files(self):
        write_upscaler(UPSCALER)
        files = [self.write("a b.txt"), self.write("-c'.md")]
        self.assertEqual(self.run_action(self.menu("imgd-text.desktop"), "imgd-generate", *files), 0, self.err)
        self.assertEqual(self.names(), [b"-c'.md", b"-c'.png", b"a b.png", b"a b.txt"])
        picture = os.path.join(self.folder, b"a b.png")
        self.assertEqual(self.run_action(self.menu("imgd-picture.desktop"), "imgd-vary", picture), 0, self.err)
        self.assertEqual(self.run_action(self.menu("imgd-picture.desktop"), "imgd-upscale", picture), 0, self.err)
        self.assertEqual(png(os.path.join(self.folder, b"a b-variation.png"))[:2], (256, 256))
        self.assertEqual(png(os.path.join(self.folder, b"a b-upscaled.png"))[:2], (512, 512))


class Finder(Case):
    def bundle(self, title):
        contents = SERVICES / f"{title}.workflow/Contents"
        with open(contents / "Info.plist", "rb") as info, open(contents / "document.wflow", "rb") as document:
            return plistlib.load(info), plistlib.load(document)

    def test_bundles_are_as_their_definition_makes_them(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["python3", PLUGINS / "finder/make.py", folder], check=True)
            made = sorted(path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file())
            self.assertEqual(len(made), 6)
            for path in made:
                self.assertEqual((Path(folder) / path).read_bytes(), (PLUGINS / "finder" / path).read_bytes(), path)
                self.assertEqual((SERVICES / path).read_bytes(), (PLUGINS / "finder" / path).read_bytes(), path)

    def test_bundles_have_the_keys_that_macos_reads(self):
        offered = {
            "Generate image from text file": ["public.plain-text"],
            "Variation of this image": ["public.image"],
            "Upscale": ["public.image"],
        }
        identifiers = set()
        for title, file_types in offered.items():
            info, document = self.bundle(title)
            (service,) = info["NSServices"]
            self.assertEqual(service["NSMenuItem"], {"default": title})
            self.assertEqual(service["NSMessage"], "runWorkflowAsService")
            self.assertEqual(service["NSRequiredContext"], {"NSApplicationIdentifier": "com.apple.finder"})
            self.assertEqual(service["NSSendFileTypes"], file_types)
            (step,) = document["actions"]
            action = step["action"]
            self.assertEqual(action["BundleIdentifier"], "com.apple.RunShellScript")
            self.assertEqual(set(action["AMParameterProperties"]), set(action["ActionParameters"]))
            # 1: input is arguments. 0 would be standard input, a path a line.
            self.assertEqual((action["ActionParameters"]["inputMethod"], action["ActionParameters"]["shell"]), (1, "/bin/sh"))
            about = document["workflowMetaData"]
            self.assertEqual(about["workflowTypeIdentifier"], "com.apple.Automator.servicesMenu")
            self.assertEqual(about["serviceInputTypeIdentifier"], about["inputTypeIdentifier"])
            self.assertEqual(about["serviceOutputTypeIdentifier"], "com.apple.Automator.nothing")
            identifiers |= {info["CFBundleIdentifier"], *(action[key] for key in ("UUID", "InputUUID", "OutputUUID"))}
        self.assertEqual(len(identifiers), 12)

    def run_action(self, title, *paths):
        """Runs the command as Automator does, where macOS' notifications are the only ones."""
        command = self.bundle(title)[1]["actions"][0]["action"]["ActionParameters"]["COMMAND_STRING"]
        return self.call(["/bin/sh", "-c", command, "-", *paths], NOTIFY_FAILS="1", GDBUS_FAILS="1")

    def test_commands_run_with_the_selected_files(self):
        write_upscaler(UPSCALER)
        files = [self.write("a b.txt"), self.write("-c\n'.md")]
        self.assertEqual(self.run_action("Generate image from text file", *files), 0, self.err)
        picture = os.path.join(self.folder, b"a b.png")
        self.assertEqual(self.run_action("Variation of this image", picture), 0, self.err)
        self.assertEqual(self.run_action("Upscale", picture), 0, self.err)
        self.assertEqual(png(os.path.join(self.folder, b"-c\n'.png"))[:2], (256, 256))
        self.assertEqual(png(os.path.join(self.folder, b"a b-variation.png"))[:2], (256, 256))
        self.assertEqual(png(os.path.join(self.folder, b"a b-upscaled.png"))[:2], (512, 512))
        self.assertEqual(self.notes()[-1][0], b"osascript")


class Install(Case):
    def test_removing_leaves_nothing_and_files_of_others_alone(self):
        home = Path(tempfile.mkdtemp(prefix="100% `new` "))
        environment = {**os.environ, "HOME": str(home)}
        environment.pop("XDG_DATA_HOME", None)
        other = home / ".local/share/nautilus/scripts/Other"
        other.parent.mkdir(parents=True)
        other.touch()
        managers = ["nautilus", "dolphin", "finder"]
        subprocess.run([PLUGINS / "files/install.sh", *managers], env=environment, check=True, capture_output=True)
        installed = [path for path in home.rglob("*") if path.is_file()]
        self.assertEqual(len(installed), 1 + 1 + 3 + 2 + 6)
        line = (home / ".local/share/kio/servicemenus/imgd-text.desktop").read_text().partition("Exec=")[2].splitlines()[0]
        quoted = str(home).replace("%", "%%").replace("`", "\\\\`")
        self.assertEqual(line, f'"{quoted}/.local/bin/imgd-files" generate %F')
        subprocess.run([PLUGINS / "files/install.sh", "--remove", *managers], env=environment, check=True, capture_output=True)
        self.assertEqual([path for path in home.rglob("*") if path.is_file()], [other])
