// The xdsclient makes real gRPC calls that are routed by what an Istio control
// plane tells it over xDS: a data plane without proxies. It has a module of its
// own for the sake of its dependencies.
//
// Each line on standard input is a question in JSON, each line on standard
// output its answer.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/xds"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// question asks for calls: N of them, or as many as are made until the next
// line when N is 0.
type question struct {
	Target string            `json:"target"` // such as xds:///app.shop.svc.cluster.local:90
	N      int               `json:"n"`
	Header map[string]string `json:"header"`
}

// reply says how many calls each version answered.
type reply struct {
	By     map[string]int `json:"by"`
	Calls  int            `json:"calls"`
	Failed int            `json:"failed"`
	First  string         `json:"first,omitempty"` // of the failures
	// Raced calls were made again because of unknownCluster.
	Raced int     `json:"raced"`
	Took  float64 `json:"took"` // in seconds
}

// callTimeout bounds one call, and how long it waits for the control plane's
// first word.
const callTimeout = 20 * time.Second

// unknownCluster is how grpc-go fails a call that begins between two moments of
// one update: its ClientConn takes over which clusters to choose from before
// its balancer knows how to reach those that are new. The call was sent
// nowhere, and no order of the control plane's updates avoids it.
const unknownCluster = "unknown cluster selected for RPC"

// raceTimeout bounds how long these two moments may be apart: the time in which
// a goroutine gets its turn, which on a machine that is busy is not 10 ms.
const raceTimeout = 5 * time.Second

func main() {
	server := flag.String("server", "127.0.0.1:15010", "address of istiod")
	namespace := flag.String("namespace", "default", "namespace the client pretends to be in")
	flag.Parse()
	if err := run(*server, *namespace); err != nil {
		fmt.Fprintln(os.Stderr, "xdsclient:", err)
		os.Exit(1)
	}
}

func run(server, namespace string) error {
	bootstrap := fmt.Sprintf(`{
		"xds_servers": [{"server_uri": %q, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
		"node": {"id": "sidecar~10.244.255.1~client.%s~%s.svc.cluster.local", "metadata": {"GENERATOR": "grpc", "NAMESPACE": %q}}}`,
		server, namespace, namespace, namespace)
	builder, err := xds.NewXDSResolverWithConfigForTesting([]byte(bootstrap))
	if err != nil {
		return err
	}
	c := client{builder: builder, conns: map[string]*grpc.ClientConn{}}
	lines := make(chan question)
	go read(lines)
	out := json.NewEncoder(os.Stdout)
	for q := range lines {
		var next <-chan question
		if q.N == 0 {
			next = lines // Call until somebody asks something else.
		}
		answer, err := c.ask(q, next)
		if err != nil {
			return err
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

func read(lines chan<- question) {
	defer close(lines)
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		var q question
		if err := json.Unmarshal(scanner.Bytes(), &q); err != nil {
			fmt.Fprintln(os.Stderr, "xdsclient:", err)
			return
		}
		lines <- q
	}
}

type client struct {
	builder resolver.Builder
	conns   map[string]*grpc.ClientConn
}

// ask makes calls, eight at a time, until there are enough or until tells to
// stop.
func (c *client) ask(q question, until <-chan question) (reply, error) {
	conn := c.conns[q.Target]
	if conn == nil {
		var err error
		conn, err = grpc.NewClient(q.Target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithResolvers(c.builder))
		if err != nil {
			return reply{}, err
		}
		c.conns[q.Target] = conn
	}
	var (
		mu      sync.Mutex
		total   = reply{By: map[string]int{}}
		group   sync.WaitGroup
		started = time.Now()
		stop    = make(chan struct{})
	)
	if until != nil {
		go func() { <-until; close(stop) }()
	}
	begin := func() bool {
		select {
		case <-stop:
			return false
		default:
		}
		mu.Lock()
		defer mu.Unlock()
		if until == nil && total.Calls >= q.N {
			return false
		}
		total.Calls++
		return true
	}
	for range 8 {
		group.Go(func() {
			for begin() {
				version, raced, err := callAgain(conn, q.Header)
				mu.Lock()
				if raced {
					total.Raced++
				}
				if err != nil {
					total.Failed++
					if total.First == "" {
						total.First = fmt.Sprintf("after %s: %v", time.Since(started).Round(time.Millisecond), err)
					}
				} else {
					total.By[version]++
				}
				mu.Unlock()
				if until != nil {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	group.Wait()
	total.Took = time.Since(started).Seconds()
	return total, nil
}

// callAgain makes one call, and makes it again as long as it fails with
// unknownCluster; raced says whether it had to.
func callAgain(conn *grpc.ClientConn, header map[string]string) (version string, raced bool, err error) {
	for end := time.Now().Add(raceTimeout); ; time.Sleep(10 * time.Millisecond) {
		version, err = call(conn, header)
		if err == nil || !strings.Contains(err.Error(), unknownCluster) || time.Now().After(end) {
			return version, raced, err
		}
		raced = true
	}
}

// call makes one call and returns the version that answered. A call to an
// endpoint that is not there fails.
func call(conn *grpc.ClientConn, header map[string]string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.New(header))
	var out wrapperspb.StringValue
	if err := conn.Invoke(ctx, "/shop.Cart/Get", &emptypb.Empty{}, &out, grpc.WaitForReady(false)); err != nil {
		return "", err
	}
	var who struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal([]byte(out.GetValue()), &who); err != nil || who.Version == "" {
		return "", fmt.Errorf("no version in the answer %q", out.GetValue())
	}
	return who.Version, nil
}
