// Builds the extension into dist/, and with `--tests` the tests into out/.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const contract = join(here, "../../proto");
const files = readdirSync(join(contract, "imgd/v1")).filter((name) => name.endsWith(".proto"));
process.chdir(here);

// The contract's types, made from the contract itself.
rmSync("src/contract", { recursive: true, force: true });
const options =
  "--keepCase --longs=String --enums=String --defaults --oneofs --grpcLib=@grpc/grpc-js --outDir=src/contract";
execFileSync(
  "node_modules/.bin/proto-loader-gen-types",
  [...options.split(" "), "-I", contract, "--", ...files.map((name) => `imgd/v1/${name}`)],
  {
    stdio: ["ignore", "ignore", "inherit"],
  },
);
execFileSync("node_modules/.bin/tsc", ["-p", "."], { stdio: "inherit" });

rmSync("dist", { recursive: true, force: true });
mkdirSync("dist/proto/imgd/v1", { recursive: true });
for (const name of files) {
  cpSync(join(contract, "imgd/v1", name), join("dist/proto/imgd/v1", name));
}
const common = { bundle: true, minify: true, legalComments: "none", logLevel: "warning" };
const { metafile } = await build({
  ...common,
  metafile: true,
  entryPoints: ["src/extension.ts"],
  outfile: "dist/extension.js",
  platform: "node",
  target: "node20",
  external: ["vscode"],
});
await build({
  ...common,
  entryPoints: ["src/webview/preview.ts", "src/webview/gallery.ts"],
  outdir: "dist/webview",
  format: "iife",
  target: "chrome122",
});
cpSync("media/style.css", "dist/webview/style.css");

// Our licences, and those of what is in the bundle.
const own = ["MIT", "APACHE"].map((name) => readFileSync(join("../..", `LICENSE-${name}`), "utf8"));
writeFileSync(
  "LICENSE.txt",
  `imgd may be used under the first or the second of these licences, as you like.\n\n${own.join("\n\n")}`,
);
const packages = [
  ...new Set(
    Object.keys(metafile.inputs).flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []),
  ),
].sort();
const licences = packages.map((name) => {
  const folder = join("node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
  return `${name} ${version} (${license})\n\n${file ? readFileSync(join(folder, file), "utf8") : "Its package has no text of its licence."}`;
});
writeFileSync("dist/third-party.txt", licences.join(`\n${"-".repeat(80)}\n\n`));

if (process.argv.includes("--tests")) {
  rmSync("out", { recursive: true, force: true });
  const folders = ["unit", "e2e", "extension", "webview", "package"];
  const tests = folders.flatMap((folder) =>
    readdirSync(join("test", folder))
      .filter((name) => name.endsWith(".test.ts"))
      .map((name) => join("test", folder, name)),
  );
  await build({
    ...common,
    minify: false,
    sourcemap: "inline",
    entryPoints: Object.fromEntries(tests.map((path) => [basename(path, ".ts"), path])),
    outdir: "out",
    outExtension: { ".js": ".cjs" },
    platform: "node",
    target: "node20",
    external: ["vscode", "playwright-core"],
  });
}
