// Blocks users write, decoded strictly with the JSON Schema that Describe tells as well.
import Ajv from 'ajv';
import { invalid } from './errors.mjs';

const ajv = new Ajv({ allErrors: true });

// decoder returns a function from raw JSON (bytes; none is {}) to a block that fits the schema.
export function decoder(schema) {
  const fits = ajv.compile({ ...schema, additionalProperties: false });
  return (raw) => {
    let block;
    try {
      block = raw?.length ? JSON.parse(raw.toString('utf8')) : {};
    } catch (err) {
      throw invalid([{ field: '', description: `malformed JSON: ${err.message}` }]);
    }
    if (!fits(block)) throw invalid(fits.errors.map(violation));
    return block;
  };
}

function violation({ keyword, instancePath, params, message }) {
  switch (keyword) {
    case 'additionalProperties': return { field: path(`${instancePath}/${params.additionalProperty}`), description: 'unknown field' };
    case 'required': return { field: path(`${instancePath}/${params.missingProperty}`), description: 'is required' };
    default: return { field: path(instancePath), description: message };
  }
}

// path turns /routes/0/name into routes[0].name.
function path(pointer) {
  return pointer.split('/').slice(1).map((key) => (/^\d+$/.test(key) ? `[${key}]` : `.${key}`)).join('').replace(/^\./, '');
}
