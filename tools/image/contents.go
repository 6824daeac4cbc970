package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Where things are in an image. deploy/base/deployment.yaml and deploy/image/Dockerfile
// say the same.
const (
	entrypoint = "/controller"
	pluginDir  = "/plugins"
	user       = "65532:65532"
	roots      = "/etc/ssl/certs/ca-certificates.crt"
)

// epoch is the time of every file: a digest changes with what is in an image, not
// with when it was built.
var epoch = time.Unix(0, 0).UTC()

// file of an image; all belong to root.
type file struct {
	path    string
	mode    int64
	content []byte // nil: a directory
}

// layers of the image whose binaries are in dir: what a static binary expects of a
// system, the controller, and each plugin, so that an update of one loads one.
func layers(dir string, plugins []string) ([]v1.Layer, error) {
	contents := [][]file{base()}
	controller, err := os.ReadFile(filepath.Join(dir, "controller"))
	if err != nil {
		return nil, err
	}
	contents = append(contents, []file{{entrypoint, 0o555, controller}})
	for _, name := range plugins {
		binary, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		contents = append(contents, []file{{pluginDir, 0o755, nil}, {pluginDir + "/" + name, 0o555, binary}})
	}
	var all []v1.Layer
	for _, files := range contents {
		layer, err := layerOf(files...)
		if err != nil {
			return nil, err
		}
		all = append(all, layer)
	}
	return all, nil
}

func layerOf(files ...file) (v1.Layer, error) {
	packed, err := pack(files)
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// base has no shell, no package manager and nothing that may be written but /tmp.
func base() []file {
	return []file{
		{"/etc", 0o755, nil},
		{"/etc/group", 0o444, []byte("root:x:0:\nnonroot:x:65532:\n")},
		{"/etc/passwd", 0o444, []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n")},
		{"/etc/ssl", 0o755, nil},
		{"/etc/ssl/certs", 0o755, nil},
		{roots, 0o444, rootCertificates()},
		{"/tmp", 0o1777, nil},
	}
}

// rootCertificates are Mozilla's, for plugins from https:// locations and for metric
// sources. Those that Mozilla trusts only up to a date are left out: a file of
// certificates cannot say so.
func rootCertificates() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
	}
	return b.Bytes()
}

// pack writes a tar archive that depends on nothing but the files.
func pack(files []file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.path[1:], Mode: f.mode, Size: int64(len(f.content)), ModTime: epoch, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if f.content == nil {
			header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}
