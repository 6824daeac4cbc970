// Makes each plugin one executable file: its sha256 in the ConfigMap then covers all that runs, and it needs nothing beside
// it, since the host runs a verified copy somewhere else.
//
// The contract is read from sdk/proto of this repository, or from the folder in SLUICE_PROTO, and becomes part of the file.
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import esbuild from 'esbuild';
import protobuf from 'protobufjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const protos = process.env.SLUICE_PROTO ?? path.join(here, '../../sdk/proto');
const out = process.env.SLUICE_OUT ?? path.join(here, 'dist');

const root = new protobuf.Root();
root.resolvePath = (_, target) => (target.startsWith('sluice/') ? path.join(protos, target) : target);
await root.load([
  'sluice/plugin/lifecycle/v1/lifecycle.proto',
  'sluice/plugin/trafficrouter/v1/trafficrouter.proto',
  'sluice/plugin/metricprovider/v1/metricprovider.proto',
], { keepCase: true });

for (const name of ['trafficrouter', 'metricprovider']) {
  const outfile = path.join(out, name);
  await esbuild.build({
    entryPoints: [path.join(here, 'src', `${name}.mjs`)],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node18',
    format: 'cjs', // what node takes a file without an extension for
    banner: { js: '#!/usr/bin/env node' },
    define: { SLUICE_PROTO_JSON: JSON.stringify(root.toJSON()) },
    legalComments: 'eof',
    logLevel: 'warning',
  });
  chmodSync(outfile, 0o755);
}
