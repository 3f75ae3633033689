// Writing a picture's file: whole or not at all, and never over another one.

import { randomBytes } from "node:crypto";
import { link, mkdir, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, extname, isAbsolute, join } from "node:path";

import { Failure } from "./client/failure";
import { withHome } from "./client/place";

/** More files of one name than this are a mistake. */
const MAX_NUMBER = 10_000;

/** Where a picture may go. */
export interface Places {
  /** The setting `imgd.outputFolder`. */
  configured: string;
  /** Folder of the document that the picture is for. */
  document?: string | undefined;
  /** The workspace's folder. */
  workspace?: string | undefined;
}

/** The folder for a picture: the configured one, else the document's, else the workspace's; `undefined` where there is none. */
export function folderFor({ configured, document, workspace }: Places, env: NodeJS.ProcessEnv): string | undefined {
  if (configured) {
    const path = withHome(configured, env);
    const base = workspace ?? document;
    return isAbsolute(path) ? path : base && join(base, path);
  }
  return document ?? workspace;
}

/**
 * Writes a file into a folder, which is made where it is missing.
 *
 * A name that is taken gets a number, `name-2`, `name-3`…; where the very same picture has it, that one stays alone.
 */
export async function save(folder: string, name: string, bytes: Uint8Array): Promise<string> {
  try {
    await mkdir(folder, { recursive: true });
    return await put(join(folder, name), bytes);
  } catch (error) {
    if (error instanceof Failure) {
      throw error;
    }
    const why = error instanceof Error ? error.message : String(error);
    throw new Failure("OUTPUT_NOT_CREATED", `the picture could not be written into \`${folder}\`: ${why}`, {
      hint: "name another folder in the setting imgd.outputFolder",
    });
  }
}

async function put(path: string, bytes: Uint8Array): Promise<string> {
  // The bytes go to a new file, which then gets its name in one step: nobody ever sees a part of a picture.
  const partial = join(dirname(path), `.imgd-${randomBytes(8).toString("hex")}.part`);
  try {
    await writeFile(partial, bytes, { flag: "wx" });
    for (let number = 1; number < MAX_NUMBER; number += 1) {
      const named = number === 1 ? path : numbered(path, number);
      try {
        await take(partial, named, bytes);
        return named;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
          throw error;
        }
        if (await isSame(named, bytes)) {
          return named;
        }
      }
    }
  } finally {
    await rm(partial, { force: true });
  }
  throw new Failure("OUTPUT_NOT_CREATED", `there are ${MAX_NUMBER} files like \`${path}\` already`);
}

/** Gives the file its name. Fails with `EEXIST` where the name is taken. */
async function take(partial: string, path: string, bytes: Uint8Array): Promise<void> {
  try {
    await link(partial, path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP" && code !== "ENOSYS") {
      throw error;
    }
    // A disk without links, such as a memory card's.
    const file = await open(path, "wx");
    try {
      await file.writeFile(bytes);
    } catch (failed) {
      await rm(path, { force: true });
      throw failed;
    } finally {
      await file.close();
    }
  }
}

/** Whether the file at the path has these bytes. What cannot be read has others. */
async function isSame(path: string, bytes: Uint8Array): Promise<boolean> {
  try {
    const { size } = await stat(path);
    return size === bytes.length && (await readFile(path)).equals(bytes);
  } catch {
    return false;
  }
}

function numbered(path: string, number: number): string {
  const extension = extname(path);
  return `${path.slice(0, path.length - extension.length)}-${number}${extension}`;
}
