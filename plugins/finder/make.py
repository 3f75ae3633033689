#!/usr/bin/env python3
"""Writes the Quick Actions' bundles beside this file, or into the folder that is given.

One definition for the three: Automator's form is long, and differs in five places.
"""

import plistlib
import sys
import uuid
from pathlib import Path

# Title, verb of imgd-files, what Finder offers it for, and Automator's name for that.
ACTIONS = [
    ("Generate image from text file", "generate", ["public.plain-text"], "com.apple.Automator.fileSystemObject"),
    ("Variation of this image", "vary", ["public.image"], "com.apple.Automator.fileSystemObject.image"),
    ("Upscale", "upscale", ["public.image"], "com.apple.Automator.fileSystemObject.image"),
]

# What the action runs; the selected files' paths are its arguments.
COMMAND = """core=$HOME/.local/bin/imgd-files
[ -x "$core" ] || core=$(PATH=$PATH:/opt/homebrew/bin:/usr/local/bin command -v imgd-files)
exec "${{core:-imgd-files}}" {verb} "$@"
"""

NOTHING = "com.apple.Automator.nothing"


def information(title, file_types):
    """Info.plist: where macOS offers the action."""
    return {
        "CFBundleIdentifier": "org.imgd.finder." + title.split()[0].lower(),
        "CFBundleName": title,
        "CFBundlePackageType": "BNDL",
        "CFBundleShortVersionString": "1.0",
        "NSServices": [
            {
                "NSBackgroundColorName": "background",
                "NSIconName": "NSActionTemplate",
                "NSMenuItem": {"default": title},
                "NSMessage": "runWorkflowAsService",
                "NSRequiredContext": {"NSApplicationIdentifier": "com.apple.finder"},
                "NSSendFileTypes": file_types,
            }
        ],
    }


def document(title, verb, input_type):
    """document.wflow: one action, "Run Shell Script", with its input as arguments."""

    def identifier(part):
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"imgd/finder/{title}/{part}")).upper()

    texts = {"Container": "List", "Types": ["com.apple.cocoa.string"]}
    parameters = {
        "CheckedForUserDefaultShell": True,
        "COMMAND_STRING": COMMAND.format(verb=verb),
        "inputMethod": 1,
        "shell": "/bin/sh",
        "source": "",
    }
    action = {
        "ActionBundlePath": "/System/Library/Automator/Run Shell Script.action",
        "ActionName": "Run Shell Script",
        "ActionParameters": parameters,
        "AMAccepts": {**texts, "Optional": True},
        "AMActionVersion": "2.0.3",
        "AMApplication": ["Automator"],
        "AMParameterProperties": {name: {} for name in parameters},
        "AMProvides": texts,
        "BundleIdentifier": "com.apple.RunShellScript",
        "CanShowSelectedItemsWhenRun": False,
        "CanShowWhenRun": True,
        "Category": ["AMCategoryUtilities"],
        "CFBundleVersion": "2.0.3",
        "Class Name": "RunShellScriptAction",
        "InputUUID": identifier("input"),
        "OutputUUID": identifier("output"),
        "UUID": identifier("action"),
        "UnlocalizedApplications": ["Automator"],
        "arguments": {},
        "isViewVisible": 1,
    }
    return {
        "AMApplicationBuild": "523",
        "AMApplicationVersion": "2.10",
        "AMDocumentVersion": "2",
        "actions": [{"action": action, "isViewVisible": 1}],
        "connectors": {},
        "workflowMetaData": {
            "applicationBundleIDsByPath": {},
            "applicationPaths": [],
            "inputTypeIdentifier": input_type,
            "outputTypeIdentifier": NOTHING,
            "presentationMode": 15,
            "processesInput": False,
            "serviceApplicationBundleID": "com.apple.finder",
            "serviceApplicationPath": "/System/Library/CoreServices/Finder.app",
            "serviceInputTypeIdentifier": input_type,
            "serviceOutputTypeIdentifier": NOTHING,
            "serviceProcessesInput": False,
            "systemImageName": "NSActionTemplate",
            "useAutomaticInputType": False,
            "workflowTypeIdentifier": "com.apple.Automator.servicesMenu",
        },
    }


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for title, verb, file_types, input_type in ACTIONS:
        contents = root / f"{title}.workflow" / "Contents"
        contents.mkdir(parents=True, exist_ok=True)
        for name, plist in [
            ("Info.plist", information(title, file_types)),
            ("document.wflow", document(title, verb, input_type)),
        ]:
            (contents / name).write_bytes(plistlib.dumps(plist))


if __name__ == "__main__":
    main()
