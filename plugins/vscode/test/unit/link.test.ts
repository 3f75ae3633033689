import assert from "node:assert/strict";
import test from "node:test";

import { Failure } from "../../src/client/failure";
import { link, oneLine, relativePath, styleOf } from "../../src/text/link";

const apple = {
  path: "pictures/a red apple (7).png",
  alt: "a [red] apple",
  isAlone: true,
  size: [256, 128] as [number, number],
};

test("every language gets its own link, with what would end it early encoded", () => {
  assert.equal(link("markdown", apple), "![a \\[red\\] apple](pictures/a%20red%20apple%20%287%29.png)");
  assert.equal(link("mdx", { ...apple, alt: "{x}" }), "![\\{x\\}](pictures/a%20red%20apple%20%287%29.png)");
  assert.equal(
    link("html", { ...apple, alt: 'say "<b>" & go' }),
    '<img src="pictures/a%20red%20apple%20%287%29.png" alt="say &quot;&lt;b&gt;&quot; &amp; go" width="256" height="128">',
  );
  assert.equal(
    link("asciidoc", { ...apple, alt: 'a "b", c]' }),
    'image::pictures/a%20red%20apple%20%287%29.png["a \\"b\\", c\\]"]',
  );
  assert.equal(
    link("asciidoc", { ...apple, isAlone: false }),
    'image:pictures/a%20red%20apple%20%287%29.png["a [red\\] apple"]',
  );
});

test("a path is relative to the document, with slashes, and is never taken for an address", () => {
  assert.equal(relativePath("/a/docs", "/a/docs/x.png"), "x.png");
  assert.equal(relativePath("/a/docs/deep", "/a/pictures/x.png"), "../../pictures/x.png");
  assert.equal(relativePath("/a", "/a/b:c.png"), "./b:c.png");
});

test("an alternative text is one line that is not too long", () => {
  assert.equal(oneLine("a\n red\tapple "), "a red apple");
  const long = oneLine("word ".repeat(100));
  assert.ok([...long].length <= 160 && long.endsWith("word…"), long);
});

test("the language decides how links are written, unless the setting does", () => {
  assert.equal(styleOf("markdown", "auto"), "markdown");
  assert.equal(styleOf("mdx", "markdown"), "mdx");
  assert.equal(styleOf("markdown", "html"), "html");
  assert.equal(styleOf("rust", "html"), "html");
  assert.throws(
    () => styleOf("rust", "auto"),
    (error) => error instanceof Failure && /`rust`/.test(error.message) && /linkStyle/.test(error.hint ?? ""),
  );
});
