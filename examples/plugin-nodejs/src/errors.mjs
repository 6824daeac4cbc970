// Errors the host understands: a gRPC status with details. See "Errors" in PROTOCOL.md.
import grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';

const { status, Metadata } = grpc;
export const { UNIMPLEMENTED } = status;

const rpc = protobuf.Root.fromJSON({ nested: { google: { nested: { rpc: { nested: {
  Any: { fields: { type_url: { type: 'string', id: 1 }, value: { type: 'bytes', id: 2 } } },
  Status: { fields: {
    code: { type: 'int32', id: 1 }, message: { type: 'string', id: 2 }, details: { rule: 'repeated', type: 'Any', id: 3 },
  } },
  FieldViolation: { fields: { field: { type: 'string', id: 1 }, description: { type: 'string', id: 2 } } },
  BadRequest: { fields: { field_violations: { rule: 'repeated', type: 'FieldViolation', id: 1 } } },
  ErrorInfo: { fields: {
    reason: { type: 'string', id: 1 }, domain: { type: 'string', id: 2 },
    metadata: { keyType: 'string', type: 'string', id: 3 },
  } },
} } } } } });

// Refusal is an error with a class the host knows.
export class Refusal extends Error {
  constructor(code, message, type, detail) {
    super(message);
    Object.assign(this, { code, type, detail });
  }
}

// invalid says that the user's block is wrong. Violations are {field, description}; the field is a path such as routes[0].name.
export function invalid(violations) {
  const text = violations.map(({ field, description }) => (field ? `${field}: ${description}` : description)).join('; ');
  return new Refusal(status.INVALID_ARGUMENT, text, 'BadRequest', { field_violations: violations });
}

// notFound says that the block names an object that is not there.
export function notFound(kind, namespace, name) {
  return new Refusal(status.NOT_FOUND, `${kind} "${namespace}/${name}" not found`, 'ErrorInfo', {
    reason: 'REFERENCE_NOT_FOUND', domain: 'sluice', metadata: { kind, namespace, name },
  });
}

// unavailable says that there is no answer now; the host asks again.
export const unavailable = (message) => new Refusal(status.UNAVAILABLE, message);

// blocked says that somebody has to change something.
export const blocked = (message) => new Refusal(status.FAILED_PRECONDITION, message);

// toStatus is what grpc-js sends for an error.
export function toStatus(err) {
  if (!(err instanceof Refusal)) return { code: status.UNKNOWN, details: String(err.message ?? err) };
  const metadata = new Metadata();
  if (err.type) {
    const type = rpc.lookupType(`google.rpc.${err.type}`);
    const Status = rpc.lookupType('google.rpc.Status');
    const value = type.encode(type.create(err.detail)).finish();
    metadata.set('grpc-status-details-bin', Buffer.from(Status.encode(Status.create({
      code: err.code, message: err.message, details: [{ type_url: `type.googleapis.com/google.rpc.${err.type}`, value }],
    })).finish()));
  }
  return { code: err.code, details: err.message, metadata };
}
