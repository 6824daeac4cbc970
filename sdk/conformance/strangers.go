package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	lifecyclev1 "github.com/sluice-rollouts/sluice/sdk/proto/sluice/plugin/lifecycle/v1"
)

// checkStrangers calls a plugin as another process of the same user could: without TLS, without a certificate, and with
// another than the host's.
func checkStrangers(ctx context.Context, s *introduction) error {
	if s.conn.process == nil {
		return skip("it runs in this process")
	}
	certificate, err := stranger()
	if err != nil {
		return err
	}
	socket := strings.Split(s.conn.process.handshakeLine(), "|")[3]
	for _, who := range []struct {
		name  string
		creds credentials.TransportCredentials
	}{
		{"without TLS", insecure.NewCredentials()},
		{"without a certificate", credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})},
		{"with another certificate than the host's", credentials.NewTLS(&tls.Config{
			InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate},
		})},
	} {
		if err := asStranger(ctx, socket, who.creds); err == nil {
			return fmt.Errorf("a client %s was answered", who.name)
		}
	}
	// The host's own connection is none the worse for it.
	if _, err := describe(ctx, s.conn); err != nil {
		return fmt.Errorf("after strangers had tried: %w", err)
	}

	return nil
}

func asStranger(ctx context.Context, socket string, creds credentials.TransportCredentials) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///localhost", grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = lifecyclev1.NewLifecycleClient(conn).Describe(ctx, &lifecyclev1.DescribeRequest{})

	return err
}

// stranger is a certificate nobody knows.
func stranger() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, errors.Join(errors.New("making a certificate"), err)
	}

	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// handshakeLine is what the process printed first.
func (p *process) handshakeLine() string {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.line
}
