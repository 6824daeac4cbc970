// Objects a plugin needs to see. JSON.parse would turn 9007199254740993 into its neighbour and 1.10 into 1.1, and the host
// would write that back; lossless-json keeps every digit.
import { parse, stringify } from 'lossless-json';
import { notFound } from './errors.mjs';

// NotReady says that the host has not shown the object yet: the answer is the list of needs and nothing else.
export class NotReady extends Error {
  constructor(need) {
    super(`${need.kind} ${need.namespace}/${need.name} is not there yet`);
    this.needs = [need];
  }
}

// get returns the object a need names among the inputs.
export function get(inputs, need) {
  const result = inputs.find(({ need: n }) => ['group', 'kind', 'namespace', 'name'].every((key) => n[key] === need[key]));
  if (result?.state !== 'STATE_SYNCED') throw new NotReady(need);
  if (result.objects.length === 0) throw notFound(need.kind, need.namespace, need.name);
  const before = result.objects[0].json.toString('utf8');
  return { before, tree: parse(before), need };
}

// changed is the write for an edited object; none if it says what it said.
export function changed({ before, tree }) {
  const json = stringify(tree);
  return json === stringify(parse(before)) ? [] : [{ operation: 'OPERATION_UPDATE', json: Buffer.from(json) }];
}

// orNeeds answers with needs alone where an object is missing.
export async function orNeeds(answer) {
  try {
    return await answer();
  } catch (err) {
    if (err instanceof NotReady) return { needs: err.needs, message: err.message };
    throw err;
  }
}
