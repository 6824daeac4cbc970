// A traffic router: an imaginary edge proxy sends the share in an Ingress's annotation to the Service in another one.
//
//   edge.example.com/canary-service: web-canary
//   edge.example.com/canary-weight: "25"
import { decoder } from './config.mjs';
import { blocked, invalid } from './errors.mjs';
import { changed, get, orNeeds } from './objects.mjs';
import { serve } from './serve.mjs';

const schema = { type: 'object', properties: { ingress: { type: 'string', minLength: 1 } }, required: ['ingress'] };
const decode = decoder(schema);
const takesNothing = decoder({ type: 'object' });

const service = 'edge.example.com/canary-service';
const weight = 'edge.example.com/canary-weight';

const find = ({ target, config, inputs }) => get(inputs, {
  group: 'networking.k8s.io', kind: 'Ingress', versions: ['v1'], namespace: target.namespace, name: decode(config?.json).ingress,
});

// shareOf is what the annotations say: all to stable if there are none.
function shareOf(ingress, target) {
  const annotations = ingress.tree.metadata.annotations ?? {};
  if (!(weight in annotations)) return 0;
  if (annotations[service] !== target.services?.canary) {
    throw blocked(`Ingress ${target.namespace}/${ingress.need.name} sends its canary's share to ${annotations[service]}: remove ${service} or correct it`);
  }
  const share = Number(annotations[weight]);
  if (!Number.isInteger(share) || share < 0 || share > 100) {
    throw blocked(`annotation ${weight} of Ingress ${target.namespace}/${ingress.need.name} is ${annotations[weight]}: want a number from 0 to 100`);
  }
  return share;
}

// checked returns the canary's weight of traffic that makes sense.
function checked({ total_weight: total, destinations }) {
  const bad = destinations.findIndex((d) => d.weight < 0);
  if (bad >= 0) throw invalid([{ field: `traffic.destinations[${bad}].weight`, description: 'must not be negative' }]);
  const sum = destinations.reduce((all, d) => all + d.weight, 0);
  if (sum !== total || total !== 100) throw invalid([{ field: 'traffic.destinations', description: `weights sum to ${sum}, not to 100` }]);
  return destinations.filter((d) => d.role === 'ROLE_CANARY').reduce((all, d) => all + d.weight, 0);
}

const methods = {
  Capabilities: async () => ({ capabilities: ['CAPABILITY_OBSERVE'] }),

  Validate: (req) => orNeeds(() => {
    const ingress = find(req);
    shareOf(ingress, req.target);
    return { needs: [ingress.need] };
  }),

  Observe: (req) => orNeeds(() => {
    const ingress = find(req);
    const share = shareOf(ingress, req.target);
    const { stable, canary } = req.target.services;
    return {
      needs: [ingress.need],
      observed: [{
        place: `Ingress ${req.target.namespace}/${ingress.need.name}`,
        traffic: { total_weight: 100, destinations: [
          { role: 'ROLE_STABLE', service: stable, weight: 100 - share },
          { role: 'ROLE_CANARY', service: canary, weight: share },
        ] },
      }],
      // The proxy does not say what it has taken over; it reads Ingresses every second.
      convergence: 'CONVERGENCE_UNKNOWN',
      settle: { seconds: 2 },
      claims: [{ object: { group: ingress.need.group, kind: 'Ingress', namespace: req.target.namespace, name: ingress.need.name }, key: 'canary' }],
    };
  }),

  Route: (req) => orNeeds(() => {
    const share = checked(req.intent === 'release' ? req.release.traffic : req.desired);
    const ingress = find(req);
    const { metadata } = ingress.tree;
    if (share > 0) {
      metadata.annotations = { ...metadata.annotations, [service]: req.target.services.canary, [weight]: String(share) };
    } else if (metadata.annotations && weight in metadata.annotations) {
      // Nothing for the canary is the same as a release: no annotation of ours.
      delete metadata.annotations[service];
      delete metadata.annotations[weight];
    }
    return { needs: [ingress.need], writes: changed(ingress) };
  }),
};

serve({
  name: 'edge-router',
  version: '0.1.0',
  kinds: [{ group: 'networking.k8s.io', kind: 'Ingress', verbs: ['VERB_READ', 'VERB_UPDATE'] }],
  configure: takesNothing,
}, { 'sluice.plugin.trafficrouter.v1.TrafficRouter': { schema, methods } });
