// Why a call failed: the daemon's own words where it gave some, as google.rpc details carry them.

import { type ServiceError, status } from "@grpc/grpc-js";
import protobuf from "protobufjs";

/** `ErrorInfo.domain` of every error of the contract. */
const DOMAIN = "imgd";

/** Where a status carries its details. */
const DETAILS = "grpc-status-details-bin";

// google.rpc's messages with the numbers that googleapis gives them; only what imgd sends.
const DETAIL_MESSAGES = `syntax = "proto3"; package google.rpc;
message Any { string type_url = 1; bytes value = 2; }
message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
message BadRequest { message FieldViolation { string field = 1; string description = 2; } repeated FieldViolation field_violations = 1; }`;

const details = protobuf.parse(DETAIL_MESSAGES, { keepCase: true }).root;

/** What else is known of a failure. */
export interface Particulars {
  /** The request's field at fault, as the contract names it. */
  field?: string | undefined;
  /** What the user can do. */
  hint?: string | undefined;
}

/** A failure in the user's words. `reason` is one of the contract, e.g. `INVALID_FIELD`. */
export class Failure extends Error {
  readonly field: string | undefined;
  readonly hint: string | undefined;

  constructor(
    readonly reason: string,
    message: string,
    particulars: Particulars = {},
  ) {
    super(message);
    this.name = "Failure";
    this.field = particulars.field;
    this.hint = particulars.hint;
  }

  /** The user, or another client, ended the work. */
  get isCancelled(): boolean {
    return this.reason === "CANCELLED";
  }
}

/** The daemon broke the contract. */
export function contractBroken(what: string): Failure {
  return new Failure("INTERNAL", `imgd answered against the contract: ${what}`);
}

/** Whatever was thrown, as a failure. */
export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) {
    return error;
  }
  if (isServiceError(error)) {
    return ofStatus(error);
  }
  return new Failure("INTERNAL", error instanceof Error ? error.message : String(error));
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error && typeof error.code === "number";
}

function ofStatus(error: ServiceError): Failure {
  const said = read(error.metadata.get(DETAILS)[0]);
  if (said.reason !== undefined) {
    return new Failure(said.reason, error.details, said);
  }
  switch (error.code) {
    case status.CANCELLED:
      return new Failure("CANCELLED", "cancelled");
    case status.DEADLINE_EXCEEDED:
      return new Failure("DEADLINE_EXCEEDED", "imgd did not answer in time", {
        hint: "if it stays so, end it with `imgctl shutdown --force` and try again",
      });
    case status.UNIMPLEMENTED:
      return new Failure("PROTOCOL_MISMATCH", "this imgd does not know what it was asked", {
        hint: "update imgd: it is older than this extension",
      });
    case status.UNAVAILABLE:
    case status.UNKNOWN:
    case status.INTERNAL:
      return new Failure("DAEMON_UNAVAILABLE", "the connection to imgd was lost", {
        hint: "the daemon may have been ended; try again",
      });
    default:
      return new Failure("INTERNAL", error.details);
  }
}

interface Said extends Particulars {
  reason?: string;
}

/** What the details say; nothing where they are damaged or another's. */
function read(bytes: unknown): Said {
  const said: Said = {};
  if (!Buffer.isBuffer(bytes)) {
    return said;
  }
  const decode = (name: string, value: Uint8Array) =>
    details.lookupType(`google.rpc.${name}`).decode(value) as unknown as Record<string, unknown>;
  try {
    for (const any of decode("Status", bytes)["details"] as { type_url: string; value: Uint8Array }[]) {
      if (any.type_url.endsWith("/google.rpc.ErrorInfo")) {
        const info = decode("ErrorInfo", any.value) as {
          reason: string;
          domain: string;
          metadata: Record<string, string>;
        };
        if (info.domain === DOMAIN) {
          said.reason = info.reason;
          said.hint = info.metadata["hint"];
        }
      } else if (any.type_url.endsWith("/google.rpc.BadRequest")) {
        const bad = decode("BadRequest", any.value) as { field_violations: { field: string }[] };
        said.field = bad.field_violations[0]?.field;
      }
    }
  } catch {
    return said;
  }
  return said;
}
