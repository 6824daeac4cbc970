// Logs go to standard error, in hclog's format, so that they keep their level in the controller's log.
export function log(level, message) {
  process.stderr.write(`${JSON.stringify({ '@level': level, '@message': message, '@timestamp': new Date().toISOString() })}\n`);
}
