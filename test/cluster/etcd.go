package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdStartLimit bounds how long etcd may take to elect itself.
const etcdStartLimit = 30 * time.Second

// runEtcd is a single-member etcd for one test cluster. It listens on unix
// sockets, so that no two clusters can want the same port, and does not fsync:
// nothing in it is meant to survive the machine.
func runEtcd() int {
	dir := flag.String("data-dir", "", "folder for the data; must not exist or be an earlier one of the same etcd")
	client := flag.String("listen", "", "URL to serve clients on, for example unix:///tmp/x/etcd.sock")
	peer := flag.String("listen-peer", "", "URL for the peer listener, which a single member needs as well")
	flag.Parse()

	cfg, err := etcdConfig(*dir, *client, *peer)
	if err != nil {
		fmt.Fprintf(os.Stderr, "etcd: %v\n", err)
		return 2
	}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		fmt.Fprintf(os.Stderr, "etcd: %v\n", err)
		return 1
	}
	defer server.Close()

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-server.Server.ReadyNotify():
	case <-stop:
		return 0
	case <-time.After(etcdStartLimit):
		fmt.Fprintf(os.Stderr, "etcd: not ready after %s\n", etcdStartLimit)
		return 1
	}
	select {
	case <-stop:
		return 0
	case err := <-server.Err():
		fmt.Fprintf(os.Stderr, "etcd: %v\n", err)
		return 1
	}
}

func etcdConfig(dir, client, peer string) (*embed.Config, error) {
	if dir == "" || client == "" || peer == "" {
		return nil, fmt.Errorf("--data-dir, --listen and --listen-peer must all be set")
	}
	clientURL, err := url.Parse(client)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return nil, fmt.Errorf("--listen-peer: %w", err)
	}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.ListenClientUrls = []url.URL{*clientURL}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	cfg.ListenPeerUrls = []url.URL{*peerURL}
	cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true
	// A member without peers waits one election timeout for nobody.
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.LogLevel = "warn"
	cfg.LogOutputs = []string{"stderr"}
	// Watch streams of a whole control plane; the default snapshot count keeps
	// memory small enough.
	cfg.QuotaBackendBytes = 4 << 30
	return cfg, nil
}
