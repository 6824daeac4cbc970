// A metric provider: a number in what an HTTP service answers in JSON. The administrator gives the service's address in the
// plugin's entry, users a path below it, so that a template cannot aim the controller at anything else.
import { decoder } from './config.mjs';
import { invalid, unavailable } from './errors.mjs';
import { serve } from './serve.mjs';

const processSchema = {
  type: 'object', properties: { address: { type: 'string', pattern: '^https?://[^/?#]+$' } }, required: ['address'],
};
const schema = {
  type: 'object',
  properties: { path: { type: 'string', pattern: '^/' }, field: { type: 'string', minLength: 1 } },
  required: ['path', 'field'],
};
const decode = decoder(schema);
const decodeProcess = decoder(processSchema);
let address = ''; // of the service, since the last Configure

// measure returns the outcome of a measurement. A service that cannot be reached is an error status, not an outcome.
async function measure({ path, field }, signal) {
  const url = new URL(path, address);
  if (url.origin !== new URL(address).origin) throw invalid([{ field: 'path', description: 'leads to another host' }]);
  let answer, text;
  try {
    answer = await fetch(url, { signal, redirect: 'manual' });
    text = await bounded(answer);
  } catch (err) {
    throw unavailable(`asking ${url.host}: ${err.cause?.message ?? err.message}`);
  }
  const failed = (message) => ({ error: { message: `${url.host}: ${message}` } });
  if (answer.status !== 200) return failed(`it answered ${answer.status}`);
  let document;
  try {
    document = JSON.parse(text);
  } catch (err) {
    return failed(`the answer is not JSON: ${err.message}`);
  }
  const value = field.split('.').reduce((node, key) => node?.[key], document);
  return typeof value === 'number' ? { value: { scalar: value } } : failed(`the answer has no number at ${field}`);
}

// bounded reads an answer, and gives up on one that would fill the process.
async function bounded(answer) {
  const parts = [];
  let size = 0;
  for await (const part of answer.body ?? []) {
    size += part.length;
    if (size > 1 << 20) throw new Error('the answer is larger than 1 MiB');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

const methods = {
  Capabilities: async () => ({ capabilities: [] }),
  Validate: async ({ config }) => { decode(config?.json); return {}; },
  Measure: async ({ config }, signal) => {
    const block = decode(config?.json);
    return { ...await measure(block, signal), result_metadata: { field: block.field } };
  },
};

serve({
  name: 'json-metrics',
  version: '0.1.0',
  configure: (raw) => { ({ address } = decodeProcess(raw)); },
}, { 'sluice.plugin.metricprovider.v1.MetricProvider': { schema, methods } });
