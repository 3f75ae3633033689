// The page of a webview: nothing from anywhere, no script but ours.

import { randomBytes } from "node:crypto";

/** What a page is made with; addresses as the webview has them. */
export interface PageParts {
  title: string;
  cspSource: string;
  scriptUri: string;
  styleUri: string;
}

/** The page's HTML. Pictures come as messages and are shown as `blob:`; the script fills the body. */
export function page({ title, cspSource, scriptUri, styleUri }: PageParts): string {
  const nonce = randomBytes(16).toString("base64");
  const policy = `default-src 'none'; img-src blob:; style-src ${cspSource}; script-src 'nonce-${nonce}'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${styleUri}">
<title>${title}</title>
</head>
<body>
<main id="app"></main>
<script nonce="${nonce}" src="${scriptUri}"></script>
</body>
</html>`;
}
