// Package dataplane measures at the client what the routers' plugins ask of real
// data planes: the share of requests by version, where managed routes lead, and
// that no request fails while a rollout goes its ways. It needs programs that
// take minutes to build; make e2e runs it.
package dataplane
