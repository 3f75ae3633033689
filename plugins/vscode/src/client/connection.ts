// A connection to the daemon: find it, start it where nobody listens, check whom we talk to.

import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { connect as dial } from "node:net";

import type { GetStatusResponse__Output as Status } from "../contract/imgd/v1/GetStatusResponse";
import { PROTOCOL, type Services, services } from "./contract";
import { Failure, toFailure } from "./failure";
import { isThere, locate, surroundings } from "./place";
import { findImgctl, start } from "./start";

/** The name by which the daemon shows this client and shares its time. */
const CLIENT_NAME = "vscode";

/** Calls that only ask are answered in milliseconds; a machine under load gets this long. */
const ANSWER_TIMEOUT_MS = 30_000;

/** How to reach the daemon. */
export interface ConnectOptions {
  /** Folder of the contract's files. */
  protoFolder: string;
  /** The socket; empty for the user's own place. */
  socket: string;
  /** The program that starts the daemon; empty to look for it. */
  imgctl: string;
  /** Starts the daemon where nobody listens. */
  autostart: boolean;
  env: NodeJS.ProcessEnv;
  /** Is told that the daemon is being started. */
  onStarting?: () => void;
}

/** A checked connection. Close it. */
export interface Connection extends Services {
  socket: string;
  status: Status;
}

type Answer<T> = (error: ServiceError | null, value?: T) => void;

/** Makes a call that has one answer. */
export function ask<T>(
  call: (metadata: Metadata, deadline: { deadline: number }, answer: Answer<T>) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    call(metadata(), { deadline: Date.now() + ANSWER_TIMEOUT_MS }, (error, value) =>
      error || value === undefined ? reject(toFailure(error)) : resolve(value),
    );
  });
}

/** What every call carries. */
export function metadata(): Metadata {
  const metadata = new Metadata();
  metadata.set("imgd-client", CLIENT_NAME);
  return metadata;
}

/** Connects. Fails with what the user can do about it. */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const at = surroundings(options.socket, options.env);
  const socket = locate(at);
  const startIt = async () => {
    const imgctl = findImgctl(options.imgctl, options.env);
    options.onStarting?.();
    await start(imgctl, socket, options.env);
  };
  if (!(isThere(socket, at.uid) && (await listens(socket)))) {
    if (!options.autostart) {
      throw new Failure("DAEMON_UNAVAILABLE", `imgd is not running: nobody listens on \`${socket}\``, {
        hint: "turn the setting imgd.autostart on, or start it with `imgctl samplers`",
      });
    }
    await startIt();
    isThere(socket, at.uid);
  }
  let connection = await greet(socket, options.protoFolder);
  if (connection.status.draining && options.autostart) {
    // It is on its way out: imgctl waits for that and starts the next one.
    connection.close();
    await startIt();
    connection = await greet(socket, options.protoFolder);
  }
  return connection;
}

async function greet(socket: string, protoFolder: string): Promise<Connection> {
  const link = services(socket, protoFolder);
  try {
    const status = await ask<Status>((metadata, options, answer) =>
      link.daemon.GetStatus({}, metadata, options, answer),
    );
    if (status.protocol !== PROTOCOL) {
      throw new Failure(
        "PROTOCOL_MISMATCH",
        `imgd ${status.version} speaks protocol ${status.protocol}, this extension speaks ${PROTOCOL}`,
        {
          hint:
            status.protocol > PROTOCOL
              ? "update this extension"
              : "update imgd, then end the old one with `imgctl shutdown`",
        },
      );
    }
    return { ...link, socket, status };
  } catch (error) {
    link.close();
    throw error;
  }
}

/** Whether somebody takes connections there. Fails where the socket may not be used. */
function listens(socket: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = dial(socket);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") {
        resolve(false);
      } else {
        reject(new Failure("DAEMON_UNAVAILABLE", `cannot connect to \`${socket}\`: ${error.message}`));
      }
    });
  });
}
