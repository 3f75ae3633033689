// What is in the .vsix, and what is not.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import { FILES } from "../../src/client/contract";
import { VSIX, vsixFiles } from "../support/vsix";

const files = vsixFiles();
const text = (path: string) => files.get(path)?.toString("utf8") ?? assert.fail(`no ${path}`);

test("the package has what it needs and nothing else", () => {
  const wanted = [
    "[Content_Types].xml",
    "extension.vsixmanifest",
    "extension/LICENSE.txt",
    "extension/dist/extension.js",
    "extension/dist/third-party.txt",
    "extension/dist/webview/gallery.js",
    "extension/dist/webview/preview.js",
    "extension/dist/webview/style.css",
    ...FILES.map((file) => `extension/dist/proto/${file}`),
    "extension/media/icon.png",
    "extension/package.json",
    "extension/readme.md",
  ];
  assert.deepEqual([...files.keys()].sort(), wanted.sort());
  assert.ok(statSync(VSIX).size < 400_000, `${statSync(VSIX).size} bytes`);
});

test("its contract is the repository's", () => {
  for (const file of FILES) {
    assert.equal(text(`extension/dist/proto/${file}`), readFileSync(join(__dirname, "../../../proto", file), "utf8"));
  }
});

test("its manifest says where it runs, and what a folder that is not trusted may not set", () => {
  const manifest = text("extension.vsixmanifest");
  assert.match(manifest, /Microsoft.VisualStudio.Code.Engine" Value="\^1\.90\.0"/);
  assert.match(manifest, /ExtensionKind" Value="workspace"/);
  const { capabilities, contributes, main } = JSON.parse(text("extension/package.json"));
  assert.equal(main, "./dist/extension.js");
  assert.equal(capabilities.virtualWorkspaces.supported, false);
  for (const setting of ["imgd.socket", "imgd.imgctlPath"]) {
    assert.ok(capabilities.untrustedWorkspaces.restrictedConfigurations.includes(setting));
    assert.equal(contributes.configuration.properties[setting].scope, "machine-overridable");
  }
});

test("every command that it contributes is registered, and every one in a menu is contributed", () => {
  const { commands, menus } = JSON.parse(text("extension/package.json")).contributes;
  const names: string[] = commands.map(({ command }: { command: string }) => command);
  const program = text("extension/dist/extension.js");
  for (const name of names) {
    assert.ok(program.includes(`"${name}"`), name);
  }
  const inMenus = Object.values<{ command?: string }[]>(menus)
    .flat()
    .flatMap(({ command }) => command ?? []);
  assert.deepEqual(
    inMenus.filter((name) => !names.includes(name)),
    [],
  );
});

test("there is no path of the machine that built it, and the licences of what is in it are there", () => {
  const program = text("extension/dist/extension.js");
  assert.ok(!program.includes(join(__dirname, "../src")) && !program.includes("node_modules/"));
  for (const name of ["@grpc/grpc-js", "@grpc/proto-loader", "protobufjs", "long"]) {
    assert.match(text("extension/dist/third-party.txt"), new RegExp(`^${name} [0-9.]+ \\(`, "m"));
  }
  assert.doesNotMatch(text("extension/dist/third-party.txt"), /no text of its licence/);
});
