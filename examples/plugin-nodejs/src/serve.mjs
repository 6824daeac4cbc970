// Serves a plugin to its host: the handshake, TLS in both directions, health, and Lifecycle. What a plugin does is in
// trafficrouter.mjs and metricprovider.mjs; this file is the same for all.
import fs from 'node:fs';
import path from 'node:path';
import grpc from '@grpc/grpc-js';
import * as protoLoader from '@grpc/proto-loader';
import { selfSigned } from './certificate.mjs';
import { Refusal, UNIMPLEMENTED, toStatus } from './errors.mjs';
import { log } from './log.mjs';

const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
const contract = protoLoader.fromJSON(SLUICE_PROTO_JSON, options); // put in by build.mjs

// go-plugin's own services that are of use. The others may be left out.
const plumbing = protoLoader.fromJSON({ nested: {
  grpc: { nested: { health: { nested: { v1: { nested: {
    HealthCheckRequest: { fields: { service: { type: 'string', id: 1 } } },
    HealthCheckResponse: { fields: { status: { type: 'ServingStatus', id: 1 } }, nested: {
      ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } },
    } },
    Health: { methods: { Check: { requestType: 'HealthCheckRequest', responseType: 'HealthCheckResponse' } } },
  } } } } } },
  plugin: { nested: {
    Empty: { fields: {} },
    GRPCController: { methods: { Shutdown: { requestType: 'Empty', responseType: 'Empty' } } },
  } },
} }, options);

// Serve runs the process until the host ends it. Info is {name, version, kinds, configure}; services map the full names of
// services to {schema, methods}, and a method is an async function of the request and an AbortSignal.
export async function serve(info, services) {
  if (process.env.SLUICE_PLUGIN !== 'sluice') {
    console.error('This is a plugin of Sluice. It is started by the controller, or by plugin-conformance.');
    process.exit(1);
  }
  console.log = console.error; // standard output belongs to the handshake
  endWithHost();

  const server = new grpc.Server();
  const lifecycle = 'sluice.plugin.lifecycle.v1.Lifecycle';
  for (const [name, { methods }] of Object.entries({ ...services, [lifecycle]: { methods: lifecycleOf(info, services) } })) {
    server.addService(contract[name], implement(contract[name], methods));
  }
  server.addService(plumbing['grpc.health.v1.Health'], implement(plumbing['grpc.health.v1.Health'], {
    Check: async ({ service }) => ({ status: service === 'plugin' ? 'SERVING' : 'SERVICE_UNKNOWN' }),
  }));
  server.addService(plumbing['plugin.GRPCController'], implement(plumbing['plugin.GRPCController'], {
    Shutdown: async () => { setImmediate(() => process.exit(0)); return {}; },
  }));

  const { key, certificate, der } = await selfSigned();
  // The host's certificate is the only one that is trusted, so nobody else can connect.
  const credentials = grpc.ServerCredentials.createSsl(
    Buffer.from(process.env.PLUGIN_CLIENT_CERT), [{ private_key: Buffer.from(key), cert_chain: Buffer.from(certificate) }], true);
  const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR, 'plugin');
  await new Promise((resolve, reject) => server.bindAsync(`unix:${socket}`, credentials, (err) => (err ? reject(err) : resolve())));
  const unpadded = der.toString('base64').replace(/=+$/, '');
  fs.writeSync(1, `1|1|unix|${socket}|grpc|${unpadded}\n`);
}

function lifecycleOf(info, services) {
  return {
    Describe: async () => ({
      name: info.name,
      version: info.version,
      kinds: info.kinds ?? [],
      services: Object.entries(services).map(([name, { schema }]) => ({ name, config_schema: Buffer.from(JSON.stringify(schema)) })),
    }),
    Configure: async ({ config }) => { info.configure(config?.json); return {}; },
    Close: async () => ({}),
  };
}

// implement wraps methods for grpc-js. Those the plugin does not have answer UNIMPLEMENTED.
function implement(definition, methods) {
  const handlers = {};
  for (const name of Object.keys(definition)) {
    handlers[name] = (call, callback) => {
      const abort = new AbortController();
      call.on('cancelled', () => abort.abort(new Error('the call was cancelled'))); // also past its deadline
      const method = methods[name] ?? (async () => { throw new Refusal(UNIMPLEMENTED, `${name} is not implemented`); });
      method(call.request, abort.signal).then((answer) => callback(null, answer), (err) => {
        if (!(err instanceof Refusal)) log('error', `${name}: ${err.stack ?? err}`);
        callback(toStatus(err));
      });
    };
  }
  return handlers;
}

// endWithHost ends the process when its parent has gone without ending it.
function endWithHost() {
  const parent = process.ppid;
  setInterval(() => { if (process.ppid !== parent) process.exit(0); }, 1000).unref();
  process.on('SIGINT', () => {}); // Ctrl-C is for the host, which ends its plugins itself
}
