// Drawing and inserting: files and links really are where they should be.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";

import { pngSize } from "../../src/recipe";
import { until } from "../support/home";
import { drive } from "./driver";
import { TextDocument, Uri } from "./values";

const { home, stub, workspace, open, pictures, end } = drive();

beforeEach(() => {
  stub.messages.length = 0;
  stub.answer = () => undefined;
  stub.prompt = undefined;
  for (const setting of ["outputFolder", "linkStyle", "previews", "private", "width"])
    stub.settings.delete(`imgd.${setting}`);
});
after(end);

/** The one picture that `action` writes into a folder. */
async function newPicture(action: () => Promise<unknown>, folder = "docs"): Promise<string> {
  const before = pictures(folder);
  await action();
  const fresh = pictures(folder).filter((name) => !before.includes(name));
  assert.equal(fresh.length, 1, JSON.stringify(stub.messages));
  const name = fresh[0] ?? "";
  assert.deepEqual(pngSize(readFileSync(join(workspace, folder, name))), [256, 256]);
  return name;
}

test("activating starts nothing", () => {
  assert.ok(!existsSync(home.socket));
  assert.equal(stub.panels.length, 0);
});

test("a picture is drawn, written beside the document, and linked where the cursor was, whatever is typed meanwhile", async () => {
  const document = open("post.md", "markdown", "# Apples\n\n|\n\nThe end\n");
  stub.prompt = "A [red] apple";
  const typing = stub.status.event((text) => {
    if (text.includes("step 2 of")) stub.edit(document, 0, "A line above\n");
  });
  const name = await newPicture(() => stub.run("imgd.insertImage"));
  typing.dispose();
  assert.match(name, /^a-red-apple-\d+\.png$/);
  assert.equal(document.text, `A line above\n# Apples\n\n![A \\[red\\] apple](${name})\n\nThe end\n`);
  const { posted, html } = stub.panel("imgd.preview");
  assert.match(
    html,
    /default-src 'none'; img-src blob:; style-src https:\/\/resources; script-src 'nonce-[A-Za-z0-9+/=]{24}'/,
  );
  assert.ok(posted.some(({ kind, isPreview }) => kind === "picture" && isPreview));
  const last = posted.filter(({ kind }) => kind === "picture").at(-1);
  assert.deepEqual(Buffer.from(last?.["bytes"] as Uint8Array), readFileSync(join(workspace, "docs", name)));
  assert.ok(stub.statusTexts.some((text) => /^\$\(sync~spin\) imgd: step \d+ of \d+ · \d+ s left$/.test(text)));
  assert.equal(stub.statusTexts.at(-1), "hidden");
});

test("selected text is the prompt, and the picture a paragraph behind it", async () => {
  const document = open("post.md", "markdown", "Look: |a **blue** bird|\nmore\n");
  stub.answer = (actions) => actions.find((action) => action === "Insert Link");
  const name = await newPicture(() => stub.run("imgd.generateFromSelection"));
  assert.match(name, /^a-blue-bird-\d+\.png$/);
  await until("the link", () => document.text.includes(name));
  assert.equal(document.text, `Look: a **blue** bird\n\n![a blue bird](${name})\nmore\n`);
  assert.deepEqual(
    stub.messages.map(({ text }) => text),
    [`imgd: drew ${name}`],
  );
});

test("without a selection the front matter has the prompt, and the picture comes behind it", async () => {
  const document = open("front.md", "markdown", "---\ntitle: T|itle\nimage_prompt: a green door\n---\ntext\n");
  stub.answer = (actions) => actions.find((action) => action === "Insert Link");
  const name = await newPicture(() => stub.run("imgd.generateFromSelection"));
  await until("the link", () => document.text.includes(name));
  assert.match(document.text, /^---\n[^]*\n---\n!\[a green door\]\(a-green-door-\d+\.png\)\n\ntext\n$/);
});

test("HTML gets an img with its size, AsciiDoc a macro, from the configured folder", async () => {
  stub.settings.set("imgd.outputFolder", "pictures of mine");
  mkdirSync(join(workspace, "pictures of mine"));
  stub.prompt = "a red apple";
  stub.answer = (labels) => labels[0];
  const html = open("page.html", "html", "<body>|</body>");
  const name = await newPicture(() => stub.run("imgd.insertImage"), "pictures of mine");
  assert.equal(
    html.text,
    `<body><img src="../pictures%20of%20mine/${name}" alt="a red apple" width="256" height="256"></body>`,
  );
  const adoc = open("page.adoc", "asciidoc", "= Title\n\n|\n");
  const other = await newPicture(() => stub.run("imgd.insertImage"), "pictures of mine");
  assert.equal(adoc.text, `= Title\n\nimage::../pictures%20of%20mine/${other}["a red apple"]\n`);
});

test("a picture of the gallery is inserted without drawing", async () => {
  const document = open("post.md", "markdown", "|");
  stub.answer = (labels) => labels.find((label) => label === "a blue bird");
  const before = pictures();
  await stub.run("imgd.insertImage");
  assert.deepEqual(pictures(), before, "the very same picture is there already");
  const name = before.find((name) => name.startsWith("a-blue-bird-"));
  assert.equal(document.text, `![a blue bird](${name})`);
});

test("a name that is taken is never written over", async () => {
  const mine = join(workspace, "a-tall-ship-7.png");
  writeFileSync(mine, "mine");
  const file = await stub.run("imgd.drawRequest", "a tall ship", {
    prompt: "a tall ship",
    seed: "7",
    num_inference_steps: 2,
  });
  assert.equal(file, join(workspace, "a-tall-ship-7-2.png"));
  assert.equal(readFileSync(mine, "utf8"), "mine");
});

test("documents that have no place on a disk, and languages without links, are refused before anything is drawn", async () => {
  stub.prompt = "a red apple";
  const refused = async (document: TextDocument, message: RegExp) => {
    stub.open(document, 0);
    const before = stub.statusTexts.length;
    await stub.run("imgd.insertImage");
    assert.match(stub.messages.at(-1)?.text ?? "", message);
    assert.equal(stub.statusTexts.length, before);
    assert.equal(document.text, "");
  };
  await refused(new TextDocument(new Uri("untitled", "Untitled-1"), "markdown", ""), /not saved yet.*Save it first/);
  await refused(
    new TextDocument(new Uri("vscode-vfs", "/github/a/b.md"), "markdown", ""),
    /no file on a disk \(`vscode-vfs:`\)/,
  );
  await refused(
    new TextDocument(Uri.file(join(workspace, "main.rs")), "rust", ""),
    /no link to a picture is known for the language `rust`/,
  );
  assert.deepEqual(stub.messages.at(-1)?.actions, ["Open Setting"]);
});

test("without a folder and a document the picture waits for a place", async () => {
  stub.editor = undefined;
  stub.folders = undefined;
  stub.prompt = "a red apple";
  stub.saveTo = join(home.folder, "mine.png");
  stub.answer = (actions) => actions.find((action) => action === "Save As…");
  try {
    await stub.run("imgd.generate");
    const file = await until("the file", () => existsSync(stub.saveTo ?? "") && readFileSync(stub.saveTo ?? ""));
    assert.deepEqual(pngSize(file), [256, 256]);
  } finally {
    stub.folders = [{ uri: Uri.file(workspace) }];
  }
});
