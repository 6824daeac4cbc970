package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func serveHTTP(ctx context.Context, l net.Listener) error {
	server := newServer()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return server.Serve(l)
}

// serveTLS answers like serveHTTP, with a certificate nobody has signed: those
// who ask are interested in where a connection goes, not in whom to trust.
func serveTLS(ctx context.Context, l net.Listener) error {
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	server := newServer()
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	inner := server.ConnContext
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return inner(ctx, c.(*tls.Conn).NetConn())
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return server.ServeTLS(l, "", "")
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"app"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// serveGRPC answers every call of every service with a StringValue that holds
// the same JSON as the answers over HTTP.
func serveGRPC(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		body, err := json.Marshal(answer{})
		if from, ok := peer.FromContext(stream.Context()); ok {
			if at, ok := l.(*listener).at(from.LocalAddr); ok {
				body, err = json.Marshal(at.identity)
			}
		}
		if err != nil {
			return err
		}
		return stream.SendMsg(wrapperspb.String(string(body)))
	}))
	context.AfterFunc(ctx, server.Stop)
	return server.Serve(l)
}
