package egress

import (
	"net"
	"net/netip"
)

// special are networks nothing that measures lives in, from the IANA special-purpose address registries, and the metadata
// services of clouds that are not link-local.
var special = []struct {
	network netip.Prefix
	what    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this machine"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local, where clouds keep their metadata"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a metadata service"}, // Alibaba Cloud
	{netip.MustParsePrefix("168.63.129.16/32"), "a metadata service"},   // Azure's wire server
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved, with a metadata service"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("::/128"), "this machine"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "a metadata service"},          // AWS
	{netip.MustParsePrefix("fd20:ce::254/128"), "a metadata service"},       // Google Cloud
	{netip.MustParsePrefix("fd00:42::42/128"), "a metadata service"},        // Scaleway
	{netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), "a metadata service"}, // Oracle Cloud
}

// inside are IPv6 networks whose addresses carry an IPv4 address, and at which byte.
var inside = []struct {
	network netip.Prefix
	at      int
	// inverted: Teredo stores the complement.
	inverted bool
}{
	{netip.MustParsePrefix("::/96"), 12, false},           // IPv4-compatible, RFC 4291
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12, false}, // IPv4-translated, RFC 2765
	{netip.MustParsePrefix("64:ff9b::/96"), 12, false},    // NAT64, RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12, false},  // local NAT64, RFC 8215
	{netip.MustParsePrefix("2002::/16"), 2, false},        // 6to4, RFC 3056
	{netip.MustParsePrefix("2001::/32"), 12, true},        // Teredo, RFC 4380
}

// danger says what is special about an address; "" means nothing.
func danger(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	for _, s := range special {
		if s.network.Contains(a) {
			return s.what
		}
	}
	if !a.Is6() {
		return ""
	}
	b := a.As16()
	for _, c := range inside {
		if !c.network.Contains(a) {
			continue
		}
		v4 := [4]byte(b[c.at : c.at+4])
		if c.inverted {
			for i := range v4 {
				v4[i] = ^v4[i]
			}
		}
		if what := danger(netip.AddrFrom4(v4)); what != "" {
			return what + " in IPv6"
		}
	}
	// ISATAP, RFC 5214: the interface identifier is ::0:5efe:a.b.c.d or ::200:5efe:a.b.c.d.
	if (b[8] == 0 || b[8] == 2) && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		if what := danger(netip.AddrFrom4([4]byte(b[12:]))); what != "" {
			return what + " in IPv6"
		}
	}

	return ""
}

// ownAddresses are those of the machine, which reach its ports as loopback does. What cannot be read is none.
func ownAddresses() map[netip.Addr]bool {
	own := map[netip.Addr]bool{}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return own
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap()] = true
		}
	}

	return own
}
