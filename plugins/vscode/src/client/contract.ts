// The contract's services, loaded from the repository's own .proto files, which the build copies beside the program.

import { Client, credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import Long from "long";
import { join } from "node:path";
import protobuf from "protobufjs";

import type { DaemonServiceClient } from "../contract/imgd/v1/DaemonService";
import type { ImageServiceClient } from "../contract/imgd/v1/ImageService";
import type { JobServiceClient } from "../contract/imgd/v1/JobService";
import type { ModelServiceClient } from "../contract/imgd/v1/ModelService";
import type { ProtoGrpcType as DaemonPackage } from "../contract/daemon";
import type { ProtoGrpcType as ImagePackage } from "../contract/image";
import type { ProtoGrpcType as JobPackage } from "../contract/job";
import type { ProtoGrpcType as ModelPackage } from "../contract/model";

/** Version of the contract; a daemon of another number is not talked to. */
export const PROTOCOL = 1;

/** Files of the contract in its folder. */
export const FILES = ["daemon", "image", "job", "model"].map((name) => `imgd/v1/${name}.proto`);

/** A picture's chunks are small; lists and previews stay below this. */
const MAX_MESSAGE_BYTES = 64 << 20;

/** A client of each service, sharing one connection. */
export interface Services {
  daemon: DaemonServiceClient;
  image: ImageServiceClient;
  job: JobServiceClient;
  model: ModelServiceClient;
  close(): void;
}

// Seeds have 64 bits: found here, since the library looks for it in a way that a bundle does not have.
protobuf.util.Long = Long;
protobuf.configure();

/** Services on a socket. `folder`: where `imgd/v1` is. Nothing is sent before the first call. */
export function services(socket: string, folder: string): Services {
  const definition = loadSync(
    FILES.map((file) => join(folder, file)),
    {
      includeDirs: [folder],
      keepCase: true,
      longs: String,
      enums: String,
      defaults: true,
      oneofs: true,
    },
  );
  const contract = loadPackageDefinition(definition) as unknown as DaemonPackage &
    ImagePackage &
    JobPackage &
    ModelPackage;
  const { DaemonService, ImageService, JobService, ModelService } = contract.imgd.v1;
  const address = `unix:${socket}`;
  const options = {
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_retries": 0,
  };
  const insecure = credentials.createInsecure();
  const base = new Client(address, insecure, options);
  const shared = { ...options, channelOverride: base.getChannel() };
  return {
    daemon: new DaemonService(address, insecure, shared),
    image: new ImageService(address, insecure, shared),
    job: new JobService(address, insecure, shared),
    model: new ModelService(address, insecure, shared),
    close: () => base.close(),
  };
}
