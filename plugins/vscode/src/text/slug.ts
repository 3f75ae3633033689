// File names made from prompts, as imgctl makes them.

/** A prompt's part of a file name has at most this many bytes. */
const MAX_SLUG_BYTES = 60;

/** The words of a text in small letters with `-` between them; `picture` where there are none. */
export function slug(text: string): string {
  const bytes = (text: string) => Buffer.byteLength(text);
  let slug = "";
  for (const word of text
    .toLowerCase()
    .split(/[^\p{Alphabetic}\p{N}]+/u)
    .filter(Boolean)) {
    if (slug === "") {
      for (const character of word) {
        if (bytes(slug) + bytes(character) > MAX_SLUG_BYTES) {
          break;
        }
        slug += character;
      }
    } else if (bytes(slug) + bytes(word) < MAX_SLUG_BYTES) {
      slug += `-${word}`;
    } else {
      break;
    }
  }
  return slug || "picture";
}

/** The name of a picture's file: `a-red-apple-7.png`. */
export function fileName(prompt: string, seed: string, extension: string): string {
  return `${slug(prompt)}-${seed}.${extension}`;
}
